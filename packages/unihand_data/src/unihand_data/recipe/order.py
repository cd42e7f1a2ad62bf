"""The training order: position in the run -> stratum and sample, without a list of either.

Draws come in cycles of ``cycle`` positions. In each cycle stratum s has exactly ``draws[s]`` of them (its share, by
largest remainder), spread evenly and shuffled: its j-th draw lies at a random point of the j-th of ``draws[s]`` equal
pieces of the cycle, and all points are sorted. So a window of any length holds each stratum in proportion (bounded, see
``tests/unihand_data/recipe``), no batch position ever sees one stratum only, and counting how often a stratum was
drawn before a position is arithmetic: cycles times draws plus its rank in this cycle.

The n-th draw of a stratum of N samples is sample ``permutation(epoch n // N)[n % N]``: within a pass each sample comes
once. The permutation depends on the seed, the stratum's name and its size alone, so another corpus beside it does not
reshuffle it.

The state of a run is one number, the position of the whole job. Rank r of W takes positions ``p + r``, ``p + r + W``,
...; a run that goes on with another W continues the same order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unihand_data.recipe.permutation import key_of, mix, permute, unit

CYCLE = 1 << 16
CYCLES_KEPT = 4


@dataclass(frozen=True)
class Part:
    """What the order knows of a stratum: its name, how many samples it has, and its share of the draws."""

    name: str
    samples: int
    share: float


@dataclass(frozen=True)
class Draws:
    """Of each position asked for: stratum number, sample within it, and which pass over the stratum this is."""

    stratum: np.ndarray  # (P,) int32
    sample: np.ndarray  # (P,) int64
    epoch: np.ndarray  # (P,) int64


def draws_per_cycle(shares: Sequence[float], cycle: int) -> np.ndarray:
    """(S,) int64 that sum to ``cycle``: largest remainder, and at least one for a share above zero.

    Raises:
        ValueError: no share is positive, one is negative or not finite, or there are more strata than draws.
    """
    share = np.asarray(shares, np.float64)
    if not np.isfinite(share).all() or (share < 0).any() or not share.sum() > 0:
        raise ValueError("shares must be finite, not negative, and not all zero")
    if np.count_nonzero(share) > cycle:
        raise ValueError(f"{np.count_nonzero(share)} strata do not fit a cycle of {cycle} draws; raise `cycle`")
    quota = share / share.sum() * cycle
    draws = np.where(share > 0, np.maximum(np.floor(quota), 1), 0).astype(np.int64)
    for at in np.argsort(draws - quota, kind="stable")[: max(0, cycle - int(draws.sum()))]:
        draws[at] += 1
    for _ in range(int(draws.sum()) - cycle):  # the smallest were raised to one; who has most above its quota pays
        draws[np.argmax(np.where(draws > 1, draws - quota, -np.inf))] -= 1
    return draws


class Order:
    """See the module.

    Args:
        parts: the strata; one without samples must have share zero.
        seed: of the recipe. cycle: draws after which proportions are exact.

    Raises:
        ValueError: a positive share of a stratum without samples, a repeated name, or shares that cannot be.
    """

    def __init__(self, parts: Sequence[Part], seed: int, cycle: int = CYCLE):
        self.parts = tuple(parts)
        self.cycle = cycle
        if len({p.name for p in parts}) < len(self.parts):
            raise ValueError("two strata have the same name")
        empty = [p.name for p in parts if p.share > 0 and p.samples < 1]
        if empty:
            raise ValueError(f"stratum {empty[0]} has no sample and a share above zero")
        self.draws = draws_per_cycle([p.share for p in parts], cycle)
        self._samples = np.array([max(p.samples, 1) for p in parts], np.int64)
        self._keys = np.array([key_of("order", seed, p.name) for p in parts], np.uint64)
        stratum = np.repeat(np.arange(len(parts)), self.draws)
        rank = np.arange(cycle) - np.repeat(np.cumsum(self.draws) - self.draws, self.draws)
        self._stratum, self._rank = stratum.astype(np.int32), rank.astype(np.int64)
        self._cycles: OrderedDict[int, np.ndarray] = OrderedDict()

    @property
    def shares(self) -> np.ndarray:
        """(S,) what each stratum really gets: whole draws of a cycle."""
        return self.draws / self.cycle

    def at(self, positions: np.ndarray | Sequence[int]) -> Draws:
        """What is drawn at these positions (0 is the run's first sample), in any order and as often as wanted."""
        positions = np.asarray(positions, np.int64).reshape(-1)
        if len(positions) and positions.min() < 0:
            raise IndexError("positions start at 0")
        number, inside = positions // self.cycle, positions % self.cycle
        slot = np.empty(len(positions), np.int64)
        for q in np.unique(number):
            here = number == q
            slot[here] = self._sorted(int(q))[inside[here]]
        stratum = self._stratum[slot]
        drawn = number * self.draws[stratum] + self._rank[slot]
        samples = self._samples[stratum]
        epoch = drawn // samples
        keys = mix(self._keys[stratum] + mix(epoch.astype(np.uint64)))
        return Draws(stratum, permute(drawn % samples, samples, keys), epoch)

    def shard(self, rank: int, world: int, position: int = 0, batch: int = 1) -> Iterator[np.ndarray]:
        """Endless batches of this rank's positions, from the job's position on. After each batch of every rank the
        job's position has grown by ``world * batch``."""
        if not 0 <= rank < world or batch < 1 or position < 0:
            raise ValueError("0 <= rank < world, batch >= 1 and position >= 0 are needed")
        while True:
            yield position + rank + world * np.arange(batch)
            position += world * batch

    def _sorted(self, number: int) -> np.ndarray:
        """(cycle,) which of the cycle's draws stands where: an argsort of jittered points."""
        if number in self._cycles:
            self._cycles.move_to_end(number)
            return self._cycles[number]
        key = mix(self._keys ^ mix(np.array([number], np.uint64) + np.uint64(1)))
        jitter = unit(mix(key[self._stratum] + mix(self._rank.astype(np.uint64))))
        found = np.argsort((self._rank + jitter) / self.draws[self._stratum], kind="stable").astype(np.int32)
        self._cycles[number] = found
        if len(self._cycles) > CYCLES_KEPT:
            self._cycles.popitem(last=False)
        return found
