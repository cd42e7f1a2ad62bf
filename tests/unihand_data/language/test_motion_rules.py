"""The motion describer against motions written down by formula, and under the left-right mirror."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unihand_data.language import motion_phrases
from unihand_data.language.mirror_words import mirror_flags, swap_left_right
from unihand_data.language.motion_measure import HandMotion, closure_from_theta, heading_of_camera
from unihand_data.language.motion_rules import describe_clip
from unihand_data.language.motion_trust import HandTrust, trust_of
from unihand_data.values.hands import HandTrack

FPS = 30
M_Y, M_X = np.diag([1.0, -1, 1]), np.diag([-1.0, 1, 1])


def _t(seconds):
    return np.arange(round(seconds * FPS)) / FPS


def _line(t, start, velocity):
    return np.asarray(start) + np.outer(t, velocity)


def _hand(pos, closure=None, rot=None, valid=None):
    return HandMotion(pos, np.ones(len(pos), bool) if valid is None else valid, closure, rot)


def _mirrored(hand):
    if hand is None:
        return None
    rot = None
    if hand.rot is not None:
        rot = Rotation.from_matrix(M_Y @ Rotation.from_rotvec(hand.rot).as_matrix() @ M_X @ np.eye(3)).as_rotvec()
    return HandMotion(hand.pos * [1, -1, 1], hand.valid, hand.closure, rot, hand.trust)


def _instructions(rows):
    return [r.text for r in rows if r.level == "instruction"]


@pytest.mark.parametrize(
    ("velocity", "word"),
    [((0.1, 0, 0), "forward"), ((-0.1, 0, 0), "back"), ((0, 0.1, 0), "to the left"), ((0, -0.1, 0), "to the right"),
     ((0, 0, 0.1), "up"), ((0, 0, -0.1), "down")],
)  # fmt: skip
def test_direction_and_distance_are_those_of_the_measured_motion(velocity, word):
    t = _t(1.0)
    rows = describe_clip(t, None, _hand(_line(t, (0.3, -0.1, -0.3), velocity)), key="k")
    text = _instructions(rows)[0]
    assert word in text
    assert "right hand" in text
    assert "10 cm" in text
    assert rows[0].hand == "right"
    assert rows[0].text_source == "motion_rules"


def test_a_hand_is_never_said_to_go_where_it_did_not():
    t = _t(1.0)
    text = _instructions(describe_clip(t, None, _hand(_line(t, (0.3, 0, 0), (0.1, 0, 0))), key="k"))[0]
    assert not any(word in text for word in ("left", "up", "down", "back", "clockwise", "opens", "closes"))


def test_opening_and_closing_come_from_the_finger_joints():
    t = _t(1.0)
    pos = _line(t, (0.3, 0, 0), (0, 0, 0))
    closing = describe_clip(t, _hand(pos, np.linspace(0.1, 0.8, len(t))), None, key="a")
    opening = describe_clip(t, _hand(pos, np.linspace(0.8, 0.1, len(t))), None, key="a")
    assert any(p in closing[0].text for p in motion_phrases.CLOSE)
    assert any(p in opening[0].text for p in motion_phrases.OPEN)


def test_closure_is_zero_for_the_flat_hand_and_one_for_a_fist():
    fist = np.zeros((1, 15, 3))
    fist[:, :12, 2] = 1.5
    assert closure_from_theta(np.zeros((2, 45))).tolist() == [0.0, 0.0]
    assert closure_from_theta(fist.reshape(1, 45)) == pytest.approx(1.0)


def test_a_roll_that_lifts_the_thumb_side_of_the_left_is_clockwise_to_the_wearer():
    # +x rotation takes y (left) to z (up); seen along +x that is left going up: clockwise
    t = _t(1.0)
    rot = np.outer(np.linspace(0, 0.8, len(t)), [1.0, 0, 0])
    pos = _line(t, (0.3, 0, 0), (0, 0, 0))
    text = describe_clip(t, _hand(pos, rot=rot), None, key="k")[0].text
    assert " clockwise" in text
    assert "45 degrees" in text
    assert "counterclockwise" in describe_clip(t, _hand(pos, rot=-rot), None, key="k")[0].text


def test_directions_are_relative_to_where_the_wearer_faces():
    t = _t(1.0)
    heading = np.full(len(t), np.pi / 2)  # the wearer faces world y
    text = describe_clip(t, None, _hand(_line(t, (0, 0, 0), (0, 0.1, 0))), key="k", heading=heading)[0].text
    assert "forward" in text


def test_the_heading_of_a_level_camera_and_of_one_that_looks_down_is_forward():
    level = np.eye(4)
    level[:3, :3] = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # OpenCV axes: x right, y down, z forward = world x
    down = np.eye(4)
    down[:3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]])  # looks along -z, picture's up is world x
    assert heading_of_camera(np.stack([level, down])) == pytest.approx([0.0, 0.0])


def test_a_still_hand_is_said_to_be_still_and_jitter_adds_no_path():
    t = _t(1.0)
    noise = np.random.default_rng(0).normal(0, 0.002, (len(t), 3))
    text = describe_clip(t, None, _hand(_line(t, (0.3, 0, 0), (0, 0, 0)) + noise), key="k")[0].text
    assert any(word in text for word in ("still", "stays", "holds", "not move", "hold"))


def test_hands_that_part_are_said_to_part():
    t = _t(1.0)
    left, right = _hand(_line(t, (0.3, 0.1, 0), (0, 0.08, 0))), _hand(_line(t, (0.3, -0.1, 0), (0, -0.05, 0)))
    text = describe_clip(t, left, right, key="k")[0].text
    assert any(w in text for w in ("apart", "grows"))
    assert "13 cm" in text


def test_a_hand_unseen_for_most_of_a_window_is_not_spoken_of():
    t = _t(1.0)
    valid = np.zeros(len(t), bool)
    valid[:6] = True
    pos = np.where(valid[:, None], _line(t, (0, 0, 0), (0.2, 0, 0)), np.nan)
    right = _hand(_line(t, (0.3, 0, 0), (0.1, 0, 0)))
    rows = describe_clip(t, _hand(pos, valid=valid), right, key="k")
    assert all("left hand" not in r.text for r in rows)
    assert describe_clip(t, _hand(pos, valid=valid), None, key="k") == []


def _estimated(confidence=0.9, frames=FPS, reliability=0.9, **noise):
    """Trust in a hand that one camera's pictures gave."""
    return HandTrust(True, **noise, reliability=reliability, confidence=np.full(frames, confidence))


