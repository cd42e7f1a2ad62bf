"""Where a clip's words come from, and what becomes of a clip that nothing can be said about."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.curate.clip_state import ClipState, Origin
from unihand_data.errors import Reason, Reject
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.human_stages import AnnotateClip
from unihand_data.runner.stage import Unit
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack

FRAMES = 60


def clip(confidence: float) -> ClipState:
    """Two seconds of a right hand that an estimator found, moving 24 cm."""
    right = HandTrack.empty("right", FRAMES)
    right.estimator = "mediapipe"
    right.valid[:], right.confidence[:] = True, confidence
    right.wrist_pos[:] = [0.0, 0.1, 0.4] + np.arange(FRAMES)[:, None] * [0.004, 0, 0]
    right.wrist_rot[:], right.theta[:] = 0.0, 0.0
    origin = Origin("rec", "c0ffee", "set", "/in/a.mp4", "wild", "unknown", False)
    ref = ClipRef(path="/in/a.mp4", pts=np.arange(FRAMES) / 30, width=64, height=48)
    return ClipState("c", origin, ref, 30.0, hands=HandResult(HandTrack.empty("left", FRAMES), right))


def annotated(confidence: float, tmp_path, **language) -> Unit:
    stage = AnnotateClip(HumanVideoSettings.model_validate({"language": language}), str(tmp_path))
    (unit,) = stage(Unit("c", "i", "/in/a.mp4#t=0,2", clip(confidence)))
    return unit


def test_a_clip_whose_hands_are_too_doubtful_for_a_sentence_is_kept_without_words_and_a_row_says_so(tmp_path):
    sure, doubtful = (annotated(confidence, tmp_path) for confidence in (0.95, 0.35))
    assert sure.body.language
    assert sure.rejects == []
    assert doubtful.body.language == []
    assert doubtful.body.figures["sentences"] == 0
    assert [(r.level, r.reason) for r in doubtful.rejects] == [("row", Reason.NO_TEXT)]


def test_a_clip_without_any_source_of_words_is_dropped(tmp_path):
    with pytest.raises(Reject) as caught:
        annotated(0.95, tmp_path, motion_rules=False)
    assert caught.value.reason == Reason.NO_TEXT
