"""Pin everything that ``make setup-dev`` installed, in the second half of ``constraints.txt``.

    make lock

Without the second half pip's resolver tries hundreds of releases and may search for more than an hour. The first half
is written by hand and wins; the second is what the environment has now of everything the workspace asks for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
MARK = "# ---- everything else these bring, as resolved together; `make lock` writes below this line ----"
PACKAGES = ("unihand-data", "beingh05-model")


def wanted() -> dict[str, str]:
    """Name and version of every installed distribution that the workspace or its test tools ask for."""
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    todo = [Requirement(text) for line in lines if (text := line.split("#")[0].strip())]
    for package in PACKAGES:
        extras = metadata.metadata(package).get_all("Provides-Extra") or []
        todo.append(Requirement(f"{package}[{','.join(extras)}]"))
    seen: set[tuple[str, frozenset[str]]] = set()
    found: dict[str, str] = {}
    while todo:
        asked = todo.pop()
        name, extras = canonicalize_name(asked.name), frozenset(asked.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            there = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # an extra that `make setup-dev` leaves out, or another platform's
        if name not in PACKAGES:
            found[name] = there.version.split("+")[0]
        for text in there.requires or []:
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                todo.append(need)
    return found


def pinned(text: str) -> dict[str, str]:
    """Name and version of the pins in a constraints file's text."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--file", type=Path, default=CONSTRAINTS, help="the constraints file to write, default %(default)s"
    )
    file = parser.parse_args(argv).file
    by_hand = file.read_text().split(MARK)[0].rstrip()
    chosen = pinned(by_hand)
    rest = [f"{name}=={version}" for name, version in sorted(wanted().items()) if name not in chosen]
    file.write_text("\n".join([by_hand, "", MARK, *rest, ""]))
    print(f"{file.name}: {len(chosen)} pins by hand, {len(rest)} resolved")
    return 0


if __name__ == "__main__":
    sys.exit(main())
