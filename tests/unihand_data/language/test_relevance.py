"""Manipulation relevance on motions written down by formula."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason
from unihand_data.language.backends import ClipAnswer
from unihand_data.language.config import RelevanceSettings
from unihand_data.language.relevance import WristView, combine, measure_relevance, screen_motion
from unihand_data.values.camera import CameraTrack
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack

T = np.arange(150) / 30.0


def _camera(speed=0.0, turn_dps=0.0):
    pose = np.tile(np.eye(4), (len(T), 1, 1))
    pose[:, 0, 3] = speed * T
    pose[:, :3, :3] = Rotation.from_rotvec(np.outer(np.radians(turn_dps) * T, [0, 1, 0])).as_matrix()
    return pose


def _wrist(amplitude=0.0, hz=0.5, valid=None, closure=None):
    pos = np.tile([0.1, 0.1, 0.5], (len(T), 1))
    pos[:, 0] += amplitude * np.sin(2 * np.pi * hz * T)
    valid = np.ones(len(T), bool) if valid is None else valid
    return WristView(np.where(valid[:, None], pos, np.nan), valid, closure)


def test_hands_that_work_before_a_still_camera_are_manipulation():
    verdict = measure_relevance(T, None, _wrist(0.1), _camera())
    assert verdict.is_manipulation
    assert verdict.dominant == "manipulation"
    assert verdict.score > 0.8


def test_walking_with_resting_hands_is_locomotion():
    verdict = measure_relevance(T, None, _wrist(0.005), _camera(speed=1.2))
    assert verdict.dominant == "locomotion"
    assert verdict.reject().reason == Reason.NOT_MANIPULATION
    assert verdict.figures["camera_speed_p50"] == pytest.approx(1.2, rel=1e-6)


def test_walking_with_hands_out_of_view_is_locomotion():
    nowhere = _wrist(valid=np.zeros(len(T), bool))
    verdict = measure_relevance(T, nowhere, None, _camera(speed=1.0))
    assert verdict.dominant == "locomotion"
    assert not verdict.is_manipulation


def test_turning_the_head_with_resting_hands_is_looking():
    verdict = measure_relevance(T, None, _wrist(), _camera(turn_dps=90))
    assert verdict.dominant == "looking"
    assert verdict.figures["camera_turn_p50"] == pytest.approx(90, rel=0.02)


def test_carrying_work_on_while_walking_stays_manipulation():
    verdict = measure_relevance(T, None, _wrist(0.15, hz=1.0), _camera(speed=0.8))
    assert verdict.dominant == "manipulation"


def test_fingers_that_open_and_close_are_manipulation_by_themselves():
    closure = 0.5 + 0.4 * np.sin(2 * np.pi * 0.5 * T)
    assert measure_relevance(T, None, _wrist(closure=closure), _camera()).dominant == "manipulation"


def test_hands_that_hold_still_are_idle_and_get_part_of_the_score():
    verdict = measure_relevance(T, None, _wrist(), _camera())
    assert verdict.dominant == "idle"
    assert verdict.score == pytest.approx(0.3)
    assert verdict.is_manipulation  # not over-strict: a held object does not move


def test_hands_seen_too_rarely_do_not_carry_a_clip():
    valid = np.zeros(len(T), bool)
    valid[:15] = True
    assert not measure_relevance(T, None, _wrist(0.1, valid=valid), _camera()).is_manipulation


def test_without_a_camera_nothing_is_called_locomotion():
    verdict = measure_relevance(T, None, _wrist(0.1), None)
    assert verdict.shares["locomotion"] == verdict.shares["looking"] == 0.0
    assert verdict.dominant == "manipulation"


def test_no_hands_and_no_camera_is_unclear_and_no_crash():
    assert measure_relevance(T, None, None, None).dominant == "unclear"
    assert not measure_relevance(T[:1], None, None, None).is_manipulation


def test_a_sure_model_outweighs_the_figures_and_an_unsure_one_does_not():
    walking = measure_relevance(T, None, _wrist(0.005), _camera(speed=1.2))
    yes = ClipAnswer("c", "ok", is_manipulation=True, confidence="high", dominant_activity="manipulation")
    assert combine(walking, yes).is_manipulation
    working = measure_relevance(T, None, _wrist(0.1), _camera())
    no = ClipAnswer("c", "ok", is_manipulation=False, confidence="high", dominant_activity="other_person")
    assert not combine(working, no).is_manipulation
    assert combine(working, no).dominant == "other_person"
    no.confidence = "low"
    assert combine(working, no).is_manipulation


@pytest.mark.parametrize("status", ["blocked", "bad_answer", "budget", "error"])
def test_an_answer_that_is_none_never_makes_a_clip_irrelevant(status):
    working = measure_relevance(T, None, _wrist(0.1), _camera())
    verdict = combine(working, ClipAnswer("c", status))
    assert verdict.is_manipulation
    assert verdict.decided_by == "figures"
    assert verdict.model_status == status


def test_thresholds_are_settings():
    strict = RelevanceSettings(min_score=0.5)
    assert not measure_relevance(T, None, _wrist(), _camera(), settings=strict).is_manipulation


def test_tracks_of_a_clip_are_screened_without_filled_in_poses_and_without_a_camera_of_unknown_scale():
    right, left = HandTrack.empty("right", len(T)), HandTrack.empty("left", len(T))
    working = _wrist(0.1)
    right.wrist_pos, right.valid = working.pos, np.ones(len(T), bool)
    right.theta = np.zeros((len(T), 45))
    camera = CameraTrack(_camera(speed=1.2), np.ones(len(T), bool), metric=False)
    verdict = screen_motion(HandResult(left, right), camera, T)
    assert verdict.keep
    assert verdict.shares["locomotion"] == 0.0
    right.interpolated = np.ones(len(T), bool)
    assert not screen_motion(HandResult(left, right), camera, T).keep
    why = screen_motion(HandResult(left, right), camera, T).why
    assert "score 0.00 against relevance.min_score 0.25" in why
    assert "0% of the frames against relevance.min_visible_ratio 0.2" in why
