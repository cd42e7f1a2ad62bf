"""Every way a data set writes a hand becomes the canonical one; golden values from scipy or by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.hands import mano_variants as mv
from unihand_data.sources.generate.mano_stand_in import stand_in, write_stand_ins

QUARTER = np.pi / 2
vectors = st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3).map(np.array)


def test_matrices_a_quarter_turn_about_z():
    matrix = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert np.allclose(mv.from_matrices(matrix), [0, 0, QUARTER])


def test_quaternions_in_both_orders_a_quarter_turn_about_y():
    h = np.sqrt(0.5)
    assert np.allclose(mv.from_quaternions(np.array([h, 0, h, 0]), "wxyz"), [0, QUARTER, 0])
    assert np.allclose(mv.from_quaternions(np.array([0, h, 0, h]), "xyzw"), [0, QUARTER, 0])


def test_quaternion_order_matters():
    q = Rotation.from_rotvec([0.3, -0.2, 0.9]).as_quat()
    wrong = mv.from_quaternions(q, "wxyz")
    assert not np.allclose(wrong, [0.3, -0.2, 0.9], atol=0.1)
    assert np.allclose(mv.from_quaternions(q, "xyzw"), [0.3, -0.2, 0.9])


@given(vectors)
@settings(max_examples=60, deadline=None)
def test_matrices_and_quaternions_agree_with_scipy(v):
    turn = Rotation.from_rotvec(v)
    back = Rotation.from_rotvec(mv.from_matrices(turn.as_matrix()))
    assert (turn.inv() * back).magnitude() < 1e-7
    back = Rotation.from_rotvec(mv.from_quaternions(turn.as_quat(), "xyzw"))
    assert (turn.inv() * back).magnitude() < 1e-7


@given(vectors)
@settings(max_examples=60, deadline=None)
def test_a_left_hand_in_the_right_model_is_the_conjugation_by_the_x_mirror(v):
    m = np.diag([-1.0, 1.0, 1.0])
    golden = Rotation.from_matrix(m @ Rotation.from_rotvec(v).as_matrix() @ m).as_matrix()
    assert np.allclose(Rotation.from_rotvec(mv.own_side(v)).as_matrix(), golden, atol=1e-12)
    assert np.allclose(mv.own_side(mv.own_side(v)), v)


def test_own_side_negates_y_and_z_of_all_fifteen_joints():
    theta = np.tile([1.0, 2.0, 3.0], 15)[None]
    assert np.array_equal(mv.own_side(theta), np.tile([1.0, -2.0, -3.0], 15)[None])


def test_the_root_is_split_from_48_numbers():
    pose = np.arange(96.0).reshape(2, 48)
    root, theta = mv.split_root(pose)
    assert root.tolist() == [[0, 1, 2], [48, 49, 50]]
    assert theta.shape == (2, 45)
    assert theta[0, 0] == 3


def test_pca_of_fifteen_components_relative_to_the_mean_hand(tmp_path):
    s = stand_in("right")
    numbers = mv.mano_numbers(str(write_stand_ins(tmp_path)), "right", "test")
    c = np.linspace(-1, 1, 15)
    by_hand = np.array([s.mean[j] + sum(c[k] * s.components[k, j] for k in range(15)) for j in range(45)])
    assert np.allclose(mv.from_pca(c[None], numbers, mean="model")[0], by_hand)
    assert np.allclose(mv.from_pca(c[None], numbers, mean="flat")[0], by_hand - s.mean)


def test_transl_becomes_the_wrist_joint_by_the_regressed_rest_place(tmp_path):
    s = stand_in("left")
    numbers = mv.mano_numbers(str(write_stand_ins(tmp_path)), "left", "test")
    beta = np.linspace(-1, 1, 10)
    shaped = s.template + np.einsum("vck,k->vc", s.shapes, beta)
    rest = sum(s.regressor[0, v] * shaped[v] for v in range(len(shaped)))
    assert np.allclose(mv.wrist_from_transl(np.array([[1.0, 2, 3]]), beta, numbers), np.array([[1.0, 2, 3]]) + rest)


def test_pca_without_the_users_file_names_it(monkeypatch, tmp_path):
    monkeypatch.delenv("UNIHAND_MANO_DIR", raising=False)
    with pytest.raises(Reject, match=r"PCA needs MANO_LEFT\.pkl") as caught:
        mv.mano_numbers(None, "left", "PCA")
    assert caught.value.reason == Reason.MISSING_FILE
    with pytest.raises(Reject, match=r"MANO_RIGHT\.pkl: not there"):
        mv.mano_numbers(str(tmp_path), "right", "PCA")


def test_the_environment_names_the_mano_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("UNIHAND_MANO_DIR", str(write_stand_ins(tmp_path)))
    assert mv.mano_numbers(None, "right", "PCA").components.shape == (45, 45)


def test_fpha_order_is_wrist_then_five_knuckles_then_each_fingers_rest():
    names = ["W", "T1", "I1", "M1", "R1", "P1"]
    names += [f"{f}{k}" for f in "TIMRP" for k in (2, 3, 4)]
    points = np.arange(21.0)[None, :, None] * np.ones(3)
    ours = [names[int(i)] for i in mv.reorder_keypoints(points, mv.FPHA_TO_21)[0, :, 0]]
    assert ours == ["W"] + [f"{f}{k}" for f in "TIMRP" for k in (1, 2, 3, 4)]


def test_aria_order_puts_tips_last_and_leaves_the_thumb_root_missing():
    names = ["T4", "I4", "M4", "R4", "P4", "W", "T2", "T3"]
    names += [f"{f}{k}" for f in "IMRP" for k in (1, 2, 3)] + ["palm"]
    points = np.arange(21.0)[None, :, None] * np.ones(3)
    got = mv.reorder_keypoints(points, mv.ARIA_TO_21)[0, :, 0]
    assert np.isnan(got[1])
    ours = [names[int(i)] for i in got[~np.isnan(got)]]
    assert ours == ["W", "T2", "T3", "T4"] + [f"{f}{k}" for f in "IMRP" for k in (1, 2, 3, 4)]


def test_arkit_names_leave_out_the_metacarpals():
    assert len(mv.ARKIT_21) == 21
    assert not [n for n in mv.ARKIT_21 if "Metacarpal" in n]
    assert mv.ARKIT_21[:5] == ("Hand", "ThumbKnuckle", "ThumbIntermediateBase", "ThumbIntermediateTip", "ThumbTip")
    assert mv.ARKIT_21[17] == "LittleFingerKnuckle"


def test_a_world_pose_turns_into_the_camera_frame():
    """A camera at (1, 0, 0) that looks along world x; a wrist at (3, 0, 0) is 2 m before it."""
    camera = np.array([[0.0, 0, 1, 1], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    pos, rot = mv.to_camera(np.array([[3.0, 0, 0]]), np.zeros((1, 3)), np.linalg.inv(camera)[None])
    assert np.allclose(pos, [[0, 0, 2]])
    assert np.allclose(Rotation.from_rotvec(rot[0]).as_matrix(), camera[:3, :3].T)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.full((2, 3, 3), np.nan), Reason.BAD_VALUE),
        (np.diag([1.0, 1.0, -1.0]), Reason.BAD_VALUE),
        (1.1 * np.eye(3), Reason.BAD_VALUE),
        (np.zeros((2, 9)), Reason.WRONG_TYPE),
    ],
)
def test_what_is_no_rotation_matrix_is_rejected(bad, reason):
    with pytest.raises(Reject) as caught:
        mv.from_matrices(bad)
    assert caught.value.reason == reason


@pytest.mark.parametrize("bad", [np.zeros(4), np.array([np.nan, 0, 0, 1]), np.array([2.0, 0, 0, 0])])
def test_what_is_no_unit_quaternion_is_rejected(bad):
    with pytest.raises(Reject):
        mv.from_quaternions(bad, "wxyz")


def test_a_row_with_a_nan_loses_its_validity_and_is_nan_throughout():
    theta = np.zeros((3, 45))
    theta[1, 7] = np.nan
    track = mv.mano_track("left", np.ones((3, 3)), np.zeros((3, 3)), theta, np.zeros(10), np.ones(3, bool))
    assert track.valid.tolist() == [True, False, True]
    assert np.isnan(track.wrist_pos[1]).all()
    assert track.confidence.tolist() == [1, 0, 1]
