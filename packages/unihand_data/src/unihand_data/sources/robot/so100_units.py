"""Which unit the numbers of an SO-100 or SO-101 set are in. Nothing in the files says it; publishers use four.

Regimes (lerobot docs/source/backwardcomp.mdx, phosphobot hardware/base.py, statistics of the public sets by Galaxea):

- ``old_degrees``: degrees of lerobot before its motor rewrite, shoulder lift and elbow 90 off and the lift turned
  round; pooled over the public sets they average 124 and 121.
- ``degrees``: degrees about mid-range (``use_degrees``).
- ``normalised``: -100..100 of each robot's own calibrated range, lerobot's later default; cannot be brought to rad.
- ``radians``: phosphobot.
- ``ticks``: 0..4095 of the servo; the homing offset is not recorded.
- ``ambiguous``: the numbers fit two of these. A person decides (``--dataset``), never this module.

Legend: n joints: pan, lift, elbow, wrist flex, wrist roll (the gripper has a scale of its own and says nothing).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

Regime = Literal["old_degrees", "degrees", "normalised", "radians", "ticks", "ambiguous"]
ROBOTS = re.compile(r"(sim_)?so[-_]?10[01]([-_](follower|leader|sim))?|so_follower", re.IGNORECASE)
JOINTS = 5
LIFT, ELBOW = 1, 2


@dataclass(frozen=True)
class Figures:
    """Of a whole set: (n,) lowest, highest and mean value of each column."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray

    @staticmethod
    def of(values: np.ndarray) -> Figures:
        """From (N, n) rows, NaN left out."""
        x = np.asarray(values, np.float64)
        return Figures(np.nanmin(x, axis=0), np.nanmax(x, axis=0), np.nanmean(x, axis=0))


@dataclass(frozen=True)
class Verdict:
    """A regime and the sentence that gives the evidence."""

    regime: Regime
    evidence: str


def classify(figures: Figures, names: tuple[str, ...] = ()) -> Verdict:
    """The regime of a set.

    Args:
        figures: of ``observation.state``, at least five columns.
        names: of the columns; ``main_*`` is lerobot before the rewrite, ``*.pos`` after it.
    """
    low, high, mean = (np.asarray(x, np.float64)[:JOINTS] for x in (figures.low, figures.high, figures.mean))
    if len(low) < JOINTS or not np.isfinite([low, high, mean]).all():
        return Verdict("ambiguous", "units of the joints: no figures of five joints")
    largest = float(np.max(np.abs([low, high])))
    lift, elbow = float(mean[LIFT]), float(mean[ELBOW])
    old = bool(names) and all(n.startswith("main_") for n in names[:JOINTS])
    new = bool(names) and all(n.endswith(".pos") for n in names[:JOINTS])
    seen = (
        f"units of the joints: largest value {largest:.4g}, mean of lift {lift:.4g} and elbow {elbow:.4g}, columns "
        f"{'main_*' if old else '*.pos' if new else 'without a telling name'}"
    )
    if largest < 7:
        return Verdict("radians", f"{seen}: radians")
    if largest > 300:
        return Verdict("ticks", f"{seen}: servo ticks, whose homing offset is not recorded")
    both_old = 60 < lift < 200 and 60 < elbow < 200
    if (both_old and largest > 100.5 and not new) or (old and lift > 20 and elbow > 20):
        return Verdict("old_degrees", f"{seen}: degrees of lerobot before its motor rewrite")
    at_the_end = np.isclose(np.abs([low, high]), 100.0, atol=0.01).any()
    if new and largest <= 100.5 and at_the_end:
        return Verdict(
            "normalised", f"{seen}, a joint ends at exactly 100: -100..100 of a calibration that is not in the set"
        )
    if new and largest > 100.5 and not both_old and largest <= 200:
        return Verdict("degrees", f"{seen}: degrees about mid-range")
    return Verdict("ambiguous", f"{seen}: degrees or -100..100, nothing tells which")
