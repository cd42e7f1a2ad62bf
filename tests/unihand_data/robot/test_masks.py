"""Outliers and idle spans, slot by slot in physical units."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.curate.robot.convert import RobotMotion, convert
from unihand_data.curate.robot.masks import IdleSettings, OutlierSettings, idle_spans, mask_outliers
from unihand_data.curate.robot.speeds import KIND_OF
from unihand_data.space.slots import GROUPS, SLOTS, slot_index

HZ, STEPS = 20.0, 100
MOVES = [s.index for s in SLOTS if s.kind not in ("reserved", "shape")]


def motion(
    state: dict[str, np.ndarray] | None = None, action: dict[str, np.ndarray] | None = None, arm: bool = False
) -> RobotMotion:
    """A robot of these slots alone, everything known; ``arm``: and of a right arm at rest."""
    parts = []
    rest = {f"right_arm_{k}": np.zeros(STEPS) for k in range(1, 8)} if arm else {}
    for given in ({**rest, **(state or {})}, action or {}):
        slots = sorted(slot_index(name) for name in given)
        values = np.stack([given[SLOTS[s].name] for s in slots], axis=1) if slots else np.zeros((STEPS, 0))
        parts.append((values.astype(float), np.ones(values.shape, bool), np.array(slots, np.int16)))
    (s, s_ok, s_slots), (a, a_ok, a_slots) = parts
    return RobotMotion(s, s_ok, s_slots, a, a_ok, a_slots, np.arange(STEPS) / HZ, HZ, {}, {}, np.eye(4))


def moving(per_s: float) -> np.ndarray:
    """Still for two seconds, then at this speed for one, then still."""
    at = np.clip(np.arange(STEPS) / HZ - 2.0, 0.0, 1.0)
    return per_s * at


def test_every_slot_of_the_contract_that_moves_has_a_kind_and_a_threshold():
    assert set(KIND_OF) == set(MOVES)
    for kind in set(KIND_OF.values()):
        assert getattr(IdleSettings(), kind) > 0
        low, high = getattr(OutlierSettings(), kind)
        assert low < high


@pytest.mark.parametrize("slot", MOVES, ids=lambda s: SLOTS[s].name)
def test_a_robot_that_moves_any_slot_is_not_idle_while_it_does(slot):
    name, limit = SLOTS[slot].name, getattr(IdleSettings(), KIND_OF[slot])
    velocity = SLOTS[slot].kind == "velocity"
    pose = {SLOTS[s].name: np.zeros(STEPS) for s in GROUPS[SLOTS[slot].group].slots}
    slow, fast = ({**pose, name: moving(k * limit)} for k in (0.5, 3.0))
    if velocity:
        still = (np.arange(STEPS) < 40) | (np.arange(STEPS) > 60)
        slow, fast = ({name: np.where(still, 0.0, k * limit)} for k in (0.5, 3.0))
    assert [(e.t0, e.t1) for e in idle_spans(motion(slow, arm=True), IdleSettings())] == [(0.0, STEPS / HZ)]
    spans = idle_spans(motion(fast, arm=True), IdleSettings())
    assert len(spans) == 2
    assert spans[0].t1 == pytest.approx(2.0, abs=0.2)
    assert spans[1].t0 == pytest.approx(3.0, abs=0.2)
    if not SLOTS[slot].state_only and not velocity and "_eef_" not in SLOTS[slot].group:
        assert len(idle_spans(motion(None, fast, arm=True), IdleSettings())) == 2, "a command that moves is no rest"


def test_one_count_of_a_sensor_back_and_forth_is_no_motion():
    count = 0.01 * (np.arange(STEPS) % 2)
    assert len(idle_spans(motion({"head_yaw": count}, arm=True), IdleSettings())) == 1


def test_steps_of_which_nothing_is_known_are_not_idle():
    robot = motion({"head_yaw": np.zeros(STEPS)}, arm=True)
    robot.state_mask[30:70] = False
    spans = idle_spans(robot, IdleSettings())
    assert [(e.t0, e.t1) for e in spans] == [(0.0, pytest.approx(1.45)), (3.5, 5.0)]
    robot.state_mask[:] = False
    assert idle_spans(robot, IdleSettings()) == []


@pytest.mark.parametrize("slot", [s for s in MOVES if KIND_OF[s] not in ("gripper",)], ids=lambda s: SLOTS[s].name)
def test_a_sample_that_no_body_can_reach_is_masked_in_its_slot_and_counted(slot):
    name, kind = SLOTS[slot].name, KIND_OF[slot]
    ceiling = getattr(OutlierSettings(), kind)[1]
    velocity, turns = SLOTS[slot].kind == "velocity", kind == "rotation"
    slots = [SLOTS[s].name for s in GROUPS[SLOTS[slot].group].slots]
    values = {n: np.zeros(STEPS) for n in slots}
    values[name][50] = 1.2 * ceiling if velocity else min(2.0 * ceiling / HZ, 2.5 if turns else np.inf)
    robot = motion(state=values)
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
    robot = motion(state=values, action=values)
    figures = mask_outliers(robot, OutlierSettings())
    assert set(figures) == {"outlier_steps", "outliers.right_arm_2"}
    assert (~robot.action_mask[:, 1]).nonzero()[0].tolist() == [49, 50]
    assert robot.action_mask[:, 0].all()


@pytest.mark.parametrize(("name", "closed", "wrong"), [("right_gripper", 0.0, 37.0), ("left_hand_index", 1.6, -40.0)])
def test_a_command_may_switch_in_one_step_but_lies_within_its_range(name, closed, wrong):
    command = np.where(np.arange(STEPS) < 50, 0.0, closed or 1.0)
    robot = motion(action={name: command})
    assert mask_outliers(robot, OutlierSettings()) == {"outlier_steps": 0.0}
    command[20] = wrong
    robot = motion(state={name: command}, action={name: command})
    figures = mask_outliers(robot, OutlierSettings())
    assert figures[f"outliers.{name}"] >= 1
    assert not robot.action_mask[20].any()
    assert not robot.state_mask[20].any()


def test_a_lasting_change_masks_the_step_and_neither_sample():
    robot = motion(*2 * [{"lift": np.where(np.arange(STEPS) < 50, 0.0, 0.5)}])
    assert mask_outliers(robot, OutlierSettings())["outliers.lift"] == 2
    assert robot.state_mask.all()
    assert (~robot.action_mask[:, 0]).nonzero()[0].tolist() == [49, 50]  # what happened, and what was asked for


@pytest.mark.parametrize("at", [0, 30, STEPS - 1])
def test_a_command_that_is_wrong_once_is_masked_and_no_other(at):
    command = np.zeros(STEPS)
    command[at] = 3.0
    robot = motion({"right_arm_2": np.zeros(STEPS)}, {"right_arm_2": command})
    mask_outliers(robot, OutlierSettings())
    assert (~robot.action_mask[:, 0]).nonzero()[0].tolist() == [at]


def test_a_lasting_jump_of_the_command_is_charged_to_the_step_that_asks_for_it():
    command = np.where(np.arange(STEPS) < 30, 0.0, 1.0)
    robot = motion({"right_arm_2": np.zeros(STEPS)}, {"right_arm_2": command})
    mask_outliers(robot, OutlierSettings())
    assert (~robot.action_mask[:, 0]).nonzero()[0].tolist() == [30]


def test_shaking_fast_is_no_rest():
    robot = motion({"right_arm_3": 0.1 * np.sin(2 * np.pi * 5 * np.arange(STEPS) / HZ + 0.3)}, arm=True)
    assert idle_spans(robot, IdleSettings()) == []


def test_a_column_without_a_slot_moves_too():
    robot = motion({}, arm=True)
    robot.raw_extra = {"state.gripper": np.clip((np.arange(STEPS) / HZ - 2.0), 0, 1)[:, None] * 57.0}
    spans = idle_spans(robot, IdleSettings())
    assert [e.t0 for e in spans] == [0.0, pytest.approx(3.0, abs=0.3)]
    assert spans[0].t1 == pytest.approx(2.0, abs=0.3)
    shaking = 900.0 + np.sin(2 * np.pi * 5 * np.arange(STEPS) / HZ)[:, None]
    shaking[7] = np.nan
    robot.raw_extra = {"state.gripper": shaking}
    assert idle_spans(robot, IdleSettings()) == []
    robot.raw_extra = {"state.constant": np.full((STEPS, 1), 7.0), "derived.clock": np.arange(STEPS)[:, None]}
    assert len(idle_spans(robot, IdleSettings())) == 1


def test_of_a_robot_that_maps_only_a_gripper_nobody_knows_whether_it_rests():
    assert idle_spans(motion({"right_gripper": np.ones(STEPS)}), IdleSettings()) == []
    robot = motion({"right_gripper": np.ones(STEPS)}, arm=True)
    robot.state_mask[:, [k for k, s in enumerate(robot.state_slots) if SLOTS[s].group == "right_arm"]] = False
    assert idle_spans(robot, IdleSettings()) == []


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


def test_a_usual_episode_has_no_outlier_and_is_idle_where_it_stands(arm):
    episode = arm.episode(4)
    assert mask_outliers(convert(episode, arm.spec()), OutlierSettings()) == {"outlier_steps": 0.0}
    for name, column in episode.columns.items():
        tail = np.repeat(column[-1:], 40, axis=0)
        episode.columns[name] = np.concatenate([column, 0 * tail if name == "delta" else tail])
    episode.timestamps = np.arange(160) / 20
    spans = idle_spans(convert(episode, arm.spec()), IdleSettings())
    assert spans
    assert spans[-1].t1 == pytest.approx(8.0)
    assert spans[-1].t0 < 6.5
