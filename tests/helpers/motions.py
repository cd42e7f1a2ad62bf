"""Robots of a few slots alone, everything known: what masks and idle spans are tried on."""

from __future__ import annotations

import numpy as np

from unihand_data.curate.robot.convert import RobotMotion
from unihand_data.space.slots import SLOTS, slot_index

#: every slot that moves
MOVES = [s.index for s in SLOTS if s.kind not in ("reserved", "shape")]


def robot_motion(
    state: dict[str, np.ndarray] | None = None,
    action: dict[str, np.ndarray] | None = None,
    *,
    arm: bool = False,
    hz: float = 20.0,
    steps: int = 100,
    extra: dict[str, np.ndarray] | None = None,
) -> RobotMotion:
    """A robot of these slots; ``arm``: and of a right arm at rest; ``extra``: columns without a slot."""
    parts = []
    rest = {f"right_arm_{k}": np.zeros(steps) for k in range(1, 8)} if arm else {}
    for given in ({**rest, **(state or {})}, action or {}):
        slots = sorted(slot_index(name) for name in given)
        values = np.stack([given[SLOTS[s].name] for s in slots], axis=1) if slots else np.zeros((steps, 0))
        parts.append((values.astype(float), np.ones(values.shape, bool), np.array(slots, np.int16)))
    (s, s_ok, s_slots), (a, a_ok, a_slots) = parts
    columns = {name: np.asarray(x, float).reshape(steps, -1) for name, x in (extra or {}).items()}
    return RobotMotion(s, s_ok, s_slots, a, a_ok, a_slots, np.arange(steps) / hz, hz, {}, columns, np.eye(4))
