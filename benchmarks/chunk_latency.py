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
vocabulary. Each call runs once to warm up, then the median of ``--repeats`` is taken, of fewer where
four seconds do not hold them, but of three at least. Random weights: time does not depend on them. Prints a table and
one JSON line per case. Chunks of cached, static and uncached must be one another's up to rounding: a difference over
``--tolerance`` of the largest value is said, and the exit code is then 1. ``--quick`` is one tiny case.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import torch

from beingh05_model.inference.compiled import StaticDenoiser
from beingh05_model.inference.denoise import Denoiser
from beingh05_model.network.config import ModelConfig, MpgConfig, ReleaseCompat
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import internvl35, tiny
from made_up import machine, median_ms, question

WORDS, SECONDS, LEAST = 60, 4.0, 3


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
    apart = max(float((chunks[-1] - one).abs().max()) for one in chunks) / float(chunks[-1].abs().max())
    ms = {}
    for name, call in calls.items():
        first = median_ms(call, 1, warm=0)  # warms up and is not counted
        ms[name] = median_ms(call, max(LEAST, min(repeats, int(SECONDS * 1e3 / first))), warm=0)
    return {
        "size": size, "steps": steps, "refinements": refinements, "views": views, "tokens": t.length,
        "ms": {name: round(value, 2) for name, value in ms.items()},
        "uncached_over": {name: round(ms["uncached"] / value, 1) for name, value in ms.items()},
        "largest_relative_difference": apart,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sizes", nargs="+", default=["tiny", "medium"], choices=["tiny", "medium"])
    p.add_argument("--steps", type=int, nargs="+", default=[4, 10])
    p.add_argument("--refinements", type=int, nargs="+", default=[0, 1])
    p.add_argument("--views", type=int, default=3)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--tolerance", type=float, default=1e-3, help="of the largest value of a chunk")
    p.add_argument("--quick", action="store_true", help="tiny, one step, no refinement, one view")
    a = p.parse_args(argv)
    if a.quick:
        a.sizes, a.steps, a.refinements, a.views = ["tiny"], [1], [0], 1
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
                cells = [f"{one['ms'][name]:11.1f} ({one['uncached_over'][name]:4.1f}x)" for name in names]
                print(f"{size:8s} {steps:3d} {refinements:6d} " + " ".join(f"{c:>20s}" for c in cells), flush=True)
                lines.append(one)
    for line in lines:
        print(json.dumps(line))
    apart = max(line["largest_relative_difference"] for line in lines)
    if not apart <= a.tolerance:  # so that a chunk that is not finite fails too
        print(f"chunks differ by {apart:.2g} of their largest value, {a.tolerance:g} is allowed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
