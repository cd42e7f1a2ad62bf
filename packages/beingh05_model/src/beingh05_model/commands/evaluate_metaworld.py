"""``beingh05 eval metaworld``: closed loop on Meta-World, where the recorder's extra is installed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from beingh05_model.commands.evaluate_benchmarks import text
from beingh05_model.commands.evaluate_rows import common, write


def add(parsers: Any) -> None:
    from unihand_data.record.tasks import DEFAULT_TASKS

    one = parsers.add_parser("metaworld", help="success on Meta-World's tasks, stock or widened range")
    common(one)
    one.add_argument("--tasks", nargs="+", default=list(DEFAULT_TASKS), metavar="TASK")
    one.add_argument("--ranges", choices=("widened", "stock"), default="widened")
    one.add_argument("--rollouts", type=int, default=50, help="per task")
    one.add_argument("--size", type=int, default=224, help="pixels, as the demonstrations were recorded")
    one.add_argument("--execute", type=int, default=8, help="steps of a chunk that are executed")
    one.add_argument("--workers", type=int, default=1, help="processes; each takes tasks")
    one.add_argument(
        "--recording", type=Path, help="demonstrations, for the mean command and mean trajectory beside it"
    )
    one.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from beingh05_model.evaluation import metaworld as mw
    from beingh05_model.evaluation.rollout import summary

    trials = mw.episodes(chosen.tasks, chosen.ranges, chosen.rollouts)
    arguments = (str(chosen.checkpoint), chosen.size, chosen.blind, chosen.execute)
    found = {"policy": mw.spread(mw.policy, trials, chosen.workers, *arguments)}
    found["expert"] = mw.spread(mw.expert, trials, chosen.workers)
    if chosen.recording is not None:
        shown = mw.Demonstrations.read(chosen.recording)
        names = list(dict.fromkeys(t.task for t in trials))
        for kind, of in (("mean command", shown.mean_command), ("mean trajectory", shown.mean_trajectory)):
            found[kind] = mw.spread(mw.play, trials, chosen.workers, {n: of(n) for n in names})
    report = {
        "kind": "metaworld",
        "checkpoint": str(chosen.checkpoint),
        "ranges": chosen.ranges,
        "execute": chosen.execute,
        "size": chosen.size,
        "blind": chosen.blind,
        **{who: {**summary(outcomes), "categories": {}} for who, outcomes in found.items()},
        "rollouts": chosen.rollouts,
    }
    for who in found:
        print(f"{who}:\n{text(report[who])}")
    write(report, chosen.output)
    return 0
