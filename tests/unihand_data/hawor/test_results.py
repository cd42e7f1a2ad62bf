"""Reading HaWoR's files: the motion that was written comes back, and damage is named."""

from __future__ import annotations

import json

import joblib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.hands.hawor_config import HaworReadSettings
from unihand_data.hands.hawor_results import MEAN_WRIST, read_results
from unihand_data.sources.generate.mano_stand_in import stand_in, write_stand_ins
from unihand_data.values.camera import Intrinsics

SIDES = ("left", "right")
WORLD, TRACKS, SLAM = "world_space_res.pth", "tracks_0_40", "SLAM/hawor_slam_w_scale_0_40.npz"


@pytest.fixture(autouse=True)
def _no_mano(monkeypatch):
    monkeypatch.delenv("UNIHAND_MANO_DIR", raising=False)


def angle(a, b):
    return np.degrees((Rotation.from_rotvec(a).inv() * Rotation.from_rotvec(b)).magnitude())


def test_wrists_theta_and_camera_come_back_as_they_were_written(motion, tmp_path):
    result = read_results(motion.write(tmp_path / "r"))
    for k, track in enumerate((result.left, result.right)):
        assert track.side == SIDES[k]
        assert track.hand_model == "mano"
        assert track.valid.all()
        assert not track.interpolated.any()
        assert np.abs(track.wrist_pos - motion.wrist_pos[k]).max() < 1e-6
        assert angle(track.wrist_rot, motion.wrist_rot[k]).max() < 1e-4
        assert np.abs(track.theta - motion.theta[k]).max() < 1e-6
        assert np.allclose(track.beta, motion.beta[k, 0])
        assert np.allclose(track.confidence, 0.8)
    assert result.camera.method == "hawor"
    assert np.abs(result.camera.pose - motion.camera).max() < 1e-9  # the scale of 2 is multiplied back
    assert result.figures["scale"] == 2.0
    assert result.figures["wrist_mean_shape"] == 1.0


