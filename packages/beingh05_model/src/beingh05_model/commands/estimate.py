"""``beingh05 estimate``: parameters, memory, least time of a chunk per device; the cost of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from beingh05_model.commands.overrides import overrides
from unihand_data.config import SettingsError, load_settings

#: a row where no run says what it holds: tokens, and views and words of a sample (paper 7.2.1)
ROW = (7680, 2, 95)


def add(parsers: Any) -> None:
    one = parsers.add_parser("estimate", help="MODEL or TRAIN.yaml: parameters, memory, least time of a chunk, cost")
    one.add_argument("what", nargs="?", metavar="MODEL | TRAIN.yaml", help="a network preset or a run's settings file")
    one.add_argument("--preset", metavar="NAME", help="a training preset, alone or under TRAIN.yaml")
    one.add_argument("--views", type=int, default=3)
    one.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from beingh05_model.network.presets import preset
    from beingh05_model.training import budget, presets
    from beingh05_model.training.settings import TrainSettings

    file = None if chosen.what is None or not chosen.what.endswith((".yaml", ".yml")) else Path(chosen.what)
    if chosen.what is None and chosen.preset is None:
        raise SettingsError("estimate: name a network preset, a settings file or --preset NAME")
    if file is None and chosen.preset is None:
        _model(chosen.what, preset(chosen.what), chosen.views, ROW)
        return 0
    if file is None:
        if chosen.what is not None:
            raise SettingsError(f"estimate: --preset goes alone or with a settings file, and {chosen.what} is none")
        settings = presets.alone(chosen.preset)
    else:
        named = None if chosen.preset is None else presets.read(chosen.preset)
        settings = load_settings(TrainSettings, file, overrides([], file, named))
    assumed = settings.budget
    row = (settings.packing.tokens, *((assumed.views, assumed.words) if assumed else ROW[1:]))
    _model(str(file or chosen.preset), settings.model, chosen.views, row)
    lines = budget.lines(settings)
    print("\n".join(lines or ["no cost: the settings have no `budget` (device, mfu, views, words)"]))
    return 0


def _model(name: str, config: Any, views: int, row: tuple[float, float, float]) -> None:
    from beingh05_model.network.count import count
    from beingh05_model.training import budget, estimate

    counted = count(config)
    print(f"{name}: {budget.size(config)}")
    for part, number in sorted(counted.parts.items(), key=lambda item: -item[1]):
        print(f"  {part:16s} {number / 1e6:10.2f} M")
    print("training, weights + gradients + Adam, GB per rank without activations:")
    for stage in (0, 1, 2, 3):
        each = [f"{estimate.training_bytes_per_rank(config, n, stage) / 1e9:.1f} on {n}" for n in (1, 8, 64)]
        print(f"  ZeRO {stage}: {', '.join(each)}")
    kept = [estimate.activation_bytes(config, estimate.Row.of(config, *row), again) / 1e9 for again in (False, True)]
    print(
        f"and activations of a row of {row[0]:g} tokens (samples of {row[1]:g} views and {row[2]:g} words, attention "
        f"{config.attention}): {kept[0]:.1f} GB, {kept[1]:.1f} GB with recomputation"
    )
    refinements = config.mpg.refinements if config.mpg else 0
    print(f"least ms of a chunk ({views} views, {config.flow.euler_steps} steps, {refinements} refinements):")
    for device, of in estimate.DEVICES.items():
        seconds = estimate.least_chunk_seconds(config, of, views, refinements=refinements)
        print(f"  {device:12s} {seconds * 1000:8.1f}")
