"""Mirroring against geometry: the mirror of posed keypoints is the posed mirror, and twice is the identity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unihand_data.space import displacement, load_embodiment, mirror
from unihand_data.space import rotations as rot
from unihand_data.space.slots import group_slice, slot_index

M_Y, M_X = np.diag([1.0, -1, 1]), np.diag([-1.0, 1, 1])
every_axes = st.sampled_from(["world", "camera"])
seeds = st.integers(0, 2**32 - 1)


def reflection(axes):
    return M_X if axes == "camera" else M_Y


def human_row(seed, frames=5, sides=("right", "left")):
    """A state row: slots, values (T, S), and its trajectory per side."""
    rng = np.random.default_rng(seed)
    slots, parts = [], []
    for side in sorted(sides, reverse=True):  # right before left in every pair of groups; sorted below
        for group, size in (("eef_position", 3), ("eef_rotation", 3), ("theta", 45), ("beta", 10)):
            s = group_slice(f"{side}_{group}")
            slots.extend(range(s.start, s.stop))
            x = rng.normal(size=(frames, size))
            parts.append(Rotation.from_quat(rng.normal(size=(frames, 4))).as_rotvec() if group == "eef_rotation" else x)
    order = np.argsort(slots)
    return np.array(slots)[order], np.concatenate(parts, axis=1)[:, order]


def part(row_values, slots, group):
    s = group_slice(group)
    return row_values[:, [list(slots).index(i) for i in range(s.start, s.stop)]]


@given(seed=seeds, axes=every_axes)
@settings(max_examples=40, deadline=None)
def test_the_mirror_of_the_posed_keypoints_is_the_posed_mirror(seed, axes, hand):
    slots, values = human_row(seed)
    out = mirror.mirror_row(values, slots, np.ones(values.shape, bool), "state", axes=axes)
    for side, other in (("right", "left"), ("left", "right")):
        for t in range(len(values)):
            before = [part(values, slots, f"{side}_{g}")[t] for g in ("eef_position", "eef_rotation", "theta")]
            after = [part(out.values, out.slots, f"{other}_{g}")[t] for g in ("eef_position", "eef_rotation", "theta")]
            expected = hand.pose(side, *before) @ reflection(axes)
            np.testing.assert_allclose(hand.pose(other, *after), expected, atol=1e-6)


@given(seeds, every_axes)
@settings(max_examples=40)
def test_mirroring_displacements_is_taking_displacements_of_the_mirror(seed, axes):
    slots, values = human_row(seed, frames=6)
    p, r = part(values, slots, "right_eef_position"), part(values, slots, "right_eef_rotation")
    d = displacement.displacements(p, r)
    action = np.concatenate([d.pos, d.rot], axis=1)
    out = mirror.mirror_row(action, range(6), np.repeat(d.mask[:, None], 6, 1), "action", axes=axes)
    assert out.slots.tolist() == list(range(9, 15))
    state = mirror.mirror_row(np.hstack([p, r]), range(6), np.ones((6, 6), bool), "state", axes=axes)
    expected = displacement.displacements(state.values[:, :3], state.values[:, 3:])
    np.testing.assert_allclose(out.values[:, :3], expected.pos, atol=1e-9)
    np.testing.assert_allclose(rot.geodesic(out.values[:, 3:], expected.rot), 0, atol=1e-7)
    assert (out.mask[:, 0] == d.mask).all()


def test_signs_are_those_of_the_contract():
    v = np.array([[0.1, 0.2, 0.3]])
    np.testing.assert_allclose(v @ mirror.reflection("world"), [[0.1, -0.2, 0.3]])
    np.testing.assert_allclose(mirror.mirror_displacement_rotvecs(v), [[-0.1, 0.2, -0.3]])
    np.testing.assert_allclose(mirror.mirror_theta(v), [[0.1, -0.2, -0.3]])
    np.testing.assert_allclose(rot.exp(mirror.mirror_wrist_rotvecs(v)), M_Y @ rot.exp(v) @ M_X, atol=1e-14)
    np.testing.assert_allclose(rot.exp(mirror.mirror_displacement_rotvecs(v)), M_Y @ rot.exp(v) @ M_Y, atol=1e-14)
    # the wrist pose of the identity is a half turn about the vertical, not the identity
    np.testing.assert_allclose(np.abs(mirror.mirror_wrist_rotvecs(np.zeros((1, 3)))), [[0, 0, np.pi]], atol=1e-12)


@given(seeds, every_axes, st.sampled_from([("right",), ("left",), ("right", "left")]), st.sampled_from(["f4", "f8"]))
@settings(max_examples=60)
def test_twice_is_the_identity_for_rows_masks_and_slots(seed, axes, sides, dtype):
    slots, values = human_row(seed, sides=sides)
    values = values.astype(dtype)
    mask = np.random.default_rng(seed).random(values.shape) < 0.8
    once = mirror.mirror_row(values, slots, mask, "state", axes=axes)
    twice = mirror.mirror_row(*once, "state", axes=axes)
    assert once.values.dtype == values.dtype
    assert twice.slots.tolist() == list(slots)
    np.testing.assert_array_equal(twice.mask, mask)
    turns = [i for i, s in enumerate(slots) if s in (*range(3, 6), *range(12, 15))]
    rest = [i for i in range(len(slots)) if i not in turns]
    np.testing.assert_array_equal(twice.values[:, rest], values[:, rest])
    for k in range(0, len(turns), 3):
        a, b = (x[:, turns[k : k + 3]].astype(float) for x in (twice.values, values))
        np.testing.assert_allclose(rot.geodesic(a, b), 0, atol=1e-6 if dtype == "f4" else 1e-7)


def test_slots_swap_sides_and_stay_sorted():
    assert mirror.mirror_slots([0, 18, 20, 110, 154]).tolist() == [9, 19, 32, 155, 199]
    assert mirror.mirror_slots([50, 57, 66, 90, 100]).tolist() == [50, 57, 66, 90, 100]
    assert (mirror.PERMUTATION[mirror.PERMUTATION] == np.arange(200)).all()


@given(seeds)
@settings(max_examples=20)
def test_the_full_vector_mirrors_like_its_sparse_row(seed):
    slots, values = human_row(seed, sides=("right",))
    vector, mask = np.zeros((5, 200)), np.zeros((5, 200), bool)
    vector[:, slots], mask[:, slots] = values, True
    row = mirror.mirror_row(values, slots, np.ones(values.shape, bool), "state")
    for m in (None, mask):
        out = mirror.mirror_vector(vector, "state", m)
        np.testing.assert_allclose(out[:, row.slots], row.values, atol=1e-12)
        assert (np.delete(out, row.slots, axis=1) == 0).all()


def test_an_absent_hand_stays_zero_and_a_masked_one_is_mirrored():
    values, mask = np.zeros((2, 6)), np.zeros((2, 6), bool)
    values[1] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    out = mirror.mirror_row(values, range(6), mask, "state")
    assert (out.values[0] == 0).all()
    np.testing.assert_allclose(rot.exp(out.values[1, 3:]), M_Y @ rot.exp(values[1, 3:]) @ M_X, atol=1e-12)


def test_a_half_rotation_and_a_foreign_slot_are_refused():
    with pytest.raises(ValueError, match="mirrored whole"):
        mirror.mirror_row(np.zeros((1, 2)), [3, 4], np.ones((1, 2), bool), "state")
    with pytest.raises(ValueError, match=r"right_arm_1.*no mirror sign"):
        mirror.mirror_row(np.zeros((1, 1)), [50], np.ones((1, 1), bool), "state")
    with pytest.raises(ValueError, match="no mirror signs"):
        mirror.mirror_row(np.zeros((1, 1)), [18], np.ones((1, 1), bool), "state", rule=load_embodiment("libero").mirror)


def test_a_one_armed_robot_has_no_mirror():
    rule = mirror.MirrorRule(eef_axis="y", signs=dict.fromkeys(range(50, 64), 1))
    with pytest.raises(ValueError, match="one-sided"):
        mirror.mirror_row(np.zeros((1, 7)), range(50, 57), np.ones((1, 7), bool), "state", rule=rule)


# joint origins (m, roll pitch yaw) and axes of unitree_ros g1_29dof_rev_1_0.urdf
G1 = {
    "left": [
        ((0.0039563, 0.10022, 0.24778), (0.27931, 5.4949e-05, -0.00019159), "y"),
        ((0, 0.038, -0.013831), (-0.27925, 0, 0), "x"),
        ((0, 0.00624, -0.1032), (0, 0, 0), "z"),
        ((0.015783, 0, -0.080518), (0, 0, 0), "y"),
        ((0.100, 0.00188791, -0.010), (0, 0, 0), "x"),
        ((0.038, 0, 0), (0, 0, 0), "y"),
        ((0.046, 0, 0), (0, 0, 0), "z"),
    ],
    "right": [
        ((0.0039563, -0.10021, 0.24778), (-0.27931, 5.4949e-05, 0.00019159), "y"),
        ((0, -0.038, -0.013831), (0.27925, 0, 0), "x"),
        ((0, -0.00624, -0.1032), (0, 0, 0), "z"),
        ((0.015783, 0, -0.080518), (0, 0, 0), "y"),
        ((0.100, -0.00188791, -0.010), (0, 0, 0), "x"),
        ((0.038, 0, 0), (0, 0, 0), "y"),
        ((0.046, 0, 0), (0, 0, 0), "z"),
    ],
}


def g1_palm(side, q):
    r, p = Rotation.identity(), np.zeros(3)
    for (xyz, rpy, axis), angle in zip(G1[side], q):
        p = p + r.apply(xyz)
        r = r * Rotation.from_euler("xyz", rpy) * Rotation.from_euler(axis, angle)
    return p + r.apply([0.0415, 0.003 if side == "left" else -0.003, 0])


@given(seeds)
@settings(max_examples=20)
def test_a_mirrored_g1_reaches_the_mirrored_place(seed):
    g1 = load_embodiment("g1_o6")
    raw = np.random.default_rng(seed).uniform(-1, 1, size=(1, 26))
    raw[:, 14:] = 100
    values, slots, mask, _ = g1.to_unified(raw, "state")
    row = mirror.mirror_row(values, slots, mask, "state", rule=g1.mirror)
    out = g1.from_unified(*row, kind="state")
    np.testing.assert_allclose(g1_palm("right", out[0, 7:14]), g1_palm("left", raw[0, :7]) @ M_Y, atol=2e-4)
    np.testing.assert_allclose(g1_palm("left", out[0, :7]), g1_palm("right", raw[0, 7:14]) @ M_Y, atol=2e-4)


@given(seeds)
@settings(max_examples=20)
def test_points_seen_by_the_mirrored_camera_are_the_flipped_picture(seed):
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.from_quat(rng.normal(size=4)).as_matrix(), rng.normal(size=3)
    world_points = pose[:3, 3] + (rng.uniform(-0.3, 0.3, (9, 3)) + np.array([0, 0, 1])) @ pose[:3, :3].T
    K = np.array([[600.0, 2.5, 310], [0, 590, 250], [0, 0, 1]])

    def project(T, k, points):
        local = (points - T[:3, 3]) @ T[:3, :3]
        uvw = local @ k.T
        return local, uvw[:, :2] / uvw[:, 2:]

    local, pixels = project(pose, K, world_points)
    mirrored = mirror.mirror_poses(pose)
    assert np.linalg.det(mirrored[:3, :3]) > 0.999
    out_local, out_pixels = project(mirrored, mirror.mirror_matrix(K, 640), world_points @ M_Y)
    np.testing.assert_allclose(out_local, local * [-1, 1, 1], atol=1e-12)
    np.testing.assert_allclose(out_pixels, pixels * [-1, 1] + [639, 0], atol=1e-8)
    np.testing.assert_allclose(mirror.mirror_poses(mirrored), pose, atol=1e-15)
    np.testing.assert_allclose(mirror.mirror_matrix(mirror.mirror_matrix(K, 640), 640), K)
    np.testing.assert_allclose(mirror.mirror_intrinsics([600, 590, 310, 250], 640), [600, 590, 329, 250])


@pytest.mark.parametrize("n", [4, 5, 8])
def test_the_mirrored_distortion_bends_the_flipped_picture(n):
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(n)
    d = rng.normal(scale=0.02, size=n)
    points = rng.uniform(-0.4, 0.4, (20, 3)) + np.array([0, 0, 1])
    K = np.array([[600.0, 0, 310], [0, 590, 250], [0, 0, 1]])
    zero = np.zeros(3)
    pixels = cv2.projectPoints(points, zero, zero, K, d)[0][:, 0]
    out = cv2.projectPoints(
        points @ M_X, zero, zero, mirror.mirror_matrix(K, 640), mirror.mirror_distortion("radtan", d)
    )[0][:, 0]
    np.testing.assert_allclose(out, pixels * [-1, 1] + [639, 0], atol=1e-9)


def test_radial_models_keep_their_coefficients_and_unknown_ones_are_refused():
    np.testing.assert_array_equal(mirror.mirror_distortion("kannala_brandt", [1, 2, 3, 4]), [1, 2, 3, 4])
    assert mirror.mirror_distortion("none", []).size == 0
    with pytest.raises(ValueError, match="cannot mirror"):
        mirror.mirror_distortion("radtan", np.zeros(12))


def test_names_swap_whole_words_only():
    assert mirror.mirror_side("wrist_left") == "wrist_right"
    assert mirror.mirror_side("right_eef") == "left_eef"
    assert mirror.mirror_side("ego") == "ego"
    assert mirror.mirror_side("bright_top") == "bright_top"
    assert slot_index(mirror.mirror_side("left_theta_00_x")) == mirror.PERMUTATION[slot_index("left_theta_00_x")]
