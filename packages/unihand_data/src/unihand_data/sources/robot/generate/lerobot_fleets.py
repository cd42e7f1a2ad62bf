"""Columns of the LeRobot publishers that record one layout on many robots: RoboCOIN and InternData-A1.

Legend: T steps; r, l the motions of the right and the left arm.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from unihand_data.sources.robot.generate.lerobot_columns import ACTION, STATE, Columns, row, zeros
from unihand_data.sources.robot.generate.lerobot_writer import Episode
from unihand_data.sources.robot.generate.motion import Motion, simulate


def robocoin(n: int) -> Callable[[Motion, Motion], Columns]:
    def sim(r: Motion, l: Motion) -> np.ndarray:
        return row(l.pos, l.euler("xyz"), r.pos, r.euler("xyz"))

    def build(r: Motion, l: Motion) -> Columns:
        state = row(l.joints, l.gripper, 0.9 * l.pos, r.joints, r.gripper, 0.9 * r.pos)
        copied = np.concatenate([state[1:], state[-1:]])  # commands were not recorded: copies of the next state
        gap = np.stack([l.gripper, r.gripper], axis=1)
        return {
            STATE: state, ACTION: copied, "eef_sim_pose_state": sim(r, l),
            "eef_sim_pose_action": np.concatenate([sim(r, l)[1:], sim(r, l)[-1:]]), "gripper_open_scale_state": gap,
            "gripper_open_scale_action": np.concatenate([gap[1:], gap[-1:]]),
        }  # fmt: skip

    return build


def robocoin_names(n: int) -> dict[str, Any]:
    limbs = [
        f"{s}_{j}"
        for s in ("left", "right")
        for j in (*(f"arm_joint_{i}_rad" for i in range(1, n + 1)), "gripper_open", *(f"eef_pos_{a}_m" for a in "xyz"))
    ]
    sim = [f"{s}_eef_{k}_{a}" for s in ("left", "right") for k in ("pos", "ori") for a in "xyz"]
    gap = ["left_gripper_open_scale", "right_gripper_open_scale"]
    return {
        STATE: limbs, ACTION: limbs, "eef_sim_pose_state": sim, "eef_sim_pose_action": sim,
        "gripper_open_scale_state": gap, "gripper_open_scale_action": gap,
    }  # fmt: skip


def galbot(r: Motion, l: Motion) -> Columns:
    """Joints of the leg and the head before the arms; the action has the grippers behind both arms."""
    gap = np.stack([l.gripper, r.gripper], axis=1)
    action = row(l.joints, r.joints, gap)
    poses = row(l.pos, l.euler("xyz"), r.pos, r.euler("xyz")) + 0.5  # not the robot's own kinematics

    def following(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x[1:], x[-1:]])

    return {
        STATE: row(zeros(r, 3), r.head, l.joints, l.gripper, r.joints, r.gripper), ACTION: following(action),
        "gripper_open_scale_state": gap, "gripper_open_scale_action": following(gap),
        "eef_sim_pose_state": poses, "eef_sim_pose_action": following(poses),
    }  # fmt: skip


def galbot_names() -> dict[str, Any]:
    arms = [[f"{s}_arm_joint_{i}_rad" for i in range(1, 8)] for s in ("left", "right")]
    grippers = ["left_gripper_open", "right_gripper_open"]
    leg = [f"torso_joint_{i}_rad" for i in range(1, 4)]
    return robocoin_names(7) | {
        STATE: [*leg, "head_joint_1_rad", "head_joint_2_rad", *arms[0], grippers[0], *arms[1], grippers[1]],
        ACTION: [*arms[0], *arms[1], *grippers],
    }


def robocoin_words(e: Episode, m: Motion) -> None:
    lanes = np.full((m.steps, 5), len(m.stages))  # the label after the last stage is "null"
    for i, (_, start, stop) in enumerate(m.stages):
        lanes[start:stop, 0] = i
    e.pointers = {"subtask_annotation": lanes, "scene_annotation": np.zeros(m.steps, int)}


def robocoin_tables() -> dict[str, str]:
    stages = [s[0] for s in simulate(0, 8, 10).stages]
    rows = [{"subtask_index": i, "subtask": t} for i, t in enumerate([*stages, "null"])]
    return {"annotations/subtask_annotations.jsonl": "".join(json.dumps(r) + "\n" for r in rows)}


def interndata_a1(open_gripper: float) -> Callable[[Motion, Motion], Columns]:
    """Two arms; actions are the next state, the last one repeats it."""

    def build(r: Motion, l: Motion) -> Columns:
        out: Columns = {"states.robot_to_env_pose": np.tile([1.0, 2.0, 0, 1, 0, 0, 0], (r.steps, 1))}
        for side, m in (("left", l), ("right", r)):
            ee = row(m.pos, m.quaternions("wxyz"))
            out |= {
                f"states.{side}_joint.position": m.joints,
                f"states.{side}_gripper.position": open_gripper * m.gripper[:, None],
                f"states.{side}_ee_to_robot_pose": ee, f"states.{side}_tcp_to_robot_pose": ee,
                f"master_actions.{side}_joint.position": m.joint_commands,
                f"master_actions.{side}_gripper.openness": (m.gripper_command[:, None] > 0.5).astype(float),
            }  # fmt: skip
        return out | _next_states(out)

    return build


def interndata_a1_franka(r: Motion, l: Motion) -> Columns:
    ee = row(r.pos, r.quaternions("wxyz"))
    out: Columns = {
        "states.joint.position": r.joints, "states.gripper.position": 0.08 * r.gripper[:, None],
        "states.ee_to_robot_pose": ee, "states.tcp_to_robot_pose": ee,
    }  # fmt: skip
    openness = (r.gripper_command[:, None] > 0.5).astype(float)
    return out | _next_states(out) | {"actions.gripper.openness": openness}


def _next_states(states: Columns) -> Columns:
    kept = {k: x for k, x in states.items() if k.startswith("states.") and "env" not in k}
    return {k.replace("states.", "actions."): np.concatenate([x[1:], x[-1:]]) for k, x in kept.items()}
