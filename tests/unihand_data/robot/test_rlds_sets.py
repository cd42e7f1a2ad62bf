"""RLDS data-set files on generated sets: one for each set of the mixture, and the motion behind them in the slots."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.curate.robot.checks import check_set
from unihand_data.curate.robot.convert import convert, raw_blocks
from unihand_data.curate.robot.derive import with_derived
from unihand_data.curate.robot.evidence import CheckSettings
from unihand_data.sources.robot.generate.rlds_sets import PLANS, generate
from unihand_data.sources.robot.registry import open_robot, specs
from unihand_data.sources.robot.spec import RobotSpec

SPECS = {s.name: s for s in specs() if s.container == "rlds"}
NAMES = sorted(SPECS)
#: grippers whose state is written as 0 or 1
ROUNDED = ("oxe_autolab_ur5", "oxe_berkeley_mvp", "oxe_berkeley_rpt")
#: sub-sets of the Open X-Embodiment table with a file of their own; LIBERO's four share one
_TABLE = """
fractal20220817_data kuka bridge bridge_dataset taco_play jaco_play berkeley_cable_routing roboturk
nyu_door_opening_surprising_effectiveness viola berkeley_autolab_ur5 toto language_table
columbia_cairlab_pusht_real stanford_kuka_multimodal+D nyu_rot+D stanford_hydra+D austin_buds+D
austin_sailor+D austin_sirius+D utaustin_mutex maniskill+D nyu_franka_play+D furniture_bench+D
ucsd_kitchen+D ucsd_pick_and_place+D bc_z utokyo_pr2_opening_fridge+C utokyo_pr2_tabletop_manipulation+C
utokyo_xarm_pick_and_place+C utokyo_xarm_bimanual+C berkeley_mvp+C berkeley_rpt+C kaist_nonprehensile+C
cmu_franka_exploration+D tokyo_u_lsmo+C dlr_sara_pour+C dlr_sara_grid_clamp+C stanford_mask_vit+C
asu_table_top+C stanford_robocook+C uiuc_d3field imperialcollege_sawyer_wrist_cam cmu_playing_with_food
cmu_play_fusion cmu_stretch dlr_edan_shared_control+C berkeley_fanuc_manipulation berkeley_gnm_recon
berkeley_gnm_cory_hall berkeley_gnm_sac_son fmb dobbe roboset rh20t iamlab_cmu_pickup_insert+C
libero_spatial_no_noops libero_object_no_noops libero_goal_no_noops libero_10_no_noops droid
"""
_ENDS = {"+D": "_dataset_converted_externally_to_rlds", "+C": "_converted_externally_to_rlds"}
OPEN_X = [name.removesuffix(name[-2:]) + _ENDS[name[-2:]] if name[-2:] in _ENDS else name for name in _TABLE.split()]


def test_every_file_has_a_generator():
    assert set(NAMES) == set(PLANS)


@pytest.mark.parametrize("tfds", OPEN_X)
def test_every_set_of_the_mixture_has_one_file(tfds):
    found = [n for n, s in SPECS.items() if any(re.fullmatch(p, tfds) for p in s.match.names)]
    assert len(found) == 1


@pytest.mark.parametrize("name", NAMES)
def test_slots_hold_the_motion_behind_the_file(made, name):
    _, opened, motions = made(name)
    for (spec, _, m), (r, l) in zip(opened, motions, strict=True):
        assert m.rate_hz == spec.rate_hz
        for side, truth in (("right", r), ("left", l)):
            position = m.state_of(f"{side}_eef_position")
            if position is not None:
                assert np.allclose(position[0], truth.pos[:, : position[0].shape[1]], atol=2e-5)
            rotation = m.state_of(f"{side}_eef_rotation")
            if rotation is not None:
                off = Rotation.from_rotvec(rotation[0]) * Rotation.from_rotvec(truth.rot).inv()
                assert off.magnitude().max() < 2e-3
            joints = m.state_of(f"{side}_arm")
            if joints is not None:
                assert np.allclose(joints[0], truth.joints, atol=1e-5)
            opening = m.state_of(f"{side}_gripper")
            if opening is not None and name not in ROUNDED:
                assert np.allclose(opening[0][:, 0], truth.gripper, atol=1e-4)
            command = m.action_of(f"{side}_gripper")
            if command is not None and m.action_source[f"{side}_gripper"] == "commanded":
                assert np.allclose(command[0][:, 0], truth.gripper_command, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_declared_columns_come_back_exactly(made, name):
    """Phi_e and its inverse on every block; realised actions keep the command beside them."""
    spec, episode, m = made(name)[1][0]
    raw = with_derived(episode, spec, "")
    blocks = raw_blocks(raw, spec, "state", "")
    unified = spec.layout_of_rows.to_unified(blocks, "state")
    back = spec.layout_of_rows.from_unified(
        unified.values, unified.slots, unified.mask, unified.raw_extra, kind="state", as_dict=True
    )
    for block, x in blocks.items():
        assert np.allclose(np.float32(back[block]), np.float32(x), rtol=1e-6, atol=2e-6)
    for block in spec.layout_of_rows.action:
        if block.mapped and block.source == "realised" and any(a["name"] == block.name for a in spec.action):
            given = raw_blocks(raw, spec, "action", "")[block.name]
            assert np.array_equal(m.raw_extra[f"action.{block.name}"], given)


def changed(spec: RobotSpec, kind: str, block: str, **changes) -> RobotSpec:
    """The data-set file with keys of one block replaced."""
    data = spec.model_dump()
    next(b for b in data[kind] if b["name"] == block).update(changes)
    return RobotSpec.model_validate(data)


@pytest.mark.parametrize(
    ("name", "kind", "block", "changes", "check"),
    [
        ("oxe_pr2_fridge", "state", "eef_position", {"unit": "m"}, "eef_range"),
        ("oxe_taco_play", "action", "gripper", {"range": {"closed": -1, "open": 1}}, "gripper_sign"),
        ("oxe_viola", "state", "gripper", {"range": {"closed": 0, "open": 0.01}}, "gripper_range"),
        ("oxe_maniskill", "action", "eef_position", {"command_scale": 10.0}, "commanded_motion"),
        ("oxe_autolab_ur5", "state", "eef_rotation", {"form": "quaternion_wxyz"}, "rotation_convention"),
    ],
)
def test_a_wrong_declaration_is_contradicted_by_the_data(tmp_path, name, kind, block, changes, check):
    generate(name, tmp_path, seed=4, steps=24, episodes=2)
    source = open_robot(str(tmp_path))
    episodes = [source.open(item)[1] for item in source.items()]
    wrong = changed(SPECS[name], kind, block, **changes)
    found = check_set(wrong, [(e, convert(e, wrong)) for e in episodes], CheckSettings())
    assert check in {f.check for f in found if f.verdict == "contradicts"}


def test_a_relative_gripper_is_held_and_starts_opposite(made):
    _, opened, motions = made("oxe_fractal")
    for (_, episode, m), (r, _) in zip(opened, motions, strict=True):
        assert set(np.unique(episode.columns["action/gripper_closedness_action"])) == {-1, 0, 1}
        assert np.array_equal(m.action_of("right_gripper")[0][:, 0], r.gripper_command)


def test_void_actions_of_bridge_are_masked_at_both_ends(made):
    _, opened, _ = made("bridge_rlds")
    for _, _, m in opened:
        assert not m.action_mask[0].any()
        assert not m.action_mask[-1].any()
        assert m.action_mask[1:-1].all()


def test_success_is_read_where_the_set_says_it(made):
    assert [e.success for _, e, _ in made("oxe_kuka")[1]] == [False, False]
    assert [e.success for _, e, _ in made("droid_rlds")[1]] == [True, True]
    assert [e.success for _, e, _ in made("oxe_viola")[1]] == [None, None]
    assert [e.success for _, e, _ in made("oxe_fractal")[1]] == [True, True]


def test_success_that_nobody_rated_is_unknown(tmp_path):
    generate("oxe_fractal", tmp_path, edit_record=lambda r: r.update({"aspects/has_aspects": np.array([0])}))
    source = open_robot(str(tmp_path))
    assert [source.open(item)[1].success for item in source.items()] == [None, None]
