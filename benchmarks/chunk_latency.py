"""Processor milliseconds per chunk on a CPU: cached, everything again at every step, and as released; same weights.

    python benchmarks/chunk_latency.py [--sizes tiny medium] [--steps 4 10] [--refinements 0 1] [--views 3]

- cached: pictures and words once, then the action expert's suffix at every step (``Denoiser``); static: the same with
  padded shapes and buffers (``StaticDenoiser``, eager).
- uncached: both experts run over the whole sequence at every step; pictures are encoded once.
- released: what the published code does: uncached, state before the words, causal steps, a gate of 32 random
  directions with the round trip through its projections (refinement only). Its 32 directions are one product here and
  a Python loop there, so its figure is a lower bound. "+ pictures" encodes the pictures again at every step too, which
  the published code does not.

``medium`` has the widths of ``internvl3.5-1b`` (heads, experts, 224-pixel tower), 2 layers of each kind and a small
vocabulary. Median of ``--repeats``, or of as many as fit into four seconds. Random weights: time does not depend on
them. Prints a table and one JSON line per case.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import torch

from beingh05_model.inference.compiled import StaticDenoiser
from beingh05_model.inference.denoise import Denoiser
from beingh05_model.network.config import ModelConfig, MpgConfig, ReleaseCompat
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import internvl35, tiny
from made_up import machine, median_ms, question

WORDS, SECONDS = 60, 4.0


def config_of(size: str) -> ModelConfig:
    if size == "tiny":
        return tiny(mpg=MpgConfig())
    whole = internvl35("1b", vocab=512, mpg=MpgConfig())
    backbone = whole.backbone.model_copy(update={"layers": 2})
    vision = whole.vision.model_copy(update={"layers": 2})
    return whole.model_copy(update={"backbone": backbone, "vision": vision})


def models(size: str) -> tuple[BeingH, BeingH]:
    """The same weights as the paper and as the release run them."""
    torch.manual_seed(0)
    config = config_of(size)
    ours = BeingH(config).eval()
    theirs = BeingH(config.model_copy(update={"compat": ReleaseCompat.released()})).eval()
    theirs.load_state_dict({k: v for k, v in ours.state_dict().items() if not k.startswith("delimiters")})
    return ours, theirs


def measure(size: str, steps: int, refinements: int, views: int, repeats: int, made: tuple[BeingH, BeingH]) -> dict:
    ours, theirs = made
    t, released = question(ours.config, views, WORDS), question(theirs.config, views, WORDS)
    noise = torch.randn(tuple(t.action.shape), generator=torch.Generator().manual_seed(0))
    options = {"euler_steps": steps, "refinements": refinements}
    cached, uncached = Denoiser(ours, **options), Denoiser(ours, False, **options)
    static, theirs_way = StaticDenoiser(ours, **options), Denoiser(theirs, False, **options)
    pictures = steps * (1 + refinements) - 1

    def draw(_: object) -> torch.Tensor:
        return noise

    def directions(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape)

    @torch.no_grad()
    def with_pictures() -> None:
        theirs_way.run(released, draw, draw_directions=directions)
        for _ in range(pictures):
            theirs.views(released.pixels)

    calls = {
        "cached": lambda: cached.run(t, draw),
        "static": lambda: static.run(t, draw),
        "uncached": lambda: uncached.run(t, draw),
        "released": lambda: theirs_way.run(released, draw, draw_directions=directions),
        "released + pictures": with_pictures,
    }
    chunks = [calls[name]() for name in ("cached", "static", "uncached")]
    apart = max(float((chunks[-1] - one).abs().max()) for one in chunks)
    ms = {}
    for name, call in calls.items():
        first = median_ms(call, 1, warm=0)
        more = min(repeats, int(SECONDS * 1e3 / first))
        ms[name] = median_ms(call, more, warm=0) if more > 1 else first
    return {
        "size": size, "steps": steps, "refinements": refinements, "views": views, "tokens": t.length,
        "ms": {name: round(value, 2) for name, value in ms.items()},
        "uncached_over": {name: round(ms["uncached"] / value, 2) for name, value in ms.items()},
        "largest_difference": apart,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sizes", nargs="+", default=["tiny", "medium"], choices=["tiny", "medium"])
    p.add_argument("--steps", type=int, nargs="+", default=[4, 10])
    p.add_argument("--refinements", type=int, nargs="+", default=[0, 1])
    p.add_argument("--views", type=int, default=3)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args(argv)
    torch.set_num_threads(a.threads)
    print(machine())
    names = ["cached", "static", "uncached", "released", "released + pictures"]
    print("median processor ms of a chunk (in brackets: uncached over it)")
    print(f"{'size':8s} {'K':>3s} {'refine':>6s} " + " ".join(f"{name:>20s}" for name in names), flush=True)
    lines = []
    for size in a.sizes:
        made = models(size)
        for steps in a.steps:
            for refinements in a.refinements:
                one = measure(size, steps, refinements, a.views, a.repeats, made)
                cells = [f"{one['ms'][name]:11.1f} ({one['uncached_over'][name]:5.2f}x)" for name in names]
                print(f"{size:8s} {steps:3d} {refinements:6d} " + " ".join(f"{c:>20s}" for c in cells), flush=True)
                lines.append(one)
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
