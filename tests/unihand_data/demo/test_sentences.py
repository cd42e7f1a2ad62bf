"""What the describer says of the sample clip, against the clip's truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.demo.sentences import format_score, found_motions, score_sentences, true_motions
from unihand_data.language.motion_trust import HandTrust


def test_every_statement_about_the_truth_itself_is_true_and_its_grasp_is_stated(truth):
    score = score_sentences(truth, truth.timestamps, true_motions(truth))
    assert score["stated"] == score["true"] > 20
    assert score["moves_stated"] == score["moves"] > 5
    assert score["grasps"] == score["grasps_stated"] == 1  # fingers close around a can by 0.14


def test_an_exact_result_scores_as_the_truth(truth, perfect_result):
    annotated = {s: replace(getattr(perfect_result, s), estimator="annotated") for s in ("left", "right")}
    found = found_motions(truth, replace(perfect_result, **annotated))
    assert score_sentences(truth, truth.timestamps, found) == score_sentences(
        truth, truth.timestamps, true_motions(truth)
    )


def test_mirrored_or_invented_motion_is_counted_as_false(truth):
    found = true_motions(truth)
    wrong = {s: replace(h, pos=h.pos * [-1, -1, -1]) for s, h in found.items()}
    score = score_sentences(truth, truth.timestamps, wrong)
    assert score["true_direction"] == 0 < score["stated_direction"]
    spun = np.outer(np.linspace(0, 20, len(truth)), [0, 0, 1.0])
    turning = {
        s: replace(h, rot=(Rotation.from_rotvec(spun) * Rotation.from_rotvec(h.rot)).as_rotvec())
        for s, h in found.items()
    }
    score = score_sentences(truth, truth.timestamps, turning)
    assert score["true_turn"] == 0 < score["stated_turn"]
    assert "turn 0 of" in format_score(score)


def test_a_grasp_that_is_stated_is_counted(truth):
    found = true_motions(truth)
    t0, t1, _ = next(e for e in truth.events if e[2] == "right_close")
    found["right"].closure = np.interp(truth.timestamps, [t0, t1], [0.2, 0.8])
    assert score_sentences(truth, truth.timestamps, found)["grasps_stated"] == 1


def test_nothing_stated_is_no_share(truth):
    doubtful = HandTrust(True, confidence=np.full(len(truth), 0.1))
    found = {s: replace(h, trust=doubtful) for s, h in true_motions(truth).items()}
    score = score_sentences(truth, truth.timestamps, found)
    assert score["stated"] == 0
    assert np.isnan(score["share_true"])
    assert format_score(score).startswith("statements of the motion describer: none; ")


def test_a_result_of_other_frames_is_refused(truth, perfect_result):
    short = replace(perfect_result, right=type(perfect_result.right).empty("right", 5))
    with pytest.raises(ValueError, match="5 frames and the truth 210"):
        found_motions(truth, short)
