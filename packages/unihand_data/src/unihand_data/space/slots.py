"""The 200 slots of the unified state-action vector: index, name, unit, meaning (docs/contract.md, section 1).

State and action are two vectors over the same slots. A row of data is sparse: it stores the values of its own *active*
slots, a strictly increasing list of slot numbers, and a mask of the same shape as the values.
:func:`to_dense` and :func:`from_dense` go to the full vector and back.

Legend: S active slots of a row, ``...`` any leading axes (usually T frames).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Side = Literal["right", "left", "none"]
Kind = Literal["position", "rotation", "gripper", "finger", "joint", "velocity", "shape", "reserved"]

N_SLOTS = 200


@dataclass(frozen=True)
class Slot:
    """One slot.

    Attributes:
        unit: physical unit of the stored number; ``-`` for dimensionless, ``0..1`` for a gripper (0 closed, 1 open).
        kind: ``position`` and ``rotation`` triples, ``gripper``, ``finger`` (a hand's drive, flexion positive, 0 open),
            ``joint`` (a revolute or prismatic joint, absolute), ``velocity``, ``shape`` (MANO beta), ``reserved``.
        state_only: the slot has no meaning in the action vector.
        mirror: sign under the left-right mirror where the slot's meaning fixes it, after the sides were swapped; None
            where the value needs its robot's own signs (arm joints) or is part of an EEF triple (see ``mirror.py``).
    """

    index: int
    name: str
    unit: str
    meaning: str
    group: str
    side: Side
    kind: Kind
    state_only: bool = False
    mirror: int | None = None


@dataclass(frozen=True)
class Group:
    """A run of slots of one meaning. ``start`` inclusive, ``stop`` exclusive."""

    name: str
    start: int
    stop: int
    side: Side
    kind: Kind
    unit: str
    meaning: str
    state_only: bool = False

    @property
    def slice(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start


HAND_DRIVES = ("pinky", "ring", "middle", "index", "thumb_flexion", "thumb_rotation")
_XYZ = ("x", "y", "z")
_R = ("rx", "ry", "rz")
_EXT = tuple(f"ext_{i}" for i in range(6))
_ARM = tuple(str(i) for i in range(1, 8))
_BETA = tuple(str(i) for i in range(10))
_THETA = tuple(f"{j:02d}_{a}" for j in range(15) for a in _XYZ)
_SAME, _THETA_SIGNS = (1,) * 10, (1, -1, -1) * 15

# group, first slot, name prefix, name endings, unit, side, kind, state only, mirror signs, meaning
_TABLE: tuple[tuple[str, int, str, tuple[str, ...], str, Side, Kind, bool, tuple[int, ...] | None, str], ...] = (
    ("right_eef_position", 0, "right_eef_", _XYZ, "m", "right", "position", False, None,
     "right end effector or wrist joint: position in the world (state), displacement per step (action)"),
    ("right_eef_rotation", 3, "right_eef_", _R, "rad", "right", "rotation", False, None,
     "right end effector: axis-angle of its pose (state), of its displacement in the world (action)"),
    ("left_eef_position", 9, "left_eef_", _XYZ, "m", "left", "position", False, None,
     "left end effector or wrist joint: position in the world (state), displacement per step (action)"),
    ("left_eef_rotation", 12, "left_eef_", _R, "rad", "left", "rotation", False, None,
     "left end effector: axis-angle of its pose (state), of its displacement in the world (action)"),
    ("right_gripper", 18, "right_gripper", ("",), "0..1", "right", "gripper", False, (1,), "opening, 0 closed 1 open"),
    ("left_gripper", 19, "left_gripper", ("",), "0..1", "left", "gripper", False, (1,), "opening, 0 closed 1 open"),
    ("right_hand", 20, "right_hand_", HAND_DRIVES, "rad", "right", "finger", False, _SAME, "flexion positive, 0 open"),
    ("right_hand_extension", 26, "right_hand_", _EXT, "rad", "right", "finger", False, _SAME, "drives 7 to 12"),
    ("left_hand", 32, "left_hand_", HAND_DRIVES, "rad", "left", "finger", False, _SAME, "flexion positive, 0 open"),
    ("left_hand_extension", 38, "left_hand_", _EXT, "rad", "left", "finger", False, _SAME, "drives 7 to 12"),
    ("finger_positions", 44, "finger_position_", ("0", "1"), "m", "none", "joint", True, None,
     "the two finger joints of a parallel gripper (LIBERO, RoboCasa)"),
    ("right_arm", 50, "right_arm_", _ARM, "rad", "right", "joint", False, None, "joint, base to tip, absolute"),
    ("left_arm", 57, "left_arm_", _ARM, "rad", "left", "joint", False, None, "joint, base to tip, absolute"),
    ("head", 64, "head_", ("yaw", "pitch"), "rad", "none", "joint", False, (-1, 1), "head joint"),
    ("waist", 66, "waist_", ("roll", "pitch", "yaw"), "rad", "none", "joint", False, (-1, 1, -1), "waist joint"),
    ("base_position", 70, "base_", _XYZ, "m", "none", "position", True, (1, -1, 1), "mobile base in the world"),
    ("base_velocity", 76, "base_", ("vx", "vy", "yaw_rate"), "m/s m/s rad/s", "none", "velocity", False, (1, -1, -1),
     "velocity of the mobile base in its own frame"),
    ("lift", 79, "lift", ("",), "m", "none", "joint", False, (1,), "vertical lift of the torso"),
    ("torso", 80, "torso_", ("3", "4"), "rad", "none", "joint", False, None, "third and fourth torso joint"),
    ("neck", 82, "neck_", ("roll",), "rad", "none", "joint", False, (-1,), "neck roll"),
    ("right_beta", 90, "right_beta_", _BETA, "-", "right", "shape", True, _SAME, "MANO shape coefficient"),
    ("left_beta", 100, "left_beta_", _BETA, "-", "left", "shape", True, _SAME, "MANO shape coefficient"),
    ("right_theta", 110, "right_theta_", _THETA, "rad", "right", "joint", False, _THETA_SIGNS,
     "MANO hand pose: axis-angle of joint jj relative to the flat hand, right model"),
    ("left_theta", 155, "left_theta_", _THETA, "rad", "left", "joint", False, _THETA_SIGNS,
     "MANO hand pose: axis-angle of joint jj relative to the flat hand, left model"),
)  # fmt: skip


def _build() -> tuple[tuple[Slot, ...], dict[str, Group]]:
    slots: dict[int, Slot] = {}
    groups: dict[str, Group] = {}
    for group, start, prefix, ends, units, side, kind, state_only, signs, meaning in _TABLE:
        per_slot = units.split() if " " in units else [units] * len(ends)
        groups[group] = Group(group, start, start + len(ends), side, kind, units, meaning, state_only)
        for k, (end, unit) in enumerate(zip(ends, per_slot)):
            sign = signs[k] if signs else None
            slots[start + k] = Slot(
                start + k, prefix + end, unit, meaning, group, side, kind, state_only=state_only, mirror=sign
            )
    free = [i for i in range(N_SLOTS) if i not in slots]
    for i in free:
        owner: Side = "right" if 6 <= i <= 8 else "left" if 15 <= i <= 17 else "none"
        slots[i] = Slot(i, f"reserved_{i:03d}", "-", "reserved: refused outside the released layout",
                        "reserved", owner, "reserved")  # fmt: skip
    return tuple(slots[i] for i in range(N_SLOTS)), groups


SLOTS, GROUPS = _build()
#: slots without a meaning of ours; only embodiments with ``layout: released`` may use them
RESERVED: tuple[int, ...] = tuple(s.index for s in SLOTS if s.kind == "reserved")
#: names that stand for neighbouring groups
SPANS: dict[str, slice] = {"right_eef": slice(0, 6), "left_eef": slice(9, 15)}
_BY_NAME = {s.name: s.index for s in SLOTS}


def slot_index(name: str) -> int:
    """Number of the slot called ``name``.

    Raises:
        KeyError: no slot has that name; the message lists near names.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        near = [n for n in _BY_NAME if n.split("_")[0] == str(name).split("_")[0]][:8]
        raise KeyError(f"no slot is called {name!r}; near: {', '.join(near) or 'none'}") from None


def group_slice(name: str) -> slice:
    """Slice of a group (``right_arm``) or of a span of groups (``right_eef`` = position and rotation)."""
    if name in GROUPS:
        return GROUPS[name].slice
    if name in SPANS:
        return SPANS[name]
    raise KeyError(f"no slot group is called {name!r}; groups: {', '.join([*GROUPS, *SPANS])}")


def check_slots(slots: Sequence[int] | np.ndarray) -> np.ndarray:
    """The slot list as (S,) int64 after checking that it is strictly increasing and within 0..199."""
    out = np.asarray(slots, dtype=np.int64)
    if out.ndim != 1 or (out.size and (out.min() < 0 or out.max() >= N_SLOTS or bool(np.any(np.diff(out) <= 0)))):
        raise ValueError(f"a slot list is one-dimensional, strictly increasing and within 0..{N_SLOTS - 1}: {slots!r}")
    return out


def to_dense(
    values: np.ndarray, slots: Sequence[int] | np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Sparse rows to the full vector.

    Args:
        values: (..., S). slots: (S,) strictly increasing. mask: (..., S) bool, None for all valid.

    Returns:
        vector (..., 200) of the values' dtype, zero where a slot is absent or masked out; mask (..., 200) bool.
    """
    values, index = np.asarray(values), check_slots(slots)
    valid = np.ones(values.shape, bool) if mask is None else np.broadcast_to(np.asarray(mask, bool), values.shape)
    dense = np.zeros((*values.shape[:-1], N_SLOTS), values.dtype)
    dense_mask = np.zeros(dense.shape, bool)
    dense[..., index] = np.where(valid, values, values.dtype.type(0))
    dense_mask[..., index] = valid
    return dense, dense_mask


def from_dense(dense: np.ndarray, slots: Sequence[int] | np.ndarray) -> np.ndarray:
    """(..., S) values of ``slots`` out of the full vector (..., 200)."""
    dense = np.asarray(dense)
    if dense.shape[-1] != N_SLOTS:
        raise ValueError(f"the last axis of a full vector has {N_SLOTS} slots, not {dense.shape[-1]}")
    return dense[..., check_slots(slots)]
