import numpy as np
import pytest

from unihand_data.curate.motion_quality import MotionSettings, clip_figures, step_outliers, verdict
from unihand_data.errors import Reason
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack

S = MotionSettings()


def times(frames, fps=30.0):
    return np.arange(frames) / fps


def reasons(figures):
    return {reason for reason, _ in verdict(figures, S)}


def test_a_smooth_path_is_kept_and_its_travel_is_its_length(both_hands, static_camera):
    figures = clip_figures(both_hands(60), static_camera(60), times(60), S)
    assert verdict(figures, S) == []
    assert figures["travel_right"] == pytest.approx(59 * 0.004)
    assert figures["jitter_pos"] == pytest.approx(0.0, abs=1e-9)
    assert figures["seen_ratio"] == 1.0


def test_white_noise_of_known_size_is_measured_as_jitter_and_dropped(make_track, make_line, static_camera):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.03, (300, 3))
    hands = HandResult(HandTrack.empty("left", 300), make_track("right", make_line(300, step=(0.001, 0, 0)) + noise))
    figures = clip_figures(hands, static_camera(300), times(300), S)
    # an 11-point cubic Savitzky-Golay filter keeps sqrt(1 - 0.2075) of white noise in its residual
    assert figures["jitter_pos"] == pytest.approx(0.03 * np.sqrt(3) * np.sqrt(1 - 0.2075), rel=0.1)
    assert Reason.JITTER in reasons(figures)


def test_what_smoothing_changed_is_kept_per_hand_and_the_worse_hand_stands_for_the_clip(both_hands, static_camera):
    hands = both_hands(60)
    assert not any(name.startswith("smooth_") for name in clip_figures(hands, static_camera(60), times(60), S))
    hands.left.figures |= {"jitter_pos_raw_m": 0.02, "jitter_pos_m": 0.004, "jitter_rot_raw_deg": 18.0}
    hands.right.figures |= {"jitter_pos_raw_m": 0.01, "jitter_pos_m": 0.005, "jitter_rot_raw_deg": np.nan}
    figures = clip_figures(hands, static_camera(60), times(60), S)
    assert (figures["smooth_pos_before"], figures["smooth_pos_after"]) == (0.02, 0.005)
    assert (figures["smooth_pos_before_right"], figures["smooth_pos_after_left"]) == (0.01, 0.004)
    assert figures["smooth_rot_before"] == pytest.approx(np.pi / 10)


def test_jitter_in_metres_does_not_depend_on_the_frame_rate(make_track, static_camera):
    values = []
    for fps in (15.0, 30.0, 60.0):
        t = np.arange(int(10 * fps)) / fps
        path = np.stack([0.1 * np.sin(t), np.full_like(t, 0.1), np.full_like(t, 0.4)], axis=1)
        hands = HandResult(HandTrack.empty("left", len(t)), make_track("right", path))
        values.append(clip_figures(hands, static_camera(len(t)), t, S)["speed_right"])
    assert np.ptp(values) / np.mean(values) < 0.01


def test_filled_in_frames_do_not_vote_for_quality(make_track, make_line, static_camera):
    path = make_line(90)
    path[40:50] += 0.5  # nonsense, but filled in
    filled = np.zeros(90, bool)
    filled[40:50] = True
    hands = HandResult(HandTrack.empty("left", 90), make_track("right", path, interpolated=filled))
    figures = clip_figures(hands, static_camera(90), times(90), S)
    assert figures["jump_ratio"] == 0.0
    assert figures["seen_ratio"] == pytest.approx(80 / 90)


def test_a_clip_without_any_hand_says_so_and_nothing_else(static_camera):
    hands = HandResult(HandTrack.empty("left", 30), HandTrack.empty("right", 30))
    assert reasons(clip_figures(hands, static_camera(30), times(30), S)) == {Reason.NO_HANDS}


def test_each_threshold_can_be_switched_off(make_track, make_line, static_camera):
    off = MotionSettings(
        min_seen_ratio=None, min_confidence=None, max_gap_s=None, max_dba_px=None, max_jitter_pos_m=None,
        max_jitter_rot_deg=None, max_jump_ratio=None, depth_m=None, min_travel_m=None,
    )  # fmt: skip
    rng = np.random.default_rng(1)
    seen = rng.random(120) < 0.2
    hands = HandResult(
        HandTrack.empty("left", 120), make_track("right", make_line(120) + rng.normal(0, 1, (120, 3)), seen=seen)
    )
    assert verdict(clip_figures(hands, static_camera(120), times(120), off), off) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"confidence": 0.1}, Reason.LOW_CONFIDENCE),
        ({"offset": (0.0, 0.0, 3.0)}, Reason.OUT_OF_RANGE_DEPTH),
        ({"jumps": True}, Reason.DISCONTINUITY),
        ({"gap": True}, Reason.HAND_GAPS),
    ],
)
def test_each_fault_is_dropped_for_its_own_reason(change, reason, make_track, make_line, static_camera):
    path = make_line(150, step=(0.0005, 0, 0)) + np.asarray(change.get("offset", (0, 0, 0)))
    if change.get("jumps"):
        path[::7] += (0.0, 0.3, 0.0)
    seen = np.ones(150, bool)
    if change.get("gap"):
        seen[20:130] = False
    hand = make_track("right", path, seen=seen, confidence=change.get("confidence", 0.9))
    hands = HandResult(HandTrack.empty("left", 150), hand)
    assert reason in reasons(clip_figures(hands, static_camera(150), times(150), S))


def test_an_outlier_masks_its_step_and_a_still_hand_keeps_its_first_movement(make_line):
    path = np.zeros((60, 3))
    path[30:] += (0.01, 0, 0)  # a small true movement after perfect stillness: MAD is zero
    assert not step_outliers(path, np.ones(60, bool), times(60), S).any()
    path[45] += (0.4, 0, 0)
    bad = step_outliers(path, np.ones(60, bool), times(60), S)
    assert np.flatnonzero(bad).tolist() == [44, 45]


def test_reliability_falls_with_noise_and_stays_in_zero_to_one(make_track, make_line, static_camera):
    rng = np.random.default_rng(2)
    values = []
    for sigma in (0.0, 0.005, 0.02, 0.1):
        hand = make_track("right", make_line(120) + rng.normal(0, sigma, (120, 3)))
        values.append(
            clip_figures(HandResult(HandTrack.empty("left", 120), hand), static_camera(120), times(120), S)[
                "reliability"
            ]
        )
    assert values == sorted(values, reverse=True)
    assert all(0.0 <= v <= 1.0 for v in values)
