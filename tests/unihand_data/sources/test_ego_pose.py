"""Takes with hands in some frames, cameras in one or two files, or neither."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.sources.registry import open_source


@pytest.fixture
def takes(made, tmp_path):
    """A copy to change; ``open(i)`` reads its i-th take, ``edit(glob, change)`` rewrites a JSON file."""
    m = made("ego_exo4d")
    folder = tmp_path / "set"
    shutil.copytree(m.folder, folder)

    class Takes:
        scenes = m.scenes
        root = folder

        @staticmethod
        def open(i):
            source = open_source(str(folder))
            return source.open(list(source.items())[i])

        @staticmethod
        def edit(glob, change):
            (path,) = folder.rglob(glob)
            data = json.loads(path.read_text())
            change(data)
            path.write_text(json.dumps(data))

        @staticmethod
        def remove(glob):
            for path in list(folder.rglob(glob)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return Takes


def test_words_hands_and_camera_of_a_take_come_together(takes):
    recording = takes.open(0)
    assert [n.hand for n in recording.narrations] == ["left"]
    assert [t.valid.all() for t in recording.hands] == [True, True]
    assert recording.camera.world == "gravity"
    assert recording.hands_sparse
    assert recording.extra["rejects"] == []


@pytest.mark.parametrize("gone", ["trajectory", "camera_pose"])
def test_either_source_of_the_camera_gives_the_same_hands(takes, gone):
    both = takes.open(0)
    takes.remove(gone)
    one = takes.open(0)
    for a, b in zip(both.hands, one.hands):
        np.testing.assert_allclose(a.keypoints, b.keypoints, atol=1e-9)
    np.testing.assert_allclose(both.camera.pose, one.camera.pose, atol=1e-9)
    assert both.extra["annotation_id"] != one.extra["annotation_id"]


def test_hands_without_any_camera_are_told_and_the_words_remain(takes):
    takes.remove("trajectory")
    recording = takes.open(1)
    assert recording.hands == []
    assert recording.camera is None
    assert len(recording.narrations) == 1
    (reject,) = recording.extra["rejects"]
    assert (reject.level, reject.reason) == ("row", Reason.MISSING_FILE)
    assert "camera_pose" in reject.message


def test_a_take_without_annotated_hands_still_brings_its_camera(takes):
    takes.remove("ego_pose")
    recording = takes.open(0)
    assert recording.hands == []
    assert recording.camera.valid.all()
    takes.remove("trajectory")
    assert takes.open(0).camera is None


def test_hands_keep_the_times_of_their_frames_and_the_camera_those_of_the_video(takes):
    takes.edit("hand/annotation/*.json", lambda d: [d.pop(k) for k in list(d) if int(k) % 3])
    recording = takes.open(0)
    np.testing.assert_allclose(recording.hands_t, np.arange(0, 12, 3) / 30, atol=1e-3)
    assert len(recording.camera_t) == 12


def test_annotated_joints_seen_by_too_few_cameras_are_left_out_and_automatic_ones_are_not(takes):
    def fewer(data):
        data["2"][0]["annotation3D"]["left_index_3"]["num_views_for_3d"] = 2
        data["3"][0]["annotation3D"]["right_wrist"]["num_views_for_3d"] = 0

    for kind in ("annotation", "automatic"):
        takes.edit(f"hand/{kind}/*.json", fewer)
    left, right = takes.open(0).hands
    assert np.argwhere(np.isnan(left.keypoints).any(-1)).tolist() == [[2, 7]]
    assert np.flatnonzero(~right.valid).tolist() == [3]
    assert all(np.isfinite(t.keypoints).all() for t in takes.open(1).hands)


def test_a_frame_that_cannot_be_read_costs_only_itself(takes):
    takes.edit("hand/annotation/*.json", lambda d: d["4"][0]["annotation3D"]["left_ring_1"].update(x="junk"))
    takes.edit("camera_pose/*.json", lambda d: d["aria01"]["camera_extrinsics"].update({"5": [[2.0] * 4] * 3}))
    recording = takes.open(0)
    assert len(recording.hands_t) == 11
    assert [(r.level, r.reason) for r in recording.extra["rejects"]] == [
        ("row", Reason.BAD_VALUE),
        ("row", Reason.WRONG_TYPE),
    ]


def test_frames_beyond_the_video_belong_to_another_cut(takes):
    takes.edit("hand/annotation/*.json", lambda d: d.update({"99": d["0"]}))
    with pytest.raises(Reject, match="frame 99 of a video of 12 frames") as caught:
        takes.open(0)
    assert caught.value.reason == Reason.CONTRADICTION


def test_a_trajectory_of_another_take_is_noticed(takes):
    (path,) = (p for p in takes.root.rglob("closed_loop_trajectory.csv") if "site_00" in str(p))
    header, *rows = path.read_text().splitlines()
    moved = [",".join([r.split(",")[0], str(float(r.split(",")[1]) + 1.0), *r.split(",")[2:]]) for r in rows]
    path.write_text("\n".join([header, *moved]))
    with pytest.raises(Reject, match=r"1\.00 m apart") as caught:
        takes.open(0)
    assert caught.value.reason == Reason.CONTRADICTION


def test_a_timesync_of_another_length_is_another_cut(takes):
    takes.edit("takes.json", lambda d: d[1].update(timesync_end_idx=8))
    with pytest.raises(Reject, match="video of 12 frames") as caught:
        takes.open(1)
    assert caught.value.reason == Reason.CONTRADICTION


def test_frames_the_camera_did_not_take_have_no_pose(takes):
    (path,) = (p for p in takes.root.rglob("timesync.csv") if "site_01" in str(p))
    column, *rows = path.read_text().splitlines()
    rows[4 + 6] = '""'  # four rows lie before the take
    path.write_text("\n".join([column, *rows]))
    recording = takes.open(1)
    assert np.flatnonzero(~recording.camera.valid).tolist() == [6]
    assert len(recording.hands_t) == 11
