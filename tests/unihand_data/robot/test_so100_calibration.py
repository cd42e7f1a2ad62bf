"""-100..100 becomes angles with the robot's own calibration, and without it stays what it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unihand_data.curate.robot.convert import convert
from unihand_data.errors import DatasetRefused
from unihand_data.sources.robot.generate.lerobot_sets import generate
from unihand_data.sources.robot.registry import open_robot
from unihand_data.sources.robot.so100_calibration import MOTORS, Motor, calibration, write

#: a published calibration file of an SO-101 follower
MINE = {
    "shoulder_pan": {"id": 1, "drive_mode": 0, "homing_offset": 1709, "range_min": 1058, "range_max": 3420},
    "shoulder_lift": {"id": 2, "drive_mode": 0, "homing_offset": -786, "range_min": 862, "range_max": 3274},
    "elbow_flex": {"id": 3, "drive_mode": 0, "homing_offset": 1669, "range_min": 889, "range_max": 3094},
    "wrist_flex": {"id": 4, "drive_mode": 1, "homing_offset": 116, "range_min": 825, "range_max": 3204},
    "wrist_roll": {"id": 5, "drive_mode": 0, "homing_offset": 1856, "range_min": 0, "range_max": 4095},
    "gripper": {"id": 6, "drive_mode": 0, "homing_offset": 1101, "range_min": 1553, "range_max": 3034},
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("so101")
    generate("so101_normalised", folder, steps=40)
    return folder


def file(folder, content):
    path = folder / "calibration.json"
    path.write_text(json.dumps(content))
    return path


def first(folder, dataset=None):
    source = open_robot(str(folder), dataset)
    spec, episode = source.open(next(iter(source.items())))
    return episode, convert(episode, spec)


@settings(max_examples=50)
@given(st.integers(0, 4000), st.integers(1, 4095), st.integers(0, 1), st.floats(0, 1))
def test_it_undoes_what_lerobot_wrote(low, span, drive_mode, share):
    """MotorsBus._normalize: RANGE_M100_100 against DEGREES of the same ticks."""
    high = min(low + span, 4095)
    ticks = low + share * (high - low)
    norm = (ticks - low) / (high - low) * 200 - 100
    degrees = (ticks - (low + high) / 2) * 360 / 4095
    motor = Motor(range_min=low, range_max=high, drive_mode=drive_mode)
    assert np.isclose((-norm if drive_mode else norm) * motor.rad_per_unit, np.radians(degrees), atol=1e-9)


def test_with_the_calibration_the_arm_is_in_rad_about_mid_range(recorded, tmp_path):
    spec = write(file(tmp_path, MINE), tmp_path / "my_arm.yaml")
    episode, motion = first(recorded, str(tmp_path / "my_arm.yaml"))
    at = [motion.state_slots.tolist().index(s) for s in range(50, 55)]
    ranges = np.array([MINE[m]["range_max"] - MINE[m]["range_min"] for m in MOTORS]) * [1, 1, 1, -1, 1]
    expected = episode.columns["observation.state"][:, :5] * ranges * 2 * np.pi / (200 * 4095)
    np.testing.assert_allclose(motion.state[:, at], expected, atol=1e-6)
    assert np.isclose(np.abs(motion.state[:, at[4]]).max(), np.pi), "a joint calibrated to the full turn reaches half"
    assert spec.source == "so100_community"
    assert set(motion.action_slots) == {18, *range(50, 55)}


def test_without_it_only_the_gripper_is_mapped_and_the_joints_are_kept(recorded):
    episode, motion = first(recorded)
    assert motion.state_slots.tolist() == [18]
    np.testing.assert_allclose(motion.raw_extra["state.arm"], episode.columns["observation.state"][:, :5])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({k: v for k, v in MINE.items() if k != "elbow_flex"}, "no motor 'elbow_flex'"),
        (MINE | {"wrist_flex": {"range_min": 900}}, "wrist_flex.range_max"),
        (MINE | {"wrist_flex": {"range_min": 900, "range_max": 900}}, "wrist_flex.*not below"),
        (MINE | {"shoulder_pan": {"range_min": 0, "range_max": 9000}}, "shoulder_pan.range_max"),
        ([1, 2], "no motor 'shoulder_pan'"),
    ],
)
def test_a_calibration_that_cannot_be_one_is_refused_by_motor(tmp_path, content, says):
    with pytest.raises(DatasetRefused, match=says) as caught:
        calibration(file(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "calibration.json").write_text("range_min: 3")
    with pytest.raises(DatasetRefused, match="not a calibration"):
        calibration(tmp_path / "calibration.json")
    with pytest.raises(DatasetRefused, match=r"ends in \.yaml"):
        write(file(tmp_path, MINE), tmp_path / "out.txt")
