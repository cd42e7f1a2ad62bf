"""HDF5 recordings: every documented tree, what publishers write differently, and files that lie about themselves.

Expected values are the simulated motion and the publisher's conventions, never what the reader computes.
"""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from helpers.robots import edited, one_file, opened
from helpers.samples import sample
from unihand_data.curate.robot.convert import convert
from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.sources.robot.generate.hdf5_sets import PLANS, generate
from unihand_data.sources.robot.registry import find, open_robot, proposal
from unihand_data.sources.robot.spec import load_spec, spec_names

NAMES = [n for n in spec_names() if load_spec(n).container == "hdf5"]


# every data-set file ------------------------------------------------------------------------------------------------


def test_every_file_has_a_generator():
    assert set(NAMES) == set(PLANS)


ARMS = {
    "robomind_franka": "r", "robomind_ur": "r", "robomind_agilex": "rl", "robomind_tienkung_gello": "rl",
    "robomind_tienkung_xsens": "rl", "robomind_fr3_dual": "rl", "robomind2_franka_dual": "rl", "agibot_world_h5": "rl",
    "agibot_world_h5_hands": "rl", "droid_raw": "r", "aloha_act": "rl", "aloha_act_packed": "rl", "robomimic_hdf5": "r",
}  # fmt: skip
POSES = ("robomind_franka", "agibot_world_h5", "droid_raw", "libero_hdf5", "robomimic_hdf5", "robocasa_hdf5")


@pytest.mark.parametrize("name", ARMS)
def test_arm_joints_reach_their_own_side(made, name):
    _, triples, motions = made(name)
    for (_, _, motion), (r, l) in zip(triples, motions):
        for side, m in (("right", r), ("left", l)):
            got = motion.state_of(f"{side}_arm")
            assert (got is not None) == (side[0] in ARMS[name])
            if got is not None:
                np.testing.assert_allclose(got[0], m.joints, atol=1e-6)


@pytest.mark.parametrize("name", POSES)
def test_poses_are_the_flange_in_metres_and_rotation_vectors(made, name):
    _, triples, motions = made(name)
    for (_, _, motion), (r, _) in zip(triples, motions):
        position, rotation = motion.state_of("right_eef_position"), motion.state_of("right_eef_rotation")
        np.testing.assert_allclose(position[0], r.pos, atol=1e-9)
        np.testing.assert_allclose(rotation[0], r.rot, atol=1e-6)


@pytest.mark.parametrize("name", ["robomind2_franka_dual", "agibot_world_h5", "droid_raw", "libero_hdf5", "aloha_act"])
def test_a_commanded_gripper_is_one_where_it_opens(made, name):
    _, triples, motions = made(name)
    for (_, _, motion), (r, _) in zip(triples, motions):
        values, known = motion.action_of("right_gripper")
        np.testing.assert_allclose(values[known], r.gripper_command[:, None][known], atol=1e-9)
        assert motion.action_source["right_gripper"] == "commanded"


def test_the_owners_choice_of_action_is_kept(made):
    """RoboMIND: master for AgileX and gello, the robot itself elsewhere."""
    for name in ("robomind_agilex", "robomind_tienkung_gello"):
        _, triples, motions = made(name)
        assert triples[0][2].action_source["right_arm"] == "commanded"
        np.testing.assert_allclose(triples[0][2].action_of("right_arm")[0], motions[0][0].joint_commands, atol=1e-6)
    for name in ("robomind_franka", "robomind_ur", "robomind_tienkung_xsens", "agibot_world_h5", "droid_raw"):
        assert made(name)[1][0][2].action_source["right_arm"] == "realised"


# words --------------------------------------------------------------------------------------------------------------


def test_robomind_has_a_task_a_summary_and_steps_by_picture_names(made):
    _, triples, motions = made("robomind_franka")
    texts = triples[0][1].texts
    assert [t.text for t in texts if t.level == "task"] == [motions[0][0].task, "placing the cup 0"]
    steps = [(t.text, t.start, t.stop) for t in texts if t.level == "subtask"]
    assert steps == list(motions[0][0].stages)


def test_agibot_reads_both_spellings_of_its_labels(made):
    for (_, e, _), (r, _) in zip(made("agibot_world_h5")[1], made("agibot_world_h5")[2]):
        assert [(t.text, t.start, t.stop) for t in e.texts if t.level == "subtask"] == list(r.stages)
        assert e.texts[0].text == r.task


def test_droid_takes_annotators_and_without_them_the_kind_of_task(tmp_path):
    generate("droid_raw", tmp_path, seed=1, episodes=1)
    assert len(opened(tmp_path).texts) == 2
    next(tmp_path.glob("aggregated-annotations-*.json")).unlink()
    assert [t.text for t in opened(tmp_path).texts] == ["Move object to a new position"]


