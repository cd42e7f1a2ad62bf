"""``beingh05 train`` and ``beingh05 resume``."""

from __future__ import annotations

import argparse
from typing import Any

from beingh05_model.commands.overrides import add_config, overrides
from unihand_data.config import load_settings


def add(parsers: Any) -> None:
    for name, words in (("train", "from the start, or from `start` in the file"), ("resume", "from the newest state")):
        one = parsers.add_parser(name, help=f"CONFIG.yaml: {words}")
        add_config(one)
        one.add_argument("--preset", metavar="NAME", help="settings that the file is laid over (training/presets)")
        one.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from beingh05_model.training import budget, presets
    from beingh05_model.training.engine import process_group
    from beingh05_model.training.run import prepare
    from beingh05_model.training.settings import TrainSettings

    named = None if chosen.preset is None else presets.read(chosen.preset)
    settings = load_settings(TrainSettings, chosen.config, overrides(chosen.set, chosen.config, named))
    with process_group():
        from torch import distributed as dist

        from beingh05_model.training.loop import train

        if dist.get_rank() == 0:
            print("\n".join([budget.size(settings.model), *budget.lines(settings)]), flush=True)
        made = prepare(settings)
        done = train(settings, made.model, made.source, made.tokenizer, made.about, resume=chosen.command == "resume")
    print(f"done at step {done.step}: {settings.output}")
    return 0
