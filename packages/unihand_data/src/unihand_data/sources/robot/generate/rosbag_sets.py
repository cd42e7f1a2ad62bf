"""One generated set of bags per data-set file: topics, types, rates and units as their owners document them.

Numbers come from :func:`~.motion.simulate` at four times the camera's rate, so that every topic is sampled from one
continuous motion at its own times. Everything is synthetic and says so in the name of the recording device.

Legend: r, l the motions of the right and the left arm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.sources.robot.generate.arms import simulate_arms
from unihand_data.sources.robot.generate.motion import Motion
from unihand_data.sources.robot.generate.rlds_writer import pictures
from unihand_data.sources.robot.generate.rosbag_writer import Bag, Kind, Topic, write_bag

FINE = 4  # samples of the motion per picture
_IMAGE, _JOINTS, _POSE = (
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/JointState",
    "geometry_msgs/msg/PoseStamped",
)
Topics = Callable[[Motion, Motion], list[Topic]]


@dataclass(frozen=True)
class Plan:
    """How one data set writes an episode. ``joints``: of each arm; ``folder``: of the set."""

    kind: Kind
    rate_hz: float
    joints: int
    topics: Topics
    folder: str
    labels: bool = False
    compression: str = ""


def every(m: Motion, step: int, shift_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Indices of every ``step``-th sample of the motion, and their times."""
    index = np.arange(0, m.steps, step)
    return index, m.times[index] + shift_s


def camera(name: str, m: Motion, shade: int, shift_s: float = 0.0, depth: bool = False) -> Topic:
    index, times = every(m, FINE, shift_s)
    encoded = pictures(len(index), shade, depth).encoded
    head = bytes(12) if depth else b""  # the transport's own header
    form = "16UC1; compressedDepth png" if depth else "jpeg"
    return Topic(name, _IMAGE, times, [{"format": form, "data": np.frombuffer(head + p, np.uint8)} for p in encoded])


def joints(topic: str, x: np.ndarray, m: Motion, step: int = 1, shift_s: float = 0.0, **more: Any) -> Topic:
    index, times = every(m, step, shift_s)
    return Topic(topic, _JOINTS, times, [{"position": x[i], **more} for i in index])


def _poses(name: str, m: Motion) -> Topic:
    index, times = every(m, 1, 0.002)
    q = m.quaternions("xyzw")
    values = [{"pose": {"position": dict(zip("xyz", m.pos[i])), "orientation": dict(zip("xyzw", q[i]))}} for i in index]
    return Topic(name, _POSE, times, values)


def _body(r: Motion, l: Motion, commands: bool) -> np.ndarray:
    """(T, 28): 12 leg, left arm 7, right arm 7, head 2, rad."""
    arms = [m.joint_commands if commands else m.joints for m in (l, r)]
    return np.concatenate([np.zeros((r.steps, 12)), *arms, r.head], axis=1)


def _kuavo(hands: Topics, traj: str = "/kuavo_arm_traj") -> Topics:
    def topics(r: Motion, l: Motion) -> list[Topic]:
        index, times = every(r, 1, 0.001)
        q, c = _body(r, l, False), _body(r, l, True)
        state = [{"joint_data": {"joint_q": q[i], "joint_v": np.zeros(28)}} for i in index]
        names = [f"arm_joint_{i}" for i in range(1, 15)]
        return [
            camera("/cam_h/color/image_raw/compressed", r, 1),
            camera("/cam_l/color/image_raw/compressed", r, 2, 0.007),
            camera("/cam_r/color/image_raw/compressed", r, 3, -0.006),
            camera("/cam_h/depth/image_raw/compressedDepth", r, 4, 0.001, depth=True),
            Topic("/sensors_data_raw", "kuavo_msgs/msg/sensorsData", times, state),
            Topic("/joint_cmd", "kuavo_msgs/msg/jointCmd", times, [{"joint_q": c[i]} for i in index]),
            joints(traj, np.degrees(c[:, 12:26]), r, 2, -0.003, name=names),
            *hands(r, l),
        ]

    return topics


def _claws(r: Motion, l: Motion) -> list[Topic]:
    out = []
    for name, kind, both in (
        ("state", "State", (l.gripper, r.gripper)), ("command", "Command", (l.gripper_command, r.gripper_command)),
    ):  # fmt: skip
        index, times = every(r, 1 if kind == "State" else 2)
        x = 100 * (1 - np.stack(both, axis=1))
        values = [{"data": {"name": ["left_claw", "right_claw"], "position": x[i]}, "state": [1, 1]} for i in index]
        out.append(Topic(f"/leju_claw_{name}", f"kuavo_msgs/msg/lejuClaw{kind}", times, values))
    return [Topic(t.name, t.type, t.times, [_only(v, t.type) for v in t.values]) for t in out]


