"""Generated bags of one episode, and what tests change in them before they are written."""

from __future__ import annotations

import numpy as np
import yaml

from unihand_data.sources.robot.generate import rosbag_sets as sets
from unihand_data.sources.robot.generate.rosbag_writer import Topic
from unihand_data.sources.robot.spec import load_spec

ARM, GRIPPER = "/hdas/feedback_arm_left", "/hdas/feedback_gripper_left"
ROWS = "/hdas/camera_head/left_raw/image_raw_color/compressed"
WRIST = "/hdas/camera_wrist_left/color/image_rect_raw/compressed"


def made(folder, edit=None, name="galaxea_raw", **more):
    """The motions (right, left) of the one episode written."""
    return sets.generate(name, folder, seed=1, episodes=1, edit=edit, **more)[0]


def with_paths(tmp_path, name="galaxea_raw", **paths):
    """A copy of a shipped data-set file with other ``paths``."""
    data = load_spec(name).model_dump(exclude_defaults=True)
    data["paths"] = {**data["paths"], **paths}
    data["name"] = "mine"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    return str(tmp_path / "mine.yaml")


def topic(bag, name) -> Topic:
    return next(t for t in bag.topics if t.name == name)


def keep(one: Topic, which: np.ndarray) -> None:
    one.times, one.values = one.times[which], [v for v, k in zip(one.values, which) if k]


def shifted(names, seconds):
    def edit(bag):
        for t in bag.topics:
            if t.name in names:
                t.times = t.times + seconds

    return edit
