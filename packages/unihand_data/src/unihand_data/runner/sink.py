"""The end of a job: a batch of parcels becomes one staging part, and then one ledger part."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from unihand_data.runner import metrics
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.parcel import Parcel
from unihand_data.runner.stage import Unit
from unihand_data.shards.rows import RejectRow


@dataclass(frozen=True)
class SinkSpec:
    """Where a job's units go.

    Attributes:
        write_part: ``write_part(units, losses)`` writes one complete staging part, atomically and named by its content
            (``unihand_data.shards.staging.write_part`` does both): it runs in a worker and is called again with the
            same units when that worker is killed before the ledger part is written. Either list may be empty.
        measure: figures of a finished unit for the metrics and the result: ``frames``, ``bytes``, whatever else is
            summed. What a stage notes in ``Unit.measures`` (``tokens_<kind>``, ``cost_usd_<backend>``) is added, also
            of units that did not make it.
    """

    write_part: Callable[[list[Unit], list[RejectRow]], object]
    measure: Callable[[Unit], dict[str, float]] | None = None


@dataclass
class PartSummary:
    """What one part held; small, and all that the driver sees of it."""

    part: str
    status: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    measures: Counter[str] = field(default_factory=Counter)
    children: int = 0  # units that splits of this part added to the work

    @staticmethod
    def of(part: str, parcels: list[Parcel]) -> PartSummary:
        out = PartSummary(part)
        out.status.update(p.status for p in parcels)
        out.children = sum(max(0, len(p.children or ()) - len(p.done_children)) for p in parcels)
        out.reasons.update(row.reason for p in parcels for row in p.losses)
        for parcel in parcels:
            out.measures.update(parcel.measures)
        return out


class PartWriter:
    """Writes parts in a worker: staging first, ledger second."""

    def __init__(self, spec: SinkSpec, ledger: Ledger, generation: int):
        self.spec, self.ledger, self.generation = spec, ledger, generation

    def __call__(self, parcels: list[Parcel]) -> PartSummary:
        started = time.perf_counter()
        part = self.ledger.part_name(self.generation, [p.key for p in parcels])
        ordered = sorted(parcels, key=lambda p: (p.key, not p.units, p.uri))
        # Two items of the same content have children of the same id; a part holds each once, as the ledger counts it.
        firsts = list({parcel.key: parcel for parcel in reversed(ordered)}.values())[::-1]
        units = [unit for parcel in firsts for unit in parcel.units]
        losses = [row for parcel in firsts for row in parcel.losses]
        if units or losses:
            self.spec.write_part(units, losses)
        self.ledger.write_part(part, ordered)
        summary = PartSummary.of(part, ordered)
        if self.spec.measure is not None:
            for unit in units:
                summary.measures.update(self.spec.measure(unit))
        self._record(summary, time.perf_counter() - started)
        return summary

    def _record(self, summary: PartSummary, seconds: float) -> None:
        metrics.count("unihand_parts_total")
        metrics.observe("unihand_part_seconds", seconds)
        for status, number in summary.status.items():
            metrics.count("unihand_units_total", number, status=status)
        metrics.count("unihand_frames_total", summary.measures["frames"])
        metrics.count("unihand_bytes_total", summary.measures["bytes"])
        for name, value in summary.measures.items():
            if name.startswith("tokens_"):
                metrics.count("unihand_tokens_total", value, kind=name.removeprefix("tokens_"))
            elif name.startswith("cost_usd_"):
                metrics.count("unihand_cost_usd_total", value, backend=name.removeprefix("cost_usd_"))
