"""``beingh05 eval open-loop | mwds``: a checkpoint on recorded rows that it was not trained on."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beingh05_model.commands.overrides import add_config, overrides
from unihand_data.config import load_settings

if TYPE_CHECKING:
    from beingh05_model.evaluation.placement import Placement


def common(parser: argparse.ArgumentParser) -> None:
    """What every kind of evaluation takes."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="a directory of ours or of the release")
    parser.add_argument("--output", type=Path, help="write the report here as JSON")
    parser.add_argument("--blind", action="store_true", help="give the policy no picture")
    parser.add_argument("--device", help="cpu, cuda or cuda:N; default: cuda where there is one, else cpu")
    parser.add_argument("--dtype", help="float32 or bfloat16; default: bfloat16 on a GPU, float32 on a CPU")
    parser.add_argument(
        "--static",
        metavar="MODE",
        help="static shapes: eager, compiled, graphed or compiled+graphed (docs/evaluation.md)",
    )


def placed(chosen: argparse.Namespace) -> Placement:
    """Where the checkpoint will run; told on the screen before it is read.

    Raises:
        SettingsError: no such device, dtype or mode.
    """
    from beingh05_model.evaluation.placement import Placement

    found = Placement.choose(chosen.device, chosen.dtype, chosen.static)
    print("runs on " + ", ".join(found.about().values()), file=sys.stderr)
    return found


def write(report: dict[str, Any], output: Path | None) -> None:
    """The report as JSON, whole or not at all."""
    if output is not None:
        from beingh05_model.training.checkpoint import write_text

        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, json.dumps(report, indent=1) + "\n")
        print(f"report: {output}")


def add(parsers: Any) -> None:
    for name, words in (
        ("open-loop", "errors of chunks by slot group, in mm, degrees, rad"),
        ("mwds", "Mean Wrist Displacement Similarity on held-out human rows, lab and wild"),
    ):
        one = parsers.add_parser(name, help=f"CONFIG.yaml: {words}")
        add_config(one)
        common(one)
        one.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from beingh05_model.evaluation import checkpoints, mwds, open_loop

    changed = overrides(chosen.set, chosen.config)
    placement = placed(chosen)
    loaded = checkpoints.load(chosen.checkpoint, blind=chosen.blind, placement=placement)
    if chosen.kind == "mwds":
        asked = load_settings(mwds.MwdsSettings, chosen.config, changed)
        report = mwds.mwds(loaded.policy, loaded.chunk, loaded.views, asked, _progress)
        text = mwds.table(report)
    else:
        settings = load_settings(open_loop.OpenLoopSettings, chosen.config, changed)
        report = open_loop.open_loop(loaded.policy, loaded.chunk, loaded.views, settings, _progress)
        text = open_loop.table(report)
    print(text)
    write({**report, "checkpoint": loaded.about, "runs_on": placement.about()}, chosen.output)
    return 0


def _progress(judged: int) -> None:
    print(f"{judged} starts", file=sys.stderr)
