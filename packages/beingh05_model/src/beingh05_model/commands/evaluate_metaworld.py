"""``beingh05 eval metaworld``: closed loop on Meta-World, where the recorder's extra is installed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from beingh05_model.commands.evaluate_benchmarks import text
from beingh05_model.commands.evaluate_rows import common, placed, write
from unihand_data.config import SettingsError


def add(parsers: Any) -> None:
    from unihand_data.record.tasks import DEFAULT_TASKS

    one = parsers.add_parser("metaworld", help="success on Meta-World's tasks, stock or widened range")
    common(one)
    one.add_argument("--tasks", nargs="+", default=list(DEFAULT_TASKS), metavar="TASK")
    one.add_argument("--ranges", choices=("widened", "stock"), default="widened")
    one.add_argument("--rollouts", type=int, default=50, help="per task")
    one.add_argument(
        "--size",
        type=int,
        help="pixels, as the demonstrations were recorded; default: the recording's, else the model's",
    )
    one.add_argument("--execute", type=int, default=8, help="steps of a chunk that are executed")
    one.add_argument("--workers", type=int, default=1, help="processes; each takes tasks")
    one.add_argument(
        "--recording", type=Path, help="demonstrations, for the mean command and mean trajectory beside it"
    )
    one.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Everything that is given is checked before the first rollout.

    Raises:
        SettingsError: an unknown task, no rollouts, no such device, or a recording of other tasks or another size.
    """
    from beingh05_model.evaluation import checkpoints
    from beingh05_model.evaluation import metaworld as mw
    from beingh05_model.evaluation.rollout import summary

    if chosen.rollouts < 1:
        raise SettingsError(f"--rollouts {chosen.rollouts}: at least 1 is needed")
    trials = mw.episodes(mw.check_tasks(chosen.tasks), chosen.ranges, chosen.rollouts)
    size: int | None = chosen.size
    if chosen.recording is not None:
        size = mw.pixels(chosen.recording) if size is None else size
        mw.check_recording(chosen.recording, list(dict.fromkeys(t.task for t in trials)), size)
    placement = placed(chosen)
    loaded = checkpoints.load(chosen.checkpoint, blind=chosen.blind)
    size = loaded.policy.model.config.vision.image_size if size is None else size
    about = loaded.about
    del loaded  # each process reads its own
    arguments = (str(chosen.checkpoint), size, chosen.blind, chosen.execute, placement)
    found = {"policy": mw.spread(mw.policy, trials, chosen.workers, *arguments)}
    found["expert"] = mw.spread(mw.expert, trials, chosen.workers)
    if chosen.recording is not None:
        shown = mw.Demonstrations.read(chosen.recording)
        names = list(dict.fromkeys(t.task for t in trials))
        for kind, of in (("mean command", shown.mean_command), ("mean trajectory", shown.mean_trajectory)):
            found[kind] = mw.spread(mw.play, trials, chosen.workers, {n: of(n) for n in names})
    report = {
        "kind": "metaworld",
        "checkpoint": about,
        "runs_on": placement.about(),
        "ranges": chosen.ranges,
        "execute": chosen.execute,
        "size": size,
        "blind": chosen.blind,
        **{who: {**summary(outcomes), "categories": {}} for who, outcomes in found.items()},
        "rollouts": chosen.rollouts,
    }
    for who in found:
        print(f"{who}:\n{text(report[who])}")
    write(report, chosen.output)
    return 0
