"""A simulated seven-joint arm as raw episodes, and a data-set file that describes them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers.robots import opened_set
from unihand_data.sources.robot.columns import content_id_of_columns
from unihand_data.sources.robot.episode import RobotEpisode, Text
from unihand_data.sources.robot.generate.catalogue import generate
from unihand_data.sources.robot.generate.motion import simulate
from unihand_data.sources.robot.spec import RobotSpec, load_spec
from unihand_data.values.recording import SourceItem

SPEC: dict[str, Any] = {
    "name": "bench_arm",
    "title": "a simulated arm",
    "embodiment": "franka",
    "container": "lerobot",
    "licence": "CC0-1.0",
    "licence_class": "permissive",
    "origin": "sim",
    "rate_hz": 20,
    "eef_point": "flange",
    "state": [
        {"name": "joints", "columns": 7, "slots": "right_arm", "unit": "rad", "from": "joints"},
        {"name": "position", "columns": 3, "slots": "right_eef_position", "unit": "m", "from": "pose", "take": [0, 3]},
        {"name": "rotation", "columns": 4, "slots": "right_eef_rotation", "form": "quaternion_xyzw", "from": "pose",
         "take": [3, 7]},
        {"name": "opening", "columns": 1, "slots": "right_gripper", "form": "gripper",
         "range": {"closed": 0, "open": 0.08}, "from": "gap"},
    ],
    "action": [
        {"name": "shift", "columns": 3, "slots": "right_eef_position", "unit": "m", "action": "displacement",
         "from": "delta", "take": [0, 3]},
        {"name": "turn", "columns": 3, "slots": "right_eef_rotation", "form": "axis_angle", "unit": "rad",
         "action": "displacement", "from": "delta", "take": [3, 6]},
        {"name": "targets", "columns": 7, "slots": "right_arm", "unit": "rad", "from": "joint_targets"},
        {"name": "grip", "columns": 1, "slots": "right_gripper", "form": "gripper", "range": {"closed": 1, "open": -1},
         "from": "grip"},
    ],
}  # fmt: skip


def arm_spec(**changes: Any) -> RobotSpec:
    """The file above, with ``state_<block>={key: value}`` or ``action_<block>=...`` laid over a block."""
    data = copy.deepcopy(SPEC)
    for key, value in changes.items():
        kind, _, block = key.partition("_")
        if kind in ("state", "action") and isinstance(value, dict):
            next(b for b in data[kind] if b["name"] == block).update(value)
        else:
            data[key] = value
    return RobotSpec.model_validate(data)


def arm_episode(seed: int, steps: int = 120, rate_hz: float = 20.0) -> RobotEpisode:
    m = simulate(seed, steps, rate_hz)
    shift, turn = m.deltas()
    columns = {
        "joints": m.joints,
        "pose": np.concatenate([m.pos, m.quaternions("xyzw")], axis=1),
        "gap": 0.08 * m.gripper[:, None],
        "delta": np.concatenate([shift, turn], axis=1),
        "joint_targets": m.joint_commands,
        "grip": 1 - 2 * m.gripper_command[:, None],
    }
    item = SourceItem(f"episode {seed}", f"/data/bench/{seed}", "bench_arm", {"set": 0})
    texts = [Text(m.task), *(Text(t, "subtask", a, b) for t, a, b in m.stages)]
    return RobotEpisode(item, content_id_of_columns(columns, m.times), columns, m.times, texts=texts, success=True)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Callable[[str], Path]:
    """``pristine(name)``: a small generated set to copy and damage."""

    @cache
    def get(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        generate(name, folder, seed=1, steps=8)
        return folder

    return get


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Callable[[str], tuple[Any, list, Any]]:
    """``made(name)``: the source, its (spec, episode, motion) triples and the simulated motions behind them."""

    @cache
    def get(name: str) -> tuple[Any, list, Any]:
        folder = tmp_path_factory.mktemp(name)
        motions = generate(name, folder, seed=2, steps=24 if load_spec(name).container == "rlds" else 40)
        return (*opened_set(folder), motions)

    return get


@pytest.fixture(scope="session")
def arm() -> SimpleNamespace:
    return SimpleNamespace(spec=arm_spec, episode=arm_episode, episodes=[arm_episode(seed) for seed in range(6)])
