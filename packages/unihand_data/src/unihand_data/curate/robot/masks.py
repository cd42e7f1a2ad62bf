"""Steps that should not be learnt from: outliers are masked and counted, idle spans become events. No value changes.

Both look at every slot by itself, in its physical unit (:mod:`~unihand_data.curate.robot.speeds`).

Legend: T steps, columns 0 .. 199 are the slots.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from pydantic import Field
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from unihand_data.config import Settings
from unihand_data.curate.robot import speeds
from unihand_data.curate.robot.convert import SIDES, RobotMotion
from unihand_data.curate.robot.speeds import KIND_OF
from unihand_data.shards.rows import EventRow
from unihand_data.space.slots import GROUPS, N_SLOTS, SLOTS


class OutlierSettings(Settings):
    """A slot's step is an outlier above ``median + spread * MAD`` of that slot's speeds in its episode, but never below
    ``floor`` and always above ``ceiling`` (floor, ceiling; per second, in the slot's own unit).

    What may rightly be commanded to switch in one step (a gripper, the drives of a hand) is judged by its value
    instead: ``gripper`` and ``finger_target`` are ranges outside of which nothing lies.
    """

    spread: float = Field(default=20.0, gt=0)
    position: tuple[float, float] = (1.5, 8.0)  # m/s
    rotation: tuple[float, float] = (6.0, 40.0)  # rad/s
    joint: tuple[float, float] = (6.0, 30.0)  # rad/s: arms, head, waist, torso, neck
    finger: tuple[float, float] = (15.0, 80.0)  # rad/s, as realised
    finger_position: tuple[float, float] = (1.0, 4.0)  # m/s
    lift: tuple[float, float] = (0.5, 2.0)  # m/s
    base: tuple[float, float] = (2.0, 6.0)  # m/s, position and velocity
    base_turn: tuple[float, float] = (4.0, 15.0)  # rad/s
    gripper: tuple[float, float] = (-0.5, 1.5)  # opening, 0 closed 1 open
    finger_target: tuple[float, float] = (-6.3, 6.3)  # rad, one turn


class IdleSettings(Settings):
    """A span is idle while no slot moves faster than this for ``min_s`` seconds, over means of ``smooth_s``."""

    min_s: float = Field(default=1.0, gt=0)
    smooth_s: float = Field(default=0.2, ge=0)
    position: float = Field(default=0.005, gt=0)  # m/s
    rotation: float = Field(default=0.03, gt=0)  # rad/s
    joint: float = Field(default=0.02, gt=0)  # rad/s: arms, head, waist, torso, neck
    finger: float = Field(default=0.05, gt=0)  # rad/s
    gripper: float = Field(default=0.05, gt=0)  # of its range per second
    finger_position: float = Field(default=0.002, gt=0)  # m/s
    lift: float = Field(default=0.005, gt=0)  # m/s
    base: float = Field(default=0.01, gt=0)  # m/s, position and velocity
    base_turn: float = Field(default=0.02, gt=0)  # rad/s
    jerk: float = Field(default=15.0, ge=1)  # times the limit, at which a single step is motion
    unmapped: float = Field(default=0.05, gt=0, le=1)  # of its range within smooth_s: a column that has no slot


#: slots of arms, end effectors and bases: without one of them nothing tells whether the robot moves
_BODY = [
    slot
    for name, group in GROUPS.items()
    if name.endswith(("_eef_position", "_eef_rotation", "_arm")) or name.startswith("base_")
    for slot in group.slots
]
#: kinds whose command may switch in one step -> setting that bounds the value
_BOUNDED = {"gripper": "gripper", "finger": "finger_target"}
#: slots of one displacement: half of one is none, so they are masked together
_WHOLE = [
    [*GROUPS[f"{side}_eef_position"].slots, *GROUPS[f"{side}_eef_rotation"].slots] for side in SIDES
]  # fmt: skip


def mask_outliers(motion: RobotMotion, settings: OutlierSettings) -> dict[str, float]:
    """Masks, in place, the slots whose step is an outlier.

    The action of step t is masked where the way from t to t + 1, realised, or the way that it commands is too fast,
    position and rotation of one end effector together. Of an absolute target that lies far from both its neighbours
    that one is masked, not the way back from it. A state is masked where it is itself the wrong sample: too fast a
    step away from every neighbour it has. The state-only slots (base position, finger positions) have no action; there
    both ends of the step are masked, because which of them is wrong nothing tells.

    Returns:
        ``outlier_steps``: steps that lost a slot, and ``outliers.<slot name>``: steps it lost, where there are any.
    """
    real, told = np.abs(speeds.realised(motion)), np.abs(speeds.commanded(motion))
    far = np.zeros(real.shape, bool)  # of the action of t, as commanded
    away = np.zeros(real.shape, bool)  # of the step from t to t + 1, as realised
    for slot, kind in KIND_OF.items():
        if kind == "gripper":
            continue
        seen = real[:, slot] if kind in _BOUNDED else np.fmax(real[:, slot], told[:, slot])
        known = seen[np.isfinite(seen)]
        if not len(known):
            continue
        middle = float(np.median(known))
        floor, ceiling = getattr(settings, kind)
        limit = min(max(middle + settings.spread * float(np.median(np.abs(known - middle))), floor), ceiling)
        if kind not in _BOUNDED:
            far[:, slot] = np.nan_to_num(told[:, slot]) > limit
        away[:, slot] = np.nan_to_num(real[:, slot]) > limit
    bad_state = _lonely(away)
    velocity = [s for s in KIND_OF if SLOTS[s].kind == "velocity"]
    bad_state[:, velocity] = away[:, velocity]  # a velocity is wrong by itself, not by the way to the next
    only_state = [s for s in KIND_OF if SLOTS[s].state_only]
    bad_state[:, only_state] |= away[:, only_state] | np.roll(away[:, only_state], 1, axis=0)
    targets = speeds.absolute()
    far[:, targets] = _spikes(far[:, targets], np.isnan(told[0, targets]))
    bad_action = away | far
    for values, slots, bad in (
        (motion.state, motion.state_slots, bad_state),
        (motion.action, motion.action_slots, bad_action),
    ):
        for column, slot in enumerate(slots.tolist()):
            if bound := _BOUNDED.get(KIND_OF.get(slot, "")):
                low, high = getattr(settings, bound)
                bad[:, slot] |= (values[:, column] < low) | (values[:, column] > high)
    for slots_of_one in _WHOLE:
        for bad in (bad_state, bad_action):
            bad[:, slots_of_one] = bad[:, slots_of_one].any(axis=1, keepdims=True)
    hit = np.zeros(real.shape, bool)
    for mask, slots, bad in (
        (motion.state_mask, motion.state_slots, bad_state),
        (motion.action_mask, motion.action_slots, bad_action),
    ):
        hit[:, slots] |= mask & bad[:, slots]
        mask &= ~bad[:, slots]
    counts = Counter({SLOTS[s].name: int(n) for s, n in enumerate(hit.sum(axis=0)) if n})
    return {
        "outlier_steps": float(hit.any(axis=1).sum()),
        **{f"outliers.{name}": float(n) for name, n in sorted(counts.items())},
    }


def _lonely(away: np.ndarray) -> np.ndarray:
    """(T, 200): samples that are too fast a step away from every neighbour they have.

    ``away`` (T, 200) tells it of the steps t to t + 1.
    """
    if len(away) < 3:  # of two samples nothing says which is wrong
        return np.zeros_like(away)
    before = np.concatenate([np.ones_like(away[:1]), away[:-1]])
    after = np.concatenate([away[:-1], np.ones_like(away[:1])])
    return before & after


def _spikes(far: np.ndarray, unknown_start: np.ndarray) -> np.ndarray:
    """(T, n) targets that are wrong: far from the one before, and not merely the way back from a spike.

    Args:
        far: (T, n) the way from the target before is too fast. unknown_start: (n,) of the first nothing is known.
    """
    into = far.copy()
    into[0] |= unknown_start & np.concatenate([far[1:2], np.zeros_like(far[:1])])[0]
    spike = into & np.concatenate([into[1:], np.zeros_like(into[:1])])
    back = np.concatenate([np.zeros_like(spike[:1]), spike[:-1]])
    return into & ~(back & ~spike)


def idle_spans(motion: RobotMotion, settings: IdleSettings) -> list[EventRow]:
    """Spans in which nothing moves, in state or in action, mapped or not, as events; frames stay where they are.

    Speeds are averaged with their sign over ``smooth_s``, so that one count of a sensor back and forth is no motion; a
    speed of ``jerk`` times the limit is motion whatever comes after it (shaking, whisking). Columns without a slot move
    where they change by ``unmapped`` of their range within ``smooth_s``. A step of which nothing is known is not idle,
    and where neither an arm nor an end effector nor a base has a slot nothing is known of the robot: no spans.
    """
    if not set(_BODY) & {*motion.state_slots.tolist(), *motion.action_slots.tolist()}:
        return []
    limits = np.full(N_SLOTS, np.inf)
    for slot, kind in KIND_OF.items():
        limits[slot] = getattr(settings, kind)
    width = max(1, round(settings.smooth_s * motion.rate_hz))
    steps = len(motion.times)
    moving, known = np.zeros(steps, bool), np.zeros(steps, bool)
    for speed in (speeds.realised(motion), speeds.commanded(motion)):
        seen = np.isfinite(speed) & np.isfinite(limits)
        known |= seen[:, _BODY].any(axis=1)  # a gripper alone says nothing of the arm
        plain = np.where(seen, speed, 0.0)
        mean = _moving_sum(plain, width) / np.maximum(_moving_sum(seen.astype(float), width), 1)
        moving |= (np.abs(mean) > limits).any(axis=1) | (np.abs(plain) > settings.jerk * limits).any(axis=1)
    moving |= _unmapped_moves(motion, width, settings.unmapped)
    if steps > 1 and not known[-1]:  # the last step has no successor: it is like the one before
        known[-1], moving[-1] = known[-2], moving[-2]
    moving |= ~known
    edges = np.flatnonzero(np.diff(np.concatenate([[True], moving, [True]]).astype(int)))
    period = 1.0 / motion.rate_hz
    spans = []
    for start, stop in zip(edges[::2], edges[1::2]):
        t0, t1 = float(motion.times[start]), float(motion.times[stop - 1]) + period
        if t1 - t0 >= settings.min_s:
            spans.append(EventRow(t0, t1, "idle", "motion"))
    return spans


def _unmapped_moves(motion: RobotMotion, width: int, share: float) -> np.ndarray:
    """(T,) bool: a column that has no slot changes by more than ``share`` of its range within ``width`` steps."""
    out = np.zeros(len(motion.times), bool)
    for name, values in motion.raw_extra.items():
        if name.startswith("derived."):
            continue
        x = np.asarray(values, float).reshape(len(out), -1)
        there = np.isfinite(x)
        high, low = np.where(there, x, -np.inf), np.where(there, x, np.inf)
        whole = high.max(axis=0) - low.min(axis=0)
        around = maximum_filter1d(high, width + 1, axis=0) - minimum_filter1d(low, width + 1, axis=0)
        out |= (around > share * whole).any(axis=1, where=np.isfinite(around) & (whole > 0))
    return out


def _moving_sum(x: np.ndarray, width: int) -> np.ndarray:
    """(T, n) sums over ``width`` rows about each; fewer at the ends."""
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
    at = np.arange(len(x))
    first = np.maximum(at - (width - 1) // 2, 0)
    return total[np.minimum(at + width // 2 + 1, len(x))] - total[first]
