"""``beingh05``: train, resume, estimate.

    beingh05 train CONFIG.yaml [--set KEY=VALUE ...]     from the start (or from `start` in the file)
    beingh05 resume CONFIG.yaml                          from the newest checkpoint in its output
    beingh05 estimate PRESET [--views 3]                 parameters, memory, least time of a chunk per device

Under a launcher (``torchrun``, ``deepspeed``) every rank runs the same command. Exit codes: 0 done, 2 refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from unihand_data.config import SettingsError, load_settings
from unihand_data.errors import DatasetRefused
from unihand_data.shards.errors import ShardError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("beingh05", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "resume"):
        one = commands.add_parser(name)
        one.add_argument("config", type=Path)
        one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a.b.c=value, YAML")
    estimate = commands.add_parser("estimate")
    estimate.add_argument("preset")
    estimate.add_argument("--views", type=int, default=3)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "estimate":
            return _estimate(chosen.preset, chosen.views)
        return _train(chosen.config, chosen.set, resume=chosen.command == "resume")
    except (SettingsError, DatasetRefused, ShardError, FileNotFoundError, ValueError, KeyError) as error:
        print(f"refused: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2


def _overrides(pairs: list[str], path: Path) -> dict[str, Any]:
    """Top-level keys of the file with ``a.b.c=value`` put in."""
    data = yaml.safe_load(path.read_text()) or {}
    changed = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise SettingsError(f"--set {pair}: write KEY=VALUE")
        words = key.split(".")
        node = data
        for word in words[:-1]:
            node = node.setdefault(word, {})
        node[words[-1]] = yaml.safe_load(value)
        changed[words[0]] = data[words[0]]
    return changed


def _train(path: Path, pairs: list[str], resume: bool) -> int:
    from beingh05_model.training.engine import process_group
    from beingh05_model.training.run import prepare
    from beingh05_model.training.settings import TrainSettings

    settings = load_settings(TrainSettings, path, _overrides(pairs, path))
    with process_group():
        from beingh05_model.training.loop import train

        run = prepare(settings)
        done = train(settings, run.model, run.source, run.tokenizer, run.about, resume=resume)
    print(f"done at step {done.step}: {settings.output}")
    return 0


def _estimate(name: str, views: int) -> int:
    from beingh05_model.network.count import count
    from beingh05_model.network.presets import preset
    from beingh05_model.training import estimate

    config = preset(name)
    counted = count(config)
    print(f"{name}: {counted.total / 1e6:.1f} M parameters, {counted.active / 1e6:.1f} M active")
    for part, number in sorted(counted.parts.items(), key=lambda item: -item[1]):
        print(f"  {part:16s} {number / 1e6:10.2f} M")
    print("training, weights + gradients + Adam, GB per rank without activations:")
    for stage in (0, 1, 2, 3):
        each = [f"{estimate.training_bytes_per_rank(config, n, stage) / 1e9:.1f} on {n}" for n in (1, 8, 64)]
        print(f"  ZeRO {stage}: {', '.join(each)}")
    refinements = config.mpg.refinements if config.mpg else 0
    print(f"least ms of a chunk ({views} views, {config.flow.euler_steps} steps, {refinements} refinements):")
    for device, of in estimate.DEVICES.items():
        seconds = estimate.least_chunk_seconds(config, of, views, refinements=refinements)
        print(f"  {device:12s} {seconds * 1000:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
