"""Steps that should not be learnt from: outliers are masked and counted. No value changes.

Every slot is judged by itself, in its physical unit (:mod:`~unihand_data.curate.robot.speeds`).

Legend: T steps, columns 0 .. 199 are the slots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.curate.robot import speeds
from unihand_data.curate.robot.convert import SIDES, RobotMotion
from unihand_data.curate.robot.speeds import KIND_OF
from unihand_data.space.slots import GROUPS, SLOTS


class OutlierSettings(Settings):
    """A slot's step is an outlier, a jump, above ``median + spread * MAD`` of that slot's speeds in its episode, but
    never below ``floor`` and always above ``ceiling`` (floor, ceiling; per second, in the slot's own unit).

    Samples between a jump and a later one back are wrong as a whole where they are few (at most ``plateau_steps`` and
    ``plateau_s`` long) and the two cancel: what is left lies within ``plateau_left`` of the smaller of them.

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
    plateau_steps: int = Field(default=10, ge=1)  # samples
    plateau_s: float = Field(default=0.5, ge=0)  # s; one sample is a plateau at any rate
    plateau_left: float = Field(default=0.3, ge=0, lt=1)


#: kinds whose command may switch in one step -> setting that bounds the value
_BOUNDED = {"gripper": "gripper", "finger": "finger_target"}
#: slots of one displacement: half of one is none, so they are masked together
_WHOLE = [
    [*GROUPS[f"{side}_eef_position"].slots, *GROUPS[f"{side}_eef_rotation"].slots] for side in SIDES
]  # fmt: skip


def mask_outliers(motion: RobotMotion, settings: OutlierSettings) -> dict[str, float]:
    """Masks, in place, the slots whose step is an outlier.

    The action of step t is masked where the way from t to t + 1, realised, or the way that it commands is too fast,
    position and rotation of one end effector together. A state is masked where it is itself the wrong sample: too fast
    a step away from every neighbour it has, or on a short plateau between two jumps that cancel each other; the actions
    from the jump onto it to the jump back are masked with it. Of absolute targets the wrong ones are masked, a single
    one or a plateau, not the way back from them. A jump that stays masks its step and no sample. The state-only slots
    (base position, finger positions) have no action; there both ends of a jump are masked too, because which of them is
    wrong nothing tells.

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
    longest = max(1, min(settings.plateau_steps, int(settings.plateau_s * motion.rate_hz + 1e-6)))
    moved, onto, off = _plateaus(away, lambda lag: speeds.ways(motion, lag), longest, settings.plateau_left)
    bad_state = _lonely(away & ~(onto | off)) | moved
    velocity = [s for s in KIND_OF if SLOTS[s].kind == "velocity"]
    bad_state[:, velocity] = away[:, velocity]  # a velocity is wrong by itself, not by the way to the next
    only_state = [s for s in KIND_OF if SLOTS[s].state_only]
    bad_state[:, only_state] |= away[:, only_state] | np.roll(away[:, only_state], 1, axis=0)
    targets = speeds.absolute()
    asked = np.full_like(told, np.nan)
    asked[:, motion.action_slots] = np.where(motion.action_mask, motion.action, np.nan)
    jumps = np.concatenate([far[1:], np.zeros_like(far[:1])])  # from the target of t to that of t + 1
    wrong, _, back = _plateaus(jumps, lambda lag: asked[lag:] - asked[:-lag], longest, settings.plateau_left)
    far[:, targets] = _spikes(far[:, targets], np.isnan(told[0, targets]))
    far[1:, targets] &= ~back[:-1, targets]
    far[:, targets] |= wrong[:, targets]
    bad_action = away | moved | onto | off | far
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


def _plateaus(
    jumps: np.ndarray, way: Callable[[int], np.ndarray], longest: int, left: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Short plateaus between two jumps that cancel each other, each (T, 200) bool: the samples on them, the steps that
    jump onto one, the steps that jump off it.

    A jump belongs to one plateau only, the earlier one: what lies between two plateaus is none.

    Args:
        jumps: (T, 200) the step from t to t + 1 is too fast.
        way: lag -> (T - lag, 200) how far it is from sample t to sample t + lag.
        longest: samples.
        left: what two jumps may leave of the smaller of them.
    """
    moved, onto, off = (np.zeros_like(jumps) for _ in range(3))
    count = len(jumps)
    span = np.zeros(jumps.shape, int)  # samples of the plateau that the step begins
    for samples in range(min(longest, count - 2), 0, -1):
        pair = jumps[: count - samples - 1] & jumps[samples:-1]
        if pair.any():
            size = np.abs(way(1))
            smaller = np.minimum(size[: count - samples - 1], size[samples:])
            with np.errstate(invalid="ignore"):
                pair &= np.abs(way(samples + 1)) <= left * smaller
            span[: len(pair)][pair] = samples
    for slot in np.flatnonzero(span.any(axis=0)).tolist():
        taken = -1
        for step in np.flatnonzero(span[:, slot]).tolist():
            if step > taken:
                taken = step + int(span[step, slot])
                moved[step + 1 : taken + 1, slot] = onto[step, slot] = off[taken, slot] = True
    return moved, onto, off


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
