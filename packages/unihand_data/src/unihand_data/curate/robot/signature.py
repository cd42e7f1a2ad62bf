"""A short description of a motion by which copies of an episode are found again, whatever container they came in.

The path of every group that the state has (end-effector position and turn, gripper, hand, arm joints, body joints,
base) at 16 times of equal share of the episode, in metres: an angle counts by the arm it moves, a gripper by its
stroke (``SCALE``). So two containers of one recording are compared by what both of them have. Positions and turns are
relative to the first, since containers differ in where they put the tool point; joints and grippers are as they are.

What is near, and what that leads to, is the recipe's decision (``unihand_data.recipe.motions``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unihand_data.curate.robot.convert import SIDES, RobotMotion
from unihand_data.ids import hash_bytes
from unihand_data.space import rotations

#: 1 had end-effector positions or arm joints alone, and no number; readers compare signatures of one version
VERSION = 2
TIMES = 16
#: m: paths are whole multiples of it
STEP = 0.0002
#: metres that a unit of a group stands for: the lever of a turn or a joint, the stroke of a gripper or a finger
SCALE = {
    **{f"{side}_eef_position": 1.0 for side in SIDES},
    **{f"{side}_eef_rotation": 0.2 for side in SIDES},  # of the quaternion, so 0.1 m per radian
    **{f"{side}_gripper": 0.1 for side in SIDES},
    **{f"{side}_hand": 0.05 for side in SIDES},
    **{f"{side}_hand_extension": 0.05 for side in SIDES},
    **{f"{side}_arm": 0.3 for side in SIDES},
    "finger_positions": 1.0,
    "head": 0.1,
    "waist": 0.3,
    "lift": 1.0,
    "torso": 0.3,
    "neck": 0.1,
    "base_position": 1.0,
    "base_velocity": 1.0,  # of the way that it integrates to; its turn by 0.3 m
}
BASE_LEVER = 0.3
#: what two copies of the same numbers share: the values of these groups, bit for bit
EXACT = {
    "eef": tuple(f"{side}_eef_position" for side in SIDES),
    "joint": tuple(f"{side}_arm" for side in SIDES),
}
#: the pose of the recording itself in a set that re-draws it on other robots (the reader's layout ``augmented``)
RECORDED_POSE = "observation.ee_pose"


def motion_signature(motion: RobotMotion, recorded: np.ndarray | None = None) -> dict[str, Any] | None:
    """``{version, steps, duration, paths, exact, recorded}``; None where nothing of the state can be compared.

    Args:
        recorded: (T, 3) m, path of the recording that this episode re-draws (:func:`recorded_path`).

    ``paths``: group -> 16 x k whole numbers of ``STEP``. ``exact``: kind of ``EXACT`` -> hash of the numbers.
    """
    times, paths = motion.times, {}
    for group, scale in SCALE.items():
        got = motion.state_of(group)
        if got is None and group == "base_velocity":
            got = motion.action_of(group)
        if got is None:
            continue
        known = got[1].all(axis=1)
        if known.sum() >= 2:
            paths[group] = _sampled(times, times[known], scale * _path(group, got[0][known], times[known]))
    if not paths:
        return None
    exact = {}
    for kind, groups in EXACT.items():
        parts = [got for g in groups if (got := motion.state_of(g)) is not None and got[1].any()]
        if parts:
            numbers = [np.where(mask, values, 0.0).astype("<f4").tobytes() for values, mask in parts]
            exact[kind] = hash_bytes(b"".join(numbers))[:16]
    signature: dict[str, Any] = {
        "version": VERSION,
        "steps": len(times),
        "duration": round(float(times[-1] + 1.0 / motion.rate_hz), 3),
        "paths": paths,
        "exact": exact,
    }
    if recorded is not None:
        signature["recorded"] = _sampled(times, times, recorded - recorded[0])
    return signature


def recorded_path(columns: dict[str, np.ndarray], split_group: str) -> np.ndarray | None:
    """(T, 3) of the recording that an episode re-draws; None for an episode that is a recording itself (its reader
    gives no ``split_group``), or where the pose is not known at every step."""
    pose = columns.get(RECORDED_POSE) if split_group else None
    if pose is None or np.ndim(pose) != 2 or np.shape(pose)[1] < 3 or not np.isfinite(pose[:, :3]).all():
        return None
    return np.asarray(pose[:, :3], np.float64)


def _path(group: str, values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T, k) what is compared of a group, before scaling."""
    if group.endswith("_eef_rotation"):
        turn = rotations.compose(values, np.broadcast_to(rotations.inverse(values[0]), values.shape))
        quat = rotations.align_hemisphere(rotations.rotvec_to_quat(turn, "wxyz"))
        return quat * (1.0 if quat[0, 0] >= 0 else -1.0)
    if group.endswith("position"):
        return values - values[0]
    if group == "base_velocity":
        step = np.append(np.diff(times), 0.0)
        yaw = np.cumsum(values[:, 2] * step) - values[:, 2] * step
        ahead = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
        way = np.cumsum((values[:, :1] * ahead + values[:, 1:2] * left) * step[:, None], axis=0)
        return np.column_stack([np.vstack([np.zeros(2), way[:-1]]), BASE_LEVER * yaw])
    return values


def _sampled(times: np.ndarray, known: np.ndarray, path: np.ndarray) -> list[int]:
    """Whole numbers of ``STEP`` at ``TIMES`` times of the episode, row-major."""
    at = np.linspace(times[0], times[-1], TIMES)
    columns = [np.interp(at, known, column) for column in path.T]
    return [int(v) for v in np.rint(np.stack(columns, axis=1) / STEP).ravel()]
