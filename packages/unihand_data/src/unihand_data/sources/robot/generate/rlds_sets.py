"""One generated set per RLDS data-set file, in the features, units and signs that its publisher documents.

``generate("oxe_fractal", out, seed=0, episodes=2)`` writes a TFDS folder that the registry recognises as that data set.
Numbers come from :func:`~.motion.simulate`; the formulas are the publishers' conventions written down once more, never
those of the converter. Everything is synthetic and says so in ``dataset_info.json``.

Legend: T steps; r, l the motions of the right and the left arm.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.sources.robot.generate import rlds_columns as of
from unihand_data.sources.robot.generate.arms import simulate_arms
from unihand_data.sources.robot.generate.lerobot_columns import row, zeros
from unihand_data.sources.robot.generate.motion import Motion
from unihand_data.sources.robot.generate.rlds_columns import closed, delta, opened, parts, signed, state_action
from unihand_data.sources.robot.generate.rlds_writer import Edit, Episode, Packed, pictures, write_tfds

OLD, NEW = "observation/natural_language_instruction", "language_instruction"
_TEXT = "put the cup on the shelf"
_CONVERTED = "_converted_externally_to_rlds"


@dataclass(frozen=True)
class Plan:
    """How one data set writes an episode.

    Attributes:
        tfds: name of the builder. ``rate``: true Hz. ``joints``: of the arm.
        views, depths: cameras below ``observation/``.
        text: feature of the sentence, ``""`` for none. ``sentence``: what it says.
        more: features of the episode. ``double``: floats are float64.
        packed: features that lie in the record as zlib strings.
    """

    tfds: str
    rate: float
    columns: Callable[[Motion, Motion], of.Steps]
    views: str = "image"
    text: str = NEW
    joints: int = 7
    depths: str = ""
    sentence: str = _TEXT
    more: dict[str, Any] = field(default_factory=dict)
    double: bool = False
    packed: tuple[str, ...] = ()
    version: str = "0.1.0"


def _old(tfds: str, rate: float, columns: Callable[[Motion, Motion], of.Steps], views: str = "image", **k: Any) -> Plan:
    return Plan(tfds, rate, columns, views, OLD, **k)


def _new(tfds: str, rate: float, columns: Callable[[Motion, Motion], of.Steps], views: str = "image", **k: Any) -> Plan:
    return Plan(
        tfds, rate, columns, views, more={"episode_metadata/file_path": [b"/data/run_1"], **k.pop("more", {})}, **k
    )


def _named(short: str, dataset: bool = False) -> str:
    return f"{short}{'_dataset' if dataset else ''}{_CONVERTED}"


_WRIST = "image wrist_image"
_FLAGS = {f"episode_metadata/has_image_{i}": np.array([i < 2]) for i in range(4)}

PLANS: dict[str, Plan] = {
    "bridge_rlds": _new(
        "bridge_dataset", 5,
        lambda r, l: state_action(row(of.pose_euler(r), r.gripper), row(delta(r, 0.5), r.gripper_command)),
        "image_0 image_1 image_2 image_3", joints=6, more=_FLAGS, version="1.0.0",
    ),
    "bridge_oxe": _old("bridge", 5, of.bridge_old, joints=6),
    "oxe_fractal": _old("fractal20220817_data", 3, of.fractal, more={
                        "aspects/success": np.array([True]), "aspects/has_aspects": np.array([True]),
                        "attributes/env_name": [b"kitchen"]}),
    "oxe_kuka": _old("kuka", 10, of.kuka, more={"success": np.array([False])},
                     packed=("observation/clip_function_input/base_pose_tool_reached", "observation/gripper_closed")),
    "oxe_taco_play": _old("taco_play", 15, of.taco, "rgb_static rgb_gripper"),
    "oxe_jaco_play": _old("jaco_play", 10, of.jaco, "image image_wrist", joints=6),
    "oxe_cable_routing": _old("berkeley_cable_routing", 10,
                              lambda r, l: {"observation/robot_state": of.pose_quat(r), **parts(r)},
                              "image top_image wrist45_image wrist225_image"),
    "oxe_roboturk": _old("roboturk", 10, lambda r, l: parts(r, command=signed(r)), "front_rgb"),
    "oxe_nyu_door": _old("nyu_door_opening_surprising_effectiveness", 3, lambda r, l: parts(r, command=of.relative(r))),
    "oxe_viola": _old("viola", 20, of.viola, "agentview_rgb eye_in_hand_rgb"),
    "oxe_autolab_ur5": _old("berkeley_autolab_ur5", 5, of.autolab, "image hand_image", joints=6),
    "oxe_toto": _old("toto", 30, lambda r, l: {"observation/state": r.joints,
                     **parts(r, "open_gripper", opened(r, commands=True)[:, 0] > 0.5)}),
    "oxe_language_table": Plan("language_table", 10, of.language_table, "rgb", "", joints=6, version="0.0.1",
                               more={"episode_id": [b"42"]}),
    "oxe_pusht": _old("columbia_cairlab_pusht_real", 10,
                      lambda r, l: {"observation/robot_state": r.pos[:, :2], **parts(r, command=zeros(r, 1)[:, 0])},
                      _WRIST, joints=6),
    "oxe_kuka_multimodal": _new(_named("stanford_kuka_multimodal", True), 20, lambda r, l: {
        "observation/ee_position": r.pos, "observation/ee_orientation": r.quaternions("xyzw"),
        "observation/joint_pos": r.joints, "observation/contact": zeros(r, 50),
        "observation/state": row(r.joints, zeros(r, 1)), "action": row(delta(r)[:, :3], zeros(r, 1))}),
    "oxe_nyu_rot": _new(_named("nyu_rot", True), 3, lambda r, l: state_action(
        row(of.pose_euler(r), closed(r)), row(delta(r), closed(r, commands=True)))),
    "oxe_hydra": _new(_named("stanford_hydra", True), 10, of.hydra, _WRIST),
    "oxe_austin_buds": _new(_named("austin_buds", True), 20, of.buds(0.08), _WRIST),
    "oxe_mutex": _new("utaustin_mutex", 20, of.buds(0.0757), _WRIST, sentence="open the drawer\nput the cup in"),
    "oxe_austin_sailor": _new(_named("austin_sailor", True), 20, of.sailor, _WRIST),
    "oxe_austin_sirius": _new(_named("austin_sirius", True), 20, of.sirius, _WRIST),
    "oxe_nyu_franka_play": _new(_named("nyu_franka_play", True), 3, of.franka_play, "image image_additional_view"),
    "oxe_maniskill": _new(_named("maniskill", True), 20, of.maniskill, _WRIST, depths="depth wrist_depth"),
    "oxe_furniture_bench": _new(_named("furniture_bench", True), 10, of.furniture, _WRIST),
    "oxe_ucsd_kitchen": _new(_named("ucsd_kitchen", True), 2, lambda r, l: state_action(
        row(r.joints, zeros(r, 14)), row(r.command_pos, r.euler("xyz", True), closed(r, commands=True), zeros(r, 1)))),
    "oxe_ucsd_pick_place": _new(_named("ucsd_pick_and_place", True), 3, lambda r, l: state_action(
        row(of.pose_euler(r, metres=10), 6.03 * opened(r)), row(delta(r, r.rate_hz)[:, :3], signed(r))),
        more={"episode_metadata/success": np.array([True]), "episode_metadata/n_transitions": np.array([24])}),
    "oxe_bc_z": _old("bc_z", 10, of.bc_z),
    "oxe_utokyo_xarm": _new(_named("utokyo_xarm_pick_and_place"), 10, lambda r, l: {
        "observation/end_effector_pose": row(r.pos, of.turned(r.euler())),
        "observation/joint_state": row(r.joints, zeros(r, 7)), "observation/joint_trajectory": zeros(r, 21),
        "action": row(r.command_pos, of.turned(r.euler("xyz", True)), closed(r, commands=True))},
        "image image2 hand_image"),
    "oxe_utokyo_bimanual": _new(_named("utokyo_xarm_bimanual"), 10, of.bimanual),
    "oxe_berkeley_mvp": _new(_named("berkeley_mvp"), 5, lambda r, l: {
        "observation/joint_pos": r.joints, "observation/pose": of.pose_quat(r),
        "observation/gripper": closed(r)[:, 0] > 0.5,
        "action": row(np.diff(r.joint_commands, axis=0, append=r.joint_commands[-1:]), closed(r, commands=True))},
        "hand_image"),
    "oxe_berkeley_rpt": _new(_named("berkeley_rpt"), 30, lambda r, l: {
        "observation/joint_pos": r.joints, "observation/gripper": closed(r)[:, 0] > 0.5,
        "action": row(np.diff(r.joint_commands, axis=0, append=r.joint_commands[-1:]), closed(r, commands=True))},
        "hand_image"),
    "oxe_kaist": _new(_named("kaist_nonprehensile"), 10, of.kaist),
    "oxe_cmu_exploration": _new(_named("cmu_franka_exploration", True), 10, lambda r, l: {
        "action": row(r.command_pos, r.euler("xyz", True), opened(r, commands=True), zeros(r, 1)),
        "structured_action": zeros(r, 8)}, "highres_image image"),
    "oxe_lsmo": _new(_named("tokyo_u_lsmo"), 10, lambda r, l: state_action(
        row(of.pose_euler(r), r.joints, closed(r)), row(delta(r), closed(r, commands=True))), joints=6),
    "oxe_dlr_sara_pour": _new(_named("dlr_sara_pour"), 10, lambda r, l: state_action(
        of.pose_euler(r, "zxy"), row(delta(r), zeros(r, 1)))),
    "oxe_dlr_sara_grid_clamp": _new(_named("dlr_sara_grid_clamp"), 10, lambda r, l: state_action(
        row(of.pose_euler(r, "zxy"), zeros(r, 6)), row(delta(r), closed(r, commands=True)))),
    "oxe_dlr_edan": _new(_named("dlr_edan_shared_control"), 5, lambda r, l: state_action(
        row(of.pose_euler(r, "zxy"), closed(r)), row(delta(r), closed(r, commands=True)))),
    "oxe_mask_vit": _new(_named("stanford_mask_vit"), 10, lambda r, l: {
        "observation/state": row(r.joints, zeros(r, 7), 0.04 * opened(r)),
        "observation/end_effector_pose": row(r.pos, r.euler()[:, 2:], opened(r)),
        "observation/high_bound": zeros(r, 5) + 1, "action": row(delta(r)[:, [0, 1, 2, 5]], signed(r))}),
    "oxe_asu_table_top": _new(_named("asu_table_top"), 12.5, of.asu, joints=6),
    "oxe_robocook": _new(_named("stanford_robocook"), 5, lambda r, l: state_action(
        row(of.pose_euler(r), 0.0767 * opened(r)), row(delta(r, r.rate_hz), np.gradient(opened(r), axis=0))),
        "image_1 image_2"),
    "oxe_imperial_wrist": _new("imperialcollege_sawyer_wrist_cam", 10, lambda r, l: state_action(
        opened(r), row(delta(r), closed(r, commands=True), zeros(r, 1))), _WRIST),
    "oxe_iamlab": _new(_named("iamlab_cmu_pickup_insert"), 20, lambda r, l: state_action(
        row(r.joints, opened(r), zeros(r, 12)),
        row(r.command_pos, r.quaternions("wxyz", True), opened(r, commands=True))), _WRIST),
    "oxe_d3field": _new("uiuc_d3field", 1, lambda r, l: {
        "observation/state": r.matrices(), "action": np.diff(r.pos, axis=0, prepend=r.pos[:1])},
        "image_1 image_2", depths="depth_1 depth_2"),
    "oxe_fanuc": _new("berkeley_fanuc_manipulation", 10, lambda r, l: {
        "observation/state": row(r.joints, closed(r), zeros(r, 6)),
        "observation/end_effector_state": of.pose_quat(r), "action": delta(r)}, _WRIST, joints=6),
    "oxe_cmu_food": _new("cmu_playing_with_food", 10, lambda r, l: state_action(
        of.pose_euler(r), zeros(r, 9)), "image finger_vision_1"),
    "oxe_play_fusion": _new("cmu_play_fusion", 5, lambda r, l: state_action(
        row(r.joints, 0.085 * opened(r)), row(zeros(r, 7), opened(r, commands=True), zeros(r, 1)))),
    "oxe_cmu_stretch": _new("cmu_stretch", 10, lambda r, l: state_action(
        row(r.pos, opened(r)), row(delta(r), opened(r, commands=True), zeros(r, 1)))),
    "oxe_gnm_recon": _new("berkeley_gnm_recon", 3, of.navigation, double=True),
    "oxe_gnm_cory_hall": _new("berkeley_gnm_cory_hall", 5, of.navigation, double=True),
    "oxe_gnm_sac_son": _new("berkeley_gnm_sac_son", 10, of.navigation, double=True),
    "oxe_fmb": _new("fmb", 10, lambda r, l: {
        "observation/joint_pos": r.joints, "observation/eef_pose": of.pose_quat(r),
        "observation/state_gripper_pose": opened(r)[:, 0], "observation/eef_force": zeros(r, 3),
        "action": row(delta(r), closed(r, commands=True))}, "image_side_1 image_side_2 image_wrist_1 image_wrist_2",
        more={"episode_metadata/episode_task": [b"insertion"]}),
    "oxe_dobbe": _new("dobbe", 3.75, lambda r, l: {
        "observation/xyz": r.pos, "observation/rot": r.euler(), "observation/gripper": opened(r),
        "observation/state": row(of.pose_euler(r), opened(r)), "action": row(delta(r), opened(r, commands=True))},
        "wrist_image"),
    "oxe_robo_set": _new("robo_set", 5, lambda r, l: state_action(
        row(r.joints, opened(r)), row(r.joint_commands, signed(r))), "image_left image_right image_top image_wrist"),
    "oxe_rh20t": _new("rh20t", 10, lambda r, l: {
        "observation/tcp_base": of.pose_quat(r, "wxyz"), "observation/gripper_width": 0.11 * opened(r),
        "action/tcp_base": row(r.command_pos, r.quaternions("wxyz", True)),
        "action/gripper": opened(r, commands=True)}, "image_front image_side_right image_wrist"),
    "libero_rlds": _new("libero_spatial_no_noops", 20, of.libero, _WRIST, version="1.0.0"),
    "droid_rlds": _new("droid_100", 15, of.droid, "exterior_image_1_left exterior_image_2_left wrist_image_left",
                       double=True, version="1.0.0", more={"episode_metadata/file_path": [b"/lab/success/run_1"]}),
    "galaxea_rlds": _new("sample_r1_lite", 15, of.galaxea, "image_camera_head image_camera_wrist_left",
                         joints=6, depths="depth_camera_wrist_left", version="1.0.0",
                         sentence="tidy the desk@\u62ff\u8d77\u676f\u5b50@pick up the cup"),
}  # fmt: skip
PLANS["oxe_language_table_sim"] = replace(PLANS["oxe_language_table"], tfds="language_table_sim")
PLANS["oxe_pr2_fridge"], PLANS["oxe_pr2_tabletop"] = (
    _new(
        _named(f"utokyo_pr2_{task}"),
        10,
        lambda r, l: state_action(
            row(of.pose_euler(r, metres=1000), 86.6 * opened(r)),
            row(delta(r)[:, :3] * 1000, delta(r)[:, 3:], closed(r, commands=True), zeros(r, 1)),
        ),
    )
    for task in ("opening_fridge", "tabletop_manipulation")
)


def generate(
    name: str,
    out: str | Path,
    seed: int = 0,
    episodes: int = 2,
    *,
    steps: int = 24,
    shards: int = 1,
    edit_episode: Callable[[Episode], None] | None = None,
    edit_info: Edit | None = None,
    edit_features: Edit | None = None,
    edit_record: Edit | None = None,
) -> list[tuple[Motion, Motion]]:
    """Write a set and return the motions (right, left) behind its episodes.

    Args:
        shards: files of the split ``train``; episodes are dealt out in turn.
        edit_episode, edit_info, edit_features, edit_record: changes before writing.

    Raises:
        KeyError: no such data set.
    """
    plan = PLANS[name]
    motions, written = [], [list[Episode]() for _ in range(shards)]
    first = 1000 * seed + zlib.crc32(name.encode()) % 1000 * 100_000  # two sets of one format are not one recording
    for i in range(episodes):
        r, l = simulate_arms(name, first + 2 * i, steps, plan.rate, plan.joints)
        e = episode_of(plan, r, l, i)
        if edit_episode is not None:
            edit_episode(e)
        motions.append((r, l))
        written[i % shards].append(e)
    edits = {"edit_info": edit_info, "edit_features": edit_features, "edit_record": edit_record}
    write_tfds(Path(out), plan.tfds, plan.version, {"train": written}, **edits)
    return motions


def episode_of(plan: Plan, r: Motion, l: Motion, number: int) -> Episode:
    """One episode of a plan: its columns, the flags of the format, cameras and the sentence."""
    n = r.steps
    columns = plan.columns(r, l)
    columns = columns if plan.double else of.f32(columns)
    for path in plan.packed:
        columns[path] = Packed(columns[path])
    flags = {"is_first": np.arange(n) == 0, "is_last": np.arange(n) == n - 1, "is_terminal": np.arange(n) == n - 1}
    last = (np.arange(n) == n - 1).astype(np.float32)
    steps: dict[str, Any] = {**flags, "reward": last, **columns}
    if plan.text == NEW:
        steps |= {"discount": np.ones(n, np.float32), "language_embedding": np.zeros((n, 512), np.float32)}
    if plan.text:
        steps[plan.text] = [f"{plan.sentence}".encode()] * n
    for i, view in enumerate(plan.views.split()):
        steps[f"observation/{view}"] = pictures(n, i + number)
    for view in plan.depths.split():
        steps[f"observation/{view}"] = pictures(n, depth=True)
    return Episode(steps, dict(plan.more))
