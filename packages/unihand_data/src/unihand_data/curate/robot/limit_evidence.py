"""Joints against the limits of the robot that a data-set file names: another robot, sign, zero or order of joints.

Limits are those of the embodiment file, which says whose description they come from; a robot's own may differ by its
calibration, so a joint contradicts only where it lies outside by more than a tolerance, and often.

Legend: T steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unihand_data.curate.robot.convert import RobotMotion
from unihand_data.curate.robot.evidence import CheckSettings, Finding
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.space.slots import GROUPS, SLOTS

#: groups whose slots are joints of the robot's own description
_JOINTS = ("right_arm", "left_arm", "head", "waist", "torso", "neck", "lift")


def joint_limits(spec: RobotSpec, motions: Sequence[RobotMotion], s: CheckSettings) -> list[Finding]:
    """Joints of the state lie within the limits of the embodiment; one finding about every group of joints."""
    known = spec.robot.limits("state")
    names = {slot: column for b in spec.robot.state for slot, column in zip(b.slots, b.columns)}
    out = []
    for group in _JOINTS:
        outside = dict[str, float]()
        worst, free = list[str](), list[str]()
        for slot in GROUPS[group].slots:
            q = _values(motions, slot)
            if not len(q):
                continue
            if (limit := known.get(slot)) is None:
                free.append(SLOTS[slot].name)
                continue
            slack = s.limit_slack_m if SLOTS[slot].unit == "m" else s.limit_slack_rad
            share = float(np.mean((q < limit[0] - slack) | (q > limit[1] + slack)))
            outside[SLOTS[slot].name] = share
            if share > s.outside_share:
                low, high = np.quantile(q, [0.01, 0.99])
                worst.append(
                    f"{SLOTS[slot].name} ({names[slot]}) runs from {low:.3g} to {high:.3g} {SLOTS[slot].unit}, "
                    f"its limits are {limit[0]:.3g} to {limit[1]:.3g}, {share:.0%} of its samples lie more than "
                    f"{slack:g} outside"
                )
        words = group.replace("_", " ")
        unknown = f"nobody published limits of {', '.join(free)} of {spec.embodiment}"
        if worst:
            mend = f"embodiment (another robot?), or unit, sign, offset and order of the joints of the {words}"
            out.append(Finding("joint_limits", "contradicts", "; ".join(worst), mend, outside))
        elif outside:
            text = (
                f"{len(outside)} joints of the {words} lie within the limits of {spec.embodiment}; at most "
                f"{max(outside.values()):.1%} of the samples of one are outside"
            )
            out.append(Finding("joint_limits", "agrees", f"{text}; {unknown}" if free else text, figures=outside))
        elif free:
            out.append(Finding("joint_limits", "not_checked", unknown))
    return out


def _values(motions: Sequence[RobotMotion], slot: int) -> np.ndarray:
    """The known values of a slot in the state of all episodes."""
    found = []
    for m in motions:
        for at in np.flatnonzero(m.state_slots == slot):
            found.append(m.state[m.state_mask[:, at], at])
    return np.concatenate(found) if found else np.zeros(0)
