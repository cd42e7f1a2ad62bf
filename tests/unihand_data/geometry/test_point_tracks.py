"""What followed points say by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unihand_data.geometry.point_tracks import background_shift, keyframes, spread_tracks, weakest_link


def moving(frames, count, step, *, life=None, seed=0):
    """Points that all move by ``step`` px a frame; with ``life`` each is replaced after so many frames."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 900, (count, 2))
    rows = []
    for t in range(frames):
        for p in range(count):
            generation = 0 if life is None else (t + p) // life
            rows.append((t, p + 10_000 * generation, *(place[p] + np.array([t * step, 0]))))
    out = np.array(rows)
    return out[:, 0].astype(int), out[:, 1].astype(int), out[:, 2:]


def test_noise_of_a_static_camera_is_not_motion(scene_of):
    still = scene_of(60, 0.3, moving=False)
    # the median over 400 points of the distance of two noisy places: 0.3 sqrt(2) * 1.18 (Rayleigh median)
    assert background_shift(*still.seen, 60) == pytest.approx(0.3 * np.sqrt(2) * np.sqrt(2 * np.log(2)), abs=0.15)


def test_moving_things_before_a_static_camera_are_not_its_motion(scene_of):
    still = scene_of(60, 0.1, moving=False)
    thing = still.track % 5 < 2  # two of five points are on something that moves
    still.xy[thing] += np.stack([3.0 * still.frame[thing], np.zeros(thing.sum())], axis=1)
    assert background_shift(*still.seen, 60) < 1.0


def test_a_pan_moves_by_its_path():
    assert background_shift(*moving(50, 40, 2.0), 50) == pytest.approx(2.0 * 49)


def test_a_slow_drift_is_seen_although_no_point_lives_to_tell():
    """Every point lives 4 frames, so none moves more than 1.2 px; the picture moved 23.6 px."""
    assert background_shift(*moving(60, 60, 0.4, life=4), 60) == pytest.approx(0.4 * 59, rel=0.1)


def test_a_turn_about_the_optical_axis_is_motion(scene_of):
    still = scene_of(30, 0.0, moving=False)
    middle = np.array([479.5, 269.5])
    angle = 0.01 * still.frame
    c, s = np.cos(angle), np.sin(angle)
    x, y = (still.xy - middle).T
    still.xy[:] = np.stack([c * x - s * y, s * x + c * y], axis=1) + middle
    assert background_shift(*still.seen, 30) > 20


def test_too_few_points_cannot_say_that_a_camera_stands_still(scene_of):
    assert background_shift(*moving(50, 3, 0.0), 50) == np.inf
    nothing = np.zeros(0, int)
    assert background_shift(nothing, nothing, np.zeros((0, 2)), 50) == np.inf
    half = scene_of(60, 0.1, moving=False)
    late = half.frame < 20  # points in a third of the frames alone
    assert background_shift(half.frame[late], half.track[late], half.xy[late], 60) == np.inf


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 5), st.floats(0, 2 * np.pi))
def test_the_shift_does_not_depend_on_the_direction(seed, step, direction):
    frame, track, xy = moving(20, 20, step, seed=seed % 100)
    turn = np.array([[np.cos(direction), -np.sin(direction)], [np.sin(direction), np.cos(direction)]])
    assert background_shift(frame, track, xy @ turn.T, 20) == pytest.approx(background_shift(frame, track, xy, 20))


def test_keyframes_are_as_far_apart_as_asked():
    keys = keyframes(*moving(61, 40, 4.0), (0, 61), shift=29.0, longest=60)
    assert keys == [*range(0, 61, 8), 60]  # 8 frames of 4 px are the first to exceed 29


def test_a_still_stretch_gets_a_keyframe_now_and_then():
    assert keyframes(*moving(61, 40, 0.0), (0, 61), shift=29.0, longest=20) == [0, 20, 40, 60]


def test_a_keyframe_comes_when_half_of_the_points_are_gone():
    frame, track, xy = moving(40, 40, 0.0)
    keep = ~((track < 25) & (frame >= 10))
    assert 10 in keyframes(frame[keep], track[keep], xy[keep], (0, 40), shift=29.0, longest=60)


def test_keyframes_stay_inside_their_span():
    keys = keyframes(*moving(90, 40, 4.0), (30, 70), shift=29.0, longest=60)
    assert keys[0] == 30
    assert keys[-1] == 69
    assert (np.diff(keys) >= 1).all()


def test_the_weakest_link_is_where_points_do_not_outlive():
    frame, track, _ = moving(80, 30, 1.0)
    track = np.where(frame >= 47, track + 1000, track)  # all points are lost between 46 and 47
    assert abs(weakest_link(frame, track, (0, 80), 10) - 47) <= 4
    assert weakest_link(frame, track, (0, 80), 40) == 40  # no room for both margins: the middle


def test_points_are_spread_over_the_picture_and_the_long_lived_come_first():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (50, 2))  # one cell of the 16 x 10 grid of 960 x 600
    far = np.array([[500.0, 300.0]])
    rows = [(t, p, *xy) for t in (0, 10) for p, xy in enumerate(np.concatenate([corner, far])) if p != 7 or t == 0]
    out = np.array(rows)
    frame, track, xy = out[:, 0].astype(int), out[:, 1].astype(int), out[:, 2:]
    kept = spread_tracks(frame, track, xy, [0, 10], (960, 600), per_cell=3)
    assert 50 in kept
    assert 7 not in kept  # it is seen once, the others of its cell twice
    assert len(kept) == 4
    assert len(spread_tracks(frame, track, xy, [0, 10], (960, 600), per_cell=99, most=10)) == 10
