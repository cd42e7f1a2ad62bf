"""The import rule of the design: rooms depend one way, and heavy libraries stay where they belong.

    space <- shards <- geometry, video, hands, language, sources, curate <- runner, report <- jobs <- pipelines, demo

Run by ``make lint``; prints every violation as ``file:line`` and exits with 1.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "packages/unihand_data/src/unihand_data"

CORE = {"errors", "ids", "config", "__init__", "__version__"}
# what a room may import of the package, besides CORE and itself
ALLOWED: dict[str, set[str]] = {
    "space": set(),
    "shards": {"space"},
    "geometry": {"space", "shards", "video", "hands"},
    "video": {"space", "shards", "geometry", "sources"},
    "hands": {"space", "shards", "geometry", "video", "sources"},
    "language": {"space", "shards", "geometry", "hands", "sources", "video"},
    "sources": {"space", "shards", "geometry", "hands", "video", "language"},
    "curate": {"space", "shards", "geometry", "hands", "video", "language", "sources"},
    "record": set(),
    "runner": {"space", "shards"},
    "jobs": {
        "space",
        "shards",
        "geometry",
        "hands",
        "video",
        "language",
        "sources",
        "curate",
        "runner",
        "report",
        "recipe",
    },
    "recipe": {"space", "shards", "curate", "report"},
    "report": {"space", "shards", "geometry", "hands", "video", "language", "curate"},
    "demo": {
        "jobs",
        "space",
        "shards",
        "geometry",
        "hands",
        "video",
        "language",
        "sources",
        "curate",
        "runner",
        "report",
    },
    "commands": {"space", "shards", "hands", "video", "runner", "report", "sources", "geometry", "curate", "jobs"},
    "cli": {"space", "shards", "commands", "runner", "report", "hands", "video"},
}
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


def violations() -> list[str]:
    out = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        room = parts[0].removesuffix(".py")
        if room in CORE:
            continue
        where = path.relative_to(ROOT)
        for line, name in imports(path):
            top, _, rest = name.partition(".")
            if top == "unihand_data":
                target = rest.split(".")[0]
                if target and target not in CORE and target != room and target not in ALLOWED.get(room, set()):
                    out.append(f"{where}:{line}: {room} must not import unihand_data.{target}")
            elif top in ONLY_IN and room not in ONLY_IN[top]:
                out.append(f"{where}:{line}: {top} belongs to {', '.join(sorted(ONLY_IN[top]))}, not to {room}")
            elif room == "space" and top not in SPACE_MAY and top not in sys.stdlib_module_names:
                out.append(f"{where}:{line}: space imports only {', '.join(sorted(SPACE_MAY))}, not {top}")
    return out


if __name__ == "__main__":
    problems = violations()
    print("\n".join(problems) or "import rule: clean")
    sys.exit(bool(problems))
