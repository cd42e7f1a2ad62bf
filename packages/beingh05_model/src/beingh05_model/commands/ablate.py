"""``beingh05 ablate``: the paper's ablations at a size that a CPU can train (docs/ablations.md)."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from beingh05_model.commands.overrides import add_set, pair, put_in

STUDIES = {
    "freeze": "Tables 6 and 7: frozen parts x start, few demonstrations",
    "layers": "Figures 11 and 12: frozen action layers x start x dense or MoF",
    "mof": "dense against Mixture of Flow with equal active parameters",
    "mask": "Table 8: with and without masked motion tokens, MWDS",
}


def add(parsers: Any) -> None:
    one = parsers.add_parser("ablate", help="freeze | layers | mof | mask: the paper's ablations, tiny")
    kinds = one.add_subparsers(dest="study", required=True)
    for name, words in STUDIES.items():
        _options(kinds.add_parser(name, help=words, description=words), name)


def _options(one: argparse.ArgumentParser, study: str) -> None:
    one.set_defaults(run=run)
    one.add_argument("--output", type=Path, default=Path("ablations_out"), help="shared by the studies")
    one.add_argument("--plan", action="store_true", help="print arms and hours, run nothing")
    for name, words in (
        ("--steps", "of each arm"),
        ("--pretrain-steps", "of each pre-training"),
        ("--seeds", "how many, from 0"),
    ):
        one.add_argument(name, type=int, help=words)
    one.add_argument("--workers", type=int, default=1, help="arms at a time")
    add_set(one, "of experiments/train_demo.yaml, for every arm")
    one.add_argument("--only", nargs="+", default=[], metavar="LABEL=VALUE", help="arms of the table with these labels")
    people = one.add_argument_group("people and vision-text")
    people.add_argument("--human", type=Path, nargs="+", default=[], metavar="DIR", help="shard directories")
    people.add_argument("--clips", type=int, help="rendered clips of each family to train on")
    people.add_argument("--text-rows", type=int, help="generated rows of each vision-text corpus")
    people.add_argument("--pipelines", type=Path, default=Path("pipelines"))
    if study == "mask":
        people.add_argument("--judged", type=int, help="rendered clips of each family that are judged and train no arm")
        people.add_argument("--token-steps", type=int, help="training steps of the motion tokenizers")
        return
    robots = one.add_argument_group("robots")
    robots.add_argument("--recording", type=Path, metavar="DIR", help="of the recorder, 112 pixels; made if not given")
    robots.add_argument("--tasks", nargs="+", help="Meta-World tasks, widened range")
    robots.add_argument("--demonstrations", type=int, help="of each task, trained on")
    robots.add_argument("--rollouts", type=int, help="of each task, arm and seed")
    if study == "freeze":
        one.add_argument("--single", action="store_true", help="a model for each task (Table 6)")


def run(chosen: argparse.Namespace) -> int:
    from beingh05_model.experiments import ablate
    from beingh05_model.experiments.ablation_data import Sources
    from beingh05_model.experiments.arms import Choice

    given = {name: value for name, value in vars(chosen).items() if value is not None}
    picked = {name: given[name] for name in Choice.model_fields if name in given and name not in ("tasks", "only")}
    choice = Choice.model_validate(
        {
            **picked,
            **ablate.tasks(given.get("tasks")),
            "changes": put_in({}, chosen.set),
            "only": dict(pair("--only", one) for one in chosen.only),
        }
    )
    if chosen.plan:
        print(ablate.planned(choice, chosen.output, chosen.workers))
        return 0
    plain = {**given, "human": [str(directory) for directory in chosen.human], "pipelines": str(chosen.pipelines)}
    if "recording" in given:
        plain["recording"] = str(given["recording"])
    sources = Sources.model_validate({name: plain[name] for name in Sources.model_fields if name in plain})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no arm outlives the study
    places = ablate.prepared(choice, sources, chosen.output)
    report = ablate.Study(choice, places, chosen.output, workers=chosen.workers).run()
    print(f"{report.text()}\n\nfor docs:\n\n{report.markdown()}")
    return 0
