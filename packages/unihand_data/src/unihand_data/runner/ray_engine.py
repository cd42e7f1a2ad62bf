"""The same stages as a Ray Data job.

Rows are one binary column: a pickled :class:`Parcel`, written and read inside this job only. Blocks hold one row, so
that a worker's death repeats one unit and a recording's clips spread over the cluster; the sink bundles them again.
Ray retries the task of a dead worker without limit; the journal sets the limit per unit.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from unihand_data.runner.guard import Guard
from unihand_data.runner.journal import Journal
from unihand_data.runner.parcel import Parcel
from unihand_data.runner.plan import Op
from unihand_data.runner.sink import PartSummary, PartWriter
from unihand_data.runner.submit import THREADS

log = logging.getLogger(__name__)

_SCHEMA = pa.schema([("data", pa.large_binary())])


@dataclass(frozen=True)
class Crew:
    """What every worker of an operator needs to know."""

    run_id: str
    index: int
    op: Op
    journal_dir: str
    kill_attempts: int
    restorable: tuple[str, ...]
    before_split: bool
    units_per_task: int

    def guard(self) -> Guard:
        return Guard(
            list(self.op.steps),
            Journal(self.journal_dir),
            kill_attempts=self.kill_attempts,
            restorable=self.restorable,
            before_split=self.before_split,
        )


def run_ray(
    parcels: Iterable[Parcel],
    ops: list[Op],
    writer: PartWriter,
    *,
    run_id: str,
    journal_dir: str,
    kill_attempts: int,
    restorable: tuple[str, ...],
    units_per_part: int,
    units_per_task: int,
    wave_units: int,
    on_wave: Callable[[int], None] = lambda n: None,
) -> Iterator[PartSummary]:
    """Run the operators on every parcel, a wave at a time, and yield a summary per part written.

    The driver holds one wave of listed parcels and the summaries, never a result.
    """
    split_at = next((i for i, op in enumerate(ops) if op.splits), -1)
    crews = [
        # One journal folder per operator: a unit that left one operator is a new case in the next.
        Crew(
            run_id,
            i,
            op,
            f"{journal_dir}/{i}",
            kill_attempts,
            restorable,
            before_split=i <= split_at,
            units_per_task=units_per_task,
        )
        for i, op in enumerate(ops)
    ]
    source = iter(parcels)
    while wave := list(islice(source, wave_units)):
        on_wave(len(wave))
        yield from _run_wave(wave, crews, writer, units_per_part)


def _run_wave(wave: list[Parcel], crews: list[Crew], writer: PartWriter, units_per_part: int) -> Iterator[PartSummary]:
    import ray

    with _data_context():
        data: Any = ray.data.from_arrow([_table(parcel) for parcel in wave])
        for crew in crews:
            data = _add_op(data, crew)
        data = data.map_batches(
            _write_batch,
            fn_kwargs={"writer": writer},
            batch_size=units_per_part,
            batch_format="pyarrow",
            zero_copy_batch=True,
            # It waits for a disk. Any share of a CPU is kept free for it, and of two CPUs the stages had one left.
            num_cpus=0,
            # Processes of its own. Being one more than there are CPUs, it would else take turns with the stages'
            # workers, and each process that gets a stage loads its models.
            runtime_env={"env_vars": {"UNIHAND_WORKER": "writer"}},
        )
        for batch in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for value in batch["data"]:
                yield pickle.loads(value.as_py())


def _add_op(data: Any, crew: Crew) -> Any:
    import ray

    op = crew.op
    args: dict[str, Any] = {"num_cpus": op.num_cpus, "num_gpus": op.num_gpus}
    # Different arguments keep Ray from fusing the operator after a split into the one before, where all clips of a
    # recording would run in one task. A byte of bookkeeping memory is such a difference.
    args["memory"] = (op.memory_mb << 20) + crew.index + 1
    common = {
        "batch_size": 1 if crew.before_split else crew.units_per_task,
        "batch_format": "pyarrow",
        "zero_copy_batch": True,
    }
    if op.pool:
        return data.map_batches(
            _ActorCrew,
            fn_constructor_kwargs={"crew": crew},
            compute=ray.data.ActorPoolStrategy(size=op.pool),
            **common,
            **args,
        )
    workers = op.steps[0].spec.workers
    compute = ray.data.TaskPoolStrategy(size=workers) if workers else None
    return data.map_batches(_task_crew, fn_kwargs={"crew": crew}, compute=compute, **common, **args)


_guards: dict[tuple[str, int], Guard] = {}


def _task_crew(batch: pa.Table, crew: Crew) -> Iterator[pa.Table]:
    """Task workers: stages marked ``actor`` live as long as the worker process, the others as long as the task."""
    _use_threads(crew.op.num_cpus)
    key = (crew.run_id, crew.index)
    if key not in _guards:
        for old in [k for k in _guards if k[0] != crew.run_id]:  # a process that served an earlier job
            _guards.pop(old).close()
        _guards[key] = crew.guard()
    guard = _guards[key]
    try:
        yield from _pass_through(guard, batch)
    finally:
        guard.close(keep_actors=True)


class _ActorCrew:
    """Actor workers: the stages live as long as the actor."""

    def __init__(self, crew: Crew):
        self.guard, self.num_cpus = crew.guard(), crew.op.num_cpus

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        _use_threads(self.num_cpus)
        yield from _pass_through(self.guard, batch)

    def __del__(self) -> None:
        self.guard.close()


def _use_threads(num_cpus: float) -> None:
    """As many threads per library as the operator has CPUs, in the helper processes its stages start from here on.

    The worker's own libraries read the same variables when they were imported, from :func:`submit.worker_env`.
    """
    for name in THREADS:
        os.environ[name] = str(max(1, int(num_cpus)))


def _pass_through(guard: Guard, batch: pa.Table) -> Iterator[pa.Table]:
    for value in batch["data"]:
        for parcel in guard(pickle.loads(value.as_py())):
            yield _table(parcel)


def _write_batch(batch: pa.Table, writer: PartWriter) -> pa.Table:
    summary = writer([pickle.loads(value.as_py()) for value in batch["data"]])
    return pa.table({"data": [pickle.dumps(summary)]}, schema=_SCHEMA)


def _table(value: Parcel) -> pa.Table:
    return pa.table({"data": [pickle.dumps(value, protocol=5)]}, schema=_SCHEMA)


def _let_tasks_wait(context: Any) -> None:
    """Hand Ray one more task per CPU than can run, so that a worker that finishes finds its next unit at once.

    The executor looks for finished tasks ten times a second and takes several looks from the end of one to the start
    of the next: without a waiting task a CPU idles for 0.2 to 0.5 s after each. Raylets still run no more than there
    are CPUs for; only the executor's own count is raised, for which there is no other handle than excluding less than
    nothing.
    """
    import warnings

    import ray
    from ray.data import ExecutionResources

    waiting = ray.cluster_resources().get("CPU", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, without a successor for this
        context.execution_options.exclude_resources = ExecutionResources(cpu=-waiting)


class _data_context:
    """Ray Data settings for the length of a wave; the caller's are put back."""

    def __enter__(self) -> None:
        from ray.data import DataContext

        self._before = DataContext.get_current()
        context = self._before.copy()
        context.target_max_block_size = 1  # bytes: every row becomes a block of its own
        context.execution_options.preserve_order = False
        context.enable_progress_bars = False
        context.enable_operator_progress_bars = False
        context.max_errored_blocks = 0  # an error that gets here is a bug of the runner; dropping blocks would hide it
        context.execution_no_progress_timeout_s = -1  # a single unit may take longer; stages have timeouts of their own
        _let_tasks_wait(context)
        DataContext._set_current(context)
        context.issue_detectors_config.detectors = []  # it takes the byte that keeps operators apart for a mistake
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        from ray.data import DataContext

        DataContext._set_current(self._before)
