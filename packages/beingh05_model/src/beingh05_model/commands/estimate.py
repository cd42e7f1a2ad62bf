"""``beingh05 estimate``: parameters, memory, least time of a chunk per device."""

from __future__ import annotations

import argparse
from typing import Any


def add(parsers: Any) -> None:
    one = parsers.add_parser("estimate", help="PRESET: parameters, memory, least time of a chunk per device")
    one.add_argument("preset")
    one.add_argument("--views", type=int, default=3)
    one.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    name, views = chosen.preset, chosen.views
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