def _only(values: dict[str, Any], kind: str) -> dict[str, Any]:
    return values if kind.endswith("State") else {"data": values["data"]}


def _dex(r: Motion, l: Motion) -> list[Topic]:
    order = [4, 5, 3, 2, 1, 0]  # thumb first, as the hand's driver lists them
    state = 100 * np.concatenate([l.fingers[:, order], r.fingers[:, order]], axis=1)
    index, times = every(r, 2)
    told = [np.round(100 * m.finger_commands[:, order]).astype(np.uint8) for m in (l, r)]
    values = [{"left_hand_position": told[0][i], "right_hand_position": told[1][i]} for i in index]
    drives = ("thumb", "thumb_aux", "index", "middle", "ring", "pinky")
    return [
        joints("/dexhand/state", state, r, 1, name=[f"{side}_{drive}" for side in "lr" for drive in drives]),
        Topic("/control_robot_hand_position", "kuavo_msgs/msg/robotHandPosition", times, values),
    ]


def _rq2f85(r: Motion, l: Motion) -> list[Topic]:
    state = 0.8 * (1 - np.stack([l.gripper, r.gripper], axis=1))
    told = 255 * (1 - np.stack([l.gripper_command, r.gripper_command], axis=1))
    return [joints("/gripper/state", state, r), joints("/gripper/command", told, r, 2)]


def _galaxea(r: Motion, l: Motion) -> list[Topic]:
    out = [
        camera("/hdas/camera_head/left_raw/image_raw_color/compressed", r, 1),
        camera("/hdas/camera_wrist_left/color/image_rect_raw/compressed", r, 2, 0.011),
        camera("/hdas/camera_wrist_right/color/image_rect_raw/compressed", r, 3, -0.009),
        joints("/hdas/feedback_torso", np.concatenate([r.waist, np.zeros((r.steps, 1))], axis=1), r),
    ]
    for side, m in (("left", l), ("right", r)):
        out += [
            joints(f"/hdas/feedback_arm_{side}", m.joints, m),
            joints(f"/hdas/feedback_gripper_{side}", 100 * m.gripper[:, None], m),
            joints(f"/motion_target/target_joint_state_arm_{side}", m.joint_commands, m),
            joints(f"/motion_target/target_position_gripper_{side}", 100 * m.gripper_command[:, None], m),
            _poses(f"/motion_control/pose_ee_arm_{side}", m),
        ]
    return out


PLANS: dict[str, Plan] = {
    "let_kuavo_claw": Plan("ros1", 30, 7, _kuavo(_claws), "coil_sorting-P4-leju_claw", True, "lz4"),
    "let_kuavo_dex": Plan("ros1", 30, 7, _kuavo(_dex), "coil_sorting-P4-dex_hand", True),
    "let_kuavo_sim": Plan("ros1", 30, 7, _kuavo(_rq2f85), "task1_pick", False, "bz2"),
    "galaxea_raw": Plan("mcap", 15, 6, _galaxea, "put_the_cup_on_the_shelf"),
}


def generate(
    name: str, out: str | Path, seed: int = 0, episodes: int = 2, *, steps: int = 24,
    edit: Callable[[Bag], None] | None = None, kind: Kind | None = None,
) -> list[tuple[Motion, Motion]]:  # fmt: skip
    """Write a set and return the motions (right, left), sampled at FINE times the camera's rate.

    Args:
        edit: changes a bag before it is written.
        kind: instead of the data set's own container.

    Raises:
        KeyError: no such data set.
    """
    plan, motions = PLANS[name], []
    for number in range(episodes):
        r, l = simulate_arms(name, 1000 * seed + 2 * number, FINE * steps, FINE * plan.rate_hz, plan.joints)
        bag = Bag(plan.topics(r, l), start_s=1_753_147_118.0 + 60 * number, compression=plan.compression)
        bag.labels = _labels(r) if plan.labels else None
        if edit is not None:
            edit(bag)
        form = kind or plan.kind
        path = Path(out) / plan.folder / (f"episode_{number:06d}" + (".bag" if form == "ros1" else ""))
        write_bag(path, form, bag)
        motions.append((r, l))
    return motions


def _labels(m: Motion) -> dict[str, Any]:
    """Labels in the owner's keys; marks are shares of the bag, each of a few pictures."""
    starts = [a for _, a, _ in m.stages]
    starts[2] = starts[1] + 2 * FINE
    spans = zip((text for text, _, _ in m.stages), starts, [*starts[1:], m.steps])
    marks = [
        {"startPosition": a / m.steps, "endPosition": b / m.steps, "skillAtomic": text.split()[0], "skillDetail": "",
         "enSkillDetail": text, "markType": "step"}
        for text, a, b in spans
    ]  # fmt: skip
    return {"taskGroupCode": m.task.replace(" ", "_"), "taskPrompt": "", "deviceSn": "synthetic", "marks": marks}
