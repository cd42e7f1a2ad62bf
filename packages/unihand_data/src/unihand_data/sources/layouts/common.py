"""What the folder layouts share."""

from __future__ import annotations

import re

from unihand_data.errors import Reason, Reject
from unihand_data.values.hands import Side

SIDES: tuple[Side, Side] = ("left", "right")


def by_folder(files: list[str], regex: str) -> dict[str, list[str]]:
    """File names grouped by folder, for files whose relative path matches."""
    out: dict[str, list[str]] = {}
    compiled = re.compile(regex)
    for f in files:
        if compiled.search(f):
            folder, _, name = f.rpartition("/")
            out.setdefault(folder, []).append(name)
    return out


def frame_number(name: str, source: str) -> int:
    """The number a file name ends with. Raises ``Reject``: BAD_VALUE."""
    found = re.search(r"(\d{1,9})\.[A-Za-z]+$", name)
    if not found:
        raise Reject(Reason.BAD_VALUE, f"{source}/{name}: no frame number in the name")
    return int(found.group(1))
