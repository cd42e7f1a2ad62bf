"""What each LeRobot publisher writes into its columns: order, units, signs, in formulas of their own.

Legend: T steps; r, l the motions of the right and the left arm; ``commands`` / ``c``: what was told, not what happened.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unihand_data.sources.robot.generate.arms import simulate_arms
from unihand_data.sources.robot.generate.lerobot_writer import Episode
from unihand_data.sources.robot.generate.motion import Motion

STATE, ACTION = "observation.state", "action"
Columns = dict[str, np.ndarray]


def row(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)


def zeros(m: Motion, n: int) -> np.ndarray:
    return np.zeros((m.steps, n))


def arm(m: Motion, commands: bool) -> np.ndarray:
    return m.joint_commands if commands else m.joints


def jaw(m: Motion, commands: bool) -> np.ndarray:
    """0 closed .. 1 open."""
    return m.gripper_command if commands else m.gripper


def closure(m: Motion, commands: bool) -> np.ndarray:
    return m.finger_commands if commands else m.fingers


def both(build: Callable[[Motion, Motion, bool], np.ndarray]) -> Callable[[Motion, Motion], Columns]:
    """``observation.state`` and ``action`` alike, from states and from commands."""
    return lambda r, l: {STATE: build(r, l, False), ACTION: build(r, l, True)}


# single publishers ----------------------------------------------------------------------------------------------------


def gr1(r: Motion, l: Motion) -> Columns:
    def limb(m: Motion, commands: bool) -> np.ndarray:
        hand = np.where(m.finger_commands > 0, 1.5, -1.5) if commands else 1.5 * m.fingers
        return row(arm(m, commands), hand, zeros(m, 6))

    return {
        name: row(limb(l, c), zeros(l, 3), limb(r, c), zeros(r, 3)) for name, c in ((STATE, False), (ACTION, True))
    } | {"next.reward": (np.arange(r.steps) == r.steps - 1).astype(float)[:, None]}


def gr1_words(e: Episode, m: Motion) -> None:
    e.tasks = ["valid"]
    e.pointers = {
        "annotation.human.action.task_description": np.zeros(m.steps, int) + (0 if e.task.endswith("0") else 2),
        "annotation.human.validity": np.ones(m.steps, int),
    }


#: an SO-100 moves further than the arm that is simulated
SO_WAY = 1.6


def so(scale: Callable[[np.ndarray], np.ndarray], opening: float) -> Callable[[Motion, Motion], Columns]:
    return both(lambda r, l, c: row(scale(SO_WAY * arm(r, c)), opening * jaw(r, c)))


def normalised(r: Motion, l: Motion) -> Columns:
    """-100..100 of an imagined calibration: each joint reaches both of its ends, as lerobot cuts there."""
    raw = both(lambda r, l, c: row(arm(r, c), 100 * jaw(r, c)))(r, l)
    for x in raw.values():
        q = x[:, :5]
        middle, half = (q.max(axis=0) + q.min(axis=0)) / 2, np.maximum(np.ptp(q, axis=0) / 2, 1e-3)
        x[:, :5] = np.clip(110 * (q - middle) / half, -100, 100)
    return raw


def old_degrees(q: np.ndarray) -> np.ndarray:
    d = np.degrees(q / SO_WAY)
    return np.stack([d[:, 0], 90 - d[:, 1], d[:, 2] + 90, d[:, 3], d[:, 4]], axis=1)


def dex3(m: Motion, commands: bool, side: float) -> np.ndarray:
    """Left fingers bend to minus, right ones to plus; thumbs the other way."""
    c = closure(m, commands)
    thumb = np.stack([0.3 * c[:, 5], -side * 0.8 * c[:, 4], -side * 0.9 * c[:, 4]], axis=1)
    return row(thumb, side * np.stack([1.2 * c[:, 2], 1.3 * c[:, 2], 1.2 * c[:, 3], 1.3 * c[:, 3]], axis=1))


def unitree(hand: Callable[[Motion, bool, float], np.ndarray]) -> Callable[[Motion, Motion], Columns]:
    return both(lambda r, l, c: row(arm(l, c), arm(r, c), hand(l, c, -1.0), hand(r, c, 1.0)))


G1_ARM = ("ShoulderPitch", "ShoulderRoll", "ShoulderYaw", "Elbow", "WristRoll", "WristPitch", "WristYaw")
G1_HANDS = {
    "inspire": ("Pinky", "Ring", "Middle", "Index", "ThumbBend", "ThumbRotation"),
    "dex3": ("Thumb0", "Thumb1", "Thumb2", "Middle0", "Middle1", "Index0", "Index1"),
}


def g1_names(hand: tuple[str, ...], prefix: str = "Hand") -> list[list[str]]:
    sides = ("Left", "Right")
    return [[f"k{s}{j}" for s in sides for j in G1_ARM] + [f"k{s}{prefix}{j}" for s in sides for j in hand]]


def pose(m: Motion, commands: bool = False) -> np.ndarray:
    return m.command_pos if commands else m.pos


def agibot(state: str, action: str, hands: bool = False) -> Callable[[Motion, Motion], Columns]:
    def build(r: Motion, l: Motion) -> Columns:
        joints = row(l.joints, r.joints)
        held = {
            f"{state}.effector.position": row(l.fingers, r.fingers),
            f"{action}.effector.position": row(l.finger_commands, r.finger_commands),
        } if hands else {
            f"{state}.effector.position": 118 - 83 * np.stack([l.gripper, r.gripper], axis=1),
            f"{action}.effector.position": 1 - np.stack([l.gripper_command, r.gripper_command], axis=1),
        }  # fmt: skip
        return held | {
            f"{state}.joint.position": joints, f"{action}.joint.position": np.concatenate([joints[1:], joints[-1:]]),
            f"{state}.end.position": row(l.pos, r.pos),
            f"{state}.end.orientation": row(l.quaternions("xyzw"), r.quaternions("xyzw")),
            f"{state}.head.position": r.head, f"{state}.waist.position": row(r.waist[:, 1], r.lift),
            f"{state}.joint.current_value": zeros(r, 14),
        }  # fmt: skip

    return build


def agibot_words(e: Episode, m: Motion) -> None:
    e.row = {"action_config": [{"start_frame": a, "end_frame": b, "action_text": t} for t, a, b in m.stages]}


def interndata(r: Motion, l: Motion) -> Columns:
    links = (1 - r.gripper)[:, None] * 0.785 * np.array([1, 1, -1, 1, -1, 1])
    return {
        "state.joints": r.joints, "action.joints": r.joint_commands, "state.gripper_width": links,
        "action.gripper_close": (1 - 2 * r.gripper_command)[:, None], "state.eef_position": r.pos,
        "state.eef_quaternion": r.quaternions("wxyz"), "action.eef_position": r.command_pos,
        "action.eef_quaternion": r.quaternions("wxyz", commands=True), "state.eef_rotation": r.euler("xyz"),
        "action.delta_joints": np.diff(r.joint_commands, axis=0, prepend=r.joint_commands[:1]),
    }  # fmt: skip


def galaxea(r: Motion, l: Motion) -> Columns:
    out: Columns = {}
    for side, m in (("left", l), ("right", r)):
        out |= {
            f"{STATE}.{side}_arm": m.joints, f"{STATE}.{side}_gripper": 100 * m.gripper[:, None],
            f"{STATE}.{side}_ee_pose": row(m.pos, m.quaternions("xyzw")), f"action.{side}_arm": m.joint_commands,
            f"action.{side}_gripper": 100 * m.gripper_command[:, None],
            f"{STATE}.{side}_arm.velocities": np.gradient(m.joints, axis=0) * m.rate_hz,
        }  # fmt: skip
    return out | {f"{STATE}.torso": row(r.waist, zeros(r, 1)), f"{STATE}.chassis": r.base}


def augmented(r: Motion, l: Motion) -> Columns:
    out: Columns = {f"{STATE[:11]}.ee_pose": row(r.pos, r.quaternions("xyzw"))}
    for i, (robot, n) in enumerate(AUGMENTED.items()):
        m = simulate_arms(f"oxe_auge_{robot.lower()}", r.seed + i, r.steps, r.rate_hz, n)[0]
        error = zeros(m, 7)
        error[-3:, 0] = 0.1  # the last steps were out of this robot's reach
        o = f"observation.{robot}"
        out |= {
            f"{o}.joints": row(m.joints, m.gripper), f"{o}.ee_pose": row(m.pos, m.quaternions("wxyz")),
            f"{o}.base_position": np.tile([0.1 * i, 0.0, 0.0], (m.steps, 1)), f"{o}.base_orientation": zeros(m, 1),
            f"{o}.ee_error": error,
        }  # fmt: skip
    return out


#: robot of OXE-AugE -> joints of its arm
AUGMENTED = {
    "panda": 7, "ur5e": 6, "xarm7": 7, "google_robot": 7, "sawyer": 7, "kinova3": 7, "kuka_iiwa": 7, "jaco": 6,
    "widowX": 6,
}  # fmt: skip


def controller(m: Motion, metres: float, radians: float) -> np.ndarray:
    """(T, 6) displacements in units of a simulator's controller."""
    d_pos, d_rot = m.deltas()
    return row(d_pos / metres, d_rot / radians)


