"""``beingh05 tokens``: train the motion tokenizers on a recipe's human shards."""

from __future__ import annotations

import argparse
from typing import Any

from beingh05_model.commands.overrides import add_config, overrides
from unihand_data.config import load_settings


def add(parsers: Any) -> None:
    one = parsers.add_parser("tokens", help="CONFIG.yaml: train the motion tokenizers on a recipe's human shards")
    add_config(one)
    one.add_argument("--resume", action="store_true", help="go on from the state in its output")
    one.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from beingh05_model.motion_tokens.settings import TokenTrainSettings
    from beingh05_model.motion_tokens.train import train

    settings = load_settings(TokenTrainSettings, chosen.config, overrides(chosen.set, chosen.config))
    figures = train(settings, resume=chosen.resume)
    print("on hands that were not trained on:")
    for name, value in figures.items():
        print(f"  {name:28s} {value:10.4g}")
    s = settings.tokenizer
    sizes = f"{{codebook: {s.codebook}, tokens: {s.tokens}}}"
    print(f"written; train with motion_tokenizer: {settings.output} and model.motion_tokens: {sizes}")
    return 0
