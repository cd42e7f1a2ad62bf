"""How fast every slot moves, in its own physical unit: what outliers and idle spans are judged by.

Every slot of the contract that can move has one kind (:data:`KIND_OF`). A velocity slot is its own speed; the rotation
of an end effector moves by the displacement of its orientation, because a difference of rotation vectors is no turn.
MANO shape is the only group that does not move.

Legend: T steps, columns 0 .. 199 are the slots.
"""

from __future__ import annotations

import numpy as np

from unihand_data.curate.robot.convert import SIDES, RobotMotion
from unihand_data.space import rotations
from unihand_data.space.slots import GROUPS, N_SLOTS, SLOTS

#: slot group -> kind; ``base_velocity`` is split by unit below
_KIND_OF_GROUP: dict[str, str] = {
    **{f"{side}_eef_position": "position" for side in SIDES},  # m/s
    **{f"{side}_eef_rotation": "rotation" for side in SIDES},  # rad/s
    **{f"{side}_gripper": "gripper" for side in SIDES},  # of its range per second
    **{f"{side}_hand": "finger" for side in SIDES},  # rad/s
    **{f"{side}_hand_extension": "finger" for side in SIDES},
    **{f"{side}_theta": "finger" for side in SIDES},
    **{f"{side}_arm": "joint" for side in SIDES},  # rad/s
    **dict.fromkeys(("head", "waist", "torso", "neck"), "joint"),
    "finger_positions": "finger_position",  # m/s
    "lift": "lift",  # m/s
    "base_position": "base",  # m/s
}
#: slot -> kind; every slot that has a meaning and moves is there
KIND_OF: dict[int, str] = {
    **{slot: kind for group, kind in _KIND_OF_GROUP.items() for slot in GROUPS[group].slots},
    **{slot: "base" if SLOTS[slot].unit == "m/s" else "base_turn" for slot in GROUPS["base_velocity"].slots},
}
_VELOCITY = list(GROUPS["base_velocity"].slots)
_EEF = [s for side in SIDES for part in ("position", "rotation") for s in GROUPS[f"{side}_eef_{part}"].slots]
_ROTATIONS = [list(GROUPS[f"{side}_eef_rotation"].slots) for side in SIDES]


def realised(motion: RobotMotion) -> np.ndarray:
    """(T, 200) signed speed of the state from step t to t + 1; NaN where either is masked or absent, and in the last
    row except for velocities."""
    state, known = _dense(motion.state, motion.state_mask, motion.state_slots)
    state = np.where(known, state, np.nan)
    out = np.full_like(state, np.nan)
    out[:-1] = ways(motion, 1) / np.diff(motion.times)[:, None]
    out[:, _VELOCITY] = state[:, _VELOCITY]
    return out


def commanded(motion: RobotMotion) -> np.ndarray:
    """(T, 200) signed speed that the action of step t asks for: a displacement by the rate, a velocity as it is, of
    absolute targets the way from the one before (the first: from the state); NaN where masked or absent."""
    action, known = _dense(motion.action, motion.action_mask, motion.action_slots)
    action = np.where(known, action, np.nan)
    state, there = _dense(motion.state[:1], motion.state_mask[:1], motion.state_slots)
    before = np.concatenate([np.where(there, state, np.nan), action[:-1]])
    out = (action - before) * motion.rate_hz
    out[:, _EEF] = action[:, _EEF] * motion.rate_hz
    out[:, _VELOCITY] = action[:, _VELOCITY]
    return out


def realised_path(motion: RobotMotion) -> tuple[np.ndarray, np.ndarray]:
    """Where every slot is: (T + 1, 200) in its own unit, and (T, 200) bool, whether step t to t + 1 is known.

    Rotations and velocities have no place, so theirs is the sum of their turns and of the ways they make. NaN where a
    slot is masked or absent; the last row is known of velocities alone.
    """
    state, known = _dense(motion.state, motion.state_mask, motion.state_slots)
    state = np.where(known, state, np.nan)
    out = np.concatenate([state, np.full((1, N_SLOTS), np.nan)])
    for slots in _ROTATIONS:
        at = np.flatnonzero(known[:, slots].all(axis=1))
        out[:, slots] = np.nan
        if len(at):
            turns = rotations.compose(state[at[1:]][:, slots], rotations.inverse(state[at[:-1]][:, slots]))
            out[at[:, None], slots] = np.concatenate([np.zeros((1, 3)), np.cumsum(turns, axis=0)])
    there = known[:, _VELOCITY].any(axis=0)
    lasts = np.append(np.diff(motion.times), 1.0 / motion.rate_hz)[:, None]
    out[:, _VELOCITY] = np.where(there, _summed(state[:, _VELOCITY] * lasts), np.nan)
    steps = np.concatenate([known[:-1] & known[1:], np.zeros((1, N_SLOTS), bool)])
    steps[:, _VELOCITY] = known[:, _VELOCITY]
    return out, steps


def commanded_path(motion: RobotMotion) -> tuple[np.ndarray, np.ndarray]:
    """Where the commands lead every slot, likewise: row t + 1 is where the action of step t leads, row 0 is where its
    sum begins (displacements and velocities) or the first target."""
    action, known = _dense(motion.action, motion.action_mask, motion.action_slots)
    action = np.where(known, action, np.nan)
    out = np.concatenate([action[:1], action])
    there = np.asarray(known.any(axis=0))
    lasts = np.append(np.diff(motion.times), 1.0 / motion.rate_hz)[:, None]
    out[:, _EEF] = np.where(there[_EEF], _summed(action[:, _EEF]), np.nan)
    out[:, _VELOCITY] = np.where(there[_VELOCITY], _summed(action[:, _VELOCITY] * lasts), np.nan)
    return out, known


def _summed(steps: np.ndarray) -> np.ndarray:
    """(T + 1, n) sums of (T, n) steps, from 0; one that is not known adds nothing."""
    return np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(np.nan_to_num(steps), axis=0)])


def ways(motion: RobotMotion, lag: int) -> np.ndarray:
    """(T - lag, 200) how far it is from the state of step t to that of step t + lag, signed; NaN where either is masked
    or absent, and of velocities."""
    state, known = _dense(motion.state, motion.state_mask, motion.state_slots)
    state = np.where(known, state, np.nan)
    out = state[lag:] - state[:-lag]
    for slots in _ROTATIONS:
        out[:, slots] = np.nan
        at = np.flatnonzero(known[:-lag][:, slots].all(axis=1) & known[lag:][:, slots].all(axis=1))
        if len(at):
            turn = rotations.compose(state[at + lag][:, slots], rotations.inverse(state[at][:, slots]))
            out[at[:, None], slots] = turn
    out[:, _VELOCITY] = np.nan
    return out


def absolute() -> list[int]:
    """Slots whose actions are absolute targets."""
    return [slot for slot in KIND_OF if slot not in _EEF and slot not in _VELOCITY]


def _dense(values: np.ndarray, mask: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dense, known = np.zeros((len(values), N_SLOTS)), np.zeros((len(values), N_SLOTS), bool)
    dense[:, slots], known[:, slots] = values, mask
    return dense, known
