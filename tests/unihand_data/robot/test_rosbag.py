"""Bags: every container and compression, one row clock for topics with their own, words, definitions inside the bag.

Expected values are the simulated motion at the times the topics were sampled, never what the reader computes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.interfaces import Connection, ConnectionExtRosbag1, MessageDefinition, MessageDefinitionFormat

from helpers.bags import ARM, ROWS, WRIST, made, topic
from helpers.robots import opened
from helpers.samples import sample
from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.sources.robot.generate import rosbag_sets as sets
from unihand_data.sources.robot.generate.rosbag_writer import Topic, damaged
from unihand_data.sources.robot.readers.rosbag_types import decoder
from unihand_data.sources.robot.spec import load_spec

# -- containers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "compression"), [
    ("mcap", ""), ("mcap", "message"), ("mcap", "file"), ("mcap", "storage"), ("db3", ""), ("db3", "message"),
    ("db3", "file"),
])  # fmt: skip
def test_ros_2_bags_give_the_numbers_of_the_motion(tmp_path, kind, compression):
    def edit(bag):
        bag.compression = compression

    _, left = made(tmp_path, edit, kind=kind)
    episode = opened(tmp_path)
    assert episode.facts["bag"] == kind
    assert np.array_equal(episode.columns[f"{ARM}:position"], left.joints[:: sets.FINE])
    assert np.allclose(episode.columns["/motion_control/pose_ee_arm_left:pose.position"], left.pos[:: sets.FINE])
    assert np.allclose(episode.timestamps, left.times[:: sets.FINE], atol=1e-6)


@pytest.mark.parametrize("compression", ["", "lz4", "bz2"])
def test_ros_1_bags_give_the_numbers_of_the_motion(tmp_path, compression):
    def edit(bag):
        bag.compression = compression

    right, left = made(tmp_path, edit, "let_kuavo_claw")
    episode = opened(tmp_path, "let_kuavo_claw")
    q = episode.columns["/sensors_data_raw:joint_data.joint_q"]
    assert q.shape == (24, 28)
    assert np.array_equal(q[:, 12:26], np.concatenate([left.joints, right.joints], axis=1)[:: sets.FINE])
    assert episode.facts["definitions"] == "embedded"


def test_the_same_episode_in_db3_and_mcap_has_one_identity(tmp_path):
    found = set()
    for kind in ("db3", "mcap"):
        made(tmp_path / kind, kind=kind)
        found.add(opened(tmp_path / kind).content_id)
    assert len(found) == 1


def test_a_single_storage_file_is_a_bag_of_its_own(tmp_path):
    made(tmp_path)
    file = next(tmp_path.rglob("*.mcap"))
    file.rename(tmp_path / "alone.mcap")
    assert opened(tmp_path / "alone.mcap").steps == 24


def test_the_pictures_are_those_of_the_rows_and_depth_is_found_behind_its_transport_header(tmp_path):
    made(tmp_path, name="let_kuavo_claw")
    views = opened(tmp_path, "let_kuavo_claw").views
    assert {k: (len(v.pictures), v.depth) for k, v in views.items()} == {
        "/cam_h/color/image_raw/compressed": (24, False),
        "/cam_l/color/image_raw/compressed": (24, False),
        "/cam_r/color/image_raw/compressed": (24, False),
        "/cam_h/depth/image_raw/compressedDepth": (24, True),
    }
    assert views["/cam_h/depth/image_raw/compressedDepth"].pictures[3] == sets.pictures(24, 4, True).encoded[3]
    assert views["/cam_l/color/image_raw/compressed"].pictures[5] == sets.pictures(24, 2).encoded[5]


# -- columns -----------------------------------------------------------------------------------------------------------


def test_joints_that_change_their_order_are_put_back_by_their_names(tmp_path):
    names = [f"joint_{i}" for i in range(6)]

    def edit(bag):
        for i, v in enumerate(topic(bag, ARM).values):
            turn = i % 3
            v["position"], v["name"] = np.roll(v["position"], turn), names[-turn:] + names[:-turn] if turn else names

    _, left = made(tmp_path, edit)
    assert np.array_equal(opened(tmp_path).columns[f"{ARM}:position"], left.joints[:: sets.FINE])


def test_a_column_may_be_taken_by_the_name_its_message_gives_it(tmp_path):
    def edit(bag):
        for v in topic(bag, ARM).values:
            v["name"] = [f"joint_{i}" for i in range(6)]

    _, left = made(tmp_path / "in", edit)
    data = load_spec("galaxea_raw").model_dump(exclude_defaults=True)
    data["name"] = "mine"
    block = next(b for b in data["state"] if b["name"] == "left_arm")
    block.pop("take")
    block["from"] = [f"{ARM}:position:joint_{i}" for i in range(6)]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    episode = opened(tmp_path / "in", str(tmp_path / "mine.yaml"))
    assert np.array_equal(episode.columns[f"{ARM}:position:joint_2"][:, 0], left.joints[:: sets.FINE, 2])


def test_an_array_of_changing_length_is_a_contradiction(tmp_path):
    def edit(bag):
        topic(bag, ARM).values[5]["position"] = np.zeros(7)

    made(tmp_path, edit)
    with pytest.raises(Reject, match="another length from message to message"):
        opened(tmp_path)


def test_transforms_are_one_feature_per_edge(tmp_path):
    def edit(bag):
        stamps = topic(bag, ROWS).times
        values = []
        for i in range(len(stamps)):
            move = {"translation": {"x": float(i)}, "rotation": {"w": 1.0}}
            values.append(
                {"transforms": [{"header": {"frame_id": "base"}, "child_frame_id": "tool", "transform": move}]}
            )
        bag.topics.append(Topic("/poses", "tf2_msgs/msg/TFMessage", stamps, values))

    made(tmp_path, edit)
    edge = opened(tmp_path).columns["/poses:base>tool"]
    assert np.array_equal(edge[:, 0], np.arange(24))
    assert (edge[:, 1:] == [0, 0, 0, 0, 0, 1]).all()


def test_camera_info_gives_intrinsics_and_another_size_is_a_loss(tmp_path):
    info = {"width": 64, "height": 48, "k": np.array([50.0, 0, 31, 0, 51, 23, 0, 0, 1])}

    def edit(bag):
        for name, more in (("/hdas/camera_head/left_raw/camera_info", {}),
                           ("/hdas/camera_wrist_left/color/camera_info", {"width": 640})):  # fmt: skip
            bag.topics.append(Topic(name, "sensor_msgs/msg/CameraInfo", np.array([0.0]), [{**info, **more}]))

    made(tmp_path, edit)
    episode = opened(tmp_path)
    assert episode.views[ROWS].intrinsics.tolist() == [50, 51, 31, 23]
    assert episode.views[WRIST].intrinsics is None
    assert [r.reason for r in episode.losses] == [Reason.CONTRADICTION]


# -- words -------------------------------------------------------------------------------------------------------------


def test_labels_beside_the_bag_are_task_and_subtasks_with_their_rows(tmp_path):
    right, _ = made(tmp_path, name="let_kuavo_claw")
    texts = opened(tmp_path, "let_kuavo_claw").texts
    assert (texts[0].text, texts[0].level) == (right.task, "task")
    assert [t.text for t in texts[1:]] == [s[0] for s in right.stages]
    for text, (_, first, _) in zip(texts[1:], right.stages):
        assert abs(text.start - first / sets.FINE) <= 2, "marks are shares of the recording, rows are pictures"
    assert [t.stop for t in texts[1:-1]] == [t.start for t in texts[2:]]


@pytest.mark.parametrize(("change", "count"), [
    (lambda d: d["marks"][1].update(startPosition=2), 1), (lambda d: d["marks"][0].pop("enSkillDetail"), 1),
    (lambda d: d.update(marks="no list"), 1), (lambda d: d["marks"].append(3), 1),
])  # fmt: skip
def test_a_mark_that_cannot_be_read_costs_a_row_and_not_the_episode(tmp_path, change, count):
    made(tmp_path, name="let_kuavo_claw")
    labels = next(tmp_path.rglob("*.json"))
    data = json.loads(labels.read_text())
    change(data)
    labels.write_text(json.dumps(data))
    episode = opened(tmp_path, "let_kuavo_claw")
    assert len(episode.losses) == count
    assert episode.texts[0].level == "task"


def test_without_labels_the_folder_says_the_task(tmp_path):
    made(tmp_path, name="let_kuavo_claw")
    next(tmp_path.rglob("*.json")).unlink()
    assert [t.text for t in opened(tmp_path, "let_kuavo_claw").texts] == ["coil sorting"]


# -- what may not be trusted -------------------------------------------------------------------------------------------


def test_an_unindexed_bag_is_named_with_the_mend(tmp_path):
    made(tmp_path, name="let_kuavo_dex")
    damaged(next(tmp_path.rglob("*.bag")), "unindexed")
    with pytest.raises(DatasetRefused, match="rosbag reindex"):
        opened(tmp_path, "let_kuavo_dex")


def test_a_database_whose_journal_was_not_written_back_is_named(tmp_path):
    made(tmp_path, kind="db3")
    file = next(tmp_path.rglob("*.db3"))
    Path(f"{file}-wal").write_bytes(b"messages")
    with pytest.raises(DatasetRefused, match="not written into the bag"):
        opened(tmp_path)


def _connection(name: str, text: str) -> Connection:
    definition = MessageDefinition(MessageDefinitionFormat.MSG, text)
    return Connection(0, "/x", name, definition, "*", 1, ConnectionExtRosbag1(None, None), None)


@pytest.mark.parametrize(("name", "text"), [
    ("a_msgs/msg/A:\n    pass\nimport os\nos.abort()\nclass B", "float64 x"),
    ("a_msgs/msg/A", "float64 x\n" + "=" * 80 + "\nMSG: a_msgs/B();import os\nfloat64 y"),
    ("a_msgs/msg/A", "float64 x=1\nfloat64 y; import os"),
    ("a_msgs/msg/A", "#" * (1 << 21)),
])  # fmt: skip
def test_definitions_that_would_become_code_are_not_compiled(name, text):
    """The library generates Python from names of the bag; the first case runs code there."""
    from rosbags.typesys import TypesysError

    with pytest.raises((Reject, TypesysError)):
        decoder(_connection(name, text), True, "ros2_humble")


# -- real bags ---------------------------------------------------------------------------------------------------------


def _sample_spec(tmp_path, rows: str, feature: str, width: int, **more):
    data = {
        "name": "sample", "title": "sample", "embodiment": "wheeled_base", "container": "rosbag", "licence": "MPL-2.0",
        "licence_class": "permissive", "origin": "real", "paths": {"rows": rows, **more.pop("paths", {})},
        "state": [{"name": "x", "from": feature, "unmapped": {"columns": width, "reason": "only read"}}], **more,
    }  # fmt: skip
    (tmp_path / "sample.yaml").write_text(yaml.safe_dump(data))
    return str(tmp_path / "sample.yaml")


@pytest.mark.parametrize(("bag", "rows", "feature", "shape", "stamp"), [
    ("example.bag", "/turtle1/pose", "/turtle1/pose", (1344, 5), "bag"),
    ("fake_joint_state.bag", "/fake_joints_state", "/fake_joints_state:position", (2725, 6), "header"),
    ("out.bag", "rosout", "rosout:level", (194, 1), "header"),
    ("rosbag2_test", "/imu", "/imu:orientation", (1565, 4), "header"),
])  # fmt: skip
def test_real_bags_give_every_message(tmp_path, bag, rows, feature, shape, stamp):
    spec = _sample_spec(tmp_path, rows, feature, shape[1], paths={"stamp": stamp})
    episode = opened(sample("ros_bags_plotjuggler", bag), spec)
    assert episode.columns[feature].shape == shape
    assert np.isfinite(episode.columns[feature]).all()


def test_a_real_depth_camera_gives_its_pictures_and_its_intrinsics(tmp_path):
    """Calibration of the D435 as its maker's own library reads it from the same file."""
    depth = "/device_0/sensor_0/Depth_0/image/data"
    spec = _sample_spec(
        tmp_path, depth, "/device_0/sensor_0/Depth_0/info:fps", 1, paths={"stamp": "bag", "tolerance_s": "1e9"},
        views=[{"key": ".*Depth_0.*", "view": "third_1"}, {"key": ".*Color_0.*", "view": "third_1"}],
    )  # fmt: skip
    views = opened(sample("realsense_d435_bag", "single_depth_color_640x480.bag"), spec).views
    assert views[depth].depth
    assert len(views[depth].pictures) == 2
    assert np.allclose(views[depth].intrinsics, [390.43, 390.43, 331.39, 242.19], atol=0.01)
    assert np.allclose(
        views["/device_0/sensor_1/Color_0/image/data"].intrinsics, [613.2, 613.4, 319.9, 239.2], atol=0.15
    )
