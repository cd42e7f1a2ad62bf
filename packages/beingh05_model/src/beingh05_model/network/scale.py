"""Fixed physical scales per slot kind: what counts as one unit of signal for the flow.

The paper keeps raw magnitudes. Noise has unit variance, so a displacement of a few millimetres per step would be
drowned by it (a hundredfold difference between slots). One constant per kind of slot, the same for every robot, data
set and
checkpoint, brings all slots near one and stays a change of units: a centimetre, half a radian. It is no data statistic.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unihand_data.space import N_SLOTS, SLOTS

#: one unit of an action slot: displacement per step 1 cm and 0.05 rad, absolute targets in 0.5 rad, 0.1 m, half an
#: opening
ACTION_UNIT = {"position": 0.01, "rotation": 0.05, "gripper": 0.5, "finger": 0.5, "joint": 0.5, "velocity": 0.25}
#: one unit of a state slot: poses in 0.25 m and 1 rad
STATE_UNIT = {"position": 0.25, "rotation": 1.0, "gripper": 0.5, "finger": 0.5, "joint": 0.5, "velocity": 0.25}
#: prismatic joints are metres
LIFT, FINGER_POSITION = 0.1, 0.02


def units(of: dict[str, float]) -> Tensor:
    """float32 [200]: the physical value that one unit of the network's number stands for; 1 where a slot has none."""
    values = torch.ones(N_SLOTS)
    for slot in SLOTS:
        if slot.unit == "m" and slot.kind == "joint":
            values[slot.index] = FINGER_POSITION if slot.group == "finger_positions" else LIFT
        elif slot.kind in of:
            values[slot.index] = of[slot.kind]
    return values
