"""Recordings with side files: Bridge raw folders and NumPy archives, what differs between them, hostile pickles.

Expected values are the simulated motion and the publisher's conventions, never what the reader computes.
"""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.robots import opened
from helpers.samples import sample
from unihand_data.curate.robot.checks import check_set, contradiction
from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.evidence import CheckSettings
from unihand_data.curate.robot.views import view_words
from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.sources.robot.generate.video_sidecar_sets import PLANS, generate
from unihand_data.sources.robot.registry import open_robot
from unihand_data.sources.robot.spec import load_spec, spec_names

NAMES = [n for n in spec_names() if load_spec(n).container == "video_sidecar"]
#: the replay of the D1 kit turns motions of the wrist by -90 degrees about z
YAW = Rotation.from_euler("z", -90, degrees=True)


@pytest.fixture
def traj(tmp_path):
    """(input folder, folder of its one Bridge trajectory)."""
    generate("bridge_raw", tmp_path, seed=1, episodes=1)
    return tmp_path, next(tmp_path.rglob("obs_dict.pkl")).parent


def altered(path: Path, change) -> None:
    value = pickle.loads(path.read_bytes())  # written by the generator
    path.write_bytes(pickle.dumps(change(value)))


def rearchived(folder: Path, change) -> None:
    path = next(folder.glob("*.npz"))
    with np.load(path) as archive:
        members = dict(archive)
    change(members)
    np.savez(path, **members)


# every data-set file ------------------------------------------------------------------------------------------------


def test_every_file_has_a_generator():
    assert set(NAMES) == set(PLANS)


# Bridge -------------------------------------------------------------------------------------------------------------


def test_bridge_poses_gripper_and_joints_are_the_motion(made):
    _, triples, motions = made("bridge_raw")
    for (_, _, motion), m in zip(triples, motions):
        np.testing.assert_allclose(motion.state_of("right_eef_position")[0], m.pos, atol=1e-9)
        np.testing.assert_allclose(motion.state_of("right_eef_rotation")[0], m.rot, atol=1e-6)
        np.testing.assert_allclose(motion.state_of("right_gripper")[0][:, 0], m.gripper, atol=1e-9)
        np.testing.assert_allclose(motion.state_of("right_arm")[0], m.joints, atol=1e-9)
        values, known = motion.action_of("right_gripper")
        assert known[:-1].all()
        assert not known[-1].any()
        np.testing.assert_allclose(values[:-1, 0], m.gripper_command[:-1])


def test_bridge_commands_before_the_change_answer_one_step_later(tmp_path):
    from unihand_data.sources.robot.generate.motion import simulate
    from unihand_data.sources.robot.generate.video_sidecar_sets import _bridge

    m = simulate(3, 24, 5, 6)
    _bridge(tmp_path / "old", m, 0, "2021-07-22_10-00-00")
    _bridge(tmp_path / "new", m, 0, "2021-07-23_10-00-00")
    old, new = (opened(tmp_path / k).columns["policy/actions"] for k in ("old", "new"))
    assert np.array_equal(old[1:], new[:-1])
    assert np.isnan(old[0]).all()
    assert np.isnan(new[-1]).all()


def test_bridge_sentences_without_their_confidence_lines(traj):
    folder, place = traj
    (place / "lang.txt").write_text(
        "Put the cup  on the shelf\nconfidence: 0.8\nmove cup\nConfidence:0.1\n\nmove cup\n"
    )
    assert [t.text for t in opened(folder).texts] == ["Put the cup on the shelf", "move cup"]
    for content in ("", "confidence: 1\n", None):
        (place / "lang.txt").unlink(missing_ok=True)
        if content is not None:
            (place / "lang.txt").write_text(content)
        e = opened(folder)
        assert e.texts == []
        assert [(loss.reason, loss.level) for loss in e.losses] == [(Reason.NO_TEXT, "row")]


def test_bridge_pictures_are_in_the_order_of_their_numbers(made):
    e = made("bridge_raw")[1][0][1]
    assert sorted(e.views) == ["depth_images0", "images0", "images1"]
    place = Path(e.item.uri)
    assert e.views["images0"].pictures[10] == (place / "images0/im_10.jpg").read_bytes()
    assert e.views["depth_images0"].depth


