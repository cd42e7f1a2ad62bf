"""Idle spans: what rests, what moves, at any rate and with any sensor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.motions import MOVES, robot_motion
from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.idle import IdleSettings, digits, idle_spans, noise
from unihand_data.curate.robot.speeds import KIND_OF
from unihand_data.space.slots import GROUPS, SLOTS

S = IdleSettings()
HZ, STEPS = 20.0, 100
WINDOW = S.window_s
RATES = (5.0, 15.0, 30.0, 100.0)
KINDS = {"right_arm_2": S.joint, "right_eef_y": S.position, "right_gripper": S.gripper, "lift": S.lift}


def spans_of(motion) -> list[tuple[float, float]]:
    return [(e.t0, e.t1) for e in idle_spans(motion, S)]


def ramp(t: np.ndarray, start: float, stop: float) -> np.ndarray:
    """0 until ``start``, 1 from ``stop``, straight between them."""
    return np.clip((t - start) / (stop - start), 0.0, 1.0)


def alike(found: list, expected: list, within: float) -> bool:
    return len(found) == len(expected) and bool(np.allclose(found, expected, atol=within))


@pytest.mark.parametrize("slot", MOVES, ids=lambda s: SLOTS[s].name)
def test_a_robot_that_moves_any_slot_is_not_idle_while_it_does(slot):
    name, limit = SLOTS[slot].name, getattr(S, KIND_OF[slot]) / WINDOW  # per second
    velocity, t = SLOTS[slot].kind == "velocity", np.arange(STEPS) / HZ
    pose = {SLOTS[s].name: np.zeros(STEPS) for s in GROUPS[SLOTS[slot].group].slots}
    slow, fast = ({**pose, name: k * limit * ramp(t, 2.0, 3.0)} for k in (0.5, 5.0))
    if velocity:
        slow, fast = ({name: np.where((t < 2.0) | (t >= 3.0), 0.0, k * limit)} for k in (0.5, 5.0))
    assert spans_of(robot_motion(slow, arm=True)) == [(0.0, STEPS / HZ)]
    assert alike(spans_of(robot_motion(fast, arm=True)), [(0.0, 2.0), (3.0, 5.0)], 0.16)
    if not SLOTS[slot].state_only and not velocity and "_eef_" not in SLOTS[slot].group:
        assert len(spans_of(robot_motion(None, fast, arm=True))) == 2, "a command that moves is no rest"


def test_commanded_displacements_that_add_up_are_motion_and_those_that_cancel_are_rest():
    steady = np.full(STEPS, 0.0005)  # 10 mm/s
    assert spans_of(robot_motion(None, {"right_eef_x": steady}, arm=True)) == []
    there_and_back = steady * (-1.0) ** np.arange(STEPS)
    assert spans_of(robot_motion(None, {"right_eef_x": there_and_back}, arm=True)) == [(0.0, 5.0)]


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(KINDS)),
    hz=st.sampled_from([5.0, 15.0, 30.0, 50.0, 100.0]),
    start=st.floats(2.0, 3.0),
    times=st.floats(6.0, 100.0),
    offset=st.floats(0.0, 1.0),
    seed=st.integers(0, 99),
)
def test_a_digit_of_half_the_limit_changes_no_span(name, hz, start, times, offset, seed):
    """Sensors that count in steps of half the limit, with the flicker that noise below a step makes."""
    limit, steps = KINDS[name], round(7 * hz)
    t = np.arange(steps) / hz
    x = offset * limit + times * limit * ramp(t, start, start + 1.0)
    x += 0.05 * limit * np.random.default_rng(seed).normal(size=steps)
    digit = limit / 2
    told = np.round(x / digit) * digit
    fine, coarse = (spans_of(robot_motion({name: v}, arm=True, hz=hz, steps=steps)) for v in (x, told))
    assert alike(coarse, fine, WINDOW)
    assert alike(fine, [(0.0, start), (start + 1.0, 7.0)], WINDOW)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(KINDS)),
    start=st.floats(1.5, 2.5),
    lasts=st.floats(0.8, 2.0),
    times=st.floats(6.0, 100.0),
    shaken=st.booleans(),
)
def test_the_same_motion_at_any_rate_has_the_same_spans(name, start, lasts, times, shaken):
    found = []
    for hz in RATES:
        t = np.arange(round(8 * hz)) / hz
        x = ramp(t, start, start + lasts)
        if shaken:  # to and fro instead of from here to there
            x = np.sin(2 * np.pi * 1.3 * (t - start)) * ((t > start) & (t < start + lasts))
        motion = robot_motion({name: times * KINDS[name] * x}, arm=True, hz=hz, steps=len(t))
        found.append(spans_of(motion))
    assert all(alike(one, found[-1], WINDOW) for one in found)
    assert alike(found[-1], [(0.0, start), (start + lasts, 8.0)], WINDOW)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.sampled_from(RATES), st.floats(1.2, 5.0), st.booleans())
def test_a_slow_drift_is_motion_whatever_the_rate_and_the_digit(name, hz, times, rounded):
    """A limit and a fifth per window, or two where the sensor's digit is allowed its half."""
    limit, t = KINDS[name], np.arange(round(6 * hz)) / hz
    x = (times + (0.8 if rounded else 0.0)) * limit / WINDOW * t
    if rounded:
        x = np.round(x / (0.2 * limit)) * 0.2 * limit
    assert spans_of(robot_motion({name: x}, arm=True, hz=hz, steps=len(t))) == []


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.sampled_from(RATES), st.integers(0, 99))
def test_white_noise_within_the_limit_is_rest(name, hz, seed):
    steps = round(6 * hz)
    x = KINDS[name] * np.random.default_rng(seed).uniform(0, 1, steps)
    assert spans_of(robot_motion({name: x}, arm=True, hz=hz, steps=steps)) == [(0.0, pytest.approx(6.0))]