def _said(text):
    return {
        "closes": any(p in text for p in motion_phrases.CLOSE),
        "opens": any(p in text for p in motion_phrases.OPEN),
        "turns": "degrees" in text,
        "moves": " cm" in text,
        "still": any(p.format(hand="the right hand") in text.lower() for p in motion_phrases.STILL_ALONE),
    }


def _one(pos, closure=None, rot=None, trust=None):
    rows = describe_clip(
        _t(1.0), None, HandMotion(pos, np.ones(FPS, bool), closure, rot, trust or HandTrust()), key="k"
    )
    return _said(rows[0].text) if rows else {}


def test_grip_and_turn_of_an_estimated_hand_are_not_stated_within_what_one_camera_gets_wrong():
    t = _t(1.0)
    pos, rot = _line(t, (0.3, 0, 0), (0, 0.1, 0)), np.outer(np.linspace(0, np.radians(50), len(t)), [0, -1.0, 0])
    closure = np.linspace(0.39, 0.22, len(t))  # what the estimator said of a hand that was closing
    exact = _one(pos, closure, rot)
    assert exact["turns"]
    assert exact["opens"]
    assert _one(pos, closure, rot, _estimated()) == exact | {"turns": False, "opens": False}


@pytest.mark.parametrize(
    "doubt",
    [{"confidence": 0.6}, {"reliability": 0.27}, {"noise_rot": 1.2, "noise_closure": 0.4}, {"confidence": np.nan}],
)
def test_a_large_grip_and_turn_is_stated_of_a_sure_hand_and_left_out_of_a_doubtful_one(doubt):
    t = _t(1.0)
    pos, rot = _line(t, (0.3, 0, 0), (0, 0.1, 0)), np.outer(np.linspace(0, np.radians(145), len(t)), [0, 0, -1.0])
    closure = np.linspace(0.2, 0.9, len(t))
    sure = _one(pos, closure, rot, _estimated())
    assert sure["turns"]
    assert sure["closes"]
    doubtful = _one(pos, closure, rot, _estimated(**doubt))
    assert not doubtful.get("turns")
    assert not doubtful.get("closes")