@pytest.mark.parametrize(("file", "reason"), [("im_5.jpg", Reason.TRUNCATED), ("im_23.jpg", Reason.TRUNCATED)])
def test_a_camera_with_a_missing_picture_is_one_loss(traj, file, reason):
    folder, place = traj
    (place / "images0" / file).unlink()
    e = opened(folder)
    assert "images0" not in e.views
    assert [(loss.reason, loss.level) for loss in e.losses] == [(reason, "row")]


def test_more_pictures_than_steps_are_a_loss(traj):
    folder, place = traj
    (place / "images1/im_24.jpg").write_bytes((place / "images1/im_0.jpg").read_bytes())
    assert [loss.reason for loss in opened(folder).losses] == [Reason.CONTRADICTION]


def test_commands_may_be_plain_arrays(traj):
    folder, place = traj
    before = opened(folder).columns["policy/actions"]
    altered(place / "policy_out.pkl", lambda rows: [r["actions"] for r in rows])
    assert np.array_equal(opened(folder).columns["policy/actions"], before, equal_nan=True)


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("policy_out", lambda rows: rows[:-3], Reason.TRUNCATED),
        ("policy_out", lambda rows: rows * 2, Reason.CONTRADICTION),
        ("policy_out", lambda rows: {"actions": rows}, Reason.WRONG_TYPE),
        ("policy_out", lambda rows: [], Reason.WRONG_TYPE),
        ("policy_out", lambda rows: [{"action": 1}, *rows[1:]], Reason.WRONG_TYPE),
        ("policy_out", lambda rows: [{"actions": np.zeros(8)}, *rows[1:]], Reason.CONTRADICTION),
        ("policy_out", lambda rows: [{"actions": np.array(["x"] * 7)}, *rows[1:]], Reason.WRONG_TYPE),
        ("obs_dict", lambda d: [d], Reason.WRONG_TYPE),
        ("obs_dict", lambda d: {k: v for k, v in d.items() if k != "full_state"}, Reason.MISSING_FIELD),
        ("obs_dict", lambda d: {**d, "full_state": np.zeros((0, 7))}, Reason.MISSING_FIELD),
        ("obs_dict", lambda d: {**d, "full_state": d["full_state"][:12]}, Reason.CONTRADICTION),
        ("obs_dict", lambda d: {**d, "full_state": d["full_state"][:, :6]}, Reason.CONTRADICTION),
        ("obs_dict", lambda d: {**d, "full_state": d["full_state"].tolist()}, Reason.MISSING_FIELD),
    ],
)
def test_numbers_that_contradict_each_other_end_the_episode(tmp_path, file, change, reason):
    generate("bridge_raw", tmp_path, seed=1, episodes=2)
    place = sorted(tmp_path.rglob("obs_dict.pkl"))[1].parent
    altered(place / f"{file}.pkl", change)
    source = open_robot(str(tmp_path))
    first, second = source.items()
    assert source.open(first)[1].losses == []
    with pytest.raises(Reject) as wrong:
        source.open(second)
    assert wrong.value.reason is reason
    assert str(place) in wrong.value.message


class Command:
    """What a hostile pickle would run."""

    def __reduce__(self):
        return (eval, ("__import__('os').system('touch /tmp/unihand_was_here')",))


def test_a_pickle_that_calls_something_is_refused_and_not_run(traj):
    folder, place = traj
    (place / "policy_out.pkl").write_bytes(pickle.dumps([{"actions": Command()}]))
    with pytest.raises(DatasetRefused, match=re.escape("asks for builtins.eval, which is not on the allow-list")):
        open_robot(str(folder))
    with pytest.raises(DatasetRefused):
        open_robot(str(folder), "bridge_raw")
    assert not Path("/tmp/unihand_was_here").exists()


def test_collections_beside_each_other_are_sets_of_their_own(tmp_path):
    generate("bridge_raw", tmp_path / "a", seed=1, episodes=1)
    generate("bridge_raw", tmp_path / "b", seed=2, episodes=1)
    assert sorted(one.found.root for one in open_robot(str(tmp_path)).sets) == ["a/bridge_data_v2", "b/bridge_data_v2"]


def test_a_folder_given_below_the_scene_is_found_too(traj):
    folder, place = traj
    dated = place.parents[2]  # <scene>/<task>/<number>/<date>
    assert opened(dated.parent).steps == 24
    assert opened(folder).content_id == opened(dated.parents[1]).content_id


