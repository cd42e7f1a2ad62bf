"""From a scanned recording to clips: where to cut, and what is lost by it.

Legend: N frames of the recording, in presentation order; a clip is a half-open range ``(i0, i1)`` of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np
from pydantic import Field, model_validator

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.video.probe import frame_interval


class SegmentSettings(Settings):
    """How a recording is cut (paper section 3.1: chunks of up to 10 s).

    ``max_seconds``: longest clip; clips are the paper's chunks, so never above 10. ``min_seconds``: a shorter rest
    between two breaks is lost. ``gap_factor``: a pause over so many median frame distances is a break.
    ``point_narration_s``: how long the action behind a narration lasts that is only a point in time.
    """

    max_seconds: float = Field(default=10.0, gt=0, le=10)
    min_seconds: float = Field(default=1.0, ge=0)
    gap_factor: float = Field(default=3.0, gt=1)
    point_narration_s: float = Field(default=1.0, ge=0, le=10)

    @model_validator(mode="after")
    def _short_before_long(self) -> SegmentSettings:
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds {self.min_seconds:g} is more than max_seconds {self.max_seconds:g}")
        return self


class Spanned(Protocol):
    """Anything with a time span, seconds on the recording's clock."""

    t0: float
    t1: float


@dataclass
class ClipPlan:
    """Clips in order, and a Reject (level ``clip``) for every stretch that is in none of them. Iterates its clips."""

    clips: list[tuple[int, int]] = field(default_factory=list)
    losses: list[Reject] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.clips)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, i: int) -> tuple[int, int]:
        return self.clips[i]


def plan_clips(
    pts: np.ndarray,
    cuts: Sequence[int] | np.ndarray = (),
    narrations: Sequence[Spanned] = (),
    damaged: np.ndarray | None = None,
    settings: SegmentSettings | None = None,
    *,
    name: str = "",
) -> ClipPlan:
    """Clips of at most ``max_seconds``, never across a cut, a damaged frame or a gap.

    Between two breaks the pieces are of equal length unless that would split a narration: then the fewest narrations
    are split, with the fewest and most even pieces. A narration longer than a clip (a task's) does not count.

    Args:
        pts: (N,) float64 s, increasing.
        cuts: first frames of new shots.
        damaged: (N,) bool.
        name: of the recording, for the messages.

    Returns:
        The plan. A clip lasts from its first frame to the end of its last (a median frame interval).
    """
    s = settings or SegmentSettings()
    pts = np.asarray(pts, np.float64)
    plan = ClipPlan()
    if len(pts) == 0:
        return plan
    step = frame_interval(pts)
    bad = np.zeros(len(pts), bool) if damaged is None else np.asarray(damaged, bool)
    breaks = set(np.asarray(cuts, np.int64).tolist())
    breaks |= set((np.flatnonzero(np.diff(pts) > s.gap_factor * step) + 1).tolist())
    breaks |= set((np.flatnonzero(np.diff(bad.astype(np.int8))) + 1).tolist())
    edges = [0, *sorted(b for b in breaks if 0 < b < len(pts)), len(pts)]
    for i0, i1 in pairwise(edges):
        seconds = float(pts[i1 - 1] - pts[i0]) + step
        where = f"{name or 'recording'}: {pts[i0]:.2f} to {pts[i0] + seconds:.2f} s ({i1 - i0} frames)"
        if bad[i0]:
            plan.losses.append(_loss(Reason.CORRUPT, f"{where} is damaged", i1 - i0, seconds))
        elif seconds < s.min_seconds - 1e-9:
            text = f"{where} is shorter than segment.min_seconds = {s.min_seconds:g}"
            plan.losses.append(_loss(Reason.TOO_SHORT, text, i1 - i0, seconds))
        else:
            plan.clips += _pieces(pts, i0, i1, step, narrations, s)
    return plan


