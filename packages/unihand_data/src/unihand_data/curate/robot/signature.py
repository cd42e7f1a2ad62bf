"""A short description of a motion by which copies of an episode are found again, whatever container they came in.

The path (end-effector positions relative to the first, else arm joints) at 16 times of equal share of its length in
time, and locality-sensitive keys of it: two episodes that share a key are compared by their paths. Keys are of the
p-stable kind (Datar et al. 2004): projections on fixed random directions, cut into cells; a copy that differs by
rounding, by a frame or by compression falls into the same cell in at least one of the bands.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from unihand_data.curate.robot.convert import SIDES, RobotMotion
from unihand_data.ids import make_id

TIMES, BANDS, ROWS = 16, 8, 3
#: cell width of a projection: m for positions, rad for joints (a copy differs by about a thousandth)
CELL = {"eef": 0.05, "joint": 0.2}


def motion_signature(motion: RobotMotion, embodiment: str) -> dict[str, Any] | None:
    """``{"kind", "bands": [hex...], "vector": [...], "duration": s}``; None where the row has neither path nor joints.

    Two signatures with a common band and vectors within the same tolerance are one motion.
    """
    for kind, groups in (("eef", "eef_position"), ("joint", "arm")):
        found = [got for side in SIDES if (got := motion.state_of(f"{side}_{groups}")) is not None and got[1].any()]
        if not found:
            continue
        parts = []
        for values, mask in found:
            known = mask.all(axis=1)
            if known.sum() < 2:
                continue
            at = np.linspace(motion.times[known][0], motion.times[known][-1], TIMES)
            path = np.stack([np.interp(at, motion.times[known], column) for column in values[known].T], axis=1)
            parts.append((path - path[0]).ravel() if kind == "eef" else path.ravel())
        if not parts:
            continue
        vector = np.concatenate(parts)
        directions, shifts = _directions(len(vector))
        cells = np.floor(directions @ vector / CELL[kind] + shifts).astype(int).reshape(BANDS, ROWS)
        bands = [make_id(kind, embodiment, band, *row)[:16] for band, row in enumerate(cells.tolist())]
        duration = float(motion.times[-1] + 1.0 / motion.rate_hz)
        return {"kind": kind, "bands": bands, "vector": np.round(vector, 4).tolist(), "duration": round(duration, 3)}
    return None


@lru_cache(maxsize=32)
def _directions(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions (BANDS * ROWS, length) and offsets of the cells, the same on every machine."""
    rng = np.random.Generator(np.random.PCG64(length))
    directions = rng.normal(size=(BANDS * ROWS, length))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True), rng.uniform(size=BANDS * ROWS)
