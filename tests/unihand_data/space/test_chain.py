"""Absolute Cartesian commands as displacements where a part of the pose is absent or not known."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.space import displacement, rotations
from unihand_data.space.embodiment import load_embodiment

BLOCKS = """
schema: 1
name: chained
title: a robot with absolute Cartesian commands
domain: robot
origin: sim
world: base
eef_point: flange
control_rate_hz: 20
latency_budget_ms: null
cameras: []
state:
  - {name: position, columns: 3, slots: right_eef_position, unit: m}
action:
  - {name: goal, columns: 3, slots: right_eef_position, unit: m, action: absolute, optional: true}
  - {name: goal_turn, columns: 3, slots: right_eef_rotation, form: axis_angle, unit: rad, action: absolute,
     optional: true}
mirror: null
"""
RNG = np.random.default_rng(5)
RAW = {"goal": RNG.normal(size=(6, 3)), "goal_turn": RNG.uniform(-1, 1, size=(6, 3))}
START = np.array([0.3, 0.1, 0.4, 0.2, -0.1, 0.5])


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    path = tmp_path_factory.mktemp("chain") / "chained.yaml"
    path.write_text(BLOCKS)
    return load_embodiment(path)


def unified(robot, raw, start):
    u = robot.to_unified(raw, "action", start={"right": start})
    back = robot.from_unified(*u, kind="action", start={"right": start}, as_dict=True)
    for name, values in raw.items():
        np.testing.assert_allclose(back[name], values, atol=1e-9, equal_nan=True)
    return u


@pytest.mark.parametrize("name", ["goal", "goal_turn"])
def test_commands_whose_partner_is_absent_become_displacements_all_the_same(robot, name):
    u = unified(robot, {name: RAW[name]}, START)
    whole = displacement.from_commands(RAW["goal"], RAW["goal_turn"], START[:3], START[3:])
    np.testing.assert_allclose(u.values, whole.pos if name == "goal" else whole.rot, atol=1e-12)
    assert u.mask.all()


def test_a_start_that_nobody_knows_masks_the_first_step_of_that_part_alone(robot):
    u = unified(robot, RAW, np.where(np.arange(6) < 3, START, np.nan))
    assert u.mask[:, :3].all()
    assert (~u.mask[:, 3:]).any(axis=1).tolist() == [True] + 5 * [False]
    step = rotations.compose(RAW["goal_turn"][1], rotations.inverse(RAW["goal_turn"][0]))
    np.testing.assert_allclose(u.values[1, 3:], step, atol=1e-12)


def test_a_missing_command_masks_the_step_into_it_and_out_of_it_and_leaves_its_partner(robot):
    raw = {name: values.copy() for name, values in RAW.items()}
    raw["goal_turn"][2] = np.nan
    u = unified(robot, raw, START)
    assert u.mask[:, :3].all()
    assert (~u.mask[:, 3:]).any(axis=1).nonzero()[0].tolist() == [2, 3]
    assert "action.goal_turn" in u.raw_extra
