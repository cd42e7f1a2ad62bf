"""From stage specs to the operators of a Ray Data job: what is fused, and what each reserves.

Stages with the same demands and no pool of their own share one operator: a unit then passes through them in one task,
every core does whatever is next, and nothing is copied between them. That is as good as a job on CPUs can be. A stage
gets an operator of its own when it asks for a GPU or a fixed number of workers, or where demands differ; the
splitting stage ends its operator so that its children are scheduled one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from unihand_data.config import SettingsError
from unihand_data.runner.guard import Step
from unihand_data.runner.settings import RunnerSettings, StageSettings
from unihand_data.runner.stage import StageSpec


@dataclass(frozen=True)
class Op:
    """One operator. ``pool`` is the fixed number of its actors, or None for tasks."""

    steps: tuple[Step, ...]
    num_cpus: float
    num_gpus: float
    memory_mb: int
    pool: int | None

    @property
    def name(self) -> str:
        return "+".join(step.spec.name for step in self.steps)

    @property
    def splits(self) -> bool:
        return self.steps[-1].spec.splits


def steps_of(stages: list[StageSpec], settings: RunnerSettings) -> list[Step]:
    """The stages with the settings' overrides.

    Raises:
        ValueError: no stage, two stages of one name, two that split.
        SettingsError: settings for a stage that does not exist.
    """
    if not stages:
        raise ValueError("a job needs at least one stage")
    names = [s.name for s in stages]
    if len(set(names)) != len(names):
        raise ValueError(f"stage names must differ: {names}")
    if sum(s.splits for s in stages) > 1:
        raise ValueError("at most one stage of a job may split")
    unknown = sorted(set(settings.stages) - set(names))
    if unknown:
        raise SettingsError(f"runner.stages: {unknown} are no stages; this job has {names}")
    return [_step(s, settings.stages.get(s.name, StageSettings())) for s in stages]


def _step(spec: StageSpec, over: StageSettings) -> Step:
    changed = {
        name: getattr(over, name)
        for name in ("num_cpus", "num_gpus", "memory_mb", "workers", "attempts")
        if getattr(over, name) is not None
    }
    spec = replace(spec, **changed)
    return Step(spec, spec.attempts, over.timeout_s)


def plan_ops(steps: list[Step], cluster_cpus: float) -> list[Op]:
    """Group the steps and fit their reservations to the cluster.

    Fixed pools hold their CPUs for the whole job. Where they would leave less than half of the cluster (one CPU in
    two) to the tasks, their CPU reservation, which is bookkeeping only, is scaled down; GPUs and memory never are.

    Raises:
        SettingsError: a stage asks for more CPUs than the cluster has on the whole (it would wait for ever).
    """
    groups: list[list[Step]] = []
    for step in steps:
        if groups and _fits(groups[-1][-1], step):
            groups[-1].append(step)
        else:
            groups.append([step])
    ops = []
    for group in groups:
        spec = group[0].spec
        pool = spec.workers if _own_pool(spec) else None
        if _own_pool(spec) and pool is None:
            pool = 1
        memory = max(s.spec.memory_mb for s in group)
        ops.append(Op(tuple(group), spec.num_cpus, spec.num_gpus, memory, pool))
    for op in ops:
        if op.pool is None and op.num_cpus > cluster_cpus:
            raise SettingsError(
                f"{op.name} asks for {op.num_cpus} CPUs and the cluster has {cluster_cpus}; "
                "lower num_cpus of these stages in the runner settings"
            )
    reserved = sum(op.pool * op.num_cpus for op in ops if op.pool)
    allowed = cluster_cpus / 2
    if reserved > allowed:
        factor = allowed / reserved
        ops = [replace(op, num_cpus=int(op.num_cpus * factor * 1000) / 1000) if op.pool else op for op in ops]
        tasks = [op for op in ops if op.pool is None]
        left = cluster_cpus - sum(op.pool * op.num_cpus for op in ops if op.pool)
        if any(op.num_cpus > left for op in tasks):
            ops = [replace(op, num_cpus=left) if op.pool is None and op.num_cpus > left else op for op in ops]
    return ops


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster offers in all, whether taken or free."""

    num_cpus: float
    num_gpus: float
    memory_mb: float


def need_room(ops: list[Op], nodes: list[Node]) -> None:
    """Refuse what would wait for ever on a cluster that does not grow: a worker that no machine has room for, or fixed
    pools that hold more GPUs or memory than there is (their CPUs were scaled down by :func:`plan_ops`).

    Raises:
        SettingsError: naming the stage, what it asks for and what there is.
    """
    mend = "lower it in runner.stages, use another cluster, or set runner.elastic where the cluster grows on demand"
    for op in ops:
        fits = [n for n in nodes if op.num_gpus <= n.num_gpus and op.memory_mb <= n.memory_mb]
        if not any(op.num_cpus <= n.num_cpus for n in fits):
            asked = f"{op.num_gpus:g} GPUs, {op.num_cpus:g} CPUs and {op.memory_mb} MB"
            largest = "; ".join(f"{n.num_gpus:g} GPUs, {n.num_cpus:g} CPUs, {n.memory_mb:.0f} MB" for n in nodes[:3])
            raise SettingsError(
                f"{op.name} asks for {asked} for one worker and no machine here has that ({largest}); {mend}"
            )
    pools = [op for op in ops if op.pool]
    for what, unit, field in (("num_gpus", "GPUs", "num_gpus"), ("memory_mb", "MB", "memory_mb")):
        held = sum((op.pool or 0) * getattr(op, field) for op in pools)
        there = sum(getattr(node, field) for node in nodes)
        if held > there:
            names = ", ".join(f"{op.name} {op.pool} x {getattr(op, field):g}" for op in pools if getattr(op, field))
            raise SettingsError(
                f"{what}: the fixed workers hold {held:g} {unit} ({names}) and the cluster has {there:g}; {mend}"
            )


def _own_pool(spec: StageSpec) -> bool:
    return spec.actor and (spec.workers is not None or spec.num_gpus > 0)


def _fits(last: Step, step: Step) -> bool:
    a, b = last.spec, step.spec
    apart = a.splits or _own_pool(a) or _own_pool(b) or a.workers != b.workers
    return not apart and (a.num_cpus, a.num_gpus) == (b.num_cpus, b.num_gpus)
