"""Errors of a chunk against a recorded one, by slot group, in units one can hold against a ruler.

| groups | per step | unit |
| --- | --- | --- |
| EEF position | length of the difference of the displacements | mm |
| EEF rotation | angle between the two rotations | deg |
| ... path | the same for what the steps add up to since the start | mm, deg |
| MANO theta | angle between the rotations of a joint, mean over joints | deg |
| gripper | absolute difference of the opening | 0..1 |
| arm, hand drives, head, waist, torso, neck | absolute difference, mean over the group's slots | rad |
| lift | absolute difference | mm |
| base | absolute difference, mean over x and y; yaw apart | m/s, rad/s |

Embodiments in the raw units of released checkpoints have absolute differences without a unit (``raw``).
Legend: T steps, S 200 slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unihand_data.space import GROUPS, SLOTS, Embodiment, rotations
from unihand_data.space.displacement import integrate


class StepErrors(NamedTuple):
    """``error`` [T], 0 where ``on`` bool [T] is False."""

    error: np.ndarray
    on: np.ndarray


@dataclass(frozen=True)
class Measure:
    """One line of a report: how a run of slots is judged. ``kind``: length, angle, theta or absolute; ``scale`` from
    the slots' unit to ``unit``; ``path`` judges what the steps add up to."""

    name: str
    slots: tuple[int, ...]
    kind: str
    unit: str
    scale: float = 1.0
    path: bool = False

    def __call__(self, predicted: np.ndarray, recorded: np.ndarray, mask: np.ndarray) -> StepErrors:
        """Errors of [T, S] against [T, S] over the cells of bool [T, S]."""
        a, b = (np.asarray(x, np.float64)[:, self.slots] for x in (predicted, recorded))
        on = mask[:, self.slots]
        if self.kind in ("length", "angle"):  # a triple is known whole or not at all
            steps = np.asarray(on.all(1))
            if self.path:
                steps = np.asarray(np.logical_and.accumulate(steps))
                a, b = (_added_up(x, self.kind) for x in (a, b))
            error = np.linalg.norm(a - b, axis=1) if self.kind == "length" else np.degrees(rotations.geodesic(a, b))
        else:
            if self.kind == "theta":
                on = np.asarray(on.reshape(len(on), -1, 3).all(2))
                each = np.degrees(rotations.geodesic(a.reshape(*on.shape, 3), b.reshape(*on.shape, 3)))
            else:
                each = np.abs(a - b)
            steps = np.asarray(on.any(1))
            error = (each * on).sum(1) / np.maximum(on.sum(1), 1)
        return StepErrors(np.where(steps, error * self.scale, 0), steps)


def _added_up(steps: np.ndarray, kind: str) -> np.ndarray:
    """[T, 3]: the displacement from the start to the end of each step."""
    still = np.zeros(3)
    if kind == "length":
        return integrate(still, still, steps, np.zeros_like(steps)).pos[1:]
    return integrate(still, still, np.zeros_like(steps), steps).rot[1:]


def measures(robot: Embodiment, slots: Sequence[int] | np.ndarray | None = None) -> list[Measure]:
    """How the action slots of an embodiment are judged."""
    own = {int(s) for s in (robot.slots("action") if slots is None else slots)}
    raw = robot.layout == "released"
    out: list[Measure] = []
    for name, group in GROUPS.items():
        here = tuple(s for s in group.slots if s in own)
        if not here:
            continue
        if raw:
            out.append(Measure(name, here, "absolute", "raw"))
        elif group.kind == "position":
            out += [
                Measure(name, here, "length", "mm", 1000),
                Measure(f"{name} path", here, "length", "mm", 1000, path=True),
            ]
        elif group.kind == "rotation":
            out += [Measure(name, here, "angle", "deg"), Measure(f"{name} path", here, "angle", "deg", path=True)]
        elif name.endswith("_theta"):
            out.append(Measure(name, here, "theta", "deg"))
        elif group.kind == "velocity":
            for unit in ("m/s", "rad/s"):
                if part := tuple(s for s in here if SLOTS[s].unit == unit):
                    out.append(Measure(f"{name} {unit}", part, "absolute", unit))
        elif group.unit == "m":
            out.append(Measure(name, here, "absolute", "mm", 1000))
        else:
            out.append(Measure(name, here, "absolute", group.unit))
    left = own - {s for m in out for s in m.slots}
    if left:
        out.append(Measure("slots without a group", tuple(sorted(left)), "absolute", "raw"))
    return out
