"""Which start frames of robot episodes are trained on (docs/contract.md, section 2, "Selection").

One rate r serves all robot sources: a source of f Hz keeps min(f, max(floor, r)) Hz, and r is such that the kept frames
are the wanted share of all of them (paper 3.2: 30 %). Where the floor alone keeps more, the floor wins.

A frame is kept by its own number and its episode's id alone: frame i of an episode lies in the time bin i of one source
period, whose point on the circle is ``hash(episode) + i * golden ratio``; it is kept where that point is below the kept
share. Multiples of the golden ratio fill a circle evenly, so the kept frames of an episode are spread evenly over time
for every share (gaps of at most three lengths), and a smaller share keeps a subset: a further corpus that lowers r
takes frames away and exchanges none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unihand_data.recipe.permutation import mix, unit

GOLDEN = (5**0.5 - 1) / 2
_SALT = np.uint64(0x66726D73)


@dataclass(frozen=True)
class Selection:
    """``rate_hz`` r (infinity where every frame is kept); ``share`` of the frames that it keeps by expectation;
    ``floor_share`` what the floor alone keeps; ``floor_wins`` where that is more than was wanted."""

    rate_hz: float
    floor_hz: float
    wanted: float | None
    share: float
    floor_share: float
    floor_wins: bool

    def kept(self, rate_hz: np.ndarray | float) -> np.ndarray:
        """Share of frames kept of a source of this rate, in 0 .. 1."""
        rate = np.asarray(rate_hz, np.float64)
        return np.minimum(1.0, max(self.floor_hz, self.rate_hz) / rate)


def solve(
    frames: Mapping[float, float], wanted: float | None, floor_hz: float, total: float | None = None
) -> Selection:
    """The rate for robot frames per source rate (Hz -> frames).

    Args:
        frames: that may be kept. total: what shares are of; None: these frames. More where idle ones are skipped.

    Exact: the kept number is piecewise linear in r with its knots at the source rates.
    """
    rates = np.array(sorted(frames), np.float64)
    counts = np.array([frames[r] for r in rates], np.float64)
    total = float(counts.sum()) if total is None else total
    most = float(counts.sum()) / total if total else 1.0
    if wanted is None or not counts.sum():
        return Selection(float("inf"), floor_hz, wanted, most, most, False)

    def share(r: float) -> float:
        return float((counts * np.minimum(1.0, r / rates)).sum() / total)

    floor_share = share(floor_hz)
    if floor_share >= wanted:
        return Selection(floor_hz, floor_hz, wanted, floor_share, floor_share, floor_share > wanted)
    if wanted >= most:
        return Selection(float("inf"), floor_hz, wanted, most, floor_share, False)
    knots = [float(r) for r in rates if share(r) < wanted]
    low = max(knots, default=0.0)  # between this knot and the next the kept number grows by `slope` per Hz
    slope = float((counts / rates)[rates > low].sum() / total)
    rate = low + (wanted - share(low)) / slope
    return Selection(rate, floor_hz, wanted, share(rate), floor_share, False)


def picked(episode: np.ndarray, frame: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Whether each start frame is kept.

    Args:
        episode: (N,) uint64, from the episode's id. frame: (N,) number from 0. share: (N,) kept share of its episode.
    """
    start = unit(mix(np.asarray(episode, np.uint64) ^ _SALT))
    return (start + np.asarray(frame, np.float64) * GOLDEN) % 1.0 < share


def taken(item: np.ndarray, fraction: np.ndarray | float) -> np.ndarray:
    """Hash sub-sampling of whole recordings or conversations: (N,) uint64 -> (N,) bool; a smaller fraction of the same
    source is a subset of a larger one."""
    return unit(mix(mix(np.asarray(item, np.uint64)))) < fraction
