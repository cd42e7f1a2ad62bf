"""Milliseconds per 300 frames of the space room's functions: ``python benchmarks/space.py``."""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from unihand_data.space import displacement, load_embodiment, mirror

FRAMES = 300


def best_ms(call: Callable[[], object]) -> float:
    return 1e3 * min(timeit.repeat(call, number=20, repeat=5)) / 20


def main(argv: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    for name, width in (("human_hands", 122), ("g1_o6", 26)):
        raw = np.random.default_rng(0).normal(size=(FRAMES, width))
        embodiment = load_embodiment(name)
        values, slots, mask, extra = embodiment.to_unified(raw, "state")
        back = partial(embodiment.from_unified, values, slots, mask, extra, kind="state")
        print(f"{name}: to_unified {best_ms(partial(embodiment.to_unified, raw, 'state')):.2f} ms")
        print(f"{name}: from_unified {best_ms(back):.2f} ms")
        if name == "human_hands":
            print(f"{name}: mirror_row {best_ms(partial(mirror.mirror_row, values, slots, mask, 'state')):.2f} ms")
            print(f"displacements {best_ms(partial(displacement.displacements, raw[:, :3], raw[:, 3:6])):.2f} ms")
    print(f"reading a file {best_ms(partial(load_embodiment, 'g1_o6')):.1f} ms")


if __name__ == "__main__":
    main()
