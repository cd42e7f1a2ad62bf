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
    step_s = np.diff(motion.times)[:, None]
    out = np.full_like(state, np.nan)
    out[:-1] = np.diff(state, axis=0) / step_s
    for slots in _ROTATIONS:
        out[:, slots] = np.nan
        both = known[:-1][:, slots].all(axis=1) & known[1:][:, slots].all(axis=1)
        if both.any():
            turn = rotations.compose(state[1:][both][:, slots], rotations.inverse(state[:-1][both][:, slots]))
            out[np.flatnonzero(both)[:, None], slots] = turn / step_s[both]
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


def absolute() -> list[int]:
    """Slots whose actions are absolute targets."""
    return [slot for slot in KIND_OF if slot not in _EEF and slot not in _VELOCITY]


def _dense(values: np.ndarray, mask: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dense, known = np.zeros((len(values), N_SLOTS)), np.zeros((len(values), N_SLOTS), bool)
    dense[:, slots], known[:, slots] = values, mask
    return dense, known