# NumPy archives -----------------------------------------------------------------------------------------------------


def test_the_wrist_is_turned_as_the_kit_turns_it(made):
    _, triples, motions = made("beingbeyond_d1_teleop")
    for (_, e, motion), m in zip(triples, motions):
        np.testing.assert_allclose(e.timestamps, m.times, atol=1e-9)
        np.testing.assert_allclose(motion.state_of("right_eef_position")[0], YAW.apply(m.pos), atol=1e-9)
        turned = (YAW * Rotation.from_rotvec(m.rot)).as_matrix()
        got = Rotation.from_rotvec(motion.state_of("right_eef_rotation")[0]).as_matrix()
        np.testing.assert_allclose(got, turned, atol=1e-6)


def test_words_of_an_archive_in_json_or_text(made, tmp_path):
    _, triples, motions = made("beingbeyond_d1_teleop")
    steps = [(t.text, t.start, t.stop) for t in triples[0][1].texts if t.level == "subtask"]
    assert steps == list(motions[0].stages)
    generate("beingbeyond_d1_teleop", tmp_path, seed=1, episodes=1)
    next(tmp_path.glob("*.json")).unlink()
    assert [loss.reason for loss in opened(tmp_path).losses] == [Reason.NO_TEXT]
    (tmp_path / "take_0.txt").write_text("wave\n\nwave twice\n")
    assert [t.text for t in opened(tmp_path).texts] == ["wave", "wave twice"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("[]", Reason.WRONG_TYPE),
        ("{", Reason.UNREADABLE),
        ('{"instruction": 3}', Reason.WRONG_TYPE),
        ('{"task": "x", "steps": [{"text": "y", "start": 5, "end": 99}]}', Reason.BAD_VALUE),
        ('{"task": "x", "steps": [{"text": "y", "start": "0", "end": 3}]}', Reason.BAD_VALUE),
        ('{"task": "x", "steps": 3}', Reason.BAD_VALUE),
        ("[" * 100_000, Reason.UNREADABLE),
    ],
)
def test_words_that_cannot_be_are_a_loss_and_the_numbers_stay(tmp_path, said, reason):
    generate("beingbeyond_d1_teleop", tmp_path, seed=1, episodes=1)
    (tmp_path / "take_0.json").write_text(said)
    e = opened(tmp_path)
    assert e.steps == 24
    assert reason in [loss.reason for loss in e.losses]
    assert {loss.level for loss in e.losses} == {"row"}


def test_several_videos_are_several_cameras(tmp_path):
    generate("beingbeyond_d1_teleop", tmp_path, seed=1, episodes=1)
    (tmp_path / "take_0_side.mp4").write_bytes((tmp_path / "take_0.mp4").read_bytes())
    (tmp_path / "take_0_top.mp4").write_bytes(b"<html>")
    e = opened(tmp_path)
    assert sorted(e.views) == ["side", "video"]
    assert [loss.reason for loss in e.losses] == [Reason.UNREADABLE]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m["timestamps"].__setitem__(5, m["timestamps"][4]), Reason.BAD_VALUE),
        (lambda m: m["timestamps"].__setitem__(5, np.nan), Reason.BAD_VALUE),
        (lambda m: m.update(right_pinch=np.zeros((24, 2))), Reason.CONTRADICTION),
        (lambda m: m.update(right_wrist_poses=m["right_wrist_poses"][:10]), Reason.MISSING_FIELD),
    ],
)
def test_archives_that_contradict_themselves_are_rejected(tmp_path, change, reason):
    generate("beingbeyond_d1_teleop", tmp_path / "one", seed=1, episodes=1)
    source = open_robot(str(tmp_path / "one"))
    rearchived(tmp_path / "one", change)
    with pytest.raises(Reject) as wrong:
        convert(source.open(next(source.items()))[1], load_spec("beingbeyond_d1_teleop"))
    assert wrong.value.reason is reason


