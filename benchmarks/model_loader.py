"""Samples a second from shards to packed rows, by the number of workers, against what a GPU's training takes.

    python benchmarks/model_loader.py [--recipe DIR] [--edge 224] [--views 2] [--workers 0 1 2] [--rows 40]

Without ``--recipe`` made-up robot episodes (two cameras, 224 px, H.264) go through the robot job into a temporary
directory. ``one by one`` reads positions one at a time, as a loader without batched requests would. The need is
that of `being-h0.5-2b` on one H200 at 45 % of its peak. ``--quick`` only shows that everything runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from beingh05_model.network.presets import preset, tiny
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.sequence.serialise import Serialiser
from beingh05_model.training import estimate
from beingh05_model.training.loader import loader
from beingh05_model.training.settings import TrainSettings
from beingh05_model.training.source import Source
from made_up import machine

PIPELINES = Path(__file__).parents[1] / "pipelines"
MFU, WORDS, TOKENS = 0.45, 60, 7680


def made_recipe(folder: Path, episodes: int) -> Path:
    """Generated robot episodes as shards and a recipe."""
    from unihand_data.sources.robot.generate.catalogue import generate

    generate("metaworld_experts", folder / "raw", seed=0, episodes=episodes)
    changes = ["--set", "caps.simulated=null", "--set", "robot_frame_share=null"]
    for script, given in (
        ("robot_manipulation.py", ["--input", folder / "raw", "--output", folder / "shards", "--engine", "local"]),
        ("build_recipe.py", ["--input", folder / "shards", "--output", folder / "recipe", *changes]),
    ):
        command = [sys.executable, str(PIPELINES / script), *map(str, given)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "recipe"


def prepared(recipe: Path, edge: int, views: int, workers: int, tokens: int = TOKENS) -> tuple[Source, TrainSettings]:
    words = tk.small(["open the drawer"])
    config = tiny(vocab=512, image_size=edge)
    settings = TrainSettings.model_validate(
        {
            "model": config,
            "data": {"recipe": str(recipe), "views": views, "workers": workers, "cached_episodes": 512},
            "output": "none",
            "steps": 1,
            "packing": {"rows": 1, "lanes": max(1, workers), "tokens": tokens, "held": 4},
        }
    )
    serialiser = Serialiser(words, config.flow, config.vision.tokens)
    return Source(settings.data, serialiser, edge, seed=0), settings


def rate(recipe: Path, edge: int, views: int, workers: int, rows: int, tokens: int = TOKENS) -> float:
    """Samples a second after the first row of every worker."""
    source, settings = prepared(recipe, edge, views, workers, tokens)
    found = loader(source, settings, {}, 0)
    list(islice(found, max(1, workers) * (1 + settings.data.ahead)))
    begun = time.perf_counter()
    samples = sum(row.samples for row in islice(found, rows))
    return samples / (time.perf_counter() - begun)


def one_by_one(recipe: Path, edge: int, views: int, samples: int) -> float:
    source, _ = prepared(recipe, edge, views, 0)
    source.example(0)
    begun = time.perf_counter()
    for position in range(1, samples + 1):
        source.example(position)
    return samples / (time.perf_counter() - begun)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--edge", type=int, default=224)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--samples", type=int, default=64, help="read one by one")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of a row")
    parser.add_argument("--quick", action="store_true", help="2 episodes, one row of 1,024 tokens, no worker")
    chosen = parser.parse_args(argv)
    if chosen.quick:
        chosen.episodes, chosen.workers, chosen.rows, chosen.samples, chosen.tokens = 2, [0], 1, 4, 1024
    print(machine())
    need = estimate.DEVICES["H200"].tflops * 1e12 * MFU
    need /= estimate.training_flops_per_sample(preset("being-h0.5-2b"), chosen.views, WORDS)
    with tempfile.TemporaryDirectory() as folder:
        recipe = chosen.recipe or made_recipe(Path(folder), chosen.episodes)
        single = one_by_one(recipe, chosen.edge, chosen.views, chosen.samples)
        print(f"one by one     {single:7.1f} samples/s")
        for workers in chosen.workers:
            found = rate(recipe, chosen.edge, chosen.views, workers, chosen.rows, chosen.tokens)
            each = found / max(1, workers)
            print(f"{workers} workers      {found:7.1f} samples/s, {found / single:.2f} x one by one; "
                  f"a GPU that takes {need:.0f} samples/s needs {need / each:.1f} such workers")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