def test_libero_without_its_attribute_is_named_by_its_file(tmp_path):
    generate("libero_hdf5", tmp_path, seed=1, episodes=1)
    path = one_file(tmp_path)
    with h5py.File(path, "a") as f:
        del f["data"].attrs["problem_info"]
    assert [t.text for t in opened(tmp_path).texts] == ["pick up the cup and place it on the shelf"]
    scene = path.with_name("KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5")
    path.rename(scene)
    assert [t.text for t in opened(tmp_path).texts] == ["turn on the stove"]
    scene.rename(scene.with_name("Demo-7.hdf5"))
    e = opened(tmp_path)
    assert e.texts == []
    assert [loss.reason for loss in e.losses] == [Reason.NO_TEXT]


def test_robomind2_writes_sentences_with_underscores(made):
    assert made("robomind2_franka_dual")[1][0][1].texts[0].text == "put the cup on shelf 0"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"start_frame": "camera_top_0002.jpg", "end_frame": "camera_top_9999.jpg"}, Reason.CONTRADICTION),
        ({"start_frame": 3, "end_frame": "camera_top_0009.jpg"}, Reason.BAD_VALUE),
        ({"start_frame": "camera_top_0009.jpg", "end_frame": "camera_top_0003.jpg"}, Reason.BAD_VALUE),
        ({"step_description": 17}, Reason.WRONG_TYPE),
    ],
)
def test_a_step_that_cannot_be_is_one_loss_and_the_others_stay(tmp_path, change, reason):
    generate("robomind_franka", tmp_path, seed=1, episodes=1)
    path = next(tmp_path.rglob("h5_franka_3rgb.json"))
    said = json.loads(path.read_text())
    said[0]["response"]["steps"][1] |= change
    path.write_text(json.dumps(said))
    e = opened(tmp_path)
    assert [(loss.reason, loss.level) for loss in e.losses] == [(reason, "row")]
    assert len([t for t in e.texts if t.level == "subtask"]) == 3


# clocks, missing commands, success ----------------------------------------------------------------------------------


def test_agibot_counts_nanoseconds_and_knows_which_commands_were_sent(made):
    _, triples, motions = made("agibot_world_h5")
    e = triples[0][1]
    np.testing.assert_allclose(e.timestamps, motions[0][0].times, atol=1e-6)
    unknown = np.isnan(e.columns["action/effector/position"]).all(axis=1)
    assert np.array_equal(np.flatnonzero(unknown), [i for i in range(40) if i % 6 == 5])


def test_agibot_commands_of_sent_steps_only_are_spread_over_the_steps(tmp_path):
    def shorter(members):
        sent = members["action/effector/index"]
        members["action/effector/position"] = members["action/effector/position"][sent]

    whole = opened(edited(tmp_path / "a", "agibot_world_h5", lambda m: None)).columns["action/effector/position"]
    spread = opened(edited(tmp_path / "b", "agibot_world_h5", shorter)).columns["action/effector/position"]
    assert np.array_equal(whole, spread, equal_nan=True)


def test_droid_rows_run_at_the_nominal_rate_and_tell_the_true_one(tmp_path):
    def waits(members):
        members["observation/timestamp/control/step_start"][10:] += 500

    e = opened(edited(tmp_path, "droid_raw", waits))
    assert e.timestamps is None
    assert (e.facts["clock"], e.facts["late_steps"]) == ("declared", 1)
    assert e.facts["fps_clock"] == pytest.approx(15, rel=0.02)


def test_droid_skipped_actions_are_void(tmp_path):
    def skip(members):
        members["observation/timestamp/skip_action"][3:6] = True

    e = opened(edited(tmp_path, "droid_raw", skip))
    assert e.facts["invalid_steps"] == [(3, 6)]
    motion = convert(e, load_spec("droid_raw"))
    assert not motion.action_mask[3:6].any()


def test_whole_second_stamps_are_compared_with_the_declared_rate(tmp_path):
    def slow(members):
        for name in members:
            if name.endswith("timestamp"):
                members[name] = members[name][0] + np.arange(200) // 3

    generate("robomind2_franka_dual", tmp_path / "good", seed=1, episodes=1, steps=200)
    low, high = opened(tmp_path / "good").facts["rate_by_whole_seconds"]
    assert low < 14 < high
    edited(tmp_path / "bad", "robomind2_franka_dual", slow, steps=200)
    with pytest.raises(Reject) as wrong:
        opened(tmp_path / "bad")
    assert wrong.value.reason is Reason.CONTRADICTION


def test_success_comes_from_the_folder_or_the_reward(made, tmp_path):
    assert made("robomind_franka")[1][0][1].success is True
    assert made("droid_raw")[1][0][1].success is True
    assert made("libero_hdf5")[1][0][1].success is True
    assert made("aloha_act")[1][0][1].success is None
    failed = edited(tmp_path / "l", "libero_hdf5", lambda m: m.update({"rewards": np.zeros(24)}))
    assert opened(failed).success is False
    generate("droid_raw", tmp_path / "d", seed=1, episodes=1)
    next((tmp_path / "d").rglob("success")).rename(next((tmp_path / "d").rglob("success")).with_name("failure"))
    assert opened(tmp_path / "d").success is False