def test_a_frame_worked_out_by_hand(motion, tmp_path):
    """Camera 1 m along x, turned by +90 degrees about its y axis: camera z points along world x, camera x along -z.
    A filled-in right hand whose world translation is (3, 0.2, -0.5): the wrist is at (3, 0.2, -0.5) + J0, seen from the
    camera (2, 0.2, -0.5) + J0, so in the camera (-(-0.5 + J0z), 0.2 + J0y, 2 + J0x)."""
    detected = np.ones((2, 40), bool)
    detected[1, 20] = False
    motion.camera[20, :3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    motion.camera[20, :3, 3] = [1, 0, 0]
    folder = motion.write(tmp_path / "r", detected=detected)
    world = joblib.load(folder / WORLD)
    world[0][1, 20] = [3, 0.2, -0.5]
    world[1][1, 20] = [0, np.pi / 2, 0]  # the hand is turned as the camera is
    joblib.dump(world, folder / WORLD)
    right = read_results(folder).right
    assert right.interpolated[20]
    assert np.isnan(right.confidence[20])
    assert np.allclose(right.wrist_pos[20], [0.5 - 0.00618631, 0.2 + 0.00638343, 2 + 0.09566993], atol=1e-6)
    assert np.allclose(right.wrist_rot[20], 0, atol=1e-6)


def test_filled_frames_are_marked_and_only_kept_between_detections(motion, tmp_path):
    detected = np.zeros((2, 40), bool)
    detected[1, 5:15] = detected[1, 20:30] = True  # the left hand was never seen; HaWoR fills it all the same
    result = read_results(motion.write(tmp_path / "r", detected=detected))
    right = result.right
    assert np.flatnonzero(right.valid).tolist() == list(range(5, 30))
    assert np.flatnonzero(right.interpolated).tolist() == list(range(15, 20))
    assert np.isnan(right.confidence[15:20]).all()
    assert (right.confidence[~right.valid] == 0).all()
    assert np.isnan(right.wrist_pos[~right.valid]).all()
    assert np.abs(right.wrist_pos[15:20] - motion.wrist_pos[1, 15:20]).max() < 1e-5
    assert not result.left.valid.any()
    assert result.figures["det_mean"] == pytest.approx(0.8)
    none = read_results(tmp_path / "r", settings=HaworReadSettings(keep_infilled=False)).right
    assert np.array_equal(none.valid, detected[1])


def test_frames_the_infiller_left_out_stay_out(motion, tmp_path):
    """It never writes the last frame, and stops 120 frames after the last frame with both hands."""
    detected, filled = np.ones((2, 40), bool), np.ones((2, 40), bool)
    detected[0, 10:30] = filled[0, 25:30] = False
    left = read_results(motion.write(tmp_path / "r", detected=detected, filled=filled)).left
    assert left.interpolated[10:25].all()
    assert not left.valid[25:30].any()


def test_confidence_figures_are_of_detected_frames(motion, tmp_path):
    score = np.tile(np.linspace(0.2, 1.0, 40), (2, 1))
    result = read_results(motion.write(tmp_path / "r", confidence=score))
    assert result.figures["det_mean"] == pytest.approx(0.6, abs=1e-6)
    assert result.figures["det_p10"] == pytest.approx(np.quantile(np.linspace(0.2, 1, 40), 0.1), abs=0.01)


def test_the_clip_gets_its_own_times_back(motion, tmp_path):
    pts = 7.0 + np.arange(60) / 50.0  # a 50 Hz clip of which HaWoR saw 30 a second
    result = read_results(motion.write(tmp_path / "r"), pts=pts)
    assert len(result.left) == 60
    t = 30 * (pts - 7.0)
    for axis in range(3):
        expected = np.interp(t, np.arange(40), motion.wrist_pos[0, :, axis])
        assert np.allclose(result.left.wrist_pos[:, axis], expected, atol=1e-6)
    assert np.allclose(result.camera.pose[:, 0, 3], 0.3 * (pts - 7.0), atol=1e-6)
    longer = read_results(tmp_path / "r", pts=np.arange(100) / 30.0)
    assert not longer.left.valid[40:].any()  # nothing is made up after HaWoR's last row
    assert not longer.camera.valid[40:].any()


def test_a_trajectory_of_keyframes_is_interpolated_between_them(motion, tmp_path):
    folder = motion.write(tmp_path / "r")
    with np.load(folder / SLAM) as stored:
        data = dict(stored)
    data["tstamp"], data["traj"] = np.arange(0, 40, 3), data["traj"][::3]
    np.savez(folder / SLAM, **data)
    camera = read_results(folder).camera
    assert camera.valid.all()  # 0, 3 .. 39
    assert np.abs(camera.pose - motion.camera).max() < 1e-6  # it moves and turns evenly
    data["tstamp"], data["traj"] = data["tstamp"][1:-1], data["traj"][1:-1]
    np.savez(folder / SLAM, **data)
    camera = read_results(folder).camera
    assert np.flatnonzero(camera.valid).tolist() == list(range(3, 37))
    assert np.isnan(camera.pose[0]).all()


def test_the_users_mano_files_place_the_wrist(motion, tmp_path):
    """HaWoR turns the x sign of the left model's shape directions; J0 = regressor (template + shapes beta)."""
    mano = write_stand_ins(tmp_path / "mano")
    joints = []
    for k, side in enumerate(SIDES):
        numbers = stand_in(side)
        shapes = numbers.shapes.copy()
        if side == "left":
            shapes[:, 0] *= -1
        joints.append(np.tile(numbers.regressor[0] @ (numbers.template + shapes @ motion.beta[k, 0]), (40, 1)))
    detected = np.ones((2, 40), bool)
    detected[:, 15:20] = False
    folder = motion.write(tmp_path / "r", wrist_joint=np.stack(joints), detected=detected)
    result = read_results(folder, settings=HaworReadSettings(mano_dir=str(mano)))
    assert result.figures["wrist_mean_shape"] == 0.0
    for k, track in enumerate((result.left, result.right)):
        assert np.abs(track.wrist_pos - motion.wrist_pos[k]).max() < 1e-5


def test_without_mano_files_the_strict_setting_is_a_reject(motion, tmp_path):
    with pytest.raises(Reject, match=r"MANO_LEFT\.pkl") as caught:
        read_results(motion.write(tmp_path / "r"), settings=HaworReadSettings(wrist_joint="mano"))
    assert caught.value.reason == Reason.MISSING_FILE


def test_the_left_mean_wrist_is_the_mirror_of_the_right():
    assert MEAN_WRIST["left"].tolist() == [-0.09566993, 0.00638343, 0.00618631]


def test_the_error_of_bundle_adjustment_is_told_in_pixels_of_the_clip(motion, tmp_path):
    """DROID's picture of 160 x 96 has int(160 sqrt(384 * 512 / (160 * 96))) = 572 columns; an error of 0.25 at an
    eighth of it is 2 px there, 2 * 640 / 572 px in a clip 640 wide. Scales 1.9, 2, 2.1, 9: MAD 0.1 about 2.05."""
    folder = motion.write(tmp_path / "r")
    (folder / "unihand_sidecar.json").write_text(json.dumps({"dba_errors": [9, 0.25], "scales": [1.9, 2.0, 2.1, 9.0]}))
    figures = read_results(folder, intrinsics=Intrinsics(480, 480, 319.5, 191.5, 640, 384)).figures
    assert figures["dba_px"] == pytest.approx(8 * 0.25 * 640 / 572)
    assert figures["scale_mad"] == pytest.approx(1.4826 * 0.1 / 2.05)


def test_keypoints_are_posed_and_projected_where_the_lens_is_known(motion, tmp_path):
    lens = Intrinsics(120, 120, 79.5, 47.5, 160, 96)
    left = read_results(motion.write(tmp_path / "r"), intrinsics=lens).left
    assert np.allclose(left.keypoints[:, 0], left.wrist_pos)
    assert np.allclose(left.keypoints_px[:, 0], 120 * left.wrist_pos[:, :2] / left.wrist_pos[:, 2:] + [79.5, 47.5])
    assert left.figures["keypoints_generic"] == 1.0
    assert np.isnan(read_results(tmp_path / "r").left.keypoints).all()


def test_tensors_are_read_as_hawor_writes_them(make, tmp_path):
    pytest.importorskip("torch")
    motion = make(600)  # long enough for the first array of the joblib file to come late
    right = read_results(motion.write(tmp_path / "r", tensors=True)).right
    assert np.abs(right.wrist_pos - motion.wrist_pos[1]).max() < 1e-6


def test_hands_alone_are_read_without_slam(motion, tmp_path):
    detected = np.ones((2, 40), bool)
    detected[0, 10:15] = False
    folder = motion.write(tmp_path / "r", detected=detected)
    (folder / WORLD).unlink()
    (folder / SLAM).unlink()
    result = read_results(folder, with_camera=False)
    assert result.camera is None
    assert np.array_equal(result.left.valid, detected[0])
    assert np.abs(result.right.wrist_pos - motion.wrist_pos[1]).max() < 1e-9


def test_a_track_counts_for_the_side_most_of_its_boxes_have(motion, tmp_path):
    folder = motion.write(tmp_path / "r")
    path = folder / TRACKS / "model_tracks.npy"
    table = np.load(path, allow_pickle=True).item()
    for key, track in table.items():
        for box in track:
            box["det_box"][0, 4] = 0.5 if key == 1 else 0.7
        for box in track[:10]:
            box["det_handedness"] = 1 - box["det_handedness"]
    holder = np.empty((), object)
    holder[()] = table
    np.save(path, holder, allow_pickle=True)
    result = read_results(folder)
    assert np.allclose(result.left.confidence, 0.5)
    assert np.allclose(result.right.confidence, 0.7)


# damage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [WORLD, SLAM, f"{TRACKS}/model_tracks.npy", f"{TRACKS}/frame_chunks_all.npy",
                                  "cam_space/0/0_39.json"])  # fmt: skip
