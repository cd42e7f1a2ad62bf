"""Gaps, outliers, jitter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.hands import smooth
from unihand_data.hands.config import SmoothSettings


def _lose(track, rows):
    track.valid[rows] = False
    track.confidence[rows] = 0.0
    track.wrist_pos[rows] = track.wrist_rot[rows] = track.theta[rows] = np.nan


def test_a_short_gap_is_filled_and_flagged_and_a_long_one_stays(moving_hand, as_track, degrees_between):
    truth = moving_hand("right", 60)
    track = as_track(truth)
    _lose(track, slice(10, 14))
    _lose(track, slice(30, 45))
    out = smooth.clean(track, truth["t"], SmoothSettings(max_gap_s=0.2, window_s=0))
    assert out.valid[10:14].all()
    assert out.interpolated[10:14].all()
    assert np.isnan(out.confidence[10:14]).all(), "an interpolated frame must not vote"
    assert not out.valid[30:45].any()
    assert out.interpolated.sum() == 4
    assert np.linalg.norm(out.wrist_pos[10:14] - truth["pos"][10:14], axis=1).max() < 0.003
    assert degrees_between(out.wrist_rot[10:14], truth["rot"][10:14]).max() < 2.0


def test_nothing_is_made_up_before_the_first_and_after_the_last_sighting(moving_hand, as_track):
    truth = moving_hand("left", 30)
    track = as_track(truth)
    _lose(track, slice(0, 3))
    _lose(track, slice(27, 30))
    out = smooth.clean(track, truth["t"], SmoothSettings(max_gap_s=1.0))
    assert not out.valid[:3].any()
    assert not out.valid[27:].any()


def test_smoothing_takes_jitter_away_and_keeps_the_motion(moving_hand, as_track, degrees_between):
    truth = moving_hand("right", 90)
    track = as_track(truth)
    rng = np.random.default_rng(0)
    track.wrist_pos += rng.normal(0, 0.004, track.wrist_pos.shape)
    noise = Rotation.from_rotvec(rng.normal(0, 0.04, (90, 3)))
    track.wrist_rot = (noise * Rotation.from_rotvec(track.wrist_rot)).as_rotvec()
    out = smooth.clean(track, truth["t"])
    f = out.figures
    assert f["jitter_pos_m"] < 0.4 * f["jitter_pos_raw_m"]
    assert f["jitter_rot_deg"] < 0.4 * f["jitter_rot_raw_deg"]
    before = np.linalg.norm(track.wrist_pos - truth["pos"], axis=1).mean()
    after = np.linalg.norm(out.wrist_pos - truth["pos"], axis=1).mean()
    assert after < 0.6 * before
    assert (
        degrees_between(out.wrist_rot, truth["rot"]).mean()
        < 0.6 * degrees_between(track.wrist_rot, truth["rot"]).mean()
    )


def test_a_quadratic_motion_at_uneven_times_passes_unchanged():
    rng = np.random.default_rng(3)
    t = np.sort(rng.uniform(0, 2, 50))
    s = smooth.smoother(t, rng.uniform(0.2, 1.0, 50), window_s=0.5, order=2)
    value = 1.0 - 3.0 * t + 2.5 * t**2
    near = np.array([(np.abs(t - x) <= 0.25).sum() for x in t])
    np.testing.assert_allclose((s @ value)[near >= 4], value[near >= 4], atol=1e-8)


def test_an_outlier_is_thrown_out_and_a_fast_steady_motion_is_not(moving_hand, as_track):
    truth = moving_hand("right", 60)
    track = as_track(truth)
    track.wrist_pos += np.linspace(0, 1.5, 60)[:, None] * [1.0, 0, 0]  # 0.75 m/s
    assert smooth.outliers(track, truth["t"], SmoothSettings()).sum() == 0
    track.wrist_pos[20] += [0, 0, 0.3]
    track.wrist_rot[40] = (Rotation.from_rotvec([2.5, 0, 0]) * Rotation.from_rotvec(track.wrist_rot[40])).as_rotvec()
    bad = smooth.outliers(track, truth["t"], SmoothSettings())
    assert set(np.flatnonzero(bad)) == {20, 40}
    out = smooth.clean(track, truth["t"])
    assert out.interpolated[[20, 40]].all()
    assert out.figures["outliers"] == 2


def test_a_still_hand_loses_nothing():
    from unihand_data.values.hands import HandTrack

    track = HandTrack.empty("left", 30)
    track.wrist_pos[:], track.wrist_rot[:], track.theta[:] = 0.3, 0.1, 0.0
    track.valid[:], track.confidence[:] = True, 0.8
    track.wrist_pos[15] += 1e-4  # MAD is 0: the floor decides
    assert not smooth.outliers(track, np.arange(30) / 30, SmoothSettings()).any()


def test_quaternions_are_brought_to_one_hemisphere():
    q = np.array([[0, 0, 0, 1.0], [0, 0, -0.1, -0.99], [0, 0, 0.2, 0.98]])
    out = smooth.aligned(q)
    assert ((out[1:] * out[:-1]).sum(1) > 0).all()


def test_interpolated_frames_have_no_part_in_the_jitter(moving_hand, as_track):
    truth = moving_hand("right", 30)
    track = as_track(truth)
    clean = smooth.jitter(track)
    track.wrist_pos[12] += 0.5
    track.interpolated[12] = True
    assert smooth.jitter(track)["jitter_pos_m"] == pytest.approx(clean["jitter_pos_m"], rel=0.2)


def test_times_of_another_length_are_refused(moving_hand, as_track):
    with pytest.raises(ValueError, match="times"):
        smooth.clean(as_track(moving_hand("right", 10)), np.arange(9) / 30)
