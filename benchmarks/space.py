"""Milliseconds per 300 frames of the space room's functions: ``python benchmarks/space.py``."""

from __future__ import annotations

import timeit
from collections.abc import Callable

import numpy as np

from unihand_data.space import displacement, load_embodiment, mirror

FRAMES = 300


def best_ms(call: Callable[[], object]) -> float:
    return 1e3 * min(timeit.repeat(call, number=20, repeat=5)) / 20


def main() -> None:
    rows = {
        name: np.random.default_rng(0).normal(size=(FRAMES, width))
        for name, width in (("human_hands", 122), ("g1_o6", 26))
    }
    for name, raw in rows.items():
        embodiment = load_embodiment(name)
        unified = embodiment.to_unified(raw, "state")
        print(f"{name}: to_unified {best_ms(lambda e=embodiment, r=raw: e.to_unified(r, 'state')):.2f} ms")
        print(
            f"{name}: from_unified {best_ms(lambda e=embodiment, u=unified: e.from_unified(*u, kind='state')):.2f} ms"
        )
        if name == "human_hands":
            print(f"{name}: mirror_row {best_ms(lambda u=unified: mirror.mirror_row(*u[:3], 'state')):.2f} ms")
    p, r = rows["human_hands"][:, :3], rows["human_hands"][:, 3:6]
    print(f"displacements {best_ms(lambda: displacement.displacements(p, r)):.2f} ms")
    print(f"reading a file {best_ms(lambda: load_embodiment('g1_o6')):.1f} ms")


if __name__ == "__main__":
    main()