def test_a_noisy_hand_is_said_neither_to_move_nor_to_be_still_until_it_leaves_its_noise():
    t = _t(1.0)
    noisy = _estimated(noise_pos=0.03)  # limit 9 cm
    assert _one(_line(t, (0.3, 0, 0), (0, 0.06, 0)), trust=noisy) == {}
    assert _one(_line(t, (0.3, 0, 0), (0, 0.0, 0)), trust=noisy) == {}
    assert _one(_line(t, (0.3, 0, 0), (0, 0.2, 0)), trust=noisy)["moves"]
    assert _one(_line(t, (0.3, 0, 0), (0, 0.0, 0)), trust=_estimated())["still"]


def test_a_hand_seen_without_certainty_is_not_spoken_of_and_the_other_one_is():
    t = _t(1.0)
    pos = _line(t, (0.3, 0, 0), (0.2, 0, 0))
    left = HandMotion(pos, np.ones(FPS, bool), trust=_estimated(confidence=0.4))
    text = describe_clip(t, left, HandMotion(pos, np.ones(FPS, bool), trust=_estimated()), key="k")[0].text
    assert "right hand" in text
    assert "left hand" not in text
    assert "both" not in text.lower()


def test_a_mixed_rotation_is_not_stated_as_a_turn_about_one_axis():
    t = _t(1.0)
    pos = _line(t, (0.3, 0, 0), (0, 0.1, 0))
    assert not _one(pos, rot=np.outer(np.linspace(0, 1.0, len(t)), [0.6, 0.5, 0.6]))["turns"]
    assert _one(pos, rot=np.outer(np.linspace(0, 1.0, len(t)), [1.0, 0.3, 0.3]))["turns"]


def test_trust_is_read_off_the_track_and_its_clip():
    track = HandTrack.empty("left", 4, estimator="mediapipe-1.2.2")
    track.figures.update(jitter_pos_raw_m=0.061, jitter_rot_raw_deg=24.0, jitter_theta_raw_deg=np.nan)
    trust = trust_of(track, {"reliability": 0.27, "seen_ratio": 0.9})
    assert trust.estimated
    assert (trust.noise_pos, trust.noise_closure) == (0.061, 0.0)
    assert trust.noise_rot == pytest.approx(np.radians(24))
    assert trust.reliability == pytest.approx(0.3)
    own = trust_of(HandTrack.empty("left", 4, estimator="annotated"))
    assert not own.estimated
    assert own.noise_pos == 0.0


def test_no_summary_ends_a_side_with_over_which_would_not_mirror():
    t = _t(4.0)
    for key in range(12):
        rows = describe_clip(t, None, _hand(_line(t, (0, 0, 0), (0, 0.1, 0))), key=str(key))
        assert all(mirror_flags(r.text) == () for r in rows)
        assert all("to the right" in swap_left_right(r.text) for r in rows if r.level == "intent")


def test_windows_cover_the_clip_and_chunks_are_at_most_ten_seconds():
    t = _t(12.3)
    rows = describe_clip(t, None, _hand(_line(t, (0, 0, 0), (0.1, 0, 0))), key="k")
    spans = [(r.t0, r.t1) for r in rows if r.level == "instruction"]
    assert spans[0][0] == 0
    assert spans[-1][1] == pytest.approx(12.3)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    chunks = [(r.t0, r.t1) for r in rows if r.level == "intent"]
    assert [round(c[1], 6) for c in chunks] == [10.0, 12.3]