@pytest.mark.parametrize("hz", [20.0, 30.0, 100.0, 200.0])
def test_one_count_of_a_sensor_back_and_forth_is_no_motion_at_any_rate(hz):
    steps = round(5 * hz)
    count = 0.01 * (np.arange(steps) % 2)
    assert len(spans_of(robot_motion({"head_yaw": count}, arm=True, hz=hz, steps=steps))) == 1


@pytest.mark.parametrize("phase", [0.0, 0.3])
@pytest.mark.parametrize("hz", [20.0, 30.0, 100.0])
def test_shaking_by_a_hundredth_of_a_radian_is_no_rest(hz, phase):
    steps = round(5 * hz)
    x = 0.01 * np.sin(2 * np.pi * 5 * np.arange(steps) / hz + phase)
    assert spans_of(robot_motion({"right_arm_3": x}, arm=True, hz=hz, steps=steps)) == []


def test_a_jump_from_one_step_to_the_next_parts_two_spans():
    t = np.arange(STEPS) / HZ
    spans = spans_of(robot_motion({"right_arm_2": np.where(t < 2.5, 0.0, 0.3)}, arm=True))
    assert alike(spans, [(0.0, 2.45), (2.5, 5.0)], 1e-6)


def test_steps_of_which_nothing_is_known_are_not_idle():
    robot = robot_motion({"head_yaw": np.zeros(STEPS)}, arm=True)
    robot.state_mask[30:70] = False
    assert alike(spans_of(robot), [(0.0, 1.45), (3.5, 5.0)], 1e-6)
    robot.state_mask[:] = False
    assert spans_of(robot) == []


def test_of_a_robot_that_maps_only_a_gripper_nobody_knows_whether_it_rests():
    assert spans_of(robot_motion({"right_gripper": np.ones(STEPS)})) == []
    robot = robot_motion({"right_gripper": np.ones(STEPS)}, arm=True)
    robot.state_mask[:, [k for k, s in enumerate(robot.state_slots) if SLOTS[s].group == "right_arm"]] = False
    assert spans_of(robot) == []


def test_an_orientation_that_turns_steadily_through_half_a_turn_is_motion_and_at_rest_there_is_none():
    """A rotation vector leaps by a whole turn at the half turn; the robot does not."""
    t = np.arange(STEPS) / HZ
    half_turn = np.where(np.arange(STEPS) % 2, 1.0, -1.0) * (np.pi - 1e-4)
    pose = {"right_eef_rx": np.zeros(STEPS), "right_eef_ry": np.zeros(STEPS)}
    assert spans_of(robot_motion({**pose, "right_eef_rz": half_turn})) == [(0.0, 5.0)]
    assert spans_of(robot_motion({**pose, "right_eef_rz": 0.2 * t})) == []


