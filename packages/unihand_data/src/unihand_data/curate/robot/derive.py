"""Columns made from others before Phi_e: relative gripper commands, actions that were copied from the state.

Legend: T steps, n columns.
"""

from __future__ import annotations

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.spec import RobotSpec


def sticky(relative: np.ndarray, where: str = "column", decides: float | None = None) -> np.ndarray:
    """Relative commands -1 / 0 / +1 (T, n) to absolute ones in the same sign.

    Every 0 holds what was decided last. Steps before the first decision hold the opposite of it: a command that closes
    is given to an open gripper. A column that never decides is NaN: nothing says where the gripper was.

    Args:
        decides: a value of at least this size is taken by its sign, a smaller one holds; None: only -1, 0, 1 are known.
    """
    x = np.asarray(relative, np.float64).reshape(len(relative), -1)
    if decides is not None and (np.abs(np.nan_to_num(x)) <= 1.001).all():
        x = np.where(np.abs(x) < decides, 0.0, np.sign(x))
    if not np.isin(np.round(x[np.isfinite(x)], 3), (-1.0, 0.0, 1.0)).all():
        raise Reject(
            Reason.CONTRADICTION, f"{where}: a relative gripper command is -1, 0 or 1, not {x.min()}..{x.max()}"
        )
    out = np.full(x.shape, np.nan)
    for c in range(x.shape[1]):
        decided = np.flatnonzero(np.abs(np.nan_to_num(x[:, c])) > 0.5)
        if not len(decided):
            continue
        last = np.searchsorted(decided, np.arange(len(x)), side="right") - 1
        out[:, c] = np.where(last >= 0, x[decided[np.maximum(last, 0)], c], -x[decided[0], c])
    return out


def next_state(state: np.ndarray) -> np.ndarray:
    """``action[t] = state[t + 1]`` (T, n); the last step is NaN."""
    x = np.asarray(state, np.float64)
    return np.concatenate([x[1:], np.full_like(x[:1], np.nan)])


def with_derived(episode: RobotEpisode, spec: RobotSpec, where: str) -> dict[str, np.ndarray]:
    """The episode's columns and the derived ones the data-set file asks for. Raises ``Reject``."""
    raw = dict(episode.columns)
    for rule in spec.derive:
        if rule.source not in raw:
            raise Reject(Reason.MISSING_FIELD, f"{where}: no feature {rule.source!r}, which {rule.column} derives from")
        values = raw[rule.source]
        raw[rule.column] = (
            sticky(values, f"{where}: {rule.source}", rule.decides) if rule.how == "sticky" else next_state(values)
        )
    return raw