_PHRASES = [p for v in vars(motion_phrases).values() if isinstance(v, tuple) for p in v]


@pytest.mark.parametrize("phrase", sorted(set(_PHRASES)))
def test_every_wording_mirrors(phrase):
    fill = {"hand": "the left hand", "dir": "up and to the left", "cm": 7, "sense": "clockwise", "side": "left",
            "way": "forward", "deg": 30, "span": "4 seconds"}  # fmt: skip
    flip = {"hand": "the right hand", "dir": "up and to the right", "sense": "counterclockwise", "side": "right"}
    assert swap_left_right(phrase.format(**fill)) == phrase.format(**{**fill, **flip})


def _random_hand(rng, t, kind):
    if kind == "none":
        return None
    speed = rng.choice([0, 0.01, 0.05, 0.3])
    pos = rng.normal(0, 0.3, 3) + np.cumsum(rng.normal(0, speed / FPS, (len(t), 3)), axis=0)
    pos += np.outer(t, rng.choice([-0.15, -0.05, 0, 0.05, 0.15], 3))
    closure = np.clip(rng.uniform() + np.outer(t, rng.normal(0, 0.3, 1))[:, 0], 0, 1) if kind != "bare" else None
    rot = np.outer(t, rng.normal(0, 0.5, 3)) + rng.normal(0, 1, 3) if kind == "full" else None
    valid = rng.uniform(size=len(t)) > rng.choice([0.0, 0.3])
    trust = HandTrust()
    if kind == "full" and rng.uniform() < 0.5:
        trust = HandTrust(True, 0.005, 0.02, 0.02, rng.uniform(0.4, 1), rng.uniform(0.4, 1.2, len(t)).clip(0, 1))
    return HandMotion(np.where(valid[:, None], pos, np.nan), valid, closure, rot, trust)


_KINDS = st.sampled_from(["full", "full", "bare", "none"])


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kinds=st.tuples(_KINDS, _KINDS), seconds=st.sampled_from([0.4, 1.0, 3.3, 11.0]))
def test_the_description_of_the_mirrored_motion_is_the_mirrored_description(seed, kinds, seconds):
    rng = np.random.default_rng(seed)
    t = _t(seconds)
    left, right = (_random_hand(rng, t, kind) for kind in kinds)
    heading = np.cumsum(rng.normal(0, 0.05, len(t)))
    rows = describe_clip(t, left, right, key="clip", heading=heading)
    twin = describe_clip(t, _mirrored(right), _mirrored(left), key="clip", heading=-heading)
    assert [swap_left_right(r.text) for r in rows] == [r.text for r in twin]
    exchange = {"left": "right", "right": "left"}
    assert [exchange.get(r.hand, r.hand) for r in rows] == [r.hand for r in twin]
    assert all(mirror_flags(r.text) == () for r in rows)


@pytest.mark.parametrize("lateral", [0.0, 0.05, -0.1])
@pytest.mark.parametrize("forward", [0.0, 0.1])
@pytest.mark.parametrize("closing", [0.0, 0.5])
def test_hands_that_are_mirror_images_are_described_alike_in_both_worlds(lateral, forward, closing):
    t = _t(2.0)
    left = _hand(_line(t, (0.3, 0.2, 0), (forward, lateral, 0)), np.clip(0.2 + closing * t / 2, 0, 1))
    right = _hand(left.pos * [1, -1, 1], left.closure)
    rows = describe_clip(t, left, right, key="sym")
    twin = describe_clip(t, _mirrored(right), _mirrored(left), key="sym")
    assert [swap_left_right(r.text) for r in rows] == [r.text for r in twin]


def test_wording_varies_between_clips_and_repeats_for_the_same_clip():
    t = _t(1.0)
    hand = _hand(_line(t, (0, 0, 0), (0.1, 0, 0)))
    texts = {describe_clip(t, None, hand, key=str(k))[0].text for k in range(40)}
    assert len(texts) > 4
    again = describe_clip(t, None, hand, key="7")[0].text
    assert again == describe_clip(t, None, hand, key="7")[0].text