def fingers(m: Motion) -> np.ndarray:
    return 0.04 * m.gripper[:, None] * np.array([1.0, -1.0])


def libero(r: Motion, l: Motion) -> Columns:
    action = row(controller(r, 0.05, 0.5), r.gripper_command)
    return {STATE: row(r.pos, r.rot, fingers(r)), ACTION: action}


def robocasa(r: Motion, l: Motion) -> Columns:
    base = np.tile([1.0, 2.0, 0.7, 0.0, 0.0, 0.0, 1.0], (r.steps, 1))
    still = np.tile([0.0, 0.0, 0.0, 0.0, -1.0], (r.steps, 1))
    return {
        STATE: row(base, r.pos, r.quaternions("xyzw"), fingers(r)),
        ACTION: row(still, controller(r, 0.05, 0.5), 1 - 2 * r.gripper_command),
    }


def robocasa_human(r: Motion, l: Motion) -> Columns:
    base = np.tile([1.0, 2.0, 0.7, 0.0, 0.0, 0.0, 1.0], (r.steps, 1))
    still = np.tile([0.0, 0.0, 0.0, 0.0, -1.0], (r.steps, 1))
    native = row(controller(r, 0.05, 0.5), 1 - 2 * r.gripper_command)
    return {
        STATE: base, ACTION: row(native, still), "world_abs_state": row(r.pos, r.rot, fingers(r)),
        "world_delta_action": row(controller(r, 1.0, 1.0), 1 - r.gripper_command),
    }  # fmt: skip


