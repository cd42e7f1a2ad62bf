"""Inverse kinematics: exact where the answer is known, limited, mirrored, and measured on real hands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unihand_data.hands import dof, ik, skeleton

_ARIA_WITHOUT = 1  # the thumb's root, which Aria does not give


def _posed(seed, side, scale, frames=6):
    rng = np.random.default_rng(seed)
    inner = 0.95 * (dof.HIGH - dof.LOW) / 2
    angles = (dof.HIGH + dof.LOW) / 2 + rng.uniform(-1, 1, (frames, dof.N_ANGLES)) * inner
    theta, pos = dof.to_theta(angles), rng.normal(size=(frames, 3))
    if side == "left":
        theta = skeleton.mirror_theta(theta)
    rot = Rotation.random(frames, random_state=seed).as_rotvec()
    return theta, pos, rot, skeleton.forward(theta, pos, rot, side, scale)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["left", "right"]), st.floats(0.75, 1.2))
def test_a_pose_within_the_limits_is_found_again(seed, side, scale):
    _, pos, rot, points = _posed(seed, side, scale)
    fit = ik.fit_theta(points, side, prior=0.01, temporal=0, iterations=60)
    assert fit.hand_scale == pytest.approx(scale, rel=1e-6)
    # exact, but for about one pose in four thousand, near the limits of the thumb, that ends in a minimum a hair away
    assert np.median(fit.residual) < 1e-4
    assert fit.residual.max() < 4e-3
    np.testing.assert_allclose(fit.wrist_pos, pos, atol=5e-3)
    turn = Rotation.from_rotvec(fit.wrist_rot) * Rotation.from_rotvec(rot).inv()
    assert np.degrees(np.median(turn.magnitude())) < 0.1
    assert np.degrees(turn.magnitude()).max() < 4.0
    again = skeleton.forward(fit.theta, fit.wrist_pos, fit.wrist_rot, side, fit.hand_scale)
    assert np.linalg.norm(again - points, axis=-1).max() < 0.015


def test_the_fit_of_the_mirror_is_the_mirror_of_the_fit():
    _, _, _, points = _posed(3, "right", 1.0)
    noisy = points + np.random.default_rng(0).normal(0, 0.002, points.shape)
    right, left = ik.fit_theta(noisy, "right"), ik.fit_theta(noisy * skeleton.MIRROR_X, "left")
    np.testing.assert_allclose(left.theta, skeleton.mirror_theta(right.theta), atol=1e-9)
    np.testing.assert_allclose(left.wrist_rot, right.wrist_rot * skeleton.MIRROR_ROTVEC, atol=1e-9)


def test_angles_stay_within_the_limits_even_for_impossible_keypoints():
    points = skeleton.rest_keypoints("right")[None] + np.random.default_rng(0).normal(0, 0.04, (20, 21, 3))
    fit = ik.fit_theta(points, "right")
    assert (fit.angles >= dof.LOW - 1e-12).all()
    assert (fit.angles <= dof.HIGH + 1e-12).all()


def test_a_missing_keypoint_is_done_without_and_a_missing_hand_stays_missing():
    _, pos, rot, points = _posed(5, "right", 1.0)
    points[:, _ARIA_WITHOUT] = np.nan
    points[2, 1:] = np.nan
    fit = ik.fit_theta(points, "right", prior=0.05, temporal=0)
    assert np.isnan(fit.theta[2]).all()
    assert np.isnan(fit.wrist_pos[2]).all()
    seen = [0, 1, 3, 4, 5]
    assert np.linalg.norm(fit.wrist_pos[seen] - pos[seen], axis=1).max() < 3e-3
    turn = Rotation.from_rotvec(fit.wrist_rot[seen]) * Rotation.from_rotvec(rot[seen]).inv()
    assert np.degrees(turn.magnitude()).max() < 3.0


def test_no_hand_at_all_gives_nothing():
    fit = ik.fit_theta(np.full((3, 21, 3), np.nan), "left")
    assert np.isnan(fit.theta).all()
    assert fit.theta.shape == (3, 45)


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="expected"):
        ik.fit_theta(np.zeros((3, 25, 3)), "left")


def test_neighbouring_frames_quieten_noise(moving_hand, degrees_between):
    truth = moving_hand("left", 60)
    noisy = truth["points"] + np.random.default_rng(0).normal(0, 0.003, truth["points"].shape)
    errors = []
    for temporal in (0.0, 0.5):
        fit = ik.fit_theta(noisy, "left", hand_scale=1.0, own_proportions=False, temporal=temporal)
        angles = degrees_between(fit.theta.reshape(-1, 15, 3), truth["theta"].reshape(-1, 15, 3))
        errors.append(angles.mean())
    assert errors[1] < errors[0]
    assert errors[1] < 7.0


def test_a_real_recording_is_fitted_to_a_millimetre(samples):
    """25 recorded joints of one person, 59 Hz; the four metacarpals are left out."""
    with np.load(samples / "beingbeyond_d1_demo" / "demo_data.npz", allow_pickle=False) as data:
        wrist, fingers = data["right_wrist_poses"][::5], data["right_fingers"][::5]
    keep = [i for i in range(25) if i not in (5, 10, 15, 20)]
    points = (wrist[:, None] @ fingers)[:, keep][..., :3, 3]
    fit = ik.fit_theta(points, "right")
    assert np.median(fit.residual) < 1.5e-3
    assert np.quantile(fit.residual, 0.95) < 3e-3
    turn = Rotation.from_rotvec(fit.wrist_rot) * Rotation.from_matrix(wrist[:, :3, :3]).inv()
    assert np.degrees(np.median(turn.magnitude())) < 3.0  # against the device's own wrist frame
    generic = ik.fit_theta(points, "right", own_proportions=False)
    assert np.median(generic.residual) < 3e-3


def test_theta_of_real_mano_hands_is_found_from_their_keypoints(samples, degrees_between):
    from unihand_data.untrusted.unpickle import safe_load

    record = safe_load(samples / "vitra_annotation" / "Ego4D_03cc49c3_ep_example.npy")
    hand = (record.item() if isinstance(record, np.ndarray) else record)["right"]
    joints = np.asarray(hand["joints_camspace"], float)
    fit = ik.fit_theta(joints, "right")
    assert np.median(fit.residual) < 3e-3
    root = Rotation.from_matrix(np.asarray(hand["global_orient_camspace"], float))
    turn = Rotation.from_rotvec(fit.wrist_rot) * root.inv()
    assert np.degrees(np.median(turn.magnitude())) < 6.0
