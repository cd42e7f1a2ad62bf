"""Start frames at which nothing happens: those whose action chunk lies whole inside an idle span of their row, unless
the row ends with that span: there the chunk shows that a task is done, and a policy learns to stop from nothing else.

The robot job marks idle and no-op stretches as events of kind ``idle`` and leaves every frame where it is
(docs/robot_manipulation.md); what is done about them is the recipe's decision. Spans are compared with the row's own
timestamps, never with frame numbers times a rate: a clock may have gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.recipe.directory import ShardDir

KIND = "idle"
#: s by which a chunk may stick out of a span: rounding of times, far below a frame
CLOSE = 1e-6
ROWS_AT_ONCE = 256


@dataclass
class IdleFrames:
    """Runs of start frames: ``row`` (K,) row numbers, increasing; ``first``, ``stop`` (K,) frames ``first`` .. ``stop``
    - 1 of that row, disjoint and increasing within it."""

    row: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    first: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    stop: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def holds(self, row: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """(N,) bool: is this start frame of this row idle."""
        if not len(self.row):
            return np.zeros(len(row), bool)
        at = np.searchsorted(_key(self.row, self.first), _key(row, frame), side="right") - 1
        return (at >= 0) & (self.row[at] == row) & (frame < self.stop[at])

    def count(self, rows: int) -> np.ndarray:
        """(rows,) idle start frames of each row."""
        return np.bincount(self.row, weights=self.stop - self.first, minlength=rows).astype(np.int64)


def _key(row: np.ndarray, frame: np.ndarray) -> np.ndarray:
    return np.asarray(row, np.int64) << 32 | np.asarray(frame, np.int64)


@dataclass
class Spans:
    """Idle events of a directory's rows, in row order: ``row`` (K,) number within the table, ``t0``, ``t1`` (K,) s."""

    row: list[np.ndarray] = field(default_factory=list)
    t0: list[np.ndarray] = field(default_factory=list)
    t1: list[np.ndarray] = field(default_factory=list)

    def add(self, events: pa.ListArray, first_row: int) -> None:
        """The ``events`` column of a batch whose first row is number ``first_row`` of the table."""
        lines = events.flatten()
        if not len(lines):
            return
        count = pc.list_value_length(events).fill_null(0).to_numpy(zero_copy_only=False)
        row = first_row + np.repeat(np.arange(len(events)), count)
        idle = pc.equal(lines.field("kind"), KIND).fill_null(False).to_numpy(zero_copy_only=False)
        for into, values in (
            (self.row, row),
            (self.t0, lines.field("t0").to_numpy(zero_copy_only=False)),
            (self.t1, lines.field("t1").to_numpy(zero_copy_only=False)),
        ):
            into.append(values[idle])


def idle_frames(spans: Spans, directory: ShardDir, first_row: int, chunk_s: float) -> IdleFrames:
    """Start frames of one directory whose chunk of ``chunk_s`` seconds is idle; the clocks of the rows that have spans
    are read, a few hundred at a time. ``first_row`` is what its rows are counted from."""
    row = np.concatenate(spans.row) if spans.row else np.zeros(0, np.int64)
    if not len(row):
        return IdleFrames()
    t0, t1 = np.concatenate(spans.t0), np.concatenate(spans.t1)
    found: list[tuple[int, int, int]] = []
    with_spans, edge = np.unique(row, return_index=True)
    edge = np.append(edge, len(row))
    for start in range(0, len(with_spans), ROWS_AT_ONCE):
        piece = with_spans[start : start + ROWS_AT_ONCE]
        records = directory.take("episodes", piece.tolist(), ["timestamps", "rate_hz"])
        for number, (local, record) in enumerate(zip(piece.tolist(), records), start):
            at = slice(edge[number], edge[number + 1])
            times = np.asarray(record["timestamps"], np.float64)
            for first, stop in idle_starts(times, times[-1] + 1 / record["rate_hz"], t0[at], t1[at], chunk_s):
                found.append((first_row + local, first, stop))
    columns = np.array(found, np.int64).reshape(-1, 3).T
    return IdleFrames(columns[0], columns[1], columns[2])


def idle_starts(
    times: np.ndarray, end: float, t0: Sequence[float] | np.ndarray, t1: Sequence[float] | np.ndarray, chunk_s: float
) -> list[tuple[int, int]]:
    """Runs (first, stop) of start frames, increasing and disjoint; none in spans that reach ``end``, nor in what
    another span shares with those.

    Args:
        times: (T,) s. end: of the row's last frame (its time and a period), s. t0, t1: (K,) of its idle spans.
    """
    runs: list[tuple[int, int]] = []
    last = min((float(a) for a, b in zip(t0, t1) if b >= end - CLOSE), default=np.inf)
    rest = int(np.searchsorted(times, last - CLOSE))  # from here on the row stands still for good
    for begin, finish in sorted(zip(map(float, t0), map(float, t1))):
        first = int(np.searchsorted(times, begin - CLOSE))
        stop = min(rest, int(np.searchsorted(times, finish - chunk_s + CLOSE, side="right")))
        if runs:
            first = max(first, runs[-1][1])  # spans of two sources may overlap
        if stop > first:
            runs.append((first, stop))
    return runs


def all_idle(parts: Sequence[IdleFrames]) -> IdleFrames:
    """Of all directories, in the order of their rows."""
    if not parts:
        return IdleFrames()
    return IdleFrames(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("row", "first", "stop")))
