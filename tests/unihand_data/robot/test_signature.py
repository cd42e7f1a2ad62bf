"""What a motion signature sees of an episode, and what it leaves out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.robots import opened_set
from unihand_data.curate.robot.convert import RobotMotion, convert
from unihand_data.curate.robot.signature import RECORDED_POSE, STEP, TIMES, VERSION, motion_signature, recorded_path
from unihand_data.recipe.motions import MotionReader
from unihand_data.recipe.near import copies
from unihand_data.sources.robot.generate.catalogue import generate
from unihand_data.space.slots import GROUPS

STILL = {"right_eef_position": [0.4, 0.0, 0.3], "right_eef_rotation": [0.0, 0.0, 0.0], "right_gripper": [1.0],
         "right_hand": [0.0] * 6, "right_arm": [0.1] * 7, "waist": [0.0] * 3, "base_position": [0.0] * 3}  # fmt: skip


def moved(steps: int = 60, *, action: dict[str, np.ndarray] | None = None, **groups: np.ndarray) -> RobotMotion:
    """An episode that stands still but for the groups given, (steps, k) each."""

    def laid(values: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        slots = [s for g in values for s in GROUPS[g].slots]
        order = np.argsort(slots)
        return np.concatenate(list(values.values()), axis=1)[:, order], np.array(slots, np.int16)[order]

    state, slots = laid({g: np.tile(np.array(v, float), (steps, 1)) for g, v in STILL.items()} | groups)
    acted, acts = laid(action or {"right_gripper": np.ones((steps, 1))})
    return RobotMotion(
        state, np.ones(state.shape, bool), slots, acted, np.ones(acted.shape, bool), acts, np.arange(steps) / 20, 20.0,
        {}, {}, np.eye(4),
    )  # fmt: skip


def ramp(*end: float, steps: int = 60) -> np.ndarray:
    return np.linspace(0, 1, steps)[:, None] * np.array(end)


@pytest.mark.parametrize(
    ("group", "values", "way"),
    [
        ("right_eef_position", ramp(0.3, 0, 0.4), 0.5),
        ("right_eef_rotation", ramp(0, 0, 1.0), 0.1),  # a turn moves a point 0.1 m away by 0.1 m per radian
        ("right_gripper", ramp(-1.0) + 1, 0.1),
        ("right_hand", ramp(1, 0, 0, 0, 0, 0), 0.05),
        ("right_arm", ramp(0, 0, 1, 0, 0, 0, 0), 0.3),
        ("waist", ramp(0, 0, 1), 0.3),
        ("base_position", ramp(3, 4, 0), 5.0),
    ],
)
def test_every_group_that_moves_shows_in_metres_of_its_own_lever(group, values, way):
    still, path = (motion_signature(moved(**g))["paths"] for g in ({}, {group: values}))
    assert [g for g in path if path[g] != still[g]] == [group]
    points = np.array(path[group]).reshape(TIMES, -1) * STEP
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).sum() == pytest.approx(way, rel=0.02)


def test_where_the_tool_point_is_and_what_tool_frame_it_has_do_not_matter():
    from unihand_data.space import rotations

    turns = ramp(0.3, -0.8, 2.9)
    there = moved(right_eef_position=ramp(0.1, 0.2, 0.0), right_eef_rotation=turns)
    tool = np.array([0.4, 1.0, -0.2])
    here = moved(
        right_eef_position=ramp(0.1, 0.2, 0.0) + np.array([0.5, -0.1, 0.2]),
        right_eef_rotation=rotations.compose(turns, np.broadcast_to(tool, turns.shape)),
    )
    one, two = motion_signature(there)["paths"], motion_signature(here)["paths"]
    for group in ("right_eef_position", "right_eef_rotation"):
        assert np.abs(np.array(one[group]) - two[group]).max() <= 1


def test_a_base_that_is_only_driven_shows_the_way_that_its_velocity_integrates_to():
    steps = 101
    drive = np.tile([1.0, 0.0, np.pi / 2 / 5.0], (steps, 1))  # a quarter of a circle in 5 s
    path = motion_signature(moved(steps, action={"base_velocity": drive}))["paths"]["base_velocity"]
    radius = 1.0 / (np.pi / 2 / 5.0)
    assert np.array(path).reshape(TIMES, 3)[-1] * STEP == pytest.approx([radius, radius, 0.3 * np.pi / 2], rel=0.03)


def test_a_signature_says_its_version_and_hashes_the_numbers_of_arms_and_end_effectors_apart(arm):
    spec = arm.spec()
    first = motion_signature(convert(arm.episode(1), spec))
    assert first["version"] == VERSION
    assert first["steps"] == 120
    again = arm.episode(1)
    again.columns["gap"] = again.columns["gap"] * 0.9
    changed = motion_signature(convert(again, spec))
    assert changed["exact"] == first["exact"]
    assert changed["paths"]["right_gripper"] != first["paths"]["right_gripper"]
    again.columns["joints"] = again.columns["joints"] + 1e-5
    other = motion_signature(convert(again, spec))["exact"]
    assert other["eef"] == first["exact"]["eef"]
    assert other["joint"] != first["exact"]["joint"]


def test_rounding_hardly_moves_a_path_and_nothing_known_has_no_signature(arm):
    copy = arm.episode(1)
    copy.columns = {k: np.asarray(v, np.float16).astype(float) for k, v in copy.columns.items()}
    one, two = (motion_signature(convert(e, arm.spec()))["paths"] for e in (arm.episode(1), copy))
    assert max(np.abs(np.array(one[g]) - two[g]).max() for g in one) * STEP < 0.002
    nothing = moved()
    nothing.state_mask[:] = False
    assert motion_signature(nothing) is None


def test_the_recording_that_an_episode_re_draws_is_part_of_its_signature_and_of_no_other():
    pose = np.concatenate([ramp(0.1, 0.2, 0.3), np.ones((60, 4))], axis=1)
    columns = {RECORDED_POSE: pose}
    assert recorded_path(columns, "") is None
    assert recorded_path({}, "set/3") is None
    assert recorded_path({RECORDED_POSE: np.full((60, 7), np.nan)}, "set/3") is None
    path = recorded_path(columns, "set/3")
    signature = motion_signature(moved(), path)
    assert np.array(signature["recorded"]).reshape(TIMES, 3)[-1] * STEP == pytest.approx([0.1, 0.2, 0.3])
    assert "recorded" not in motion_signature(moved())


def test_one_recording_in_two_containers_is_one(tmp_path):
    """DROID's raw HDF5 and its LeRobot copy: other column names, so other content ids, and the same numbers."""
    found = []
    for name in ("droid_raw", "droid_lerobot"):
        generate(name, tmp_path / name, episodes=1, seed=1)
        spec, episode, motion = opened_set(tmp_path / name)[1][0]
        provenance = {"motion_signature": motion_signature(motion), "dataset_file": spec.name}
        found.append((spec.source, spec.embodiment, json.dumps(provenance), episode.content_id))
    reader = MotionReader()
    for row, (source, embodiment, provenance, _) in enumerate(found):
        reader.add(row, embodiment, source, provenance, str(tmp_path))
    exact, _ = copies(reader.result(), None, 0.05)
    assert np.stack(exact, axis=1).tolist() == [[0, 1]]
    assert found[0][3] != found[1][3]
