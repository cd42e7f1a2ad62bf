"""What each RLDS publisher writes into a step: order, units, signs, in formulas of their own.

Legend: T steps; r, l the motions of the right and the left arm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unihand_data.sources.robot.generate.lerobot_columns import row, zeros
from unihand_data.sources.robot.generate.motion import Motion

Steps = dict[str, Any]

#: world to camera: one metre in front of the base, looking back at it, level
FRONT = np.array([[0.0, 1, 0, 0], [0, 0, -1, 0.4], [-1, 0, 0, 1], [0, 0, 0, 1]])


def f32(values: Steps) -> Steps:
    """Floats as float32, which is what most publishers store."""
    return {k: v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype == float else v for k, v in values.items()}


def closed(m: Motion, commands: bool = False) -> np.ndarray:
    """(T, 1) 0 open .. 1 closed."""
    return 1 - (m.gripper_command if commands else m.gripper)[:, None]


def opened(m: Motion, commands: bool = False) -> np.ndarray:
    return 1 - closed(m, commands)


def signed(m: Motion) -> np.ndarray:
    """(T, 1) command: -1 open, 1 closed."""
    return 2 * closed(m, commands=True) - 1


def relative(m: Motion) -> np.ndarray:
    """(T, 1): 1 at the step that closes, -1 at the step that opens, 0 elsewhere."""
    return np.diff(closed(m, commands=True), axis=0, prepend=closed(m, commands=True)[:1])


def delta(m: Motion, scale: float = 1.0) -> np.ndarray:
    """(T, 6) where the tool goes next, seen from here, in the base."""
    d_pos, d_rot = m.deltas()
    return row(d_pos, d_rot) * scale


def turned(angles: np.ndarray) -> np.ndarray:
    """Euler columns the other way round: roll pitch yaw to yaw pitch roll."""
    return angles[:, ::-1]


def pose_euler(m: Motion, sequence: str = "xyz", metres: float = 1.0) -> np.ndarray:
    return row(m.pos * metres, m.euler(sequence))


def pose_quat(m: Motion, order: str = "xyzw") -> np.ndarray:
    return row(m.pos, m.quaternions(order))


def by_column(m: Motion) -> np.ndarray:
    """(T, 16) homogeneous matrix column by column."""
    return np.swapaxes(m.matrices(), 1, 2).reshape(m.steps, 16)


def parts(m: Motion, gripper: str = "gripper_closedness_action", command: np.ndarray | None = None) -> Steps:
    """``action/world_vector`` and ``action/rotation_delta`` with a gripper command (T, 1) and the end flag."""
    d = delta(m)
    out: Steps = {
        "action/world_vector": d[:, :3],
        "action/rotation_delta": d[:, 3:],
        "action/terminate_episode": zeros(m, 3),
    }
    return out | ({} if command is None else {f"action/{gripper}": command})


def state_action(state: np.ndarray, action: np.ndarray) -> Steps:
    return {"observation/state": state, "action": action}


def wheels(m: Motion) -> np.ndarray:
    return zeros(m, 2)


def fractal(r: Motion, l: Motion) -> Steps:
    still = {f"action/base_displacement_{n}": zeros(r, w) for n, w in (("vector", 2), ("vertical_rotation", 1))}
    return {
        "observation/base_pose_tool_reached": pose_quat(r),
        "observation/gripper_closed": closed(r),
        "observation/height_to_bottom": r.pos[:, 2:],
        **still,
        **parts(r, command=relative(r)),
    }


def kuka(r: Motion, l: Motion) -> Steps:
    out = fractal(r, l)
    out["observation/clip_function_input/base_pose_tool_reached"] = out.pop("observation/base_pose_tool_reached")
    return out


def bridge_old(r: Motion, l: Motion) -> Steps:
    opening = opened(r, commands=True)[:, 0] > 0.5
    return {"observation/state": row(pose_euler(r), r.gripper), **parts(r, "open_gripper", opening)}


def taco(r: Motion, l: Motion) -> Steps:
    d = delta(r)
    scaled = row(d[:, :3] / 0.02, d[:, 3:] / 0.05, signed(r))
    width = 0.0807 * r.gripper
    return {
        "observation/robot_obs": row(pose_euler(r), width, r.joints, signed(r)),
        "action/rel_actions_world": scaled,
        "action/actions": row(r.command_pos, r.euler("xyz", commands=True), signed(r)),
        "action/terminate_episode": zeros(r, 1)[:, 0],
    }


def jaco(r: Motion, l: Motion) -> Steps:
    finger = 1.2 * closed(r)
    out = parts(r, command=relative(r))
    del out["action/rotation_delta"]
    return {
        "observation/end_effector_cartesian_pos": pose_quat(r),
        "observation/joint_pos": row(r.joints, finger, finger),
        "observation/end_effector_cartesian_velocity": delta(r, r.rate_hz),
        **out,
    }


def viola(r: Motion, l: Motion) -> Steps:
    return {
        "observation/ee_states": by_column(r),
        "observation/joint_states": r.joints,
        "observation/gripper_states": 0.0775 * opened(r),
        **parts(r, command=signed(r)),
    }


def autolab(r: Motion, l: Motion) -> Steps:
    state = row(r.joints, pose_quat(r), np.round(closed(r)), zeros(r, 1))
    return {"observation/robot_state": state, **parts(r, command=relative(r)[:, 0])}


def language_table(r: Motion, l: Motion) -> Steps:
    points = np.zeros((r.steps, 512), np.int32)
    for t in range(r.steps):  # the operator says something else half-way
        words = [ord(c) for c in ("push the red star left" if t < r.steps // 2 else "to the blue cube")]
        points[t, : len(words)] = words
    return {
        "observation/effector_translation": r.pos[:, :2],
        "observation/effector_target_translation": r.command_pos[:, :2],
        "observation/instruction": points,
        "action": delta(r)[:, :2],
    }


def hydra(r: Motion, l: Motion) -> Steps:
    state = row(pose_quat(r), r.euler("xyz"), r.joints, np.gradient(r.joints, axis=0), 0.0811 * opened(r), zeros(r, 2))
    return state_action(state, row(delta(r), closed(r, commands=True))) | {"is_dense": np.zeros(r.steps, bool)}


def buds(width: float) -> Any:
    def build(r: Motion, l: Motion) -> Steps:
        return state_action(row(r.joints, width * opened(r), by_column(r)), row(delta(r), signed(r)))

    return build


def sailor(r: Motion, l: Motion) -> Steps:
    return {
        "observation/state": row(pose_quat(r), 0.077 * opened(r)),
        "observation/state_ee": by_column(r),
        "observation/state_gripper": 0.077 * opened(r),
        "observation/state_joint": r.joints,
        "action": row(delta(r), signed(r)),
    }


def sirius(r: Motion, l: Motion) -> Steps:
    return sailor(r, l) | {"action_mode": zeros(r, 1) - 1, "intv_label": zeros(r, 1) - 1}


def franka_play(r: Motion, l: Motion) -> Steps:
    action = row(np.gradient(r.joints, axis=0), delta(r), -signed(r), zeros(r, 1))
    return state_action(row(r.joints, pose_euler(r)), action)


def maniskill(r: Motion, l: Motion) -> Steps:
    finger = 0.04 * opened(r)
    still = np.tile([-0.6, 0, 0, 1, 0, 0, 0], (r.steps, 1)).astype(float)
    return {
        "observation/state": row(r.joints, finger, finger, zeros(r, 9)),
        "observation/tcp_pose": pose_quat(r, "wxyz"),
        "observation/base_pose": still,
        "observation/main_camera_extrinsic_cv": np.tile(FRONT, (r.steps, 1, 1)),
        "observation/main_camera_intrinsic_cv": np.tile([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]], (r.steps, 1, 1)),
        "observation/wrist_camera_extrinsic_cv": np.linalg.inv(r.matrices()),
        "action": row(delta(r, 10), -signed(r)),
    }


def furniture(r: Motion, l: Motion) -> Steps:
    from scipy.spatial.transform import Rotation

    d = delta(r)
    state = row(pose_quat(r), zeros(r, 6), r.joints, zeros(r, 14), 0.08 * opened(r))
    return state_action(state, row(d[:, :3], Rotation.from_rotvec(d[:, 3:]).as_quat(), signed(r)))


def bc_z(r: Motion, l: Motion) -> Steps:
    d = delta(r)
    later = np.minimum(np.arange(r.steps)[:, None] + np.arange(10), r.steps - 1)
    return {
        "observation/present/xyz": r.pos,
        "observation/present/axis_angle": r.rot,
        "observation/present/sensed_close": closed(r),
        "observation/episode_success": np.ones(r.steps),
        "observation/present/autonomous": np.zeros(r.steps, np.int64),
        "action/future/xyz_residual": np.tile(d[:, :3], (1, 10)),
        "action/future/axis_angle_residual": np.tile(d[:, 3:], (1, 10)),
        "action/future/target_close": closed(r, commands=True)[later, 0].astype(np.int64),
    }


def bimanual(r: Motion, l: Motion) -> Steps:
    def arm(m: Motion, commands: bool) -> np.ndarray:
        return row(m.command_pos if commands else m.pos, turned(m.euler("xyz", commands)))

    return {
        "observation/pose_l": arm(l, False),
        "observation/pose_r": arm(r, False),
        "action": row(arm(l, True), closed(l, commands=True), arm(r, True), closed(r, commands=True)),
    }


def kaist(r: Motion, l: Motion) -> Steps:
    interleaved = np.stack([r.joints, np.gradient(r.joints, axis=0)], axis=2).reshape(r.steps, 14)
    state = row(interleaved, pose_quat(r))
    return state_action(state, row(delta(r), zeros(r, 14) + 50)) | {
        "observation/partial_pointcloud": np.zeros((r.steps, 512, 3), np.float32)
    }


def asu(r: Motion, l: Motion) -> Steps:
    velocity = np.gradient(row(r.joints, r.gripper), axis=0)
    return {
        "observation/state": row(r.joints, r.gripper),
        "observation/state_vel": velocity,
        "ground_truth_states/EE": pose_euler(r),
        "ground_truth_states/cube": zeros(r, 6),
        "action": velocity,
        "action_delta": velocity,
        "action_inst": [t.encode() for t, a, b in r.stages for _ in range(b - a)],
    }


def navigation(r: Motion, l: Motion) -> Steps:
    """Float64; the way point is one step ahead in the robot's own frame."""
    ahead = r.base_velocity / r.rate_hz
    return {
        "observation/position": r.base[:, :2],
        "observation/yaw": r.base[:, 2:],
        "observation/state": r.base,
        "action": ahead[:, :2],
        "action_angle": ahead,
    }


