"""Intervals that stand behind every figure of this room.

Steps of one episode are not independent, so what counts is the number n of episodes:

- n < 3: no interval; its ends are None, never a made-up width.
- 3 <= n < 10: Student's t with n - 1 degrees of freedom. A bootstrap of few episodes is too narrow, and its ends are
  the smallest and the largest of them. t takes episodes to be about normal, which so few cannot show.
- n >= 10: percentile bootstrap of whole episodes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

#: resamples of a bootstrap: the ends of a 95 % interval then move by about 1 % of its width from seed to seed
RESAMPLES = 2000
#: episodes below which there is no interval, and from which on they are resampled
LEAST, RESAMPLED = 3, 10


@dataclass(frozen=True)
class Interval:
    """``value`` with an interval of the given ``level``. ``n`` counts what is independent (trials, episodes)."""

    value: float
    low: float | None
    high: float | None
    n: int
    level: float = 0.95

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """``12.3 [10.1, 14.5]``, each number times ``scale``."""
        ends = "no interval" if self.low is None or self.high is None else None
        ends = ends or f"{self.low * scale:.{digits}f}, {self.high * scale:.{digits}f}"  # type: ignore[operator]
        return f"{self.value * scale:.{digits}f} [{ends}]"


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927), without continuity correction.

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials: at least one trial, at most as many successes")
    found = stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high), trials, level)


def by_episode(
    values: Sequence[float] | np.ndarray,
    episodes: Sequence[Hashable],
    *,
    weights: Sequence[float] | np.ndarray | None = None,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean of ``values`` [N] with the interval that the number of its episodes allows (see the module).

    Args:
        episodes: [N], the episode each value belongs to.
        weights: [N], cells a value stands for (a sum over them is then ``value * weight``); 1 where None.

    Raises:
        ValueError: nothing to average, or lists of different length.
    """
    sums, counts = _totals(np.asarray(values, float), episodes, weights)
    return _ratio(sums, counts, seed, level, resamples)


def paired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    episodes: Sequence[Hashable],
    *,
    weights: Sequence[float] | np.ndarray | None = None,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean of ``first - second`` [N], two judgements of the same samples, with :func:`by_episode`'s interval.

    What both find hard drops out, so this is narrower than the two intervals beside each other suggest.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape:
        raise ValueError(f"a paired difference needs the same samples: {a.shape} and {b.shape} values")
    return by_episode(a - b, episodes, weights=weights, seed=seed, level=level, resamples=resamples)


def _totals(
    values: np.ndarray, episodes: Sequence[Hashable], weights: Sequence[float] | np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sum and weight of each episode, in order of first appearance."""
    w = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    if values.ndim != 1 or len(values) != len(episodes) or len(w) != len(values):
        raise ValueError(f"{values.shape} values, {len(episodes)} episodes and {len(w)} weights do not belong together")
    numbers: dict[Hashable, int] = {}
    at = np.array([numbers.setdefault(e, len(numbers)) for e in episodes], np.intp)
    used = w > 0
    if not used.any():
        raise ValueError("there is nothing to average")
    sums = np.bincount(at[used], values[used] * w[used], len(numbers))
    counts = np.bincount(at[used], w[used], len(numbers))
    return sums[counts > 0], counts[counts > 0]


def _ratio(sums: np.ndarray, counts: np.ndarray, seed: int, level: float, resamples: int) -> Interval:
    value, n = float(sums.sum() / counts.sum()), len(sums)
    if n < LEAST:
        return Interval(value, None, None, n, level)
    if n < RESAMPLED:
        # standard error of a ratio of means (Cochran, Sampling Techniques, 1977, ch. 6); equal weights: of a mean
        rest = (sums - value * counts) / counts.mean()
        half = float(stats.t.ppf(0.5 + level / 2, n - 1) * rest.std(ddof=1) / np.sqrt(n))
        return Interval(value, value - half, value + half, n, level)
    found = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        n_resamples=resamples,
        batch=max(1, 1_000_000 // n),  # bounds the memory of millions of episodes
        vectorized=True,
        paired=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    low, high = found.low, found.high
    return Interval(value, float(low), float(high), n, level)
