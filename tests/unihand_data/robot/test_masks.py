"""Outliers, slot by slot in physical units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.motions import MOVES, robot_motion
from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.idle import IdleSettings
from unihand_data.curate.robot.masks import OutlierSettings, mask_outliers
from unihand_data.curate.robot.speeds import KIND_OF
from unihand_data.space.slots import GROUPS, SLOTS, slot_index

HZ, STEPS = 20.0, 100


def test_every_slot_of_the_contract_that_moves_has_a_kind_and_a_threshold():
    assert set(KIND_OF) == set(MOVES)
    for kind in set(KIND_OF.values()):
        assert getattr(IdleSettings(), kind) > 0
        low, high = getattr(OutlierSettings(), kind)
        assert low < high


@pytest.mark.parametrize("slot", [s for s in MOVES if KIND_OF[s] not in ("gripper",)], ids=lambda s: SLOTS[s].name)
def test_a_sample_that_no_body_can_reach_is_masked_in_its_slot_and_counted(slot):
    name, kind = SLOTS[slot].name, KIND_OF[slot]
    ceiling = getattr(OutlierSettings(), kind)[1]
    velocity, turns = SLOTS[slot].kind == "velocity", kind == "rotation"
    slots = [SLOTS[s].name for s in GROUPS[SLOTS[slot].group].slots]
    values = {n: np.zeros(STEPS) for n in slots}
    values[name][50] = 1.2 * ceiling if velocity else min(2.0 * ceiling / HZ, 2.5 if turns else np.inf)
    robot = robot_motion(state=values)
    before = robot.state.copy()
    figures = mask_outliers(robot, OutlierSettings())
    at = slots.index(name)
    lost = [49, 50, 51] if SLOTS[slot].state_only else [50]
    assert (~robot.state_mask[:, at]).nonzero()[0].tolist() == lost
    assert figures[f"outliers.{name}"] == figures["outlier_steps"] == len(lost)
    if "_eef_" not in SLOTS[slot].group:
        assert np.delete(robot.state_mask, at, axis=1).all(), "the neighbours keep their steps"
    assert np.array_equal(before, robot.state)


def test_one_joint_that_jitters_does_not_hide_the_leap_of_another():
    rng = np.random.default_rng(0)
    values = {"right_arm_1": 0.3 * rng.normal(size=STEPS), "right_arm_2": np.zeros(STEPS)}
    values["right_arm_2"][50] = 0.8  # 16 rad/s
    robot = robot_motion(state=values, action=values)
    figures = mask_outliers(robot, OutlierSettings())
    assert set(figures) == {"outlier_steps", "outliers.right_arm_2"}
    assert (~robot.action_mask[:, 1]).nonzero()[0].tolist() == [49, 50]
    assert robot.action_mask[:, 0].all()


@pytest.mark.parametrize(("name", "closed", "wrong"), [("right_gripper", 0.0, 37.0), ("left_hand_index", 1.6, -40.0)])
def test_a_command_may_switch_in_one_step_but_lies_within_its_range(name, closed, wrong):
    command = np.where(np.arange(STEPS) < 50, 0.0, closed or 1.0)
    robot = robot_motion(action={name: command})
    assert mask_outliers(robot, OutlierSettings()) == {"outlier_steps": 0.0}
    command[20] = wrong
    robot = robot_motion(state={name: command}, action={name: command})
    figures = mask_outliers(robot, OutlierSettings())
    assert figures[f"outliers.{name}"] >= 1
    assert not robot.action_mask[20].any()
    assert not robot.state_mask[20].any()


def test_a_lasting_change_masks_the_step_and_neither_sample():
    robot = robot_motion(*2 * [{"lift": np.where(np.arange(STEPS) < 50, 0.0, 0.5)}])
    assert mask_outliers(robot, OutlierSettings())["outliers.lift"] == 2
    assert robot.state_mask.all()
    assert (~robot.action_mask[:, 0]).nonzero()[0].tolist() == [49, 50]  # what happened, and what was asked for


@pytest.mark.parametrize("at", [0, 30, STEPS - 1])
def test_a_command_that_is_wrong_once_is_masked_and_no_other(at):
    command = np.zeros(STEPS)
    command[at] = 3.0
    robot = robot_motion({"right_arm_2": np.zeros(STEPS)}, {"right_arm_2": command})
    mask_outliers(robot, OutlierSettings())
    assert (~robot.action_mask[:, 0]).nonzero()[0].tolist() == [at]


def test_a_lasting_jump_of_the_command_is_charged_to_the_step_that_asks_for_it():
    command = np.where(np.arange(STEPS) < 30, 0.0, 1.0)
    robot = robot_motion({"right_arm_2": np.zeros(STEPS)}, {"right_arm_2": command})
    mask_outliers(robot, OutlierSettings())
    assert (~robot.action_mask[:, 0]).nonzero()[0].tolist() == [30]


def test_an_impossible_command_masks_position_and_rotation_of_its_step(arm):
    episode = arm.episode(4)
    episode.columns["delta"] = episode.columns["delta"].copy()
    episode.columns["delta"][50, 0] = 2.0  # 40 m/s
    got = convert(episode, arm.spec())
    before = got.action.copy()
    assert mask_outliers(got, OutlierSettings())["outlier_steps"] == 1
    for group in ("right_eef_position", "right_eef_rotation"):
        assert (~got.action_of(group)[1]).any(axis=1).nonzero()[0].tolist() == [50]
    assert got.action_of("right_arm")[1][50].all(), "other slots of the step stay"
    assert np.array_equal(before, got.action)


def test_a_usual_episode_has_no_outlier(arm):
    assert mask_outliers(convert(arm.episode(4), arm.spec()), OutlierSettings()) == {"outlier_steps": 0.0}


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["right_arm_2", "lift", "right_eef_y", "right_eef_rz", "head_yaw"]),
    samples=st.integers(1, 6),
    at=st.integers(1, 60),
    sign=st.sampled_from([-1.0, 1.0]),
    drift=st.floats(-0.1, 0.1),
)
def test_a_short_plateau_between_jumps_that_cancel_is_masked_whole_and_nothing_beside_it(
    name, samples, at, sign, drift
):
    """In the state, and in the absolute targets that follow from it; the robot may drift on meanwhile."""
    group = [SLOTS[s].name for s in GROUPS[SLOTS[slot_index(name)].group].slots]
    values = {n: np.zeros(STEPS) for n in group}
    values[name] = drift * np.arange(STEPS) / HZ
    values[name][at : at + samples] += sign * min(1.5 * getattr(OutlierSettings(), kind_of(name))[1] / HZ, 2.5)
    before = values[name].copy()
    ahead = {n: np.append(v[1:], v[-1]) for n, v in values.items()}
    robot = robot_motion(values, None if "_eef_" in name else ahead)
    figures = mask_outliers(robot, OutlierSettings())
    column = group.index(name)
    assert (~robot.state_mask[:, column]).nonzero()[0].tolist() == list(range(at, at + samples))
    assert np.array_equal(robot.state[:, column], before)
    if robot.action.size:  # targets of the plateau, and the step back from it
        assert (~robot.action_mask[:, column]).nonzero()[0].tolist() == list(range(at - 1, at + samples))
    assert figures[f"outliers.{name}"] >= samples


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(2, 6), up=st.floats(2.0, 4.0), back=st.floats(-0.6, 0.6), name=st.sampled_from(["lift", "neck"])
)
def test_jumps_that_do_not_cancel_are_steps_that_happened(samples, up, back, name):
    """Of two jumps the second goes on, or leads back by less than two thirds."""
    name = {"neck": "neck_roll"}.get(name, name)
    second = up * back if abs(back) > 0.3 else 0.0
    values = np.zeros(STEPS)
    values[40:] += up
    values[40 + samples :] += second
    robot = robot_motion(*2 * [{name: values}])
    mask_outliers(robot, OutlierSettings())
    assert robot.state_mask.all()
    assert set((~robot.action_mask[:, 0]).nonzero()[0]) <= {39, 40, 39 + samples, 40 + samples}


def test_a_plateau_may_be_a_few_samples_and_a_fraction_of_a_second_long():
    for samples, hz, masked in ((10, 20.0, True), (11, 20.0, False), (3, 5.0, False), (1, 1.0, True)):
        values = np.zeros(STEPS)
        values[30 : 30 + samples] = 3.0 * 30 / hz
        robot = robot_motion({"right_arm_2": values}, hz=hz)
        mask_outliers(robot, OutlierSettings())
        assert (~robot.state_mask).any() == masked, (samples, hz)
    robot = robot_motion({"right_arm_2": np.where(np.arange(STEPS) // 12 == 3, 4.0, 0.0)})
    mask_outliers(robot, OutlierSettings(plateau_steps=12, plateau_s=1.0))
    assert (~robot.state_mask).sum() == 12


def test_of_two_plateaus_the_right_samples_between_them_stay():
    values = np.zeros(STEPS)
    values[[30, 31, 34, 35]] = 4.0
    robot = robot_motion(*2 * [{"right_arm_2": values}])
    mask_outliers(robot, OutlierSettings())
    assert (~robot.state_mask[:, 0]).nonzero()[0].tolist() == [30, 31, 34, 35]
    assert robot.action_mask[33, 0] == np.False_  # the jump onto the second
    assert robot.action_mask[32, 0]


def test_a_command_that_is_wrong_for_a_few_steps_is_masked_whole_and_its_way_back_is_not():
    command = np.zeros(STEPS)
    command[30:34] = 3.0
    robot = robot_motion({"right_arm_2": np.zeros(STEPS)}, {"right_arm_2": command})
    mask_outliers(robot, OutlierSettings())
    assert (~robot.action_mask[:, 0]).nonzero()[0].tolist() == [30, 31, 32, 33]
    assert robot.state_mask.all()


def kind_of(name: str) -> str:
    return KIND_OF[slot_index(name)]
