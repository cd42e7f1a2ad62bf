"""Stages and what each asks of the machine, as ``--plan`` prints them."""

from __future__ import annotations

from collections.abc import Sequence

from unihand_data.runner.settings import RunnerSettings
from unihand_data.runner.stage import StageSpec

_FIELDS = ("num_cpus", "num_gpus", "memory_mb", "workers")


def stage_lines(runner: RunnerSettings, stages: Sequence[StageSpec]) -> list[str]:
    """A head and one line a stage, with the overrides of ``runner.stages``."""
    lines = [f"{'stage':<10}{'cpus':>6}{'gpus':>6}{'memory':>9}{'workers':>9}  kind"]
    for spec in stages:
        over = runner.stages.get(spec.name)
        value = {
            name: getattr(over, name) if over and getattr(over, name) is not None else getattr(spec, name)
            for name in _FIELDS
        }
        memory = f"{value['memory_mb']} MB" if value["memory_mb"] else "-"
        lines.append(
            f"{spec.name:<10}{value['num_cpus']:>6g}{value['num_gpus']:>6g}{memory:>9}{value['workers'] or 'scaled':>9}"
            f"  {'actor' if spec.actor else 'task'}"
        )
    gpus = {
        s.name: over.num_gpus if (over := runner.stages.get(s.name)) and over.num_gpus is not None else s.num_gpus
        for s in stages
    }
    if needed := [f"{name} {number:g}" for name, number in gpus.items() if number]:
        lines.append(
            f"GPUs for each worker: {', '.join(needed)}; on Ray a cluster without them is refused (waited for where "
            "runner.elastic is set)"
        )
    return lines
