"""Cameras of robot episodes as they are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.rows import RobotClip
from unihand_data.curate.robot.views import StoredSources, ViewStore, view_words
from unihand_data.sources.robot.episode import View
from unihand_data.sources.robot.generate.lerobot_writer import png
from unihand_data.video.encode import EncodeSettings
from unihand_data.video.remux import RemuxSettings


def test_pictures_that_start_late_keep_their_own_times(arm, tmp_path):
    spec = arm.spec(views=[{"key": "cam", "view": "ego"}])
    episode = arm.episode(1, steps=12)
    motion = convert(episode, spec)
    clip = RobotClip("e", episode.content_id, spec.name, "uri", motion, [], [])
    times = motion.times + 0.01  # every picture a little after its step
    view = View("cam", pictures=[png(value=10 * i) for i in range(12)], times=times)
    store = ViewStore(str(tmp_path), RemuxSettings(), EncodeSettings())
    try:
        views, losses = store.store(StoredSources(clip, {"cam": view}, {}, 0), spec)
    finally:
        store.close()
    assert not losses
    assert np.allclose(views[0].media.pts, times, atol=1e-3)
    assert views[0].media.pts_start == times[0]


FIVE = (*(f"head_{side}_fisheye" for side in ("center", "left", "right")), "front", "front_depth", "hand")
RULES = [
    {"key": "hand", "view": "third_2"},
    {"key": ".*fisheye", "view": "third_*"},
    {"key": "front.*", "view": "third_*"},
]


def test_a_camera_has_one_name_whichever_others_an_episode_has(arm):
    spec = arm.spec(views=RULES)
    names = view_words(spec, FIVE)
    assert names == {
        "hand": "third_2", "head_center_fisheye": "third_1", "head_left_fisheye": "third_3",
        "head_right_fisheye": "third_4", "front": "third_5", "front_depth": "third_5",
    }  # fmt: skip
    for absent in FIVE:
        some = tuple(k for k in FIVE if k != absent)
        assert view_words(spec, FIVE, some) == names
    late = view_words(spec, FIVE, (*FIVE, "a_new_fisheye"))
    assert {k: late[k] for k in names} == names
    assert late["a_new_fisheye"] == "third_6"


def test_a_depth_stream_without_a_colour_camera_of_its_name_takes_no_other_ones_number(arm):
    names = view_words(arm.spec(views=[{"key": ".*", "view": "third_*"}]), ("cam_top_depth", "head_left_fisheye"))
    assert names == {"head_left_fisheye": "third_1", "cam_top_depth": "third_2"}


def test_an_episode_that_lacks_a_camera_stores_the_others_under_their_own_names(arm, tmp_path):
    spec = arm.spec(views=[{"key": "cam_.", "view": "third_*"}])
    episode = arm.episode(1, steps=12)
    motion = convert(episode, spec)
    clip = RobotClip("e", episode.content_id, spec.name, "uri", motion, [], [])
    view = View("cam_b", pictures=[png(value=10 * i) for i in range(12)])
    store = ViewStore(str(tmp_path), RemuxSettings(), EncodeSettings())
    try:
        views, losses = store.store(StoredSources(clip, {"cam_b": view}, {}, 0, ("cam_a", "cam_b")), spec)
    finally:
        store.close()
    assert not losses
    assert [(v.raw, v.view) for v in views] == [("cam_b", "third_2")]


def test_cameras_beside_the_files_of_agibot_are_announced_by_the_whole_tree(made):
    source = made("agibot_world_h5")[0]
    videos = {p.stem for p in Path(source.root).rglob("videos/*.mp4")}
    assert videos
    assert set(source.sets[0].found.views) == videos | {"head_depth"}
