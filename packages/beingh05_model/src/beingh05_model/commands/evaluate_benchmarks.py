"""``beingh05 eval libero | robocasa``: closed loop in simulators that are installed beside this package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from beingh05_model.commands.evaluate_rows import common, placed, write
from beingh05_model.commands.overrides import put_in
from unihand_data.config import SettingsError


def add(parsers: Any) -> None:
    for name, presets in (("libero", ("release", "openpi")), ("robocasa", ("paper", "release"))):
        one = parsers.add_parser(name, help=f"success in {name}, where it is installed")
        common(one)
        one.add_argument("--preset", choices=presets, default=presets[0])
        one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the protocol, YAML")
        one.add_argument("--together", type=int, default=8, help="episodes that share a forward pass")
        one.add_argument("--seed", type=int, default=0, help="of the policy's noise")
        one.add_argument("--ledger", type=Path, help="outcomes as they come; the same command goes on from it")
        one.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from beingh05_model.evaluation.protocols import libero, robocasa

    kind: Any = {"libero": libero, "robocasa": robocasa}[chosen.kind]
    protocol_of: Any = libero.LiberoProtocol if chosen.kind == "libero" else robocasa.RobocasaProtocol
    preset = kind.PRESETS[chosen.preset]
    try:
        protocol = protocol_of.model_validate({**preset, **put_in(dict(preset), chosen.set)})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"--set: {wrong}") from error
    kind.check_installed()
    placement = placed(chosen)

    from beingh05_model.evaluation import checkpoints
    from beingh05_model.evaluation.ledger import Ledger
    from beingh05_model.evaluation.rollout import Rollout, by_group, summary

    loaded = checkpoints.load(chosen.checkpoint, blind=chosen.blind, placement=placement)
    if loaded.about["kind"] == "released" and not protocol.embodiment.endswith("_release"):
        raise SettingsError(
            f"{chosen.checkpoint} acts in the release's raw units: add --set embodiment={protocol.embodiment}_release"
        )
    about = {
        "kind": chosen.kind,
        "protocol": protocol.model_dump(mode="json"),
        "checkpoint": loaded.about,
        "seed": chosen.seed,
        "dtype": placement.dtype,
        "denoiser": placement.denoiser,
    }
    episodes = protocol.episodes()
    ledger = None if chosen.ledger is None else Ledger(chosen.ledger, about)
    waiting = episodes if ledger is None else ledger.left(episodes)
    print(f"{len(waiting)} of {len(episodes)} episodes to run", file=sys.stderr)

    def told(outcome: Any) -> None:
        if ledger is not None:
            ledger.add(outcome)
        print(f"{outcome.task} trial {outcome.trial}: {outcome.success} after {outcome.steps} steps", file=sys.stderr)

    rollout = Rollout(loaded.policy, protocol.execute, chosen.together, seed=chosen.seed, told=told)
    found = rollout.run(waiting, protocol.make)
    outcomes = found if ledger is None else ledger.of(episodes)
    report = {**about, "runs_on": placement.about(), **summary(outcomes)}
    report["categories"] = by_group(outcomes, kind.category)
    print(text(report))
    write(report, chosen.output)
    return 0


def text(report: dict[str, Any]) -> str:
    """Success by task, by suite or category, and pooled, in percent with intervals."""
    from beingh05_model.evaluation.intervals import Interval

    rates = {**report["tasks"], **report["categories"], "pooled": report["pooled"]}
    lines = [f"{name:28s} {Interval(**r).text(100)} ({r['n']} episodes)" for name, r in rates.items()]
    return "\n".join([*lines, f"{'mean of tasks':28s} {report['mean_of_tasks'] * 100:.1f}"])
