"""Helpers of the space tests: random raw rows per embodiment, a synthetic hand, an embodiment file to damage."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

# parents of the 15 finger joints (index, middle, pinky, ring, thumb; three each), -1 is the wrist
PARENTS = [p for f in range(5) for p in (-1, 3 * f, 3 * f + 1)]


def _raw_rows(embodiment, kind, rng, frames=4, *, gaps=False):
    """Rows a robot could log: wide values, quaternions of either sign, Euler angles beyond their principal range."""
    parts = []
    for block in embodiment.blocks(kind):
        shape = (frames, block.width)
        if not block.mapped and block.constant is not None and rng.random() < 0.5:
            x = np.tile(np.array(block.constant), (frames, 1))
        elif block.form.startswith("quaternion"):
            x = rng.normal(size=shape)
            x /= np.linalg.norm(x, axis=-1, keepdims=True)
        elif block.form == "matrix":
            x = Rotation.from_quat(rng.normal(size=(frames, 4))).as_matrix().reshape(frames, 9)
        elif block.form == "rot6d":
            m = Rotation.from_quat(rng.normal(size=(frames, 4))).as_matrix()
            x = np.concatenate([m[:, :, 0], m[:, :, 1]], axis=-1)
        elif block.form == "euler":
            x = rng.uniform(-5, 5, size=shape)
        else:
            x = rng.normal(size=shape) * rng.choice([0.0, 1e-7, 1.0, 300.0], size=shape)
        if gaps:
            x = np.where(rng.random(frames)[:, None] < 0.3, np.nan, x)
        parts.append(x)
    return np.concatenate(parts, axis=-1)


@pytest.fixture(scope="session")
def raw_rows():
    return _raw_rows


class SyntheticHand:
    """A 15-joint hand: the right one has ``offsets``, the left one their x-mirror. Poses to 16 keypoints."""

    def __init__(self, seed=0):
        self.offsets = np.random.default_rng(seed).normal(scale=0.04, size=(15, 3))

    def pose(self, side, position, wrist, theta):
        """Keypoints (16, 3) in the frame of ``position`` and ``wrist`` (rotvec hand to that frame)."""
        offsets = self.offsets if side == "right" else self.offsets * [-1, 1, 1]
        base = Rotation.from_rotvec(wrist)
        turns, points = [], []
        for j, parent in enumerate(PARENTS):
            r, p = (base, np.asarray(position)) if parent < 0 else (turns[parent], points[parent])
            points.append(p + r.apply(offsets[j]))
            turns.append(r * Rotation.from_rotvec(theta[3 * j : 3 * j + 3]))
        return np.array([position, *points])


@pytest.fixture(scope="session")
def hand():
    return SyntheticHand()


SMALL = {
    "schema": 1,
    "name": "small",
    "title": "a small robot",
    "domain": "robot",
    "origin": "real",
    "world": "base",
    "control_rate_hz": 10,
    "latency_budget_ms": None,
    "cameras": [{"key": "cam", "view": "ego"}],
    "state": [
        {"name": "left_arm", "columns": ["left_a", "left_b"], "slots": "left_arm", "unit": "deg"},
        {"name": "pose", "columns": ["x", "y", "z"], "slots": "right_eef_position", "unit": "mm"},
        {"name": "turn", "columns": ["w", "i", "j", "k"], "slots": "right_eef_rotation", "form": "quaternion_wxyz"},
        {"name": "grip", "columns": ["g"], "slots": "right_gripper", "form": "gripper",
         "range": {"closed": 0, "open": 1}},
    ],
    "action": [
        {"name": "pose", "columns": ["x", "y", "z"], "slots": "right_eef_position", "unit": "m", "action": "absolute"},
        {"name": "turn", "columns": ["rx", "ry", "rz"], "slots": "right_eef_rotation", "form": "axis_angle",
         "unit": "rad", "action": "absolute"},
        {"name": "spare", "unmapped": {"columns": ["s"], "reason": "nobody knows"}},
    ],
    "mirror": None,
}  # fmt: skip


@pytest.fixture
def write_yaml(tmp_path):
    """``write_yaml(change)`` copies a small valid file, lets ``change`` edit it, writes it and returns its path."""

    def write(change=lambda data: None, name="small") -> Path:
        data = copy.deepcopy(SMALL)
        change(data)
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    return write