def test_cameras_of_archives_are_announced_by_names_so_that_each_has_one_number(tmp_path):
    """The second recording has a camera that sorts before those of the first."""
    generate("beingbeyond_d1_teleop", tmp_path / "set", seed=1, episodes=2)
    film = (tmp_path / "set" / "take_1.mp4").read_bytes()
    for name in ("take_0_side.mp4", "take_1_front.mp4", "take_1_side.mp4", "other_side.mp4", "take_1_.mp4"):
        (tmp_path / "set" / name).write_bytes(film)
    source = open_robot(str(tmp_path / "set"))
    announced = source.sets[0].found.views
    assert announced == ("front", "side", "video")
    spec = load_spec("beingbeyond_d1_teleop")
    views = [tuple(sorted(source.open(item)[1].views)) for item in source.items()]
    assert views == [("side", "video"), ("front", "side", "video")]
    for seen in views:
        assert view_words(spec, announced, seen) == {"video": "ego", "front": "third_1", "side": "third_2"}


def test_a_video_is_of_the_recording_with_the_longest_name(tmp_path):
    """``take_0_1.mp4`` is camera ``1`` of ``take_0`` only where no recording is called ``take_0_1``."""
    generate("beingbeyond_d1_teleop", tmp_path, seed=1, episodes=1)
    for suffix in (".npz", ".mp4", ".json"):
        (tmp_path / f"take_0_1{suffix}").write_bytes((tmp_path / f"take_0{suffix}").read_bytes())
    (tmp_path / "take_0_1_side.mp4").write_bytes((tmp_path / "take_0.mp4").read_bytes())
    source = open_robot(str(tmp_path))
    views = {Path(item.uri).stem: sorted(source.open(item)[1].views) for item in source.items()}
    assert views == {"take_0": ["video"], "take_0_1": ["side", "video"]}
    (tmp_path / "take_0_1.npz").unlink()
    assert sorted(opened(tmp_path).views) == ["1", "1_side", "video"]


def test_archives_without_a_clock_are_no_recordings(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    with pytest.raises(DatasetRefused, match="no robot data"):
        open_robot(str(tmp_path))


def test_an_archive_of_objects_goes_through_the_allow_list(tmp_path):
    generate("beingbeyond_d1_teleop", tmp_path, seed=1, episodes=1)
    source = open_robot(str(tmp_path))
    rearchived(tmp_path, lambda m: m.update(note=np.array([Command()], dtype=object)))
    with pytest.raises(Reject) as wrong:
        source.open(next(source.items()))
    assert wrong.value.reason is Reason.UNSAFE_CONTENT


# real bytes ---------------------------------------------------------------------------------------------------------


def test_the_published_d1_recording_converts_row_by_row(tmp_path):
    recording = sample("beingbeyond_d1_demo", "demo_data.npz")
    (tmp_path / recording.name).write_bytes(recording.read_bytes())
    e = opened(tmp_path)
    spec = load_spec("beingbeyond_d1_teleop")
    motion = convert(e, spec)
    with np.load(recording) as raw:
        poses, times = raw["right_wrist_poses"], raw["timestamps"]
    assert motion.times.shape == (1357,)
    np.testing.assert_allclose(motion.times, times - times[0])
    np.testing.assert_allclose(motion.state_of("right_eef_position")[0], YAW.apply(poses[:, :3, 3]), atol=1e-12)
    got = Rotation.from_rotvec(motion.state_of("right_eef_rotation")[0]).as_matrix()
    np.testing.assert_allclose(got, YAW.as_matrix() @ poses[:, :3, :3], atol=1e-6)
    assert motion.rate_hz == pytest.approx(59, abs=1)
    assert contradiction(spec, check_set(spec, [(e, motion)], CheckSettings())) == ""
    assert sorted(loss.reason for loss in e.losses) == [Reason.NO_TEXT]


def test_the_published_libero_observation_has_the_layout_that_its_files_declare():
    """Position, axis-angle and two fingers that mirror each other; the pickle needs nothing but arrays and text."""
    from unihand_data.untrusted.unpickle import safe_load

    said = safe_load(sample("libero_observation_pkl", "sample_libero_spatial_observation.pkl"))
    x = said["state"]
    assert x.shape == (8,)
    assert 0.8 < x[2] < 1.6  # the table's height above the world's origin
    assert np.linalg.norm(x[3:6]) == pytest.approx(np.pi, abs=0.1)  # the gripper looks down
    assert x[6] == pytest.approx(-x[7], abs=1e-3)
    assert json.dumps(said["task_description"])
