"""Calls stages on parcels so that nothing a stage does ends the job: rejects, bugs, crashes, hangs.

=====================  =============================================================================
a stage ...            becomes
=====================  =============================================================================
raises ``Reject``      a reject row at once (``crashed``, of a helper process: another attempt first)
raises a machine fault ``environment`` (full disk, missing weights): left for a later run, and the job stops
raises anything else   another attempt, then a reject ``internal`` with type, place and message
returns nothing        a reject ``empty``: no unit vanishes
segfaults              (Ray) another worker and attempt, then a reject ``crashed`` with the place
is killed              (Ray) another worker, up to ``kill_attempts`` times, then ``crashed``
overstays its timeout  (Ray) the worker is ended; another attempt, then ``timeout`` with the place
=====================  =============================================================================
"""

from __future__ import annotations

import logging
import os
import socket
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from unihand_data.errors import Reason, Reject
from unihand_data.runner import metrics
from unihand_data.runner.codec import pack, unpack
from unihand_data.runner.environment import fault_of
from unihand_data.runner.journal import Journal
from unihand_data.runner.parcel import Parcel
from unihand_data.runner.stage import Stage, StageSpec, Unit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """A stage as it is to be run: its spec with the settings' overrides applied."""

    spec: StageSpec
    attempts: int
    timeout_s: float | None = None


class Guard:
    """Runs a row of steps on parcels, one after the other, in this process.

    Args:
        steps: consecutive steps; at most one splits, and then it is the last.
        journal: where attempts are noted, or None (the plain loop of a benchmark).
        kill_attempts: silent deaths after which a unit is given up; None never gives up because of them.
        restorable: module prefixes whose dataclasses may be restored from the ledger.
        hard_timeouts: end the process when a step overstays its timeout (a worker is replaced, a driver is not).
        before_split: these steps see listed units only; children restored from the ledger pass by.
    """

    def __init__(
        self,
        steps: list[Step],
        journal: Journal | None,
        *,
        kill_attempts: int | None,
        restorable: tuple[str, ...] = (),
        hard_timeouts: bool = True,
        before_split: bool = False,
    ):
        self.steps = steps
        self.journal = journal
        self.kill_attempts = kill_attempts
        self.restorable = restorable
        self.hard_timeouts = hard_timeouts
        self.before_split = before_split
        self._stages: dict[str, Stage] = {}

    def __call__(self, parcel: Parcel) -> Iterator[Parcel]:
        """The parcel after the steps; the splitting step yields one per child, and last the record of the split."""
        if not parcel.open:
            yield parcel
            return
        if parcel.is_child and self.before_split:
            yield parcel  # restored from the ledger: it was split by an earlier run
            return
        if self.journal is None:
            yield from self._run(parcel)
            return
        if self._given_up(parcel):
            self.journal.forget(parcel.key)
            yield parcel
            return
        with self.journal.working_on(parcel.key):
            out = list(self._run(parcel))
        yield from out

    def close(self, *, keep_actors: bool = False) -> None:
        """Close the stages built so far (with ``keep_actors``, those that are not kept per worker)."""
        kept = {step.spec.name for step in self.steps if step.spec.actor} if keep_actors else set()
        for name in [n for n in self._stages if n not in kept]:
            self._stages.pop(name).close()

    def _given_up(self, parcel: Parcel) -> bool:
        assert self.journal is not None
        deaths = self.journal.deaths(parcel.key)
        if not deaths.stage:
            return False
        attempts = next((s.attempts for s in self.steps if s.spec.name == deaths.stage), 1)
        where = f" at {deaths.place}" if deaths.place else ""
        total = deaths.silent + deaths.faults + deaths.timeouts
        if deaths.timeouts >= attempts:
            text = f"{deaths.stage} did not answer in time{where}; raise its timeout_s or take the file out"
            parcel.end(Reject(Reason.TIMEOUT, f"{parcel.uri}: {text}", level=parcel.level), deaths.stage, total)
        elif deaths.faults + deaths.timeouts >= attempts:
            text = f"{deaths.stage} crashed its worker {deaths.faults} times{where}; report the file to its library"
            parcel.end(Reject(Reason.CRASHED, f"{parcel.uri}: {text}", level=parcel.level), deaths.stage, total)
        elif self.kill_attempts is not None and deaths.silent >= self.kill_attempts:
            text = (
                f"{deaths.stage} lost its worker {deaths.silent} times, most likely for want of memory; raise memory_mb"
            )
            parcel.end(Reject(Reason.CRASHED, f"{parcel.uri}: {text}", level=parcel.level), deaths.stage, total)
        else:
            return False
        metrics.count("unihand_rejects_total", stage=deaths.stage, reason=str(parcel.ended))
        return True

    def _run(self, parcel: Parcel) -> Iterator[Parcel]:
        if parcel.packed:
            parcel.units, parcel.packed = [unpack(parcel.packed, allow=self.restorable)], b""
        for step in self.steps:
            if step.spec.splits:
                yield from self._split(step, parcel)
                return
            units: list[Unit] = []
            for unit in parcel.units:
                units.extend(self._call(step, unit, parcel))
                if not parcel.open:
                    yield parcel
                    return
            if not units:
                _end_by_last_loss(parcel, step)
                break
            parcel.units = units
        yield parcel

    def _split(self, step: Step, parcel: Parcel) -> Iterator[Parcel]:
        children = [child for unit in parcel.units for child in self._call(step, unit, parcel)]
        if not parcel.open:
            yield parcel
            return
        if not children:
            _end_by_last_loss(parcel, step)
            yield parcel
            return
        done = set(parcel.done_children)
        record: dict[str, bytes] = {}
        for child in children:
            if child.id in record or child.id == parcel.key:
                twin = Reject(Reason.DUPLICATE, f"{child.uri}: id {child.id} came twice out of one item", level="clip")
                parcel.lose(twin, step.spec.name, 1, child.uri)
                continue
            record[child.id] = pack(child)
            if child.id not in done:
                yield Parcel(child.id, parcel.key, parcel.item, child.uri or parcel.uri, [child])
        parcel.units, parcel.children = [], list(record.items())
        yield parcel

    def _call(self, step: Step, unit: Unit, parcel: Parcel) -> list[Unit]:
        """One stage on one unit; what it lost goes to the parcel."""
        name = step.spec.name
        for attempt in range(1, step.attempts + 1):
            started = time.perf_counter()
            unit.rejects = []
            try:
                with _stage_scope(self.journal, name, step.timeout_s if self.hard_timeouts else None):
                    units = self._stage(step.spec)(unit)
                _check_result(units, name)
            except Reject as reject:
                if reject.reason == Reason.CRASHED and attempt < step.attempts:
                    # A helper process of the stage died. The unit may only have been at work when the kernel, short of
                    # memory, or a person ended it, so it is no verdict yet.
                    log.warning("%s: %s (attempt %d of %d)", name, reject.message, attempt, step.attempts)
                    continue
                self._lost(parcel, reject, name, attempt, unit)
                return []
            except Exception as error:
                self._drop_stage(name)  # its state is unknown now; the next attempt builds it anew
                if (fault := fault_of(error)) is not None:
                    log.warning("%s on %s: %s", name, unit.uri, fault)
                    parcel.end(_environment(fault, unit, name, parcel), name, attempt, unit.uri)
                    return []
                log.warning("%s failed on %s (attempt %d of %d)", name, unit.uri, attempt, step.attempts, exc_info=True)
                if attempt == step.attempts:
                    self._lost(parcel, _internal(error, unit, parcel), name, attempt, unit)
                    return []
            else:
                metrics.observe("unihand_stage_seconds", time.perf_counter() - started, stage=name)
                metrics.count("unihand_stage_units_total", len(units), stage=name)
                for holder in [unit, *units]:
                    for loss in holder.rejects:
                        self._lost(parcel, loss, name, attempt, holder)
                    holder.rejects = []
                    _take_measures(holder, parcel)
                return units
            finally:
                _take_measures(unit, parcel)
                metrics.count("unihand_stage_calls_total", stage=name)
        raise AssertionError("unreachable: attempts is at least 1")

    def _lost(self, parcel: Parcel, reject: Reject, stage: str, attempt: int, unit: Unit) -> None:
        parcel.lose(reject, stage, attempt, unit.uri, unit.item)
        metrics.count("unihand_rejects_total", stage=stage, reason=str(reject.reason))

    def _stage(self, spec: StageSpec) -> Stage:
        if spec.name not in self._stages:
            self._stages[spec.name] = spec.build()
        return self._stages[spec.name]

    def _drop_stage(self, name: str) -> None:
        stage = self._stages.pop(name, None)
        if stage is None:
            return
        try:
            stage.close()
        except Exception:
            log.warning("closing %s after an error failed too", name, exc_info=True)


