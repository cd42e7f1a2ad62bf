"""Cameras of robot episodes as they are stored."""

from __future__ import annotations

import numpy as np

from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.rows import RobotClip
from unihand_data.curate.robot.views import StoredSources, ViewStore
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
