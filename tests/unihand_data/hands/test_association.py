"""From loose detections to one left and one right hand."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.hands import association as assoc
from unihand_data.hands.association import Detection
from unihand_data.hands.skeleton import rest_keypoints

_W, _H = 1280, 720


def _px(x, y, size=100.0, side="right"):
    """A flat hand seen from the back, fingers up, its wrist at (x, y)."""
    rest = rest_keypoints(side)
    flat = np.stack([-rest[:, 2], rest[:, 0] if side == "right" else -rest[:, 0]], 1)
    if side == "left":
        flat[:, 0] *= -1
    return flat / 0.1 * size + [x, y]


def _d(frame, x, y, p_right=0.9, source="forward", size=100.0):
    return Detection(frame, _px(x, y, size), np.zeros((21, 3)), p_right, {source})


def test_two_findings_of_one_hand_are_merged_and_two_hands_are_not():
    merged = assoc.merge([_d(0, 300, 400, 0.9), _d(0, 305, 402, 0.7, "backward"), _d(0, 800, 400, 0.2)])
    assert len(merged) == 2
    assert merged[0].sources == {"forward", "backward"}
    assert merged[0].p_right == pytest.approx(0.8)
    assert 0 < merged[0].spread < 0.1


def test_two_crossing_hands_keep_their_tracks():
    frames = []
    for f in range(30):
        frames.append([_d(f, 300 + 20 * f, 350, 0.05), _d(f, 900 - 20 * f, 560, 0.95)])
    tracks = [t for t in assoc.link(frames) if len(t.hits) > 1]
    assert len(tracks) == 2
    for t in tracks:
        x = np.array([t.hits[f].centre[0] for f in sorted(t.hits)])
        assert len(set(np.sign(np.diff(x)))) == 1


def test_a_gap_of_a_few_frames_does_not_break_a_track():
    frames = [[_d(f, 300 + 15 * f, 350)] if f not in (8, 9, 10) else [] for f in range(20)]
    assert len(assoc.link(frames)) == 1


def test_the_whole_track_votes_about_its_side():
    frames = [[_d(f, 300, 400, 0.9 if f in (3, 4, 5) else 0.2)] for f in range(20)]
    sides = assoc.assign_sides(assoc.link(frames), _W, _H)
    assert len(sides["left"]) == 20
    assert not sides["right"]


def test_there_is_never_a_second_hand_of_one_side():
    frames = [[_d(f, 300, 400, 0.6), _d(f, 800, 400, 0.95)] for f in range(20)]
    sides = assoc.assign_sides(assoc.link(frames), _W, _H)
    assert len(sides["left"]) == len(sides["right"]) == 20
    assert sides["right"][0].centre[0] > 700, "the surer one keeps its side"
    # a third person's hand, sure of a side that is taken, is left out
    frames = [[_d(f, 300, 500, 0.05), _d(f, 800, 500, 0.95), _d(f, 1100, 100, 0.97)] for f in range(20)]
    sides = assoc.assign_sides(assoc.link(frames), _W, _H)
    assert {d.centre[1] > 300 for d in sides["right"].values()} == {True}


def test_pieces_of_one_hand_become_one_track():
    first = assoc.link([[_d(f, 300 + 10 * f, 500, 0.1)] for f in range(10)])
    later = assoc.Track({f: _d(f, 300 + 10 * f, 500, 0.7) for f in range(16, 24)})
    double = assoc.Track({f: _d(f, 315 + 10 * f, 505, 0.8, size=90) for f in range(6, 10)})
    other = assoc.Track({f: _d(f, 900, 500, 0.9) for f in range(0, 24)})
    united = assoc.unite([*first, later, double, other])
    assert len(united) == 2
    assert sorted(len(t.hits) for t in united) == [18, 24]


@pytest.mark.parametrize(
    ("track", "verdict"),
    [
        (assoc.Track({f: _d(f, 600, 400) for f in range(12)}), True),
        (assoc.Track({f: _d(f, 600, 400) for f in range(3)}), False),  # too short
        (assoc.Track({f: _d(f, 600, 400, size=8) for f in range(12)}), False),  # too small
        (assoc.Track({f: _d(f, 600, -300) for f in range(12)}), False),  # outside the picture
        (assoc.Track({f: _d(f, 600, 400) for f in range(0, 60, 9)}), False),  # here and there
    ],
)
def test_what_is_no_hand_is_not_believed(track, verdict):
    assert assoc.believable(track, _W, _H, min_frames=5) is verdict


def test_prediction_goes_between_sightings_and_slows_down_beyond_them():
    track = assoc.Track({f: _d(f, 300 + 10 * f, 400) for f in (0, 1, 2, 3, 4, 8)})
    middle, gap = track.predict(6)
    assert middle[0, 0] == pytest.approx(360.0)
    assert gap == 2
    track = assoc.Track({f: _d(f, 300 + 10 * f, 400) for f in range(5)})
    ahead = [track.predict(4 + k)[0][0, 0] - 340 for k in (1, 2, 8)]
    assert 0 < ahead[0] < ahead[1] < ahead[2] < 20


def test_confidence_falls_with_disagreement():
    sure = assoc.confidence(Detection(0, _px(0, 0), np.zeros((21, 3)), 0.95, {"forward", "backward"}, 0.02), "right", 2)
    alone = assoc.confidence(Detection(0, _px(0, 0), np.zeros((21, 3)), 0.95, {"crop"}, 0.0), "right", 2)
    wrong = assoc.confidence(Detection(0, _px(0, 0), np.zeros((21, 3)), 0.95, {"crop"}, 0.0), "left", 2)
    assert 1 >= sure > alone > wrong > 0
