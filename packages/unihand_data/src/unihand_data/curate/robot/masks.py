"""Steps that should not be learnt from: outliers are masked and counted, idle spans become events. No value changes.

Legend: T steps, k slots of a group.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.curate.robot.convert import SIDES, RobotMotion
from unihand_data.shards.rows import EventRow
from unihand_data.space.slots import GROUPS


class OutlierSettings(Settings):
    """A step's speed is an outlier above ``median + spread * MAD`` of its episode, but never below ``floor`` and always
    above ``ceiling`` (floor, ceiling; per second, in the slots' own unit)."""

    spread: float = Field(default=20.0, gt=0)
    position: tuple[float, float] = (1.5, 8.0)  # m/s
    rotation: tuple[float, float] = (6.0, 40.0)  # rad/s
    joint: tuple[float, float] = (6.0, 30.0)  # rad/s
    finger: tuple[float, float] = (15.0, 80.0)  # rad/s


class IdleSettings(Settings):
    """A span is idle while nothing moves faster than these for ``min_s`` seconds."""

    min_s: float = Field(default=1.0, gt=0)
    position: float = 0.005  # m/s
    rotation: float = 0.03  # rad/s
    joint: float = 0.02  # rad/s
    gripper: float = 0.05  # of its range per second


_KIND = {
    **{f"{side}_eef_position": "position" for side in SIDES},
    **{f"{side}_eef_rotation": "rotation" for side in SIDES},
    **{f"{side}_arm": "joint" for side in SIDES},
    **{f"{side}_hand": "finger" for side in SIDES},
    "head": "joint",
    "waist": "joint",
    "torso": "joint",
}


def mask_outliers(motion: RobotMotion, settings: OutlierSettings) -> int:
    """Masks, in place, the actions of groups whose commanded or realised step is an outlier; returns how many steps.

    Position and rotation of one end effector are masked together: half a displacement is none.
    """
    bad_of: dict[str, np.ndarray] = {}
    for group, kind in _KIND.items():
        speed = _speeds(motion, group)
        if speed is None:
            continue
        floor, ceiling = getattr(settings, kind)
        known = speed[np.isfinite(speed)]
        if not len(known):
            continue
        middle = float(np.median(known))
        limit = middle + settings.spread * float(np.median(np.abs(known - middle)))
        bad = np.nan_to_num(speed) > min(max(limit, floor), ceiling)
        whole = group.replace("_rotation", "_position")
        bad_of[whole] = bad_of.get(whole, np.zeros(len(bad), bool)) | bad
    steps = np.zeros(len(motion.times), bool)
    for group, bad in bad_of.items():
        names = [group, group.replace("_position", "_rotation")]
        slots = [s for name in names for s in GROUPS[name].slots]
        at = np.isin(motion.action_slots, slots)
        hit = bad & motion.action_mask[:, at].any(axis=1)
        motion.action_mask[np.ix_(hit, at)] = False
        steps |= hit
    return int(steps.sum())


def _speeds(motion: RobotMotion, group: str) -> np.ndarray | None:
    """(T,) speed of the step from t to t + 1, the larger of commanded and realised; NaN where neither is known."""
    found = []
    state, action = motion.state_of(group), motion.action_of(group)
    step_s = np.append(np.diff(motion.times), np.nan)
    if state is not None:
        moved = _norm(np.diff(state[0], axis=0, append=np.nan), group)
        if group.endswith("rotation"):
            moved = np.full(len(moved), np.nan)  # a difference of rotation vectors is no turn; the displacement is
        found.append(np.where(state[1].all(1) & np.append(state[1][1:].all(1), False), moved, np.nan) / step_s)
    if action is not None and "_eef_" in group:
        found.append(np.where(action[1].all(1), _norm(action[0], group), np.nan) * motion.rate_hz)
    elif action is not None:  # targets: from one to the next
        jump = _norm(np.diff(action[0], axis=0, append=np.nan), group) * motion.rate_hz
        found.append(np.where(action[1].all(1) & np.append(action[1][1:].all(1), False), jump, np.nan))
    if not found:
        return None
    return np.fmax.reduce(found)


def _norm(x: np.ndarray, group: str) -> np.ndarray:
    return np.linalg.norm(x, axis=1) if "_eef_" in group else np.abs(x).max(axis=1)


def idle_spans(motion: RobotMotion, settings: IdleSettings) -> list[EventRow]:
    """Spans in which state and action both stand still, as events; frames stay where they are."""
    moving = np.zeros(len(motion.times), bool)
    for group, kind in {**_KIND, "right_gripper": "gripper", "left_gripper": "gripper"}.items():
        limit = getattr(settings, "joint" if kind == "finger" else kind)
        speed = _speeds(motion, group)
        if speed is not None:
            width = max(1, round(0.2 * motion.rate_hz))  # one sensor count back and forth is no motion
            smooth = np.convolve(np.nan_to_num(speed), np.ones(width) / width, "same")
            moving |= smooth > limit
    edges = np.flatnonzero(np.diff(np.concatenate([[True], moving, [True]]).astype(int)))
    period = 1.0 / motion.rate_hz
    spans = []
    for start, stop in zip(edges[::2], edges[1::2]):
        t0, t1 = float(motion.times[start]), float(motion.times[stop - 1]) + period
        if t1 - t0 >= settings.min_s:
            spans.append(EventRow(t0, t1, "idle", "motion"))
    return spans
