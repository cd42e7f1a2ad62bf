"""One generated set per LeRobot data-set file, in the columns, units and signs that its publisher documents.

``generate("unitree_g1_inspire", out, seed=0, episodes=2)`` writes a folder that the registry recognises as that data
set. Numbers come from :func:`~.motion.simulate`; the formulas here are the publisher's conventions written down once
more, never those of the converter. Everything is synthetic and says so in ``meta/info.json``.

Legend: T steps; r, l the motions of the right and the left arm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.sources.robot.generate import lerobot_columns as of
from unihand_data.sources.robot.generate import lerobot_fleets as fleets
from unihand_data.sources.robot.generate.arms import simulate_arms
from unihand_data.sources.robot.generate.lerobot_columns import ACTION, AUGMENTED, STATE, Columns
from unihand_data.sources.robot.generate.lerobot_writer import Edit, Episode, SetInfo, write_set
from unihand_data.sources.robot.generate.motion import Motion


@dataclass(frozen=True)
class Plan:
    """How one data set writes an episode. ``joints``: of each arm; ``more`` adds pointers, text or table keys;
    ``scale``: what its columns are of the motion's joints."""

    info: SetInfo
    columns: Callable[[Motion, Motion], Columns]
    joints: int = 7
    more: Callable[[Episode, Motion], None] = lambda e, m: None
    files: Callable[[], dict[str, str]] = dict
    folder: str = ""
    scale: float = 1.0


_AXES8 = {"motors": ["x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper"]}
_IMAGES = "observation.images"


def _set(robot: str | None, fps: float, views: str, version: str = "v2.1", **more: Any) -> SetInfo:
    return SetInfo(robot, fps, version, tuple(f"{_IMAGES}.{v}" for v in views.split()), **more)


def _a1(robot: str, version: str) -> SetInfo:
    return SetInfo(robot, 30, version, ("images.rgb.head", "images.rgb.hand_left", "images.rgb.hand_right"))


def _coin(robot: str, n: int) -> Plan:
    info = _set(
        robot, 30, "cam_high_rgb cam_left_wrist_rgb cam_right_wrist_rgb", names=fleets.robocoin_names(n), chunks_size=39
    )
    return Plan(info, fleets.robocoin(n), n, fleets.robocoin_words, fleets.robocoin_tables)


def _g1(
    kind: str, hand: tuple[str, ...], build: Callable[[Motion, bool, float], np.ndarray], prefix: str = "Hand"
) -> Plan:
    names = of.g1_names(hand, prefix)
    info = _set(f"Unitree_G1_{kind}", 30, "cam_left_high cam_left_wrist", "v3.0", names={STATE: names, ACTION: names})
    return Plan(info, of.unitree(build))


def _names(words: list[str]) -> dict[str, Any]:
    return {STATE: words, ACTION: words}