@pytest.mark.parametrize("what", ["gone", "empty", "half", "noise"])
def test_a_damaged_or_missing_file_is_named(motion, tmp_path, name, what):
    folder = motion.write(tmp_path / "r")
    path, data = folder / name, (folder / name).read_bytes()
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "noise": bytes(range(256)) * 40}[what])
    with pytest.raises(Reject, match=path.name.replace(".", r"\.")) as caught:
        read_results(folder)
    allowed = {
        "gone": {Reason.MISSING_FILE},
        "empty": {Reason.EMPTY},
        "half": {Reason.TRUNCATED, Reason.UNREADABLE},
        "noise": {Reason.UNREADABLE, Reason.UNSAFE_CONTENT, Reason.TRUNCATED},
    }
    assert caught.value.reason in allowed[what]
    assert caught.value.level == "item"


def test_a_folder_without_tracks_is_an_unfinished_run(tmp_path):
    with pytest.raises(Reject, match="did not finish") as caught:
        read_results(tmp_path)
    assert caught.value.reason == Reason.MISSING_FILE


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        (lambda w: w[0].__setitem__((1, 7), np.nan), Reason.BAD_VALUE, "pred_trans"),
        (lambda w: w[2].__setitem__((0, 7, 3), np.inf), Reason.BAD_VALUE, "pred_hand_pose"),
        (lambda w: w[0].__setitem__((1, 7), 1e6), Reason.BAD_VALUE, "pred_trans"),
        (lambda w: w[4].__setitem__((0, 3), False), Reason.CONTRADICTION, "pred_valid"),
        (lambda w: w.pop(), Reason.WRONG_TYPE, "entries"),
        (lambda w: w.__setitem__(1, w[1][:, :20]), Reason.WRONG_TYPE, "pred_rot"),
        (lambda w: w.__setitem__(3, "betas"), Reason.WRONG_TYPE, "pred_betas"),
        (lambda w: w[0].__iadd__(0.2), Reason.CONTRADICTION, "cam_space"),
    ],
)
def test_impossible_world_values_are_named(motion, tmp_path, change, reason, field):
    folder = motion.write(tmp_path / "r")
    world = joblib.load(folder / WORLD)
    change(world)
    joblib.dump(world, folder / WORLD)
    with pytest.raises(Reject, match=field) as caught:
        read_results(folder)
    assert caught.value.reason == reason