def test_members_that_are_empty_by_design_are_facts(made):
    facts = made("agibot_world_h5")[1][0][1].facts
    assert "state/end/wrench" in facts["absent_columns"]
    assert "state/robot/position" in facts["absent_columns"]


# finding ------------------------------------------------------------------------------------------------------------


def test_one_agibot_tree_with_grippers_and_hands_is_two_sets(tmp_path):
    generate("agibot_world_h5", tmp_path, seed=1)
    generate("agibot_world_h5_hands", tmp_path, seed=2)
    source = open_robot(str(tmp_path))
    specs = [source.open(item)[0].name for item in source.items()]
    assert sorted(specs) == ["agibot_world_h5"] * 2 + ["agibot_world_h5_hands"] * 2


def test_a_folder_with_and_without_pictures_of_robomimic_is_one_set_with_losses_named(tmp_path):
    generate("robomimic_hdf5", tmp_path, seed=1, episodes=2)
    plain = one_file(tmp_path).with_name("low_dim_v15.hdf5")
    with h5py.File(one_file(tmp_path)) as f, h5py.File(plain, "w") as g:
        f.copy("data", g)
        for demo in g["data"].values():
            for name in [n for n in demo["obs"] if n.endswith("_image")]:
                del demo["obs"][name]
            demo["actions"][...] *= 0.5
    source = open_robot(str(tmp_path))
    got = [source.open(item)[1] for item in source.items()]
    assert sorted(len(e.views) for e in got) == [0, 0, 2, 2]


def test_a_franka_episode_with_two_cameras_less_is_still_one(tmp_path):
    def without_top(members):
        del members["observations/rgb_images/camera_top"], members["observations/depth_images/camera_top"]

    e = opened(edited(tmp_path, "robomind_franka", without_top))
    assert sorted(v.rpartition("_")[2] for v in e.views) == ["left", "right"]
    assert e.losses == []


def test_ten_follows_nine_in_a_file_of_many(tmp_path):
    generate("robomimic_hdf5", tmp_path, seed=1, episodes=11, steps=8)
    keys = [item.key.rpartition("_")[2] for item in open_robot(str(tmp_path)).items()]
    assert keys == [str(i) for i in range(11)]


def test_pictures_of_an_episode_without_numbers_are_counted_as_ignored(tmp_path):
    generate("agibot_world_h5", tmp_path, seed=1, episodes=2, steps=8)
    sorted(tmp_path.rglob("proprio_stats.h5"))[1].unlink()
    source = open_robot(str(tmp_path))
    assert len(list(source.items())) == 1
    assert source.ignored() == 3 + 8 + 1  # videos, depth pictures, intrinsics


def test_an_unknown_layout_is_refused_and_named(tmp_path):
    with h5py.File(tmp_path / "log.h5", "w") as f:
        f["sensor/x"] = np.zeros(10)
    with pytest.raises(DatasetRefused, match="no HDF5 layout that is known here; it holds sensor/x"):
        open_robot(str(tmp_path))


def test_a_robot_without_a_data_set_file_is_refused_with_a_proposal(tmp_path):
    generate("robomind_franka", tmp_path, seed=1)
    folder = next(tmp_path.rglob("h5_franka_3rgb"))
    folder.rename(folder.with_name("h5_other_arm"))
    with pytest.raises(DatasetRefused, match="no data-set file describes"):
        open_robot(str(tmp_path))
    files = [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*")) if p.is_file()]
    assert "not robomind_franka: name 'h5_other_arm'" in proposal(find(str(tmp_path), files)[0])


def test_the_published_annotations_of_robomind_are_read(tmp_path):
    """One recording whose place the published JSON names; its sentence comes from the published table."""
    generate("robomind_franka", tmp_path, seed=1, episodes=1, steps=215)
    release = tmp_path / "benchmark1_0_release"
    old = next(release.rglob("data"))
    place = release / "h5_franka_1rgb/bread_in_basket/success_episodes/train/1016_161244"
    place.mkdir(parents=True)
    old.rename(place / "data")
    (release / "h5_franka_3rgb/cup_on_shelf/success_episodes/train/1014_140000").rmdir()
    for source, target in (
        ("h5_franka_1rgb.json", release / "language_description_annotation_json/h5_franka_1rgb.json"),
        ("RoboMIND_v1_2_instr.csv", tmp_path / "RoboMIND_v1_2_instr.csv"),
    ):
        target.write_bytes(sample("robomind_annotations", source).read_bytes())
    e = opened(tmp_path)
    assert e.losses == []
    assert "placing bread into a basket" in [t.text for t in e.texts]
    steps = [(t.text, t.start, t.stop) for t in e.texts if t.level == "subtask"]
    assert steps[0] == ("move towards the bread", 0, 24)
    assert len(steps) == 5
    assert len([t for t in e.texts if t.level == "task"]) == 2
