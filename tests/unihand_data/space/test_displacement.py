"""Displacements: definition, exact way back, commands, and composition over time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unihand_data.space import displacement as disp
from unihand_data.space import rotations as rot

seeds = st.integers(0, 2**32 - 1)


def walk(seed, n=20, turn=0.5):
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(n, 3)) * rng.choice([1e-9, turn, 3.14159], size=(n, 1))
    r = [Rotation.from_quat(rng.normal(size=4))]
    for s in steps[1:]:
        r.append(Rotation.from_rotvec(s) * r[-1])
    return rng.normal(size=(n, 3)), Rotation.concatenate(r).as_rotvec()


def same_rotation(a, b, atol=1e-7):
    np.testing.assert_allclose(rot.geodesic(a, b), 0, atol=atol)


def test_a_displacement_is_the_difference_and_the_left_turn_in_the_world():
    # the hand points along world y and turns by 0.2 about the world's z
    r0, r1 = Rotation.from_euler("x", 1.0), Rotation.from_euler("z", 0.2) * Rotation.from_euler("x", 1.0)
    d = disp.displacements(np.array([[0, 0, 0], [0, 0.1, 0]]), np.stack([r0.as_rotvec(), r1.as_rotvec()]))
    np.testing.assert_allclose(d.pos, [[0, 0.1, 0], [0, 0, 0]])
    np.testing.assert_allclose(d.rot, [[0, 0, 0.2], [0, 0, 0]], atol=1e-15)
    assert d.mask.tolist() == [True, False]


@given(seeds)
def test_integrating_the_displacements_gives_the_trajectory_back(seed):
    p, r = walk(seed)
    d = disp.displacements(p, r)
    back = disp.integrate(p[0], r[0], d.pos[:-1], d.rot[:-1])
    np.testing.assert_allclose(back.pos, p, atol=1e-12)
    same_rotation(back.rot, r)
    # and the displacements of that are the same displacements
    again = disp.displacements(*back)
    np.testing.assert_allclose(again.pos, d.pos, atol=1e-12)
    near_pi = np.linalg.norm(d.rot, axis=1) > 3.1415
    np.testing.assert_allclose(again.rot[~near_pi], d.rot[~near_pi], atol=1e-7)


@given(seeds)
def test_absolute_commands_start_from_the_realised_pose_and_come_back(seed):
    p, r = walk(seed, n=8)
    rng = np.random.default_rng(seed)
    p0, r0 = rng.normal(size=3), rng.normal(size=3)
    d = disp.from_commands(p, r, p0, r0)
    assert d.mask.all()
    np.testing.assert_allclose(d.pos[0], p[0] - p0)
    same_rotation(d.rot[0], rot.compose(r[0], -r0))
    back = disp.to_commands(p0, r0, d.pos, d.rot)
    np.testing.assert_allclose(back.pos, p, atol=1e-12)
    same_rotation(back.rot, r)


def test_a_gap_masks_the_steps_that_touch_it_and_nothing_else():
    p, r = walk(3, n=6)
    p[2] = np.nan
    d = disp.displacements(p, r)
    assert d.mask.tolist() == [True, False, False, True, True, False]
    assert np.isfinite(d.pos).all()


@given(seeds, st.integers(1, 6))
def test_merged_steps_are_the_displacements_of_the_thinned_trajectory(seed, stride):
    p, r = walk(seed, n=19, turn=0.2)
    d = disp.displacements(p, r)
    edges = np.arange(0, 19, stride)
    merged = disp.compose_steps(d.pos, d.rot, d.mask, edges)
    direct = disp.displacements(p[edges], r[edges])
    np.testing.assert_allclose(merged.pos, direct.pos[:-1], atol=1e-12)
    same_rotation(merged.rot, direct.rot[:-1])
    assert merged.mask.all()


def test_merging_is_not_scaling():
    # two quarter turns about different axes: neither the sum nor twice the first
    d = np.array([[np.pi / 2, 0, 0], [0, np.pi / 2, 0]])
    out = disp.compose_steps(np.zeros((2, 3)), d, np.ones(2, bool), np.array([0, 2]))
    np.testing.assert_allclose(np.linalg.norm(out.rot[0]), 2 * np.pi / 3, atol=1e-12)


def test_a_merged_step_with_a_masked_part_is_masked():
    mask = np.array([True, False, True, True])
    out = disp.compose_steps(np.ones((4, 3)), np.zeros((4, 3)), mask, np.array([0, 2, 4]))
    assert out.mask.tolist() == [False, True]
    assert (out.pos[0] == 0).all()


@given(seeds, st.integers(2, 40))
def test_resampling_keeps_the_whole_displacement(seed, n):
    p, r = walk(seed, n=12, turn=0.3)
    times = np.sort(np.random.default_rng(seed).uniform(0, 1, 12)) + np.arange(12)
    d = disp.displacements(p, r)
    new = np.linspace(times[0], times[-1], n)
    out = disp.resample(d.pos[:-1], d.rot[:-1], d.mask[:-1], times, new)
    assert out.mask.all()
    np.testing.assert_allclose(out.pos.sum(0), p[-1] - p[0], atol=1e-12)
    end = disp.integrate(p[0], r[0], out.pos, out.rot)
    same_rotation(end.rot[-1], r[-1], atol=1e-6)


def test_resampling_masks_what_touches_a_masked_step_and_never_extrapolates():
    pos, turn = np.ones((4, 3)), np.zeros((4, 3))
    mask, times = np.array([True, True, False, True]), np.arange(5.0)
    out = disp.resample(pos, turn, mask, times, np.array([0, 0.5, 2.0, 2.5, 3.0, 4.0]))
    assert out.mask.tolist() == [True, True, False, False, True]
    np.testing.assert_allclose(out.pos[:2, 0], [0.5, 1.5])
    with pytest.raises(ValueError, match="extrapolates"):
        disp.resample(pos, turn, mask, times, np.array([0.0, 4.5]))


def test_targets_without_a_command_are_the_next_state():
    values = np.arange(6.0).reshape(3, 2)
    action, mask = disp.next_targets(values, np.array([[True, True], [False, True], [True, True]]))
    assert action.tolist() == [[0, 3], [4, 5], [0, 0]]
    assert mask.tolist() == [[False, True], [True, True], [False, False]]