def test_a_filled_row_that_is_no_number_is_no_hand(motion, tmp_path):
    detected = np.ones((2, 40), bool)
    detected[0, 10:12] = False
    folder = motion.write(tmp_path / "r", detected=detected)
    world = joblib.load(folder / WORLD)
    world[0][0, 10] = np.nan
    joblib.dump(world, folder / WORLD)
    left = read_results(folder).left
    assert np.flatnonzero(~left.valid).tolist() == [10]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("scale", np.nan, Reason.BAD_VALUE),
        ("scale", 0.0, Reason.BAD_VALUE),
        ("traj", np.zeros((40, 7)), Reason.BAD_VALUE),
        ("traj", np.zeros((0, 7)), Reason.BAD_VALUE),
        ("traj", np.tile([0, 0, 0, 0, 0, 0, 1.0], (13, 1)), Reason.CONTRADICTION),
        ("traj", np.full((40, 7), np.nan), Reason.BAD_VALUE),
    ],
)
def test_an_impossible_trajectory_is_named(motion, tmp_path, field, value, reason):
    folder = motion.write(tmp_path / "r")
    with np.load(folder / SLAM) as stored:
        data = dict(stored)
    np.savez(folder / SLAM, **{**data, field: value})
    with pytest.raises(Reject, match=field) as caught:
        read_results(folder)
    assert caught.value.reason == reason


def test_a_hostile_pickle_is_refused(motion, tmp_path):
    import os
    import pickle

    class Boom:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'boom'}",))

    folder = motion.write(tmp_path / "r")
    (folder / WORLD).write_bytes(pickle.dumps([Boom()]))
    with pytest.raises(Reject, match="allow-list") as caught:
        read_results(folder)
    assert caught.value.reason == Reason.UNSAFE_CONTENT
    assert not (tmp_path / "boom").exists()
