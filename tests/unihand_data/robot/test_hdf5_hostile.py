"""HDF5 files that lie about themselves: members of other lengths, links that lead out, announced sizes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from helpers.robots import edited, one_file, opened
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.generate.hdf5_sets import generate
from unihand_data.sources.robot.registry import open_robot

# files that lie -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("agibot_world_h5", lambda m: m.update({"action/joint/position": m["action/joint/position"][:20],
                                                "action/joint/index": np.zeros(0)}), Reason.TRUNCATED),
        ("agibot_world_h5", lambda m: m.update({"state/joint/position": np.zeros((30, 14))}), Reason.CONTRADICTION),
        ("agibot_world_h5", lambda m: m.update({"action/effector/index": np.array([5, 3, 99])}), Reason.BAD_VALUE),
        ("agibot_world_h5", lambda m: m["timestamp"].__setitem__(7, m["timestamp"][5]), Reason.BAD_VALUE),
        ("droid_raw", lambda m: m.update({"action/joint_position": np.zeros((40, 7))}), Reason.CONTRADICTION),
        ("robomind_franka", lambda m: m.update({"puppet/end_effector": np.zeros((12, 6))}), Reason.TRUNCATED),
        ("aloha_act", lambda m: m.update({"observations/qpos": np.zeros((30, 14))}), Reason.CONTRADICTION),
    ],
)  # fmt: skip
def test_members_of_another_length_end_the_episode(tmp_path, name, change, reason):
    folder = edited(tmp_path, name, change)
    source = open_robot(str(folder), name)
    with pytest.raises(Reject) as wrong:
        source.open(next(source.items()))
    assert wrong.value.reason is reason


def test_an_episode_of_other_widths_than_its_set_is_rejected(tmp_path):
    generate("robomind_franka", tmp_path, seed=1, episodes=2)
    second = sorted(tmp_path.rglob("trajectory.hdf5"))[1]
    with h5py.File(second, "a") as f:
        wide = np.concatenate([f["puppet/joint_position"][()], np.zeros((24, 1))], axis=1)
        del f["puppet/joint_position"]
        f["puppet/joint_position"] = wide
    opened(tmp_path)
    with pytest.raises(Reject, match="has 9 columns, other files of the data set have 8"):
        opened(tmp_path, number=1)


def link_out(f):
    del f["puppet/joint_position"]
    f["puppet/joint_position"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(f):
    del f["puppet/joint_position"]
    f["puppet/joint_position"] = h5py.SoftLink("/master/joint_position")


def outside(f):
    del f["observations/rgb_images/camera_top"]
    f.create_dataset("observations/rgb_images/camera_top", (24,), "S300", external=[("/etc/passwd", 0, 7200)])


def virtual(f):
    layout = h5py.VirtualLayout((24, 8), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (24, 8))
    del f["puppet/joint_position"]
    f.create_virtual_dataset("puppet/joint_position", layout)


@pytest.mark.parametrize("change", [link_out, soft_link, outside, virtual])
def test_nothing_outside_the_file_is_read(tmp_path, change):
    generate("robomind_franka", tmp_path, seed=1, episodes=2)
    with h5py.File(sorted(tmp_path.rglob("trajectory.hdf5"))[1], "a") as f:
        change(f)
    source = open_robot(str(tmp_path))
    item = list(source.items())[1]
    if change is outside:
        assert [loss.reason for loss in source.open(item)[1].losses] == [Reason.UNSAFE_CONTENT]
        return
    with pytest.raises(Reject) as wrong:
        source.open(item)
    assert wrong.value.reason is Reason.UNSAFE_CONTENT


def test_a_group_that_leads_back_to_itself_ends(tmp_path):
    generate("aloha_act", tmp_path, seed=1, episodes=1)
    with h5py.File(one_file(tmp_path), "a") as f:
        f["observations/again"] = f["/"]
    assert opened(tmp_path).steps == 24


def test_announced_terabytes_are_refused_before_they_are_read(tmp_path):
    generate("robomind_franka", tmp_path, seed=1, episodes=2)
    with h5py.File(sorted(tmp_path.rglob("trajectory.hdf5"))[1], "a") as f:
        f.create_dataset("puppet/huge", (24, 1 << 36), "f8", chunks=(1, 1 << 20))
        del f["observations/rgb_images/camera_top"]
        f.create_dataset("observations/rgb_images/camera_top", (24, 1 << 14, 1 << 14, 3), "u1", chunks=(1, 64, 64, 3))
    with pytest.raises(Reject) as wrong:
        opened(tmp_path, number=1)
    assert wrong.value.reason is Reason.UNSAFE_CONTENT
