"""The scripted motion: anatomy, smoothness, contact, seeds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unihand_data.demo import grasp, render, script
from unihand_data.demo import hand_model as hm
from unihand_data.demo.script import MIRROR_X

SHORT = render.RenderSettings(duration_s=7.0, fps=15.0)
SEEDS = (0, 1)


@pytest.fixture(scope="module", params=SEEDS)
def picked(request):
    return render.make_script(request.param, SHORT)


def test_forward_kinematics_agrees_with_the_generic_skeleton():
    from unihand_data.hands.skeleton import forward

    rest = hm.rest_joints(np.random.default_rng(0), 1.03)
    theta = hm.theta_of(hm.CLOSED, rest)[None]
    expected = forward(theta, np.zeros((1, 3)), np.zeros((1, 3)), "right", rest=rest[hm.TO_OPENPOSE])
    assert np.allclose(hm.keypoints(rest, theta), expected, atol=1e-12)


def test_without_variation_the_rest_hand_is_generic_v1():
    from unihand_data.hands.skeleton import rest_keypoints

    assert np.allclose(hm.rest_joints()[hm.TO_OPENPOSE], rest_keypoints("right"))


def test_bending_brings_the_finger_tips_to_the_palm_side():
    rest = hm.rest_joints()
    flat = hm.keypoints(rest, np.zeros((1, 45)))[0]
    closed = hm.keypoints(rest, hm.theta_of(hm.CLOSED, rest)[None])[0]
    tips = [8, 12, 16, 20]
    assert (closed[tips, 1] < flat[tips, 1] - 0.02).all()
    assert np.linalg.norm(closed[4] - closed[8]) < np.linalg.norm(flat[4] - flat[8])


def test_the_mirror_of_a_posed_hand_is_the_posed_mirror():
    rest = hm.rest_joints()
    theta = hm.theta_of(hm.PRESHAPE, rest)[None]
    left = hm.keypoints(hm.mirrored_rest(rest), theta * hm.MIRROR_THETA)
    assert np.allclose(left, hm.keypoints(rest, theta) * [-1, 1, 1], atol=1e-12)


@given(st.floats(0, 1), st.floats(0, 1))
def test_minimum_jerk_never_turns_back_and_ends_at_rest(a, b):
    lo, hi = sorted((a, b))
    u = script.minimum_jerk(np.array([0.0, lo, hi, 1.0]))
    assert u[0] == 0
    assert u[-1] == 1
    assert (np.diff(u) >= -1e-12).all()
    near = script.minimum_jerk(np.array([1e-3, 1 - 1e-3]))
    assert near[0] < 1e-7
    assert 1 - near[1] < 1e-7


@settings(deadline=None, max_examples=30)
@given(st.floats(-20, 70), st.floats(-40, 40), st.floats(-30, 20), st.floats(0.15, 0.35), st.floats(-0.2, 0.1))
def test_wrist_angles_are_recovered_from_the_hand_rotation(roll, flex, deviation, x, y):
    start, wrist = np.array([0.03, -0.15, 0.04]), np.array([x, y, 0.1])
    hand = script.aim(grasp.elbow_for(wrist, start), wrist, roll, flex, deviation)[1]
    assert np.allclose(grasp.angles_for(wrist, hand, start), [roll, flex, deviation], atol=1e-6)


def test_postures_and_wrists_stay_inside_anatomical_limits(picked):
    limits = hm.LIMITS_DEG
    thumb = ("thumb_flex", "thumb_abduct", "thumb_twist", "thumb_mcp", "thumb_ip")
    for hand in picked.hands.values():
        terms = {
            "mcp": hand.posture[:, 0:4], "pip": hand.posture[:, 4:8], "dip": hand.posture[:, 8:12],
            "spread": hand.posture[:, 12:16], "wrist_flex": hand.wrist_deg[:, 0],
            "wrist_deviation": hand.wrist_deg[:, 1],
        } | {name: hand.posture[:, 16 + i] for i, name in enumerate(thumb)}  # fmt: skip
        for name, values in terms.items():
            low, high = limits[name]
            assert low <= values.min(), name
            assert values.max() <= high, name


def test_wrists_move_smoothly(picked):
    for hand in picked.hands.values():
        speed = np.linalg.norm(np.diff(hand.pos, axis=0), axis=1) * picked.fps
        accel = np.linalg.norm(np.diff(hand.pos, 2, axis=0), axis=1) * picked.fps**2
        assert speed.max() < 1.2  # m/s
        assert accel.max() < 12.0  # m/s^2
        turn = (Rotation.from_matrix(hand.rot[1:]) * Rotation.from_matrix(hand.rot[:-1]).inv()).magnitude() * picked.fps
        assert turn.max() < 6.0  # rad/s


def test_a_held_object_is_rigid_in_the_hand(picked):
    held = np.flatnonzero(picked.held_by[0] > 0)
    hand = picked.hands["right"]
    local = np.einsum("tji,tj->ti", hand.rot[held], picked.object_pose[0, held, :3, 3] - hand.pos[held])
    assert np.abs(local - local[0]).max() < 1e-9


def test_both_hands_work_and_both_objects_move(picked):
    for hand in picked.hands.values():
        assert np.ptp(hand.pos, axis=0).max() > 0.1
    for pose in picked.object_pose:
        assert np.linalg.norm(pose[-1, :3, 3] - pose[0, :3, 3]) > 0.03


def test_skin_touches_things_and_hardly_enters_them(picked):
    rest = picked.hands["right"].rest
    deepest, touch = 0.0, np.inf
    for side, hand in picked.hands.items():
        mirror = MIRROR_X if side == "left" else np.eye(3)
        sign = hm.MIRROR_THETA if side == "left" else 1.0
        for i in range(0, len(hand.pos), 4):
            points, radius = grasp.skin_points(rest, hand.theta[i] * sign)
            world = points @ mirror.T @ hand.rot[i].T + hand.pos[i]
            assert (world[:, 2] - radius).min() > -0.004  # the table
            for k, thing in enumerate(picked.objects):
                pose = picked.object_pose[k, i]
                gap = (thing.distance((world - pose[:3, 3]) @ pose[:3, :3]) - radius).min()
                deepest = min(deepest, gap)
                if k == 0 and picked.held_by[0, i]:
                    touch = min(touch, gap)
    assert deepest > -0.010
    assert touch < 0.002


def test_the_same_seed_is_the_same_motion_and_another_is_not():
    a, b, c = (render.make_script(s, replace(SHORT, activity="walk")) for s in (5, 5, 6))
    assert np.array_equal(a.hands["right"].theta, b.hands["right"].theta)
    assert np.array_equal(a.camera, b.camera)
    assert not np.allclose(a.hands["right"].theta, c.hands["right"].theta)


def test_a_left_handed_person_picks_with_the_left():
    s = render.make_script(3, replace(SHORT, left_handed=True))
    assert set(np.unique(s.held_by[0])) == {0, 2}
    assert s.object_pose[0, 0, 1, 3] > 0  # on the left side
    assert "left hand" in s.intent


def test_a_static_camera_does_not_move_and_a_head_does(picked):
    still = render.make_script(3, replace(SHORT, activity="walk", camera_moves=False)).camera
    moving = picked.camera
    assert np.ptp(still, axis=0).max() == 0
    assert np.ptp(moving[:, :3, 3], axis=0).max() > 0.01


def test_a_walk_has_no_object_and_carries_the_hands_along():
    s = render.make_script(3, replace(SHORT, activity="walk"))
    assert not s.objects
    assert s.camera[-1, 0, 3] - s.camera[0, 0, 3] > 3.0
    truth = render.make_truth(s, SHORT, {})
    wrist = truth.wrist_pos_cam
    assert np.ptp(wrist, axis=1).max() < 0.15
    assert {hand for *_, hand in s.instructions} == {"none"}


def test_both_hands_stay_in_the_picture_for_nine_frames_of_ten(picked):
    truth = render.make_truth(picked, SHORT, {})
    assert (truth.hand_visible.mean(1) > 0.9).all()
