"""Files with the fields of ``MANO_RIGHT.pkl`` and ``MANO_LEFT.pkl`` and random numbers: for tests only, no hand model.

The real files are licensed and must be fetched by the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unihand_data.sources.generate.foreign_pickle import chumpy_array, dump, sparse_matrix

_VERTICES = 40


@dataclass
class StandIn:
    """The numbers inside a stand-in file."""

    components: np.ndarray  # (45, 45)
    mean: np.ndarray  # (45,)
    template: np.ndarray  # (V, 3)
    shapes: np.ndarray  # (V, 3, 10)
    regressor: np.ndarray  # (16, V)

    def wrist_rest(self, beta: np.ndarray) -> np.ndarray:
        """J0 of a shape, (3,)."""
        return self.regressor[0] @ (self.template + self.shapes @ beta)


def stand_in(side: str) -> StandIn:
    """Always the same numbers per side."""
    rng = np.random.default_rng(11 if side == "right" else 12)
    regressor = np.where(rng.random((16, _VERTICES)) < 0.2, rng.random((16, _VERTICES)), 0.0)
    regressor[:, 0] += 0.1
    return StandIn(
        np.linalg.qr(rng.normal(size=(45, 45)))[0],
        0.1 * rng.normal(size=45),
        0.05 * rng.normal(size=(_VERTICES, 3)),
        0.01 * rng.normal(size=(_VERTICES, 3, 10)),
        regressor / regressor.sum(1, keepdims=True),
    )


def write_stand_ins(folder: Path) -> Path:
    """Both files, with chumpy and scipy objects as in the real ones."""
    for side in ("left", "right"):
        s = stand_in(side)
        dump(
            folder / f"MANO_{side.upper()}.pkl",
            {
                "stand_in": True,
                "hands_components": s.components,
                "hands_mean": s.mean,
                "v_template": s.template,
                "shapedirs": chumpy_array(s.shapes),
                "J_regressor": sparse_matrix(s.regressor),
            },
        )
    return folder