def bridge(r: Motion, l: Motion) -> Columns:
    action = row(0.5 * controller(r, 1.0, 1.0), r.gripper_command)
    return {STATE: row(r.pos, r.euler("xyz"), zeros(r, 1), r.gripper), ACTION: action}


def droid(r: Motion, l: Motion) -> Columns:
    return {
        f"{STATE}.joint_position": r.joints, f"{STATE}.gripper_position": 1 - r.gripper[:, None],
        f"{STATE}.cartesian_position": row(r.pos, r.euler("xyz")), "action.joint_position": r.joint_commands,
        "action.gripper_position": 1 - r.gripper_command[:, None],
        "action.joint_velocity": np.diff(r.joints, axis=0, append=r.joints[-1:]) / 0.2,
    }  # fmt: skip


def droid_words(e: Episode, m: Motion) -> None:
    e.text = {"language_instruction": [e.task] * m.steps, "language_instruction_2": [""] * m.steps}


def kuavo(r: Motion, l: Motion, commands: bool) -> np.ndarray:
    parts = [(arm(m, commands), 1 - jaw(m, commands)) for m in (l, r)]
    return row(*(p for pair in parts for p in pair))


def adam_u(r: Motion, l: Motion, commands: bool) -> np.ndarray:
    hands = [1000 * (1 - closure(m, commands)) for m in (l, r)]
    return row(r.waist, r.head, arm(l, commands), arm(r, commands), *hands)


def thumb_first(m: Motion, commands: bool) -> np.ndarray:
    return closure(m, commands)[:, [4, 5, 3, 2, 1, 0]]


def d1(r: Motion, l: Motion) -> Columns:
    def limb(c: bool) -> np.ndarray:
        return row(arm(r, c), thumb_first(r, c))

    return {STATE: row(r.head, limb(False)), ACTION: limb(True)}  # this publisher does not command the head


def metaworld(r: Motion, l: Motion) -> Columns:
    command = row(controller(r, 0.01, 1.0)[:, :3], 1 - 2 * r.gripper_command)
    noise = np.random.default_rng(r.seed).normal(0, 0.1, command.shape)
    return {
        STATE: row(r.pos, r.gripper), ACTION: command, "action.executed": np.clip(command + noise, -1, 1),
        "next.success": (np.arange(r.steps) > r.steps - 3).astype(float)[:, None],
    }  # fmt: skip
