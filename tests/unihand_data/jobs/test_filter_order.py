"""What hands alone decide is decided before the camera is sought, and decided the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unihand_data.curate.clip_state import ClipState, Origin
from unihand_data.curate.motion_quality import JUDGED_FIGURES, MotionSettings, clip_figures, verdict
from unihand_data.errors import Reason, Reject
from unihand_data.jobs import human_stages
from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.joined import JoinedVideos
from unihand_data.report.figures import FIGURES
from unihand_data.runner.stage import Unit
from unihand_data.values.camera import CameraTrack
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack

FRAMES = 45
TIMES = np.arange(FRAMES) / 30
PAGE = Path(__file__).parents[3] / "pipelines" / "human_video.py"


def hands(seed: int, noise: float, seen: float, confidence: float, far: float) -> HandResult:
    """A right hand on a line with noise, some frames missing."""
    rng = np.random.default_rng(seed)
    right = HandTrack.empty("right", FRAMES)
    right.valid[:] = rng.random(FRAMES) < seen
    right.confidence[:] = confidence
    path = np.array([0.0, 0.1, far]) + np.arange(FRAMES)[:, None] * [0.002, 0, 0]
    right.wrist_pos[:] = np.where(right.valid[:, None], path + rng.normal(0, noise, path.shape), np.nan)
    right.wrist_rot[:] = rng.normal(0, 3 * noise, path.shape)
    return HandResult(HandTrack.empty("left", FRAMES), right)


def moving_camera(speed: float) -> CameraTrack:
    """A camera that moves sideways at ``speed`` m/s."""
    pose = np.tile(np.eye(4), (FRAMES, 1, 1))
    pose[:, 0, 3] = TIMES * speed
    return CameraTrack(pose, np.ones(FRAMES, bool), method="colmap", figures={"reprojection_px": 1.0})


drawn = given(
    st.builds(
        hands,
        seed=st.integers(0, 99),
        noise=st.sampled_from([0.0, 0.004, 0.05]),
        seen=st.sampled_from([0.15, 0.6, 1.0]),
        confidence=st.sampled_from([0.2, 0.9]),
        far=st.sampled_from([0.4, 2.5]),
    ),
    st.sampled_from([0.0, 3.0]),
    st.sampled_from([0.0, 0.2]),
)


@settings(max_examples=60, deadline=None)
@drawn
def test_the_hands_verdict_is_the_whole_verdict_but_for_travel(found, speed, travel):
    limits = MotionSettings(min_travel_m=travel)
    alone = verdict(clip_figures(found, None, TIMES, limits), limits, camera_known=False)
    whole = verdict(clip_figures(found, moving_camera(speed), TIMES, limits), limits)
    assert alone == [(reason, text) for reason, text in whole if "motion.travel" not in text]


def clip(found: HandResult) -> ClipState:
    origin = Origin("rec", "c0ffee", "set", "/in/a.mp4", "wild", "unknown", False)
    return ClipState("c", origin, ClipRef(path="/in/a.mp4", pts=TIMES, width=64, height=48), 30.0, hands=found)


@pytest.mark.parametrize(("noise", "dropped"), [(0.05, True), (0.0, False)])
def test_a_clip_that_its_hands_drop_never_reaches_the_camera_and_is_dropped_with_the_same_words(noise, dropped):
    chosen = HumanVideoSettings()
    joined = JoinedVideos("/nowhere", lambda: None, 0)
    early, late = human_stages.JudgeHands(chosen, joined), human_stages.ScreenClip(chosen, joined)
    state = clip(hands(1, noise, 1.0, 0.9, 0.4))
    if not dropped:
        (unit,) = early(Unit("c", "i", "/in/a.mp4", state))
        assert unit.body is state
        return
    with pytest.raises(Reject) as first:
        early(Unit("c", "i", "/in/a.mp4", state))
    state.camera = moving_camera(0.0)
    with pytest.raises(Reject) as second:
        late(Unit("c", "i", "/in/a.mp4", state))
    assert (first.value.reason, first.value.message) == (second.value.reason, second.value.message)
    assert (first.value.frames, first.value.frames_with_hand) == (FRAMES, FRAMES)
    assert first.value.figures["jitter_pos"] == second.value.figures["jitter_pos"] > chosen.motion.max_jitter_pos_m
    assert "travel" not in first.value.figures, "in the camera frame it is not what its limit is about"
    assert set(first.value.figures) < set(second.value.figures) <= set(JUDGED_FIGURES)


def test_what_a_dropped_clip_keeps_are_the_figures_that_the_report_draws_with_a_limit():
    limited = {n for n, shown in FIGURES.items() if str(shown.limit).startswith(("motion.", "relevance."))}
    assert limited == set(JUDGED_FIGURES)


def test_a_loss_that_is_no_filters_verdict_keeps_no_figures():
    state = clip(hands(1, 0.0, 1.0, 0.9, 0.4))
    state.figures = {"jitter_pos": 0.1}
    assert human_stages._clip_reject(state, Reason.EMPTY, "nothing").figures == {}
    assert human_stages._clip_reject(state, Reason.JITTER, "shakes").figures == {"jitter_pos": 0.1}


def test_the_page_runs_its_stages_in_the_order_of_cost():
    spec = importlib.util.spec_from_file_location("human_video_order", PAGE)
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    names = [s.name for s in page.stages(HumanVideoSettings(), lambda: None, JobArguments("/in", "/out"))]
    assert names == ["split", "hands", "quality", "camera", "screen", "encode", "annotate", "rows"]