_MAIN = [f"main_{j}" for j in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")]
_POS = [f"{j.removeprefix('main_')}.pos" for j in _MAIN]
_D1_ARM = [
    f"arm_{j}.pos" for j in ("base_yaw", "shoulder_pitch", "elbow_pitch", "forearm_roll", "wrist_pitch", "wrist_roll")
]
_D1_HAND = [
    "thumb_cmc_pitch.pos",
    "thumb_cmc_yaw.pos",
    *(f"{f}_mcp_pitch.pos" for f in ("index", "middle", "ring", "pinky")),
]

PLANS: dict[str, Plan] = {
    "gr00t_gr1": Plan(
        _set("GR1ArmsOnly", 20, "ego_view", "v2.0", dtype="float64", sentences=["put it away 0", "valid"]),
        of.gr1,
        7,
        of.gr1_words,
    ),
    "so100_old_degrees": Plan(
        _set("so100", 30, "laptop phone", "v2.0", names=_names(_MAIN)), of.so(of.old_degrees, 100), 5
    ),
    "so101_degrees": Plan(
        _set("so101_follower", 30, "front wrist", "v3.0", names=_names(_POS)),
        of.so(np.degrees, 100),
        5,
        scale=of.SO_WAY,
    ),
    "so100_radians": Plan(
        _set("so-100", 30, "main", "v2.0", names=_names([f"motor_{i}" for i in range(1, 7)])),
        of.so(lambda q: q, 1.5),
        5,
        scale=of.SO_WAY,
    ),
    "so101_normalised": Plan(_set("so101_follower", 30, "front wrist", "v3.0", names=_names(_POS)), of.normalised, 5),
    "unitree_g1_inspire": _g1("Inspire", of.G1_HANDS["inspire"], lambda m, c, s: 1 - of.closure(m, c)),
    "unitree_g1_brainco": _g1("Brainco", of.G1_HANDS["inspire"], lambda m, c, s: of.closure(m, c)),
    "unitree_g1_dex3": _g1("Dex3", of.G1_HANDS["dex3"], of.dex3),
    "unitree_g1_dex1": _g1("Dex1", ("Gripper",), lambda m, c, s: 5.4 * of.jaw(m, c)[:, None], ""),
    "robocoin_cobot_magic": _coin("agilex_cobot_magic", 6),
    "robocoin_split_aloha": _coin("agilex_cobot_decoupled_magic", 6),
    "robocoin_r1_lite": _coin("galaxea_r1_lite", 6),
    "robocoin_airbot_mmk2": _coin("Airbot_MMK2", 6),
    "robocoin_aida_l": _coin("realman_rmc_aidal", 7),
    "robocoin_alphabot_2": _coin("alpha_bot_2", 7),
    "robocoin_tianqing_a2": replace(_coin("ruantong_a2d", 7), folder="Tianqin_A2_put_away"),
    "robocoin_g1edu_u3": _coin("G1edu-u3", 7),
    "robocoin_kuavo_4": _coin("leju_robot", 7),
    "robocoin_agibot_g1": replace(_coin("ruantong_a2d", 7), folder="AgiBot-g1_put_away"),
    "robocoin_galbot_g1": Plan(
        _set(
            "Galbot_G1",
            30,
            "cam_front_head_rgb cam_left_wrist_rgb cam_right_wrist_rgb",
            names=fleets.galbot_names(),
            chunks_size=39,
        ),
        fleets.galbot,
        7,
        fleets.robocoin_words,
        fleets.robocoin_tables,
    ),
    "agibot_world_states": Plan(
        _set("a2d", 30, "head hand_left hand_right", "v2.1"),
        of.agibot("observation.states", "actions"),
        7,
        of.agibot_words,
    ),
    "agibot_world_state": Plan(
        _set("AgiBot_A2D", 30, "head hand_left", "v3.0"), of.agibot("observation.state", "action")
    ),
    "agibot_world_states_hands": Plan(
        _set("a2d", 30, "head hand_left hand_right", "v2.1"),
        of.agibot("observation.states", "actions", hands=True),
        7,
        of.agibot_words,
    ),
    "agibot_world_state_hands": Plan(
        _set("AgiBot_A2D", 30, "head hand_left", "v3.0"), of.agibot("observation.state", "action", hands=True)
    ),
    "interndata_a1_split_aloha": Plan(_a1("AgileX Split Aloha", "v3.0"), fleets.interndata_a1(0.1), 6),
    "interndata_a1_piper": Plan(_a1("piper", "v2.1"), fleets.interndata_a1(0.1), 6),
    "interndata_a1_genie1": Plan(_a1("Genie-1", "v3.0"), fleets.interndata_a1(5.74)),
    "interndata_a1_franka": Plan(
        SetInfo("Franka", 30, "v3.0", ("images.rgb.head", "images.rgb.hand")), fleets.interndata_a1_franka
    ),
    "interndata_m1": Plan(_set("franka_robotiq", 30, "base_view base_view_2 ego_view", dtype="float64"), of.interndata),
    "galaxea_open_world": Plan(
        _set("r1lite", 15, "head_rgb left_wrist_rgb right_wrist_rgb", dtype="float64"), of.galaxea, 6
    ),
    "libero_ipec": Plan(
        _set(
            "franka",
            10,
            "image wrist_image",
            "v2.0",
            names={STATE: {"motors": ["x", "y", "z", "roll", "pitch", "yaw", "gripper", "gripper"]}},
        ),
        of.libero,
        folder="libero_spatial_no_noops_lerobot",
    ),
    "robocasa_365": Plan(
        _set("PandaOmron", 20, "robot0_agentview_left robot0_eye_in_hand", dtype="float64"), of.robocasa
    ),
    "robocasa_human": Plan(_set("panda_omron", 20, "left_view right_view wrist_view"), of.robocasa_human),
    "bridge_lerobot": Plan(
        _set("widowx", 5, "image_0 image_1", "v2.0", names={STATE: _AXES8}), of.bridge, 6, folder="bridge_orig_lerobot"
    ),
    "droid_lerobot": Plan(_set("Franka", 15, "exterior_1_left wrist_left", "v3.0"), of.droid, 7, of.droid_words),
    "aloha_lerobot": Plan(
        _set("aloha", 50, "cam_high cam_left_wrist cam_right_wrist", "v2.0"),
        of.both(lambda r, l, c: of.row(of.arm(l, c), of.jaw(l, c), of.arm(r, c), of.jaw(r, c))),
        6,
    ),
    "let_kuavo_lerobot": Plan(_set("kuavo4pro", 10, "head_cam_h wrist_cam_l wrist_cam_r", "v3.0"), of.both(of.kuavo)),
    "adam_u": Plan(_set("PND_Adam_U", 30, "camera_0 camera_1"), of.both(of.adam_u)),
    "beingbeyond_d1": Plan(
        _set(
            "beingbeyond_d1",
            10,
            "top wrist",
            "v3.0",
            names={STATE: ["head_yaw.pos", "head_pitch.pos", *_D1_ARM, *_D1_HAND], ACTION: [*_D1_ARM, *_D1_HAND]},
        ),
        of.d1,
        6,
    ),
    "metaworld_experts": Plan(_set("sawyer_metaworld", 80, "corner2 gripperPOV", "v3.0"), of.metaworld),
    "own_fr3_inspire": Plan(
        _set("fr3_inspire", 20, "camera_0 camera_1", "v3.0"),
        of.both(lambda r, l, c: of.row(of.arm(r, c), 1 - of.closure(r, c))),
    ),
    "own_g1_o6": Plan(
        _set("g1_o6", 50, "head_camera", "v3.0"),
        of.both(
            lambda r, l, c: of.row(
                of.arm(l, c), of.arm(r, c), 255 * (1 - of.thumb_first(l, c)), 255 * (1 - of.thumb_first(r, c))
            )
        ),
    ),
}
PLANS |= {
    f"oxe_auge_{robot.lower()}": Plan(_set("mixed", 5, " ".join(AUGMENTED), "v3.0", video_fps=30), of.augmented)
    for robot in AUGMENTED
}


def generate(
    name: str,
    out: str | Path,
    seed: int = 0,
    episodes: int = 2,
    *,
    steps: int = 24,
    version: str | None = None,
    edit_info: Edit | None = None,
    edit_rows: Edit | None = None,
    edit_episode: Callable[[Episode], None] | None = None,
) -> list[tuple[Motion, Motion]]:
    """Write a set and return the motions (right, left) behind its episodes.

    Args:
        version: instead of the data set's own (``v2.0``, ``v2.1``, ``v3.0``).
        edit_info, edit_rows, edit_episode: changes before writing (``lerobot_drift.py``).

    Raises:
        KeyError: no such data set.
    """
    plan = PLANS[name]
    info = replace(plan.info, version=version or plan.info.version, files=plan.files())
    motions, written = [], list[Episode]()
    for i in range(episodes):
        r, l = simulate_arms(name, 1000 * seed + 2 * i, steps, _true_rate(name, info.fps), plan.joints, plan.scale)
        e = Episode(plan.columns(r, l), f"put it away {i}")
        plan.more(e, r)
        if edit_episode is not None:
            edit_episode(e)
        motions.append((r, l))
        written.append(e)

    def synthetic(raw: dict[str, Any]) -> None:
        raw["note"] = "synthetic: generated by unihand_data.sources.robot.generate"
        if edit_info is not None:
            edit_info(raw)

    write_set(Path(out) / plan.folder, info, written, edit_info=synthetic, edit_rows=edit_rows)
    return motions


def _true_rate(name: str, stamp: float) -> float:
    return 20.0 if name == "libero_ipec" else stamp