def libero(r: Motion, l: Motion) -> Steps:
    d = delta(r)
    gap = 0.04 * r.gripper[:, None] * np.array([1.0, -1.0])
    action = row(d[:, :3] / 0.05, d[:, 3:] / 0.5, signed(r))
    return state_action(row(r.pos, r.rot, gap), action) | {"observation/joint_state": r.joints}


def droid(r: Motion, l: Motion) -> Steps:
    """Float64; velocities in units of 0.2 rad, 0.075 m and 0.15 rad per step."""
    d = delta(r)
    velocity = np.diff(r.joints, axis=0, append=r.joints[-1:]) / 0.2
    return {
        "observation/joint_position": r.joints,
        "observation/cartesian_position": pose_euler(r),
        "observation/gripper_position": closed(r),
        "action_dict/joint_position": r.joint_commands,
        "action_dict/gripper_position": closed(r, commands=True),
        "action_dict/joint_velocity": velocity,
        "action_dict/cartesian_velocity": row(d[:, :3] / 0.075, d[:, 3:] / 0.15),
        "action_dict/cartesian_position": row(r.command_pos, r.euler("xyz", commands=True)),
        "action": row(velocity[:, :6], closed(r, commands=True)),
    }


def galaxea(r: Motion, l: Motion) -> Steps:
    arms = {f"observation/joint_position_arm_{s}": m.joints for s, m in (("left", l), ("right", r))}
    gaps = {f"observation/gripper_state_{s}": 100 * opened(m) for s, m in (("left", l), ("right", r))}
    return {
        **arms,
        **gaps,
        "observation/joint_position_torso": row(r.waist, zeros(r, 1)),
        "observation/base_velocity": r.base_velocity,
        "action": zeros(r, 26),
    }
