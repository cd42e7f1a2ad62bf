"""What both kinds of recordings with side files hand over, and pictures that lie in numbered files.

Legend: T steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import Text, View
from unihand_data.sources.robot.readers.side_json import names_in
from unihand_data.untrusted.unpickle import read_bounded

MAX_PICTURE = 64 << 20
MAX_PICTURES = 3 << 30
#: wider members are maps or pictures, not columns
MAX_WIDTH = 1024
Views = tuple[dict[str, View], list[Reject]]


@dataclass
class Part:
    """Columns (T, n) and all else of an episode; ``views`` is asked later, with what the data-set file ignores."""

    columns: dict[str, np.ndarray]
    times: np.ndarray | None
    views: Callable[[Callable[[str], bool], float], Views]
    texts: list[Text] = field(default_factory=list)
    losses: list[Reject] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    task: str = ""


def column(x: Any, steps: int) -> np.ndarray | None:
    """(T, n) float of an array with one entry per step; None for anything else."""
    try:
        array = np.asarray(x)
    except (ValueError, TypeError):
        return None
    if array.dtype.kind not in "fiub" or array.ndim == 0 or len(array) != steps:
        return None
    if not 0 < array.size // max(steps, 1) <= MAX_WIDTH:
        return None
    return array.reshape(steps, -1).astype(np.float64 if array.dtype.kind != "f" else array.dtype)


def numbered(folder: str, name: str, steps: int) -> list[bytes]:
    """The bytes of ``<name>`` 0 .. T - 1; ``name`` is a regex whose one group is the number.

    Raises:
        Reject: TRUNCATED (fewer), CONTRADICTION (more, or gaps), UNSAFE_CONTENT (too much).
    """
    found: dict[int, str] = {}
    for file in names_in(folder):
        at = re.fullmatch(name, file)
        if at is not None:
            found[int(at[1])] = file
    if sorted(found) != list(range(steps)):
        gaps = sorted(set(range(steps)) - set(found))
        reason = Reason.TRUNCATED if gaps else Reason.CONTRADICTION
        text = f"the first one missing is {gaps[0]}" if gaps else "the numbers do not fit"
        raise Reject(reason, f"{folder}: {len(found)} pictures for {steps} steps; {text}", frames=steps)
    pictures, total = [], 0
    for number in range(steps):
        pictures.append(read_bounded(f"{folder}/{found[number]}", MAX_PICTURE))
        total += len(pictures[-1])
        if total > MAX_PICTURES:
            raise Reject(Reason.UNSAFE_CONTENT, f"{folder}: more than {MAX_PICTURES} bytes of pictures")
    return pictures
