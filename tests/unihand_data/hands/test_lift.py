"""From landmarks to a pose in the camera."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.hands import ambiguity, pnp
from unihand_data.hands.lift import lift
from unihand_data.values.camera import Intrinsics


def _landmarks(truth, camera, project, noise=0.0, seed=0):
    """What a landmark model would say: pixels, and metres of a hand of another size about its own middle."""
    rng = np.random.default_rng(seed)
    px = project(truth["points"], camera) + rng.normal(0, noise, (*truth["points"].shape[:2], 2))
    world = (truth["points"] - truth["points"].mean(1, keepdims=True)) * 0.8
    p_right = np.full(len(px), 0.95 if truth["side"] == "right" else 0.05)
    return px, world, p_right


@pytest.mark.parametrize("side", ["left", "right"])
def test_exact_landmarks_give_the_true_place(moving_hand, camera, project, degrees_between, side):
    truth = moving_hand(side)
    px, world, p_right = _landmarks(truth, camera, project)
    fit, error = lift(px, world, p_right, side, camera, truth["t"], 1.0)
    assert np.median(np.linalg.norm(fit.wrist_pos - truth["pos"], axis=1)) < 0.006
    assert np.median(degrees_between(fit.wrist_rot, truth["rot"])) < 3.0
    assert np.median(error) < 0.01


def test_frames_taken_for_the_other_hand_do_not_turn_the_hand_over(moving_hand, camera, project, degrees_between):
    truth = moving_hand("right")
    px, world, p_right = _landmarks(truth, camera, project, noise=2.0)
    wrong = np.arange(10, 60, 7)
    p_right[wrong] = 0.1
    world[wrong, :, 2] *= -1.0  # a left hand that looks the same is the right one mirrored in depth
    fit, _ = lift(px, world, p_right, "right", camera, truth["t"], 1.0)
    assert degrees_between(fit.wrist_rot, truth["rot"])[wrong].max() < 25.0


def test_a_larger_hand_is_further_away(moving_hand, camera, project):
    truth = moving_hand("right")
    px, world, p_right = _landmarks(truth, camera, project)
    near, _ = lift(px, world, p_right, "right", camera, truth["t"], 1.0)
    far, _ = lift(px, world, p_right, "right", camera, truth["t"], 1.2)
    np.testing.assert_allclose(np.median(far.wrist_pos[:, 2] / near.wrist_pos[:, 2]), 1.2, rtol=0.02)


def test_no_landmarks_give_no_fit(camera):
    nan = np.full((4, 21, 3), np.nan)
    assert lift(nan[..., :2], nan, np.full(4, np.nan), "left", camera, np.arange(4) / 30, 1.0) is None


def test_pnp_places_points_where_they_are_and_leaves_the_rest_out(moving_hand, camera, project):
    truth = moving_hand("right", 5)
    px, world, _ = _landmarks(truth, camera, project)
    px[3] = np.nan
    size = pnp.palm_size(truth["points"])[0]
    from unihand_data.hands.skeleton import rest_keypoints

    scale = size / pnp.palm_size(rest_keypoints("right")[None])[0]
    placed = pnp.solve_hands(world, px, camera, scale)
    good = [0, 1, 2, 4]
    np.testing.assert_allclose(placed.keypoints[good], truth["points"][good], atol=2e-3)
    assert np.isnan(placed.keypoints[3]).all()
    assert (placed.reprojection[good] < 1e-3).all()


@pytest.mark.parametrize(
    ("model", "k"), [("radtan", (-0.3, 0.1, 0.001, -0.002)), ("kannala_brandt", (0.05, -0.01, 0.002, 0.0))]
)
def test_distortion_is_taken_out_of_pixels(model, k):
    camera = Intrinsics(700.0, 700.0, 639.5, 359.5, 1280, 720, model, k)
    ray = np.array([[[0.3, -0.2], [0.0, 0.0], [np.nan, np.nan]]])
    x, y = ray[..., 0], ray[..., 1]
    r2 = x**2 + y**2
    if model == "radtan":  # OpenCV's model: radial k1 k2, tangential p1 p2
        d = 1 + k[0] * r2 + k[1] * r2**2
        xd = x * d + 2 * k[2] * x * y + k[3] * (r2 + 2 * x**2)
        yd = y * d + k[2] * (r2 + 2 * y**2) + 2 * k[3] * x * y
    else:  # theta_d = theta (1 + k1 theta^2 + ...)
        r = np.sqrt(r2)
        t = np.arctan(r)
        d = np.where(r > 0, t * (1 + k[0] * t**2 + k[1] * t**4 + k[2] * t**6 + k[3] * t**8) / np.maximum(r, 1e-12), 1.0)
        xd, yd = x * d, y * d
    px = np.stack([xd * camera.fx + camera.cx, yd * camera.fy + camera.cy], -1)
    straight = pnp.undistorted_px(px, camera)
    want = ray * camera.fx + [camera.cx, camera.cy]
    np.testing.assert_allclose(straight[0, :2], want[0, :2], atol=0.02)
    assert np.isnan(straight[0, 2]).all()


def test_the_steady_explanation_wins_over_a_slightly_better_jumping_one():
    frames = 20
    rot = np.zeros((frames, 2, 3))
    rot[:, 1, 0] = 2.0  # the second explanation is turned by 2 rad throughout
    pos = np.zeros((frames, 2, 3))
    misfit = np.tile([0.5, 1.5], (frames, 1))
    misfit[7] = [1.5, 0.5]  # one frame says otherwise
    misfit[12] = np.nan
    choice = ambiguity.choose(misfit, pos, rot, np.arange(frames) / 30)
    assert (choice == 0).all()
    misfit[5:] = [4.0, 0.5]  # now most of them do
    assert (ambiguity.choose(misfit, pos, rot, np.arange(frames) / 30)[5:] == 1).all()
