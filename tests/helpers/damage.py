"""Ways to damage a file, alike for every reader; what a format adds of its own is in that reader's tests."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

#: of any file
RAW = ["empty", "cut_half", "cut_end", "flip_1", "flip_2", "noise", "html", "gone", "folder"]
#: what a field may hold instead
JUNK = [
    None, "junk", -1, 1e300, float("nan"), [], {}, True, [[1, 2], [3]], 10**30, "../../x", "{0.__class__}",
    "99999999999999",
]  # fmt: skip


def damage_raw(path: Path, op: str, rng: random.Random) -> bool:
    """One of :data:`RAW` (``flip_<n>`` for any n); False where ``op`` is none of them."""
    data = path.read_bytes()
    match op.partition("_")[0]:
        case "gone" | "folder":
            path.unlink()
            if op == "folder":
                path.mkdir()
            return True
        case "empty":
            data = b""
        case "cut":
            data = data[: len(data) // 2] if op == "cut_half" else data[: len(data) - max(3, len(data) // 50)]
        case "flip":
            data = bytes(flipped(bytearray(data), max(2, len(data) // 400), rng))
        case "noise":
            data = rng.randbytes(len(data))
        case "html":
            data = b"<html><body>404: sign in first</body></html>"
        case _:
            return False
    path.write_bytes(data)
    return True


def flipped(data: bytearray, count: int, rng: random.Random) -> bytearray:
    """``count`` single bits turned, in place."""
    for _ in range(count):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def damage_field(path: Path, rng: random.Random) -> None:
    """One random part of a JSON file, or of every line of a ``.jsonl``."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    values = [json.loads(line) for line in lines]
    for value in values:
        replace_part(value, rng)
    path.write_text("\n".join(json.dumps(value) for value in values))


def replace_part(value: Any, rng: random.Random, junk: list[Any] = JUNK) -> None:
    """One random part of nested dicts and lists replaced by junk or dropped, in place."""
    at, steps = value, []
    while isinstance(at, dict | list) and at and (not steps or rng.random() < 0.8):
        key = rng.choice(sorted(at)) if isinstance(at, dict) else rng.randrange(len(at))
        steps.append((at, key))
        at = at[key]
    parent, key = steps[-1]
    if rng.random() < 0.25:
        del parent[key]
    else:
        parent[key] = rng.choice(junk)
