"""What the stages take from the recording and from the settings."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from unihand_data.curate.clip_state import ClipState, Origin
from unihand_data.errors import Reason, Reject
from unihand_data.geometry.camera import CameraTrack
from unihand_data.hands.estimator import HandResult
from unihand_data.hands.hawor_config import HaworReadSettings, HaworSettings
from unihand_data.hands.track import HandTrack
from unihand_data.jobs import human_split, human_stages
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.joined import JoinedVideos
from unihand_data.runner.stage import Unit
from unihand_data.shards.rows import LanguageRow
from unihand_data.sources.recording import Recording, SourceItem
from unihand_data.sources.registry import load_dataset
from unihand_data.video.clip import ClipRef

JOINED = JoinedVideos("/nowhere", lambda: None, 0)
PTS = np.arange(30) / 30


def clip_ref() -> ClipRef:
    return ClipRef(path="/in/a.mp4", pts=PTS, width=640, height=480)


def recording(**extra) -> Recording:
    item = SourceItem(key="a.mp4", uri="/in/a.mp4", dataset="video_folder")
    return Recording(item, "/in/a.mp4", "c0ffee", "rec", extra=extra)


def split(settings: HumanVideoSettings | None = None) -> human_stages.OpenAndSplit:
    return human_stages.OpenAndSplit(
        settings or HumanVideoSettings(), lambda: SimpleNamespace(spec=load_dataset("video_folder")), JOINED
    )


def hands(valid: bool = True) -> HandResult:
    tracks = [HandTrack.empty(side, len(PTS)) for side in ("left", "right")]
    tracks[1].valid[:] = valid
    return HandResult(*tracks)


@pytest.fixture
def stage():
    made = split()
    yield made
    made.close()


def test_a_corrected_annotation_of_the_same_video_makes_other_clips(stage):
    unit = Unit("i", "i", "/in/a.mp4")
    ids = [
        stage._unit(unit, recording(**extra), clip_ref(), 30.0).id
        for extra in ({}, {"annotation_id": "1"}, {"annotation_id": "2"}, {"annotation_id": "1"})
    ]
    assert len(set(ids)) == 3
    assert ids[1] == ids[3]


def test_the_assumed_field_of_view_is_that_of_the_estimator_in_use():
    base = HumanVideoSettings()
    wide = base.model_copy(update={"hawor": HaworSettings(assumed_hfov_deg=120), "hand_estimator": "hawor"})
    assert human_split._assumed_hfov_deg(base) == base.hands.assumed_hfov_deg
    assert human_split._assumed_hfov_deg(wide) == 120


@pytest.mark.parametrize(("own", "expected"), [(None, "/mano"), ("/mine", "/mine")])
def test_the_jobs_mano_folder_reaches_hawor_unless_it_has_its_own(monkeypatch, own, expected):
    taken = []
    monkeypatch.setattr("unihand_data.hands.hawor.HaworEstimator", taken.append)
    read = HaworReadSettings(mano_dir=own)
    human_stages._hand_estimator(
        HumanVideoSettings(hand_estimator="hawor", mano_dir="/mano", hawor=HaworSettings(read=read))
    )
    assert taken[0].read.mano_dir == expected


def test_estimated_hands_keep_the_camera_that_the_data_set_measured(monkeypatch):
    class Estimator:
        def estimate(self, clip):
            return hands()

    monkeypatch.setattr(human_stages, "_hand_estimator", lambda settings: Estimator())
    measured = CameraTrack(np.tile(np.eye(4), (30, 1, 1)), np.ones(30, bool), method="given")
    clip = ClipState(
        "c", Origin("rec", "c0ffee", "set", "/in/a.mp4", "wild", "unknown", False), clip_ref(), 30.0,
        annotated=replace(hands(), camera=measured),
    )  # fmt: skip
    stage = human_stages.ReconstructHands(HumanVideoSettings(prefer_annotated=False), "/work", JOINED)
    (out,) = stage(Unit("c", "i", "/in/a.mp4", clip))
    assert out.body.hands.camera is measured


@pytest.mark.parametrize(
    ("text", "twins"),
    [
        ("pick up the cup with the left hand", 1),
        ("turn left", 1),  # a direction or what remains: read as a direction, and exchanged
        ("coge el vaso con la mano izquierda", 0),
    ],
)
def test_a_clip_with_a_sentence_that_cannot_be_mirrored_gets_no_twin_and_a_row_says_so(monkeypatch, text, twins):
    row = SimpleNamespace(
        language=[LanguageRow("instruction", 0.0, 1.0, text, "left", "narration")],
        action_mask=np.ones((30, 1), bool),
        quality={},
    )
    monkeypatch.setattr(human_stages, "human_episode", lambda *_: row)
    monkeypatch.setattr(human_stages, "mirror_episode", lambda r: r)
    monkeypatch.setattr(human_stages, "build_samples", lambda *_: [])
    stage = human_stages.BuildRows(HumanVideoSettings())
    unit = Unit("c", "i", "/in/a.mp4#t=0,1", SimpleNamespace(media=object()))
    (out,) = stage(unit)
    assert len(out.body.episodes) == 1 + twins
    assert [(r.level, r.reason) for r in out.rejects] == [("row", "unsupported")] * (1 - twins)
    assert row.quality == {"sentences_not_mirrored": 1.0 - twins}


def test_a_stretch_that_a_sparse_annotation_leaves_out_goes_to_the_estimator_with_the_own_camera(monkeypatch, stage):
    found = hands()
    monkeypatch.setattr(human_stages, "_hand_estimator", lambda settings: SimpleNamespace(estimate=lambda clip: found))
    reconstruct = human_stages.ReconstructHands(HumanVideoSettings(), "/work", JOINED)
    for sparse, valid, expected in ((True, False, "estimated"), (True, True, "own"), (False, False, "none")):
        taken = recording()
        track = hands(valid).right
        taken.hands, taken.hands_t, taken.hands_sparse = [track], PTS, sparse
        poses = np.tile(np.eye(4), (30, 1, 1))
        taken.camera, taken.camera_t = CameraTrack(poses, np.ones(30, bool), method="given"), PTS
        if valid:
            track.wrist_pos[:], track.wrist_rot[:], track.theta[:] = 0.1, 0.0, 0.0
        (unit,) = [stage._unit(Unit("i", "i", "/in/a.mp4"), taken, clip_ref(), 30.0)]
        if expected == "none":
            with pytest.raises(Reject) as caught:
                reconstruct(unit)
            assert caught.value.reason == Reason.NO_HANDS
            continue
        (out,) = reconstruct(unit)
        assert (out.body.hands is found) == (expected == "estimated")
        assert out.body.hands.camera.method == "given"
