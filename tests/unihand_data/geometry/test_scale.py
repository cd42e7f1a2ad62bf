"""Metric scale and the vertical of a map, from hands and a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unihand_data.geometry.scale import metric_scale, table_normal


def wall(depth, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-0.4, 0.4, 300), rng.uniform(-0.3, 0.3, 300), np.full(300, depth)], axis=1)


def scaled(scene, unit):
    """The same scene in a map of other units (``unit`` metres each)."""
    pose = scene.pose.copy()
    pose[:, :3, 3] /= unit
    return pose, scene.points / unit


@pytest.fixture
def touching(observed, hands_at):
    """A hand in front of a wall 0.8 m away that touches it in one of three frames."""
    pose = np.tile(np.eye(4), (60, 1, 1))
    pose[:, 0, 3] = np.linspace(0, 0.1, 60)
    place = np.stack([np.zeros(60), np.zeros(60), 0.8 - 0.15 * (np.arange(60) % 3 > 0)], axis=1)
    scene = observed(pose, wall(0.8), 0.0)
    return scene, hands_at(pose, place)


@pytest.mark.parametrize("unit", [1.0, 0.25, 7.0])
def test_a_hand_that_touches_gives_the_scale_of_the_map(touching, unit):
    scene, hands = touching
    pose, points = scaled(scene, unit)
    scale, spread, votes = metric_scale(hands, pose, np.ones(60, bool), points, np.arange(len(points)), *scene.seen)
    assert scale == pytest.approx(unit, rel=0.02)
    assert votes == 60
    assert spread < 0.3


def test_hands_that_never_touch_give_a_scale_that_is_too_small_never_too_large(observed, hands_at):
    pose = np.tile(np.eye(4), (30, 1, 1))
    scene = observed(pose, wall(0.8), 0.0)
    hands = hands_at(pose, np.tile([0, 0, 0.6], (30, 1)))
    scale, _, _ = metric_scale(hands, pose, np.ones(30, bool), scene.points, np.arange(300), *scene.seen)
    assert scale == pytest.approx(0.75, rel=0.01)


def test_filled_in_and_unseen_hands_do_not_vote(touching):
    scene, hands = touching
    hands.right.interpolated[10:] = True
    args = scene.pose, np.ones(60, bool), scene.points, np.arange(300)
    assert metric_scale(hands, *args, *scene.seen)[2] == 10
    hands.right.valid[3:] = False
    scale, spread, votes = metric_scale(hands, *args, *scene.seen)
    assert votes == 3
    assert np.isnan(scale)
    assert np.isnan(spread)


def test_frames_that_are_not_placed_do_not_vote(touching):
    scene, hands = touching
    valid = np.arange(60) < 20
    pose = scene.pose.copy()
    pose[~valid] = np.nan
    assert metric_scale(hands, pose, valid, scene.points, np.arange(300), *scene.seen)[2] == 20


def test_points_far_from_the_hand_in_the_picture_do_not_vote(observed, hands_at):
    pose = np.tile(np.eye(4), (30, 1, 1))
    away = wall(0.8)
    away = away[np.abs(away[:, 0]) > 0.3]
    scene = observed(pose, away, 0.0)
    hands = hands_at(pose, np.tile([0, 0, 0.8], (30, 1)))
    votes = metric_scale(hands, pose, np.ones(30, bool), scene.points, np.arange(len(away)), *scene.seen)[2]
    assert votes == 0


# the vertical -------------------------------------------------------------------------------------------------------


def table(up, noise=0.003, outliers=60, seed=0):
    """300 points of a table 0.5 m below a camera, ``up`` in its axes, and things standing on it."""
    rng = np.random.default_rng(seed)
    a = np.cross(up, [1.0, 0, 0])
    a /= np.linalg.norm(a)
    b = np.cross(up, a)
    flat = rng.uniform(-0.4, 0.4, (300, 2)) @ np.stack([a, b]) + noise * rng.normal(size=(300, 1)) * up
    things = rng.uniform(-0.3, 0.3, (outliers, 2)) @ np.stack([a, b]) + rng.uniform(0.03, 0.3, (outliers, 1)) * up
    return np.concatenate([flat, things]) + np.array([0, 0, 0.6])


@settings(max_examples=20, deadline=None)
@given(st.floats(20, 70), st.floats(-20, 20), st.integers(0, 1000))
def test_the_normal_of_a_table_is_up(pitch, roll, seed):
    up = Rotation.from_euler("xz", [pitch, roll], degrees=True).apply([0, -1.0, 0])
    found = table_normal(table(up, seed=seed), np.tile(np.eye(4), (5, 1, 1)))
    assert found is not None
    assert np.degrees(np.arccos(np.clip(found @ up, -1, 1))) < 1.0


def test_a_wall_in_front_of_the_camera_is_no_table():
    assert table_normal(table(np.array([0.0, 0.0, -1.0])), np.tile(np.eye(4), (5, 1, 1))) is None


def test_scattered_points_have_no_table():
    cloud = np.random.default_rng(0).uniform(-1, 1, (300, 3)) + np.array([0, 0, 2])
    assert table_normal(cloud, np.tile(np.eye(4), (5, 1, 1))) is None
    assert table_normal(cloud[:20], np.tile(np.eye(4), (5, 1, 1))) is None


def test_the_same_points_give_the_same_normal():
    points = table(np.array([0.0, -0.8, -0.6]))
    a, b = (table_normal(points, np.tile(np.eye(4), (5, 1, 1))) for _ in range(2))
    assert np.array_equal(a, b)