@settings(max_examples=40, deadline=None)
@given(
    hz=st.sampled_from(RATES),
    unit=st.sampled_from([1e-3, 1.0, 1e4]),
    level=st.sampled_from([0.0, 0.005, 0.02]),
    start=st.floats(1.5, 2.5),
    lasts=st.floats(0.2, 1.2),
    seed=st.integers(0, 99),
)
def test_a_motion_of_a_column_without_a_slot_ends_a_span_however_noisy_it_is(hz, unit, level, start, lasts, seed):
    """In any unit, over noise of up to 2 % of the way."""
    t = np.arange(round(7 * hz)) / hz
    x = 7 + ramp(t, start, start + lasts) + level * np.random.default_rng(seed).normal(size=len(t))
    found = spans_of(robot_motion(arm=True, hz=hz, steps=len(t), extra={"state.gripper": unit * x}))
    assert alike(found, [(0.0, start), (start + lasts, 7.0)], WINDOW)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(RATES), st.integers(0, 99), st.booleans(), st.sampled_from([1e-3, 1e4]))
def test_noise_alone_in_a_column_without_a_slot_is_rest(hz, seed, rounded, unit):
    steps = round(10 * hz)
    x = 50 + np.random.default_rng(seed).normal(size=steps)
    x = unit * (np.round(x / 2) * 2 if rounded else x)
    robot = robot_motion(arm=True, hz=hz, steps=steps, extra={"state.effort": x})
    assert spans_of(robot) == [(0.0, pytest.approx(10.0))]


@pytest.mark.parametrize("hz", RATES)
def test_a_column_without_a_slot_that_drifts_through_its_range_in_a_minute_moves(hz):
    t = np.arange(round(60 * hz)) / hz
    assert spans_of(robot_motion(arm=True, hz=hz, steps=len(t), extra={"state.valve": 300 * t / 60})) == []


def test_a_switch_without_a_slot_parts_spans_and_one_that_flickers_is_a_sensor():
    t = np.arange(STEPS) / HZ
    switch = robot_motion(arm=True, extra={"action.grip": np.where(t < 2.5, 0.0, 1.0)})
    assert alike(spans_of(switch), [(0.0, 2.45), (2.5, 5.0)], 1e-6)
    flicker = 7.0 + (np.random.default_rng(0).random(STEPS) < 0.2)
    assert len(spans_of(robot_motion(arm=True, extra={"state.voltage": flicker}))) == 1


def test_a_constant_a_derived_and_an_unknown_column_are_at_rest():
    gone = np.full((STEPS, 1), np.nan)
    extra = {"state.constant": np.full(STEPS, 7.0), "derived.clock": np.arange(STEPS), "state.gone": gone}
    assert len(spans_of(robot_motion(arm=True, extra=extra))) == 1


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-4, 10.0), st.integers(0, 99), st.booleans())
def test_the_digit_of_a_rounded_column_is_found_and_a_smooth_one_has_none(digit, seed, single):
    x = np.cumsum(np.random.default_rng(seed).normal(size=300))[:, None]
    told = np.round(x) * digit
    if single:
        told = told.astype(np.float32).astype(float)
    told[150] += 0.37 * digit  # a stray value
    assert digits(told) == pytest.approx(digit, rel=1e-3)
    assert digits(x) == 0


def test_noise_is_that_of_white_noise_over_a_drift_and_a_motion():
    t = np.arange(2000) / 30
    x = 0.3 * np.random.default_rng(0).normal(size=2000)
    assert noise((x + 5 * t + 100 * ramp(t, 20, 30))[:, None]) == pytest.approx(0.3, rel=0.1)
    assert noise(np.zeros((2, 1))) == 0


def test_an_episode_is_idle_where_it_stands(arm):
    episode = arm.episode(4)
    for name, column in episode.columns.items():
        tail = np.repeat(column[-1:], 40, axis=0)
        episode.columns[name] = np.concatenate([column, 0 * tail if name == "delta" else tail])
    episode.timestamps = np.arange(160) / 20
    spans = spans_of(convert(episode, arm.spec()))
    assert spans
    assert spans[-1][1] == pytest.approx(8.0)
    assert spans[-1][0] < 6.5
