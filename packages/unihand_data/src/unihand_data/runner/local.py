"""The plain loop: one process, no Ray. For tests, small inputs and as the peer that the Ray job is measured against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from unihand_data.errors import Reason
from unihand_data.runner.guard import Guard, Step
from unihand_data.runner.journal import Journal
from unihand_data.runner.parcel import Parcel
from unihand_data.runner.sink import PartSummary, PartWriter


def run_local(
    parcels: Iterable[Parcel],
    steps: list[Step],
    writer: PartWriter,
    *,
    units_per_part: int,
    journal: Journal | None,
    restorable: tuple[str, ...],
) -> Iterator[PartSummary]:
    """Run the steps on every parcel and yield a summary per part written.

    A crash ends this process, so it is counted across runs by the journal; a SIGKILL leaves no trace and counts never
    (a person who stops a job must not turn good files into rejects). Timeouts need a worker that can be ended and
    apply under Ray only.
    """
    guards = _guards(steps, journal, restorable)
    batch: list[Parcel] = []
    try:
        for parcel in parcels:
            for done in _through(guards, parcel):
                batch.append(done)
                if len(batch) >= units_per_part or done.ended == Reason.ENVIRONMENT:  # the job stops at once
                    yield writer(batch)
                    batch = []
        if batch:
            yield writer(batch)
    finally:
        for guard in guards:
            guard.close()


def _guards(steps: list[Step], journal: Journal | None, restorable: tuple[str, ...]) -> list[Guard]:
    cut = next((i + 1 for i, s in enumerate(steps) if s.spec.splits), len(steps))
    return [
        Guard(
            group,
            journal,
            kill_attempts=None,
            restorable=restorable,
            hard_timeouts=False,
            before_split=group[-1].spec.splits,
        )
        for group in (steps[:cut], steps[cut:])
        if group
    ]


def _through(guards: list[Guard], parcel: Parcel) -> Iterator[Parcel]:
    if not guards:
        yield parcel
        return
    for between in guards[0](parcel):
        yield from _through(guards[1:], between)
