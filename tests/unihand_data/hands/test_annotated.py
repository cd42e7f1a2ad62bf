"""Hands of the data set on the clip's frames."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.hands.annotated import annotated_result, resample_camera
from unihand_data.hands.mano_variants import ARIA_TO_21, keypoint_track, reorder_keypoints
from unihand_data.values.camera import CameraTrack
from unihand_data.values.clip import ClipRef
from unihand_data.values.recording import Recording, SourceItem


def _recording(tracks, times, **kwargs):
    item = SourceItem("take", "set/take.hdf5", "set")
    return Recording(item, "set/take.mp4", "0" * 32, "take", hands=tracks, hands_t=times, **kwargs)


def _clip(pts, camera=None):
    return ClipRef("set/take.mp4", np.asarray(pts, float), 1280, 720, intrinsics=camera)


def test_poses_between_annotated_frames_are_interpolated_and_none_is_made_up_outside(
    moving_hand, as_track, degrees_between, camera, project
):
    truth = moving_hand("right", 61)
    track, every = as_track(truth), slice(0, 61, 2)  # 15 Hz annotation
    sparse = _only_rows(track, every)
    pts = truth["t"] - 3 / 30  # the clip starts before the annotation
    result = annotated_result(_recording([sparse], truth["t"][every]), _clip(pts, camera))
    assert not result.right.valid[:3].any()
    assert result.right.valid[3:].all()
    assert not result.left.valid.any()
    got = np.linalg.norm(result.right.wrist_pos[3:] - truth["pos"][:-3], axis=1)
    assert got.max() < 2e-4
    assert degrees_between(result.right.wrist_rot[3:], truth["rot"][:-3]).max() < 0.3
    np.testing.assert_allclose(result.right.wrist_pos[3::2], truth["pos"][:-3:2], atol=1e-9)
    np.testing.assert_allclose(result.right.keypoints_px[3:], project(truth["points"], camera)[:-3], atol=1.0)
    assert result.figures["frames_with_hand_ratio"] == pytest.approx(58 / 61)


def _only_rows(track, rows):
    from dataclasses import replace

    names = ("wrist_pos", "wrist_rot", "theta", "keypoints", "keypoints_px", "confidence", "valid", "interpolated")
    return replace(track, **{n: getattr(track, n)[rows] for n in names})


def test_a_hand_annotated_now_and_then_has_no_motion_in_between(moving_hand, as_track):
    truth = moving_hand("right", 61)
    for step, valid in ((6, 61), (10, 7)):  # 0.2 s apart, and a third of a second
        rows = slice(0, 61, step)
        result = annotated_result(_recording([_only_rows(as_track(truth), rows)], truth["t"][rows]), _clip(truth["t"]))
        assert result.right.valid.sum() == valid
        assert result.right.valid[rows].all()


def test_a_hole_in_the_annotation_stays_a_hole(moving_hand, as_track):
    truth = moving_hand("left", 40)
    track = as_track(truth)
    track.valid[10:13] = False
    track.wrist_pos[10:13] = np.nan
    times = np.delete(truth["t"], slice(20, 30))
    result = annotated_result(_recording([_only_rows(track, _kept(40, 20, 30))], times), _clip(truth["t"]))
    lost = np.flatnonzero(~result.left.valid)
    assert set(range(10, 13)) <= set(lost)
    assert set(range(20, 30)) <= set(lost)
    assert len(lost) == 13


def _kept(n, a, b):
    return np.r_[0:a, b:n]


def test_keypoints_alone_become_a_posed_hand(moving_hand, degrees_between):
    truth = moving_hand("left", 60, scale=0.9)
    track = keypoint_track("left", truth["points"], np.ones(60, bool))
    result = annotated_result(_recording([track], truth["t"]), _clip(truth["t"]))
    hand = result.left
    assert hand.valid.all()
    assert hand.hand_model == "generic_v1"
    assert hand.hand_scale == pytest.approx(0.9, rel=1e-3)
    assert degrees_between(hand.wrist_rot, truth["rot"]).max() < 3.0
    angles = degrees_between(hand.theta.reshape(-1, 15, 3), truth["theta"].reshape(-1, 15, 3))
    assert np.median(angles) < 2.0
    assert hand.figures["fit_residual_m"] < 0.002
    assert "needs_fit" not in hand.figures


def test_two_clips_of_one_recording_agree_about_the_size_of_the_hand(moving_hand):
    truth = moving_hand("right", 120, scale=1.1)
    noisy = truth["points"] + np.random.default_rng(0).normal(0, 0.003, truth["points"].shape)
    recording = _recording([keypoint_track("right", noisy, np.ones(120, bool))], truth["t"])
    scales = {
        annotated_result(recording, _clip(truth["t"][r])).right.hand_scale for r in (slice(0, 40), slice(80, 120))
    }
    assert len(scales) == 1


def test_bad_annotation_is_refused_with_its_file_and_field(moving_hand, as_track):
    truth = moving_hand("right", 10)
    track = as_track(truth)
    for recording, reason, words in (
        (_recording([track, track], truth["t"]), Reason.CONTRADICTION, "two right hands?"),
        (_recording([track], None), Reason.MISSING_FIELD, "hands_t"),
        (_recording([track], truth["t"][:9]), Reason.WRONG_TYPE, "hands_t"),
        (_recording([track], truth["t"][::-1]), Reason.WRONG_TYPE, "hands_t"),
    ):
        with pytest.raises(Reject, match=words) as caught:
            annotated_result(recording, _clip(truth["t"]))
        assert caught.value.reason is reason
        assert "set/take.hdf5" in caught.value.message


def test_the_camera_turns_the_short_way_between_its_frames():
    times = np.array([0.0, 0.1, 0.2, 0.3])
    pose = np.tile(np.eye(4), (4, 1, 1))
    angles = np.array([170.0, 190.0, 210.0, 230.0])  # over the wrap
    pose[:, :3, :3] = Rotation.from_euler("z", angles[:, None], degrees=True).as_matrix()
    pose[:, 0, 3] = [0, 1, 2, 3]
    track = CameraTrack(pose, np.array([True, True, False, True]), world="gravity")
    out = resample_camera(track, times, np.array([-0.01, 0.05, 0.1, 0.15, 0.3, 0.31]))
    np.testing.assert_array_equal(out.valid, [False, True, True, False, True, False])
    want = Rotation.from_euler("z", 180, degrees=True).as_matrix()
    np.testing.assert_allclose(out.pose[1, :3, :3], want, atol=1e-9)
    assert out.pose[1, 0, 3] == pytest.approx(0.5)
    assert np.isnan(out.pose[3]).all()
    assert out.world == "gravity"


def test_real_aria_keypoints_are_fitted(samples):
    path = samples / "aria_mps_sample" / "hand_tracking" / "hand_tracking_results_v1.csv"
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    t = np.array([int(r["tracking_timestamp_us"]) for r in rows]) * 1e-6
    ok = np.array([float(r["left_tracking_confidence"]) > 0.5 for r in rows])
    raw = np.array([[[float(r[f"t{c}_left_landmark_{k}_device"]) for c in "xyz"] for k in range(21)] for r in rows])
    points = reorder_keypoints(raw, ARIA_TO_21)
    track = keypoint_track("left", np.where(ok[:, None, None], points, np.nan), ok)
    result = annotated_result(_recording([track], t), _clip(t))
    assert result.left.valid.sum() >= 0.95 * ok.sum()
    assert 0.8 < result.left.hand_scale < 1.2
    assert result.left.figures["fit_residual_m"] < 0.008
