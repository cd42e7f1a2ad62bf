"""One run of raw columns and its way into the slots and back: units, signs, ranges, rotation forms.

Legend: ``...`` leading axes, n raw columns of the block, k its slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from unihand_data.space import rotations
from unihand_data.space.slots import SLOTS

Form = Literal[
    "value", "gripper", "hand_range", "axis_angle", "quaternion_wxyz", "quaternion_xyzw", "euler", "rot6d", "matrix"
]
#: raw columns per rotation form; every one of them fills three slots
ROTATION_WIDTH: dict[str, int] = {
    "axis_angle": 3, "quaternion_wxyz": 4, "quaternion_xyzw": 4, "euler": 3, "rot6d": 6, "matrix": 9,
}  # fmt: skip
#: raw unit -> (unit of the slot, factor)
UNITS: dict[str, tuple[str, float]] = {
    "m": ("m", 1.0),
    "cm": ("m", 0.01),
    "mm": ("m", 0.001),
    "rad": ("rad", 1.0),
    "deg": ("rad", float(np.pi / 180)),
    "m/s": ("m/s", 1.0),
    "rad/s": ("rad/s", 1.0),
    "deg/s": ("rad/s", float(np.pi / 180)),
    "-": ("-", 1.0),
}


@dataclass(frozen=True)
class Block:
    """A named run of raw columns.

    Attributes:
        columns: raw column names in raw order; for joints these are the joint names.
        slots: slots in the order of the values (not necessarily increasing); empty for an unmapped block.
        form: how the numbers are meant; ``value``, ``gripper``, ``hand_range`` and ``axis_angle`` are linear:
            ``slot = scale * raw + shift``. The other rotation forms apply ``scale`` (degrees) first.
        unit: raw unit as declared.
        limits: per slot, in slot units; None where unknown.
        action: what an action block says: ``absolute`` target, ``displacement`` per step, or ``velocity``.
        source: whether the pipeline should take the command or the realised motion for this block.
        optional: may be absent from a raw row (a hand that is not annotated).
        range_scaled: a 0..1, 0..255 or 0..1000 hand brought to rad by its published range.
        reason, constant: of an unmapped block; ``constant`` is restored by the inverse.
    """

    name: str
    columns: tuple[str, ...]
    slots: tuple[int, ...] = ()
    form: Form = "value"
    unit: str = "-"
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()
    limits: tuple[tuple[float, float] | None, ...] = ()
    action: Literal["absolute", "displacement", "velocity"] = "absolute"
    source: Literal["commanded", "realised"] = "commanded"
    optional: bool = False
    range_scaled: bool = False
    euler: tuple[str, rotations.EulerFrame] = ("xyz", "extrinsic")
    reason: str = ""
    constant: tuple[float, ...] | None = None

    @property
    def mapped(self) -> bool:
        return bool(self.slots)

    @property
    def width(self) -> int:
        return len(self.columns)

    @property
    def chained(self) -> bool:
        """An absolute Cartesian command, which becomes a displacement (action blocks only)."""
        eef = self.mapped and SLOTS[self.slots[0]].group.endswith(("_eef_position", "_eef_rotation"))
        return eef and self.action == "absolute"

    @property
    def nonlinear(self) -> bool:
        return self.form in ROTATION_WIDTH and self.form != "axis_angle"

    @property
    def slot_names(self) -> tuple[str, ...]:
        return tuple(SLOTS[s].name for s in self.slots)

    def forward(self, raw: np.ndarray) -> np.ndarray:
        """(..., n) raw to (..., k) slot values, float64, NaN kept."""
        x = np.asarray(raw, np.float64) * np.array(self.scale)
        if not self.nonlinear:
            return x + np.array(self.shift)
        if self.form == "quaternion_wxyz" or self.form == "quaternion_xyzw":
            return rotations.quat_to_rotvec(x, "wxyz" if self.form.endswith("wxyz") else "xyzw")
        if self.form == "euler":
            return rotations.euler_to_rotvec(x, *self.euler)
        if self.form == "rot6d":
            return rotations.rot6d_to_rotvec(x)
        return rotations.log(x.reshape(*x.shape[:-1], 3, 3))

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """(..., k) slot values to (..., n) raw, float64; rotations in their canonical representation."""
        v = np.asarray(values, np.float64)
        if not self.nonlinear:
            return (v - np.array(self.shift)) / np.array(self.scale)
        if self.form == "quaternion_wxyz" or self.form == "quaternion_xyzw":
            x = rotations.rotvec_to_quat(v, "wxyz" if self.form.endswith("wxyz") else "xyzw")
        elif self.form == "euler":
            x = rotations.rotvec_to_euler(v, *self.euler)
        elif self.form == "rot6d":
            x = rotations.rotvec_to_rot6d(v)
        else:
            x = rotations.exp(v).reshape(*v.shape[:-1], 9)
        return x / np.array(self.scale)

    def loses(self, raw: np.ndarray, values: np.ndarray) -> bool:
        """Whether the inverse of ``values`` differs from ``raw`` (sign of a quaternion, an Euler branch, a scale), as
        it is or once a row stored ``values`` as float32: next to a half turn rounding decides a quaternion's sign."""
        if not self.nonlinear:
            return False
        x = np.asarray(raw, np.float64)
        stored = np.asarray(values, np.float64).astype(np.float32).astype(np.float64)
        exact = np.allclose(self.inverse(values), x, rtol=1e-6, atol=1e-7, equal_nan=True)
        return not exact or not np.allclose(self.inverse(stored), x, rtol=1e-5, atol=1e-5, equal_nan=True)