def _stage_scope(journal: Journal | None, name: str, timeout_s: float | None):
    from contextlib import nullcontext

    return nullcontext() if journal is None else journal.at_stage(name, timeout_s)


def _check_result(units: list[Unit], stage: str) -> None:
    if not isinstance(units, list) or not all(isinstance(u, Unit) for u in units):
        raise TypeError(f"stage {stage} must return a list of units, not {type(units).__name__}")


def _take_measures(unit: Unit, parcel: Parcel) -> None:
    parcel.measures.update(unit.measures)
    unit.measures = {}


def _end_by_last_loss(parcel: Parcel, step: Step) -> None:
    """No unit is left: the last loss says why; without one the stage forgot to say."""
    if parcel.losses:
        parcel.units, parcel.ended = [], Reason(parcel.losses[-1].reason)
        return
    text = f"{parcel.uri}: {step.spec.name} returned nothing and gave no reason; it should raise Reject"
    parcel.end(Reject(Reason.EMPTY, text, level=parcel.level), step.spec.name, 1)


def _environment(fault: str, unit: Unit, stage: str, parcel: Parcel) -> Reject:
    text = f"{unit.uri}: {stage} cannot work on {socket.gethostname()}: {fault}"
    return Reject(Reason.ENVIRONMENT, text[:2000], level=parcel.level)


def _internal(error: Exception, unit: Unit, parcel: Parcel) -> Reject:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f"{os.path.basename(last.filename)}:{last.lineno} in {last.name}" if last else "an unknown place"
    said = [line.strip() for line in str(error).splitlines() if line.strip()]  # of a helper's traceback the last line
    text = f"{unit.uri}: {type(error).__name__} at {place}: {said[-1] if said else 'no message'}"
    return Reject(Reason.INTERNAL, text[:2000], level=parcel.level)