def _loss(reason: Reason, message: str, frames: int, seconds: float) -> Reject:
    return Reject(reason, message, level="clip", frames=frames, duration_s=seconds)


def _pieces(
    pts: np.ndarray, i0: int, i1: int, step: float, narrations: Sequence[Spanned], s: SegmentSettings
) -> list[tuple[int, int]]:
    """Cut ``[i0, i1)``, which has no break inside."""
    start, end = float(pts[i0]), float(pts[i1 - 1]) + step
    n = max(1, int(np.ceil((end - start) / s.max_seconds - 1e-6)))
    if n == 1:
        return [(i0, i1)]
    while True:  # an equal share can be a frame too long where the rate varies
        even = np.searchsorted(pts[i0:i1], np.linspace(start, end, n + 1)[1:-1] - step / 2) + i0
        edges = np.unique([i0, *even, i1])
        spans = pts[edges[1:] - 1] + step - pts[edges[:-1]]
        if spans.max() <= s.max_seconds + 1e-6 or n >= i1 - i0:
            break
        n += 1
    inside = np.array(
        [(v.t0, v.t1) for v in _protected(narrations, s) if v.t1 > start and v.t0 < end], np.float64
    ).reshape(-1, 2)
    if len(inside):
        edges = _narrated(pts, edges, step, inside, s)
    return [(int(a), int(b)) for a, b in pairwise(edges)]


@dataclass
class _Span:
    t0: float
    t1: float


def _protected(narrations: Sequence[Spanned], s: SegmentSettings) -> list[_Span]:
    spans = [_Span(v.t0, max(v.t1, v.t0 + s.point_narration_s) if v.t1 <= v.t0 else v.t1) for v in narrations]
    return [v for v in spans if v.t1 - v.t0 <= s.max_seconds]


def _narrated(pts: np.ndarray, even: np.ndarray, step: float, spans: np.ndarray, s: SegmentSettings) -> np.ndarray:
    """Best edges by dynamic programming over the even edges, the narrations' bounds and a half-second grid.

    Cost: 1000 per narration split, 10 per piece, and the square of every piece's share of ``max_seconds``, which for a
    given number of pieces is least when they are equal.
    """
    i0, i1 = int(even[0]), int(even[-1])
    first, last = float(pts[i0]), float(pts[i1 - 1]) + step
    times = np.concatenate([spans.ravel(), np.arange(first, last, 0.5)])
    times = times[(times > first) & (times < last)]
    # a narration that ends between two frames keeps the frame before its end, one that begins there the frame after
    marks = np.unique([*even, *(np.searchsorted(pts[i0:i1], times - 1e-9) + i0)])
    marks = marks[(marks >= i0) & (marks <= i1)]
    at = np.where(marks < i1, pts[np.minimum(marks, i1 - 1)], last)
    tolerance = step / 2 + 1e-9  # an edge within half a frame of a bound does not split it
    splits = np.array([((spans[:, 0] < t - tolerance) & (spans[:, 1] > t + tolerance)).sum() for t in at], float)
    splits[[0, -1]] = 0
    cost = np.full(len(marks), np.inf)
    back = np.zeros(len(marks), np.int64)
    cost[0] = 0
    for j in range(1, len(marks)):
        k = np.arange(np.searchsorted(at, at[j] - s.max_seconds - 2 * step), j)
        length = pts[marks[j] - 1] + step - at[k]
        ok = (length <= s.max_seconds + 1e-6) & (length >= s.min_seconds - 1e-9)
        total = np.where(ok, cost[k] + 10 + (length / s.max_seconds) ** 2, np.inf) + 1000 * splits[j]
        if len(k) and np.isfinite(total).any():
            back[j] = k[np.argmin(total)]
            cost[j] = total.min()
    if not np.isfinite(cost[-1]):
        return even
    path = [len(marks) - 1]
    while path[-1]:
        path.append(int(back[path[-1]]))
    return marks[path[::-1]]
