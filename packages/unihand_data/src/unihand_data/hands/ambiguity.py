"""Which way a hand is tilted: the choice between two explanations of the same picture, made over time.

Seen from some distance, a hand and its image mirrored in depth look alike, and a left hand's back looks like a right
hand's palm. A landmark model decides anew in every frame; a hand does not jump. So both explanations are fitted and the
sequence with the least sum of misfit and motion is taken (Viterbi). Legend: T frames, H = 2 hypotheses.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

_TURN = np.radians(25.0)  # a turn between two frames 1/30 s apart that costs as much as one unit of misfit
_STEP = 0.06  # m, the same for the wrist's place
_CAP = 6.0  # a cut or a long gap must not force a wrong choice
_RATE = 30.0


def choose(misfit: np.ndarray, wrist_pos: np.ndarray, wrist_rot: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T,) hypothesis per frame.

    Args:
        misfit: (T, H) cost of a hypothesis by itself, in units of about one standard deviation; NaN where there is
            none.
        wrist_pos: (T, H, 3) m. wrist_rot: (T, H, 3) axis-angle. times: (T,) s.

    Frames where no hypothesis has a value get 0 and do not take part.
    """
    frames, hypotheses = misfit.shape
    out = np.zeros(frames, np.int64)
    index = np.flatnonzero(np.isfinite(misfit).any(1))
    if not len(index):
        return out
    cost = np.where(np.isfinite(misfit), misfit, 1e6)
    total = cost[index[0]].copy()
    back = np.zeros((len(index), hypotheses), np.int64)
    for k in range(1, len(index)):
        i, j = index[k - 1], index[k]
        steps = max(1.0, (times[j] - times[i]) * _RATE)
        a = Rotation.from_rotvec(np.nan_to_num(wrist_rot[i]))
        b = Rotation.from_rotvec(np.nan_to_num(wrist_rot[j]))
        turn = np.array([[(b[h] * a[g].inv()).magnitude() for h in range(hypotheses)] for g in range(hypotheses)])
        move = np.linalg.norm(np.nan_to_num(wrist_pos[j])[None] - np.nan_to_num(wrist_pos[i])[:, None], axis=-1)
        motion = np.minimum((turn / _TURN + move / _STEP) / np.sqrt(steps), _CAP)
        choices = total[:, None] + motion
        back[k] = choices.argmin(0)
        total = choices.min(0) + cost[j]
    best = int(total.argmin())
    for k in range(len(index) - 1, -1, -1):
        out[index[k]] = best
        best = int(back[k, best])
    return out
