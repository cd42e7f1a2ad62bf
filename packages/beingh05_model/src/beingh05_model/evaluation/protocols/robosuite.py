"""What LIBERO and RoboCasa share: both are robosuite environments with an OSC_POSE arm and a parallel gripper.

A command is -1..1 per axis: 0.05 m and 0.5 rad at most per step, in the base's axes, the gripper -1 open and 1 closed.
Images of robosuite come with their first row at the bottom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beingh05_model.inference.policy import Observation
from unihand_data.space import Embodiment, to_dense


class NotInstalled(ValueError):
    """A benchmark that cannot run here; the message says what is missing and how to get it."""


def upright(picture: np.ndarray, turn: str) -> np.ndarray:
    """A raw picture (H, W, 3) the right way up; ``turn`` is a camera's of the embodiment file."""
    turned = {"none": np.s_[:, :], "flip_vertical": np.s_[::-1, :], "rotate_180": np.s_[::-1, ::-1]}
    return np.ascontiguousarray(picture[turned[turn]])


def observation(
    robot: Embodiment,
    raw: Mapping[str, Any],
    cameras: Sequence[str],
    state: Mapping[str, np.ndarray],
    instruction: str,
) -> Observation:
    """A raw observation as a policy sees it.

    Args:
        raw: of the environment. cameras: its image keys, in the order of the embodiment's cameras.
        state: blocks of the embodiment's state, [n] each.
    """
    pictures = {c.view: upright(raw[key], c.turn) for c, key in zip(robot.cameras, cameras, strict=True)}
    unified = robot.to_unified({name: np.asarray(v, np.float64)[None] for name, v in state.items()}, "state")
    values, known = to_dense(unified.values, unified.slots, unified.mask)
    return Observation(pictures, instruction, values[0].astype(np.float32), known[0], robot.name)


def command(robot: Embodiment, action: np.ndarray, binary_gripper: bool) -> dict[str, np.ndarray]:
    """A step [S] of a chunk as blocks of the environment's command, not yet clipped.

    Released units say 1 for open and 1 for the base's mode where the environment wants -1 and 1: the released client
    sends ``1 - 2 g`` and ``2 c - 1``. Ours say so in their file. ``binary_gripper`` sends -1 or 1 only.
    """
    blocks: dict[str, np.ndarray] = robot.from_unified(action, range(len(action)), kind="action", as_dict=True)
    if robot.layout == "released":
        blocks["gripper"] = 1 - 2 * blocks["gripper"]
        if "control_mode" in blocks:
            blocks["control_mode"] = 2 * blocks["control_mode"] - 1
    if binary_gripper:
        blocks["gripper"] = np.where(blocks["gripper"] > 0, 1.0, -1.0)
    return blocks


def folder_missing(path: Path) -> bool:
    """Not there, or empty."""
    return not path.is_dir() or not any(path.iterdir())
