"""Rotations against formulas written out here, near 0 and near pi, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unihand_data.errors import Reject
from unihand_data.space import rotations as rot

unit = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)
angles = st.one_of(
    st.floats(0, np.pi),
    st.floats(-14, -1).map(lambda e: 10.0**e),
    st.floats(-14, -1).map(lambda e: np.pi - 10.0**e),
)


def rodrigues(v):
    """exp by its series in closed form, with the cardinal sines that stay accurate near 0."""
    a = np.linalg.norm(v)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + np.sinc(a / np.pi) * k + 0.5 * np.sinc(a / 2 / np.pi) ** 2 * k @ k


@given(unit, angles)
def test_exp_is_rodrigues_and_log_undoes_it_near_zero_and_near_pi(axis, angle):
    v = np.array(axis) / np.linalg.norm(axis) * angle
    np.testing.assert_allclose(rot.exp(v), rodrigues(v), atol=5e-15)
    back = rot.log(rodrigues(v))
    if angle > np.pi - 1e-9:  # the axis may point either way
        back = back if back @ v > 0 else -back
    np.testing.assert_allclose(back, v, atol=1e-13 if angle < 3 else 2e-8)
    np.testing.assert_allclose(rot.exp(back), rodrigues(v), atol=1e-13)


@given(unit, st.floats(0, 3.1), st.sampled_from(["wxyz", "xyzw"]))
def test_quaternions_of_both_orders_and_both_signs_are_the_half_angle_formula(axis, angle, order):
    n = np.array(axis) / np.linalg.norm(axis)
    w, xyz = np.cos(angle / 2), np.sin(angle / 2) * n
    q = np.array([w, *xyz]) if order == "wxyz" else np.array([*xyz, w])
    for sign in (1, -3):
        np.testing.assert_allclose(rot.quat_to_rotvec(sign * q, order), n * angle, atol=1e-12)
    np.testing.assert_allclose(rot.rotvec_to_quat(n * angle, order), q, atol=1e-12)
    np.testing.assert_allclose(rot.quat_to_matrix(q, order), rodrigues(n * angle), atol=1e-12)
    np.testing.assert_allclose(rot.matrix_to_quat(rodrigues(n * angle), order), q, atol=1e-12)


def test_a_quaternion_order_must_be_said():
    with pytest.raises(TypeError):
        rot.quat_to_rotvec(np.array([1.0, 0, 0, 0]))
    with pytest.raises(ValueError, match="wxyz"):
        rot.quat_to_rotvec(np.array([1.0, 0, 0, 0]), "xwyz")


def test_extrinsic_xyz_is_roll_pitch_yaw_about_fixed_axes():
    roll, pitch, yaw = 0.3, -0.5, 1.1
    matrix = rodrigues([0, 0, yaw]) @ rodrigues([0, pitch, 0]) @ rodrigues([roll, 0, 0])
    angles = np.array([roll, pitch, yaw])
    np.testing.assert_allclose(rot.exp(rot.euler_to_rotvec(angles, "xyz", "extrinsic")), matrix, atol=1e-14)
    intrinsic = rodrigues([roll, 0, 0]) @ rodrigues([0, pitch, 0]) @ rodrigues([0, 0, yaw])
    np.testing.assert_allclose(rot.exp(rot.euler_to_rotvec(angles, "xyz", "intrinsic")), intrinsic, atol=1e-14)
    np.testing.assert_allclose(rot.rotvec_to_euler(rot.log(matrix), "xyz", "extrinsic"), angles, atol=1e-14)
    with pytest.raises(ValueError, match="intrinsic"):
        rot.euler_to_rotvec(angles, "xyz", "static")


@given(unit, st.floats(0, 3.1))
def test_rot6d_is_the_first_two_columns_and_gram_schmidt_mends_them(axis, angle):
    v = np.array(axis) / np.linalg.norm(axis) * angle
    m = rodrigues(v)
    six = np.concatenate([m[:, 0], m[:, 1]])
    np.testing.assert_allclose(rot.rotvec_to_rot6d(v), six, atol=1e-12)
    bent = np.concatenate([2 * m[:, 0], 3 * m[:, 1] + 0.5 * m[:, 0]])
    np.testing.assert_allclose(rot.rot6d_to_rotvec(bent), v, atol=1e-7)


@given(unit, unit, st.floats(0, 3), st.floats(0, 3))
def test_composition_is_the_matrix_product_and_the_geodesic_its_angle(a, b, x, y):
    u, v = np.array(a) / np.linalg.norm(a) * x, np.array(b) / np.linalg.norm(b) * y
    np.testing.assert_allclose(rot.exp(rot.compose(u, v)), rodrigues(u) @ rodrigues(v), atol=1e-13)
    cosine = (np.trace(rodrigues(u) @ rodrigues(v).T) - 1) / 2
    np.testing.assert_allclose(np.cos(rot.geodesic(u, v)), cosine, atol=1e-12)


def test_tiny_rotations_survive_composition():
    tiny = np.array([1e-12, -2e-12, 3e-12])
    np.testing.assert_allclose(rot.compose(tiny, np.zeros(3)), tiny, rtol=1e-9)
    big = np.array([2.0, 1.0, 0.5])
    np.testing.assert_allclose(rot.compose(rot.compose(tiny, big), -big), tiny, atol=1e-15)


def test_neighbouring_quaternions_share_a_hemisphere_over_gaps():
    q = np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0], [np.nan] * 4, [-0.9, 0.1, 0, 0], [0.8, 0.2, 0, 0]])
    out = rot.align_hemisphere(q)
    assert (out[[0, 1, 3, 4], 0] > 0).all()
    assert np.isnan(out[2]).all()


def test_slerp_halves_the_turn_and_never_extrapolates():
    r = np.array([[0, 0, 0.0], [0, 0, 1.0], [0, 0, 1.0]])
    np.testing.assert_allclose(rot.slerp([0, 1, 2], r, [0, 0.5, 1.5, 2])[:, 2], [0, 0.5, 1, 1], atol=1e-15)
    with pytest.raises(ValueError, match="extrapolates"):
        rot.slerp([0, 1, 2], r, [2.1])


def test_missing_rows_stay_missing_and_the_others_are_converted():
    v = np.array([[0, 0, 1.0], [np.nan, 0, 0], [0, 2.0, 0]])
    m = rot.exp(v)
    assert np.isnan(m[1]).all()
    np.testing.assert_allclose(rot.log(m)[[0, 2]], v[[0, 2]], atol=1e-14)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rot.exp([np.inf, 0, 0]),
        lambda: rot.exp([0.0, 0.0]),
        lambda: rot.log(np.diag([1.0, 1, -1])),
        lambda: rot.log(1.1 * np.eye(3)),
        lambda: rot.quat_to_rotvec([0.0, 0, 0, 0], "wxyz"),
        lambda: rot.rot6d_to_rotvec([1.0, 0, 0, 2, 0, 0]),
    ],
)
def test_what_is_no_rotation_is_refused(call):
    with pytest.raises(Reject):
        call()
