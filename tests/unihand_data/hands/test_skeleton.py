"""The generic skeleton: its frame, its mirror, and how near its theta is to MANO's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from unihand_data.hands import dof, skeleton
from unihand_data.hands.skeleton import MIRROR_ROTVEC, MIRROR_X
from unihand_data.values.hands import BONES, FINGERS

_ANGLE = st.floats(-2.0, 2.0, allow_nan=False)


def test_the_right_hand_points_along_minus_x_with_its_thumb_on_the_plus_z_side_and_its_back_up():
    rest = skeleton.rest_keypoints("right")
    assert rest[12, 0] == pytest.approx(-0.185, abs=2e-3)  # wrist to middle tip
    assert rest[4, 2] > rest[5, 2] > rest[9, 2] > rest[13, 2] > rest[17, 2]  # thumb to pinky along -z
    # right hand, palm down (-y), fingers forward (-x): the thumb is on the left, which is up x forward = +z
    assert np.cross([0, 1, 0], [-1, 0, 0]) @ [0, 0, 1] > 0


def test_the_left_hand_is_the_right_one_mirrored_in_x():
    np.testing.assert_array_equal(skeleton.rest_keypoints("left"), skeleton.rest_keypoints("right") * [-1, 1, 1])


def test_a_positive_turn_about_z_bends_a_right_finger_towards_the_palm():
    theta = np.zeros((1, 45))
    theta[0, 2] = np.radians(90)  # index, first joint, z
    points = skeleton.forward(theta, np.zeros((1, 3)), np.zeros((1, 3)), "right")[0]
    assert points[8, 1] < points[5, 1] - 0.08


@settings(max_examples=40, deadline=None)
@given(
    arrays(float, (2, 45), elements=_ANGLE),
    arrays(float, (2, 3), elements=_ANGLE),
    arrays(float, (2, 3), elements=_ANGLE),
)
def test_the_mirror_of_a_posed_hand_is_the_posed_mirror(theta, pos, rot):
    right = skeleton.forward(theta, pos, rot, "right", 1.1)
    left = skeleton.forward(skeleton.mirror_theta(theta), pos * MIRROR_X, rot * MIRROR_ROTVEC, "left", 1.1)
    np.testing.assert_allclose(left, right * MIRROR_X, atol=1e-12)
    np.testing.assert_array_equal(skeleton.mirror_theta(skeleton.mirror_theta(theta)), theta)


@settings(max_examples=25, deadline=None)
@given(arrays(float, (2, 45), elements=_ANGLE), st.floats(0.7, 1.3))
def test_posing_never_changes_a_bone(theta, scale):
    rest = skeleton.rest_keypoints("left", scale)
    points = skeleton.forward(theta, np.ones((2, 3)), np.ones((2, 3)), "left", scale)
    for a, b in BONES:
        want = np.linalg.norm(rest[b] - rest[a])
        np.testing.assert_allclose(np.linalg.norm(points[:, b] - points[:, a], axis=1), want, atol=1e-12)


def test_a_frame_without_a_pose_has_no_keypoints():
    theta = np.zeros((2, 45))
    theta[1, 7] = np.nan
    points = skeleton.forward(theta, np.zeros((2, 3)), np.zeros((2, 3)), "right")
    assert np.isfinite(points[0]).all()
    assert np.isnan(points[1]).all()


def test_the_derivative_of_the_keypoints_is_the_difference_quotient():
    rng = np.random.default_rng(1)
    angles = rng.uniform(dof.LOW, dof.HIGH, (3, dof.N_ANGLES))
    pos, rot = rng.normal(size=(3, 3)), Rotation.random(3, random_state=2).as_matrix()
    rest = skeleton.rest_keypoints("right")
    points, jacobian = dof.points_and_jacobian(pos, rot, angles, rest)
    theta = dof.to_theta(angles)
    np.testing.assert_allclose(
        points, skeleton.forward(theta, pos, Rotation.from_matrix(rot).as_rotvec(), "right"), atol=1e-12
    )
    step = 1e-6
    for column in range(jacobian.shape[-1]):
        values = []
        for h in (step, -step):
            p, r, a = pos.copy(), rot, angles.copy()
            if column < 3:
                p[:, column] += h
            elif column < 6:
                r = Rotation.from_rotvec(h * np.eye(3)[column - 3]).as_matrix() @ rot
            else:
                a[:, column - 6] += h
            values.append(dof.points_and_jacobian(p, r, a, rest)[0])
        np.testing.assert_allclose((values[0] - values[1]) / (2 * step), jacobian[..., column], atol=1e-8)


@pytest.fixture
def vitra(samples):
    """One real record with MANO joints, rotations and poses of a right hand (right-hand model)."""
    from unihand_data.untrusted.unpickle import safe_load

    record = safe_load(samples / "vitra_annotation" / "Ego4D_03cc49c3_ep_example.npy")
    record = record.item() if isinstance(record, np.ndarray) else record
    return record["right"]


def test_real_mano_hands_have_the_frame_that_the_generic_skeleton_claims(vitra):
    """Unposing real MANO joints gives MANO's flat hand: its axes and finger directions, without its licensed file."""
    joints, root, pose = (
        np.asarray(vitra[k], float) for k in ("joints_camspace", "global_orient_camspace", "hand_pose")
    )
    rest = skeleton.rest_keypoints("right")
    for i, name in enumerate(skeleton.THETA_FINGERS):
        turn, parent, chain = root.copy(), 0, FINGERS[name]
        for k, joint in enumerate(chain):
            bone = np.einsum("tji,tj->ti", turn, joints[:, joint] - joints[:, parent])
            assert bone.std(0).max() < 5e-4, (
                "rotations, joint order and parents are MANO's: the unposed bone is constant"
            )
            mano, ours = bone.mean(0), rest[joint] - rest[parent]
            angle = np.degrees(np.arccos(mano @ ours / np.linalg.norm(mano) / np.linalg.norm(ours)))
            assert angle < 18.0, (name, k, angle)
            if k < 3:
                turn = turn @ pose[:, 3 * i + k]
            parent = joint


def test_theta_of_real_mano_hands_poses_the_generic_skeleton_alike(vitra):
    joints, root = np.asarray(vitra["joints_camspace"], float), np.asarray(vitra["global_orient_camspace"], float)
    theta = Rotation.from_matrix(np.asarray(vitra["hand_pose"], float).reshape(-1, 3, 3)).as_rotvec().reshape(-1, 45)
    from unihand_data.hands.ik import hand_scale_of

    points = skeleton.forward(
        theta, joints[:, 0], Rotation.from_matrix(root).as_rotvec(), "right", hand_scale_of(joints)
    )
    error = np.linalg.norm(points - joints, axis=-1)
    assert error.mean() < 0.012
