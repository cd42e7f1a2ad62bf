"""What the stages take from the recording and from the settings."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest

from unihand_data.curate.clip_state import ClipState, Origin
from unihand_data.errors import Reason, Reject
from unihand_data.hands.hawor_config import HaworReadSettings, HaworSettings
from unihand_data.jobs import human_split, human_stages, human_versions
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.joined import JoinedVideos
from unihand_data.runner.stage import Unit
from unihand_data.shards.rows import LanguageRow
from unihand_data.sources.registry import load_dataset
from unihand_data.values.camera import CameraTrack
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack
from unihand_data.values.recording import Recording, SourceItem

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
    unit = Unit("c", "i", "/in/a.mp4#t=0,1", SimpleNamespace(media=object(), provenance={}))
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


def test_a_side_of_another_hand_model_is_left_out_and_a_row_says_so(monkeypatch):
    found = hands()
    found.left.valid[:5], found.left.hand_model = True, "mano"
    monkeypatch.setattr(human_stages, "_hand_estimator", lambda settings: SimpleNamespace(estimate=lambda clip: found))
    clip = ClipState("c", Origin("rec", "c0", "set", "/in/a.mp4", "wild", "unknown", False), clip_ref(), 30.0)
    (out,) = human_stages.ReconstructHands(HumanVideoSettings(), "/work", JOINED)(Unit("c", "i", "/in/a.mp4", clip))
    assert not out.body.hands.left.valid.any()
    assert [(r.level, r.reason) for r in out.rejects] == [("row", "contradiction")]
    assert "left hand (mano, 5 frames) is left out" in out.rejects[0].message


def test_code_and_libraries_are_in_the_provenance_and_in_no_id(monkeypatch, stage):
    def made():
        human_versions.source_hash.cache_clear()
        human_versions.library_version.cache_clear()
        return stage._unit(Unit("i", "i", "/in/a.mp4"), recording(), clip_ref(), 30.0)

    here = made()
    said = here.body.provenance
    assert said["libraries"]["av"] == metadata.version("av")
    assert {"video", "motion_rules", "templates"} == set(said["stages"])
    with monkeypatch.context() as other:
        other.setattr(human_versions.metadata, "version", lambda name: "99.0")
        other.setattr(human_versions, "make_id", lambda *parts: "another source")
        elsewhere = made()
    assert elsewhere.body.provenance["libraries"]["av"] == "99.0"
    assert elsewhere.body.provenance["code"] != said["code"]
    assert elsewhere.id == here.id
    assert made().body.provenance == said


def test_each_stage_adds_what_it_drove_with_its_version():
    said = {"stages": dict(human_versions.WORDS)}
    human_versions.record(said, "hands", "mediapipe-9.9")
    human_versions.record(said, "camera", "colmap")
    human_versions.record(said, "curate")
    assert said["hands"] == "mediapipe-9.9"
    assert said["camera"] == f"colmap-{metadata.version('pycolmap')}"
    assert said["libraries"]["mediapipe"] == metadata.version("mediapipe")
    for name, start in (("hands", "mediapipe-9.9+"), ("camera", said["camera"] + "+"), ("curate", "")):
        assert said["stages"][name].startswith(start)
        assert len(said["stages"][name]) == len(start) + 12
    human_versions.record(said, "camera", "static")
    assert said["camera"] == "static"
    assert human_versions.WORDS.keys() == {"motion_rules", "templates"}, "the shared table stays as it is"


def test_the_rooms_of_each_stage_are_there():
    rooms = {room for group in human_versions.ROOMS.values() for room in group}
    assert {room for room in rooms if not (human_versions._PACKAGE / room / "__init__.py").is_file()} == set()


def test_the_source_hash_follows_the_files_of_its_rooms_and_no_others(monkeypatch, tmp_path):
    for name in ("video/a.py", "sources/b.yaml", "sources/robot/c.py", "hands/d.py", "video/a.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(human_versions, "_PACKAGE", tmp_path)

    def hashes():
        human_versions.source_hash.cache_clear()
        return human_versions.source_hash("sources", "video"), human_versions.source_hash()

    first = hashes()
    for name, room, whole in (
        ("video/a.py", True, True),
        ("sources/robot/c.py", False, True),
        ("video/a.pyc", False, False),
    ):
        (tmp_path / name).write_text("2")
        now = hashes()
        assert (now[0] != first[0], now[1] != first[1]) == (room, whole), name
        first = now
    human_versions.source_hash.cache_clear()
