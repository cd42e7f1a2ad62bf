"""LeRobot data-set files on generated sets: what is written comes back, and where it reaches the slots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unihand_data.curate.robot.convert import raw_blocks
from unihand_data.curate.robot.derive import with_derived
from unihand_data.sources.listing import list_files
from unihand_data.sources.robot.generate.lerobot_sets import PLANS, generate
from unihand_data.sources.robot.registry import find, matches
from unihand_data.sources.robot.spec import load_spec, spec_names

NAMES = [n for n in spec_names() if load_spec(n).container == "lerobot"]
#: one folder of OXE-AugE serves all its robots
FOLDERS = [n for n in NAMES if not n.startswith("oxe_auge_")] + ["oxe_auge_panda"]


def test_every_file_has_a_generator():
    assert [n for n in NAMES if n not in PLANS] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_state_columns_come_back_from_the_slots(made, name):
    for spec, e, motion in made(name)[1]:
        raw = raw_blocks(with_derived(e, spec, "test"), spec, "state", "test")
        void = [i for a, b in e.facts.get("invalid_steps", []) for i in range(a, b)]
        dense, mask = np.zeros((e.steps, 200)), np.zeros((e.steps, 200), bool)
        dense[:, motion.state_slots], mask[:, motion.state_slots] = motion.state, motion.state_mask
        back = spec.layout_of_rows.from_unified(
            dense, np.arange(200), mask, motion.raw_extra, kind="state", as_dict=True
        )
        keep = np.setdiff1d(np.arange(e.steps), void)
        assert set(raw) <= set(back)
        for block, values in raw.items():
            np.testing.assert_allclose(
                np.float32(back[block])[keep], np.float32(values)[keep], rtol=1e-6, atol=1e-6, err_msg=block
            )


def test_arms_and_poses_are_the_simulated_ones(made):
    """The whole way against numbers that no reader or converter made."""
    for name, slots, truth in [
        ("unitree_g1_inspire", range(57, 64), lambda r, l: l.joints),
        ("unitree_g1_inspire", range(32, 36), lambda r, l: 1.7 * l.fingers[:, :4]),
        ("so100_old_degrees", range(50, 55), lambda r, l: r.joints),
        ("so101_degrees", range(50, 55), lambda r, l: 1.6 * r.joints),
        ("galaxea_open_world", range(9, 12), lambda r, l: l.pos),
        ("interndata_m1", range(3, 6), lambda r, l: r.rot),
        ("agibot_world_states", range(12, 15), lambda r, l: l.rot),
        ("robocoin_cobot_magic", range(3, 6), lambda r, l: r.rot),
        ("droid_lerobot", [18], lambda r, l: r.gripper[:, None]),
        ("galaxea_open_world", [19], lambda r, l: l.gripper[:, None]),
        ("robocasa_365", range(3, 6), lambda r, l: r.rot),
        ("interndata_a1_piper", range(57, 63), lambda r, l: l.joints),
        ("interndata_a1_piper", [18, 19], lambda r, l: np.stack([r.gripper, l.gripper], axis=1)),
        ("interndata_a1_genie1", range(3, 6), lambda r, l: r.rot),
        ("interndata_a1_franka", range(0, 3), lambda r, l: r.pos),
        ("robocoin_galbot_g1", range(50, 57), lambda r, l: r.joints),
        ("robocoin_galbot_g1", [64, 65], lambda r, l: r.head),
        ("unitree_g1_dex1", [18], lambda r, l: r.gripper[:, None]),
    ]:
        _, opened, motions = made(name)
        for (_, _, motion), (r, l) in zip(opened, motions):
            at = [motion.state_slots.tolist().index(s) for s in slots]
            np.testing.assert_allclose(motion.state[:, at], truth(r, l), atol=2e-5, err_msg=name)


def test_commands_in_controller_units_are_metres(made):
    for name in ("libero_ipec", "robocasa_365", "metaworld_experts"):
        _, opened, motions = made(name)
        for (_, _, motion), (r, _) in zip(opened, motions):
            at = [motion.action_slots.tolist().index(s) for s in range(3)]
            np.testing.assert_allclose(motion.action[:-1, at], np.diff(r.pos, axis=0), atol=1e-6, err_msg=name)
            assert motion.action_source["right_eef_position"] == "commanded"


def test_no_find_fits_two_files(tmp_path):
    """Each generated set against all files at once, those of other containers included."""
    for name in ("aloha_lerobot", "libero_ipec", "bridge_lerobot", "own_fr3_inspire", "robocoin_g1edu_u3"):
        generate(name, tmp_path / name, steps=8, episodes=1)
    for found in find(str(tmp_path), list_files(str(tmp_path))):
        assert len(matches(found)) == 1


def test_every_robot_of_the_paper_is_reached_or_has_a_reason():
    from unihand_data.sources.robot.table import UNREACHED, reached

    without = {robot for robot, names in reached().items() if not names}
    assert without == set(UNREACHED)
    assert len(reached()) == 32, "30 of Table 1, two more of Table 2"


def test_robots_of_one_type_are_told_apart_by_the_name_of_the_set(tmp_path):
    for name in ("robocoin_agibot_g1", "robocoin_tianqing_a2"):
        generate(name, tmp_path, steps=8, episodes=1)
    found = {f.name: [m.name for m in matches(f)] for f in find(str(tmp_path), list_files(str(tmp_path)))}
    assert found == {"AgiBot-g1_put_away": ["robocoin_agibot_g1"], "Tianqin_A2_put_away": ["robocoin_tianqing_a2"]}


def test_a_data_set_that_maps_a_gripper_alone_is_capped_and_the_table_says_so():
    from unihand_data.sources.robot.spec import load_spec, spec_names
    from unihand_data.sources.robot.table import gripper_alone, markdown

    alone = [s for s in map(load_spec, spec_names()) if gripper_alone(s)]
    assert {s.name for s in alone} >= {"oxe_nyu_door", "oxe_cmu_stretch", "oxe_imperial_wrist", "so101_normalised"}
    assert {s.name: s.max_weight for s in alone} == {s.name: 0.01 for s in alone}
    assert markdown().count("gripper alone |") == len(alone)


def test_the_table_in_the_docs_is_the_one_the_yaml_files_give():
    from unihand_data.pages import filled
    from unihand_data.sources.robot.table import parts

    page = (Path(__file__).resolve().parents[3] / "docs" / "robot_sources.md").read_text()
    assert filled(page, parts()) == page, "python -m unihand_data.sources.robot.table docs/robot_sources.md writes it"
