"""``--plan``: what a job would do, need and cost, before anything runs."""

from __future__ import annotations

import math
import os

from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.language.cost import estimate_durations
from unihand_data.runner.stage import StageSpec
from unihand_data.sources.recording import HumanSource


def plan_lines(settings: HumanVideoSettings, source: HumanSource, stages: list[StageSpec]) -> list[str]:
    """The plan as lines of text. Durations come from the headers of the videos that lie at hand; what cannot be read
    is counted and said."""
    from unihand_data.errors import Reject
    from unihand_data.video.probe import probe

    items = size = unread = 0
    durations: list[float] = []
    for item in source.items():
        items += 1
        path = item.uri
        if not os.path.isfile(path):
            unread += 1
            continue
        size += os.path.getsize(path)
        try:
            pts = probe(path).pts
            durations.append(float(pts[-1] - pts[0]) * len(pts) / (len(pts) - 1) if len(pts) > 1 else 0.0)
        except Reject:
            unread += 1
    lines = [
        f"{items} input items, {size / 1e9:.3g} GB, {sum(durations) / 3600:.4g} h of video"
        + (f" ({unread} not measured: remote, in an archive or unreadable)" if unread else ""),
        "",
        f"{'stage':<10}{'cpus':>6}{'gpus':>6}{'memory':>9}{'workers':>9}  kind",
    ]
    for spec in stages:
        over = settings.runner.stages.get(spec.name)
        value = {
            name: getattr(over, name) if over and getattr(over, name) is not None else getattr(spec, name)
            for name in ("num_cpus", "num_gpus", "memory_mb", "workers")
        }
        memory = f"{value['memory_mb']} MB" if value["memory_mb"] else "-"
        lines.append(
            f"{spec.name:<10}{value['num_cpus']:>6g}{value['num_gpus']:>6g}{memory:>9}{value['workers'] or 'scaled':>9}"
            f"  {'actor' if spec.actor else 'task'}"
        )
    lines.append("")
    if settings.language.backend == "none":
        lines.append("language: narrations of the data set, else the motion describer; no calls, no cost")
    else:
        cut = settings.video.segment
        pieces: list[float] = []  # equal ones, as :func:`plan_clips` cuts where nothing else does
        for duration in durations:
            number = math.ceil(duration / cut.max_seconds) if duration >= cut.min_seconds else 0
            pieces += [duration / number] * number if number else []
        lines.append(f"language: {estimate_durations(pieces, settings.language).sentence()}")
    return lines


def print_plan(settings: HumanVideoSettings, source: HumanSource, stages: list[StageSpec]) -> None:
    print("\n".join(plan_lines(settings, source, stages)))
