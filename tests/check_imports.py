"""The import rule of the design: rooms depend one way, and heavy libraries stay where they belong.

    space <- shards <- video <- geometry <- hands <- sources, language <- curate <- report <- recipe, jobs <- commands
    values, untrusted (plain data, safe reading of foreign files) lie below all but space and shards; runner knows
    space and shards alone.

    The model's rooms are network <- sequence <- motion_tokens, inference <- interop <- training <- evaluation <-
    experiments <- commands <- cli; of the data they know the space, shards, recipes, the words of questions and the
    simulator of the recorder.

``ALLOWED`` has no cycle (checked), so any room can be understood, tested and moved with the rooms before it alone.
Run by ``make lint``; prints every violation as ``file:line`` and exits with 1.
"""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "packages/unihand_data/src/unihand_data"

CORE = {"errors", "ids", "config", "pages", "yaml_text", "__init__", "__version__"}
BASE = {"space", "shards", "values", "untrusted"}
CLIPS = BASE | {"video", "geometry", "hands"}  # what is seen in a clip
# what a room may import of the package, besides CORE and itself; a room stands after all that it may import
ALLOWED: dict[str, set[str]] = {
    "space": set(),
    "values": set(),
    "untrusted": set(),
    "record": set(),
    "shards": {"space"},
    "runner": {"space", "shards"},
    "video": BASE,
    "geometry": BASE | {"video"},
    "hands": BASE | {"video", "geometry"},
    "sources": CLIPS,
    "language": CLIPS | {"sources"},
    "curate": CLIPS | {"sources", "language"},
    "report": CLIPS | {"language", "curate"},
    "recipe": {"space", "shards", "curate", "report"},
    "jobs": CLIPS | {"sources", "language", "curate", "report", "recipe", "runner"},
    "demo": CLIPS | {"sources", "language", "curate", "report", "runner", "jobs"},
    "commands": CLIPS | {"sources", "curate", "report", "runner", "jobs"},
    "cli": {"space", "shards", "values", "hands", "video", "report", "runner", "commands"},
}
MODEL = ROOT / "packages/beingh05_model/src/beingh05_model"
#: the same for the model's rooms
MODEL_ALLOWED: dict[str, set[str]] = {
    "network": set(),
    "sequence": {"network"},
    "motion_tokens": {"network", "sequence"},
    "inference": {"network", "sequence"},
    "interop": {"network", "sequence", "inference"},
    "training": {"network", "sequence", "motion_tokens", "interop"},
    "evaluation": {"network", "sequence", "motion_tokens", "inference", "interop", "training"},
    "experiments": {"network", "sequence", "motion_tokens", "inference", "interop", "training", "evaluation"},
    "commands": {
        "network", "sequence", "motion_tokens", "inference", "interop", "training", "evaluation", "experiments",
    },
    "cli": {"commands"},
}  # fmt: skip
#: rooms of the data that the model may know
MODEL_KNOWS = {"space", "shards", "recipe", "language", "record"}
# third-party libraries that only these rooms may name, at any depth
ONLY_IN = {
    "ray": {"runner"},
    "torch": {"hands", "video", "sources"},  # sources: a generator of files that HaWoR writes
    "smplx": {"hands"},
    "mujoco": {"demo", "record"},
    "metaworld": {"record"},
    "mediapipe": {"hands"},
    "lance": {"shards", "runner"},
    "lancedb": {"shards"},
}
SPACE_MAY = {"numpy", "scipy", "yaml"}


def imports(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
            if node.module == "unihand_data":
                found += [(node.lineno, f"unihand_data.{alias.name}") for alias in node.names]
    return found


def cycle(allowed: dict[str, set[str]]) -> list[str]:
    """Rooms that may import themselves through each other, in the order of the imports; empty where none does."""

    def walk(path: list[str]) -> list[str]:
        for room in sorted(allowed.get(path[-1], ())):
            if room in path:
                return [*path[path.index(room) :], room]
            if room not in clear and (found := walk([*path, room])):
                return found
        clear.add(path[-1])
        return []

    clear: set[str] = set()
    return next((found for room in allowed if (found := walk([room]))), [])


def violations(package: Path = PACKAGE) -> list[str]:
    out = [f"ALLOWED has a cycle: {' -> '.join(found)}"] if (found := cycle(ALLOWED)) else []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).parts
        room = parts[0].removesuffix(".py")
        if room in CORE:
            continue
        if room not in ALLOWED:
            out.append(f"{path}: room {room} is not in ALLOWED of tests/check_imports.py")
            continue
        where = os.path.relpath(path, ROOT)
        for line, name in imports(path):
            top, _, rest = name.partition(".")
            if top == "unihand_data":
                target = rest.split(".")[0]
                if target and target not in CORE and target != room and target not in ALLOWED[room]:
                    out.append(f"{where}:{line}: {room} must not import unihand_data.{target}")
            elif top in ONLY_IN and room not in ONLY_IN[top]:
                out.append(f"{where}:{line}: {top} belongs to {', '.join(sorted(ONLY_IN[top]))}, not to {room}")
            elif room == "space" and top not in SPACE_MAY and top not in sys.stdlib_module_names:
                out.append(f"{where}:{line}: space imports only {', '.join(sorted(SPACE_MAY))}, not {top}")
    return out


def model_violations(package: Path = MODEL) -> list[str]:
    """The same rule for the model: its rooms depend one way, and of the data it knows what training needs."""
    out = [f"MODEL_ALLOWED has a cycle: {' -> '.join(found)}"] if (found := cycle(MODEL_ALLOWED)) else []
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room in CORE:
            continue
        where = os.path.relpath(path, ROOT)
        if room not in MODEL_ALLOWED:
            out.append(f"{where}: room {room} is not in MODEL_ALLOWED of tests/check_imports.py")
            continue
        for line, name in imports(path):
            top, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if top == "beingh05_model" and target and target != room and target not in MODEL_ALLOWED[room]:
                out.append(f"{where}:{line}: {room} must not import beingh05_model.{target}")
            elif top == "unihand_data" and target and target not in CORE | MODEL_KNOWS:
                out.append(f"{where}:{line}: the model must not import unihand_data.{target}")
            elif top in {"ray", "lance", "lancedb"}:
                out.append(f"{where}:{line}: {top} is not the model's")
    return out


if __name__ == "__main__":
    problems = [*violations(), *model_violations()]
    print("\n".join(problems) or "import rule: clean")
    sys.exit(bool(problems))
