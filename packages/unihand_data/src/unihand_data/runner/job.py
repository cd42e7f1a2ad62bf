"""Run a job: listed units through stages into staging parts and the ledger, locally or on Ray, always resumable."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice

from unihand_data.errors import DatasetRefused, Reason
from unihand_data.runner import metrics, paths
from unihand_data.runner.guard import Step
from unihand_data.runner.journal import Journal
from unihand_data.runner.ledger import Ledger, other_hashes
from unihand_data.runner.local import run_local
from unihand_data.runner.parcel import FAILED, REJECTED, SPLIT, Parcel
from unihand_data.runner.plan import need_room, plan_ops, steps_of
from unihand_data.runner.progress import progress
from unihand_data.runner.settings import RunnerSettings
from unihand_data.runner.sink import PartSummary, PartWriter, SinkSpec
from unihand_data.runner.stage import StageSpec, Unit

log = logging.getLogger(__name__)

EXIT_OK, EXIT_REFUSED, EXIT_REJECT_SHARE = 0, 2, 3


@dataclass
class JobResult:
    """What this run did. The state of the whole directory is in :class:`Ledger`.

    Attributes:
        status: units that reached the ledger in this run, by status.
        reasons: reject rows of this run by reason.
        measures: what ``SinkSpec.measure`` and ``Unit.measures`` summed up to.
        listed, skipped: input items listed, and those of them that needed nothing more.
        fed, children: units handed to the engine, and those that splits added.
        exit_code: 0; 2 when a fault of the machine stopped the job; 3 when more than ``max_reject_share`` was rejected
            or failed.
    """

    name: str
    run_id: str
    content_hash: str
    engine: str
    listed: int = 0
    skipped: int = 0
    fed: int = 0
    children: int = 0
    parts: int = 0
    status: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    measures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    exit_code: int = EXIT_OK
    message: str = ""

    @property
    def finished(self) -> int:
        """Units that reached an end in this run."""
        return sum(n for s, n in self.status.items() if s != SPLIT)

    @property
    def reject_share(self) -> float:
        """Rejected and failed over finished; verdicts of filters are no failures."""
        return (self.status[REJECTED] + self.status[FAILED]) / self.finished if self.finished else 0.0


def run_job(
    *,
    name: str,
    units: Iterable[Unit],
    stages: list[StageSpec],
    sink: SinkSpec,
    output: str,
    settings: RunnerSettings,
    content_hash: str,
    run_id: str | None = None,
    restorable: tuple[str, ...] = (),
) -> JobResult:
    """Take every listed unit through the stages and record how it ended.

    Units that the ledger of ``output`` and ``content_hash`` holds are skipped, so a second run adds nothing and a
    killed one goes on where it stopped. A unit is done when its staging part and then its ledger part are written.

    Args:
        units: listed lazily, in any order; ids must be the same in every run.
        stages: at most one has ``splits``.
        output: shard directory; staging is the sink's business, the ledger lies in ``_job``.
        restorable: module prefixes, besides ``unihand_data``, whose dataclasses may lie in the bodies of split units.

    Raises:
        DatasetRefused: the directory belongs to other content settings.
        RuntimeError: another job is writing to the directory.
        ValueError: a relative output inside a Ray job, or settings that do not fit the stages.
    """
    output = paths.job_path(output, "output")
    steps = steps_of(stages, settings)
    result = JobResult(name, run_id or uuid.uuid4().hex[:12], content_hash, settings.engine)
    started = time.monotonic()
    with _sigterm_as_interrupt(), paths.output_lock(output):
        ledger = _open_ledger(output, content_hash, settings)
        writer = PartWriter(sink, ledger, ledger.generation())
        try:
            with progress(name, settings.progress) as shown:
                feed = _feed(units, ledger, result, settings.wave_units)
                for summary in _engine(feed, steps, writer, result, settings, restorable, shown.list_more):
                    _add(result, summary)
                    shown.add(summary.status)
                    if _too_many(result, settings, settings.min_units_for_share) or result.reasons[Reason.ENVIRONMENT]:
                        break
            log.info("%s", shown.line())
        finally:
            ledger.compact()
            result.seconds = time.monotonic() - started
    if number := result.reasons[Reason.ENVIRONMENT]:
        result.exit_code = EXIT_REFUSED
        result.message = (
            f"stopped by a fault of this machine, not of the input ({number} units met it); mend it and run the same "
            "command again to go on"
        )
    elif _too_many(result, settings, 1):
        result.exit_code = EXIT_REJECT_SHARE
        reasons = ", ".join(f"{n} {r}" for r, n in result.reasons.most_common(3))
        result.message = (
            f"{result.reject_share:.0%} of {result.finished} units were rejected or failed ({reasons}), more than "
            f"max_reject_share = {settings.max_reject_share:.0%}; staging and ledger are kept: look at the rejects, "
            "then mend the input and retry, or raise the share and run again to go on"
        )
    return result


def _open_ledger(output: str, content_hash: str, settings: RunnerSettings) -> Ledger:
    others = other_hashes(output, content_hash)
    ledger = Ledger(output, content_hash)
    if others and not settings.new_version and not paths.exists(ledger.root):
        raise DatasetRefused(
            f"{output} holds a run with other content settings ({others[0]}, now {content_hash[:32]}): "
            "choose another output, or pass --new-version to write a new version into it"
        )
    ledger.compact()
    ledger.forget_deferred()
    return ledger


def _feed(units: Iterable[Unit], ledger: Ledger, result: JobResult, wave: int) -> Iterator[Parcel]:
    """Parcels of what is left to do, by waves of listed units."""
    source = iter(units)
    while listed := list(islice(source, wave)):
        found = ledger.lookup([u.id for u in listed])
        result.listed += len(listed)
        metrics.count("unihand_items_listed_total", len(listed))
        seen: set[str] = set()
        for unit in listed:
            if unit.id in seen:
                raise ValueError(f"two listed units have the id {unit.id} (one is {unit.uri}); ids must be unique")
            seen.add(unit.id)
            if unit.id in found.complete:
                result.skipped += 1
                metrics.count("unihand_items_skipped_total")
            elif unit.id in found.missing:
                for body in found.missing[unit.id]:
                    result.fed += 1
                    yield _restored(unit, body)
            else:
                result.fed += 1
                yield Parcel.of(unit, found.done_children.get(unit.id))


def _restored(unit: Unit, body: bytes) -> Parcel:
    child_id, uri = _head(body)
    return Parcel(child_id, unit.id, unit.item, uri or unit.uri, packed=body)


def _head(body: bytes) -> tuple[str, str]:
    """Id and uri of a packed unit, without building its body."""
    import msgpack

    fields = msgpack.unpackb(body, raw=False, strict_map_key=False)["v"]
    return fields["id"], fields["uri"]


def _engine(
    feed: Iterable[Parcel],
    steps: list[Step],
    writer: PartWriter,
    result: JobResult,
    settings: RunnerSettings,
    restorable: tuple[str, ...],
    on_wave: Callable[[int], None],
) -> Iterator[PartSummary]:
    folder = _journal_dir(writer.ledger, settings)
    if settings.engine == "local":
        if settings.metrics_port is not None:
            metrics.serve(settings.metrics_port)
        journal = Journal(os.path.join(folder, "local"))
        yield from run_local(
            feed, steps, writer, units_per_part=settings.units_per_part, journal=journal, restorable=restorable
        )
        return
    first = next(source := iter(feed), None)
    if first is None:
        return  # nothing left to do: no reason to start a Ray
    feed = chain([first], source)
    from unihand_data.runner import ray_engine, submit

    with submit.connected(settings):
        import ray

        cpus = float("inf") if settings.elastic else ray.cluster_resources().get("CPU", 0.0)
        ops = plan_ops(steps, cpus)
        if not settings.elastic:
            need_room(ops, submit.nodes())
        mine = os.path.join(folder, result.run_id)
        try:
            yield from ray_engine.run_ray(
                feed,
                ops,
                writer,
                run_id=result.run_id,
                journal_dir=mine,
                kill_attempts=settings.kill_attempts,
                restorable=restorable,
                units_per_part=settings.units_per_part,
                units_per_task=settings.units_per_task,
                wave_units=settings.wave_units,
                on_wave=on_wave,
            )
        finally:
            shutil.rmtree(mine, ignore_errors=True)  # notes of this run only; a killed driver leaves them, harmless


def _journal_dir(ledger: Ledger, settings: RunnerSettings) -> str:
    if settings.journal_dir:
        return settings.journal_dir
    if paths.is_remote(ledger.output):  # per machine then: a unit is given up after kill_attempts on one of them
        return os.path.join(tempfile.gettempdir(), "unihand_attempts", ledger.content_hash[:32])
    return os.path.join(os.path.dirname(ledger.root), "attempts")


def _add(result: JobResult, summary: PartSummary) -> None:
    result.parts += 1
    result.status.update(summary.status)
    result.reasons.update(summary.reasons)
    result.measures.update(summary.measures)
    result.children += summary.children
    metrics.set_value("unihand_reject_share", result.reject_share)
    metrics.set_value("unihand_queue_units", max(0, result.fed + result.children - result.status.total()))


def _too_many(result: JobResult, settings: RunnerSettings, at_least: int) -> bool:
    """Judged early from ``min_units_for_share`` units on, and at the end however few there were."""
    limit = settings.max_reject_share
    return limit is not None and result.finished >= at_least and result.reject_share > limit


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A polite end (Kubernetes, Slurm, ``ray job stop``) unwinds like Ctrl-C; what is in the ledger stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt("terminated")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
