"""What of an input a job still has to do, read from the ledger without writing anything: for ``--plan``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from unihand_data.runner import paths
from unihand_data.runner.codec import unpack
from unihand_data.runner.ledger import Ledger, other_hashes
from unihand_data.runner.stage import Unit


@dataclass
class Left:
    """A listed unit that is not done.

    Attributes:
        children: what is left of it where an earlier run split it already, None where it is to be split.
    """

    unit: Unit
    children: list[Unit] | None = None


class Remaining:
    """Walks the listed units of an output directory and counts them.

    Attributes:
        listed, done, begun: units met so far; ``begun`` ones are split and partly done.
        other: content hash of another ledger in the directory, where there is none of these settings: a run would be
            refused, or with ``new_version`` do everything.
    """

    def __init__(self, output: str, content_hash: str, *, wave_units: int = 5000):
        self.ledger = Ledger(output, content_hash)
        self.wave_units = wave_units
        self.listed = self.done = self.begun = 0
        self._known = paths.exists(self.ledger.root)
        self.other = "" if self._known else next(iter(other_hashes(output, content_hash)), "")

    def walk(self, units: Iterable[Unit]) -> Iterator[Left]:
        """The units that are left, in their order; memory is bounded by ``wave_units``."""
        source = iter(units)
        while wave := list(islice(source, self.wave_units)):
            self.listed += len(wave)
            if not self._known:
                yield from (Left(unit) for unit in wave)
                continue
            found = self.ledger.lookup([unit.id for unit in wave], merged_only=False)
            for unit in wave:
                if unit.id in found.complete:
                    self.done += 1
                elif unit.id in found.missing:
                    self.begun += 1
                    yield Left(unit, [unpack(body) for body in found.missing[unit.id]])
                else:
                    yield Left(unit)
