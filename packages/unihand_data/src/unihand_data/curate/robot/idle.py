"""Spans in which a robot rests, as events; frames stay where they are and no value changes.

A column rests in a window of fixed duration where its range (largest less smallest value, the ends of the window
interpolated) stays within a limit of its kind, so the answer does not hang on the rate. A step is idle where it lies in
a window in which every column rests.

Legend: T steps, n columns; N = T + 1 points in time, since the last step lasts a period too.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.curate.robot import speeds
from unihand_data.curate.robot.convert import RobotMotion
from unihand_data.curate.robot.speeds import KIND_OF
from unihand_data.shards.rows import EventRow
from unihand_data.space.slots import GROUPS


class IdleSettings(Settings):
    """A slot rests while its range within ``window_s`` stays below the limit of its kind, in the slot's unit, plus the
    last digit of its sensor (at most ``digit`` of the limit); a span of rest lasts ``min_s`` seconds or more.

    A column without a slot has no known unit. It rests while its range stays below ``unmapped_noise`` times its own
    noise (standard deviation) or ``unmapped_share`` of its values' spread, whichever is more.
    """

    min_s: float = Field(default=1.0, gt=0)
    window_s: float = Field(default=0.5, gt=0)
    position: float = Field(default=0.0025, gt=0)  # m
    rotation: float = Field(default=0.015, gt=0)  # rad
    joint: float = Field(default=0.01, gt=0)  # rad: arms, head, waist, torso, neck
    finger: float = Field(default=0.025, gt=0)  # rad
    gripper: float = Field(default=0.025, gt=0)  # of its range
    finger_position: float = Field(default=0.001, gt=0)  # m
    lift: float = Field(default=0.0025, gt=0)  # m
    base: float = Field(default=0.005, gt=0)  # m, position and the way that a velocity makes
    base_turn: float = Field(default=0.01, gt=0)  # rad
    digit: float = Field(default=0.5, ge=0, le=1)  # of the limit: the most that a sensor's last digit is allowed
    unmapped_noise: float = Field(default=8.0, gt=0)  # standard deviations of the column's noise
    unmapped_share: float = Field(default=0.005, gt=0, le=1)  # of the spread of the column's values (1 to 99 %)


#: slots of arms, end effectors and bases: without one of them nothing tells whether the robot moves
_BODY = [
    slot
    for name, group in GROUPS.items()
    if name.endswith(("_eef_position", "_eef_rotation", "_arm")) or name.startswith("base_")
    for slot in group.slots
]
#: small steps that tell a digit; fewer are multiples of one another by chance
_ENOUGH = 6
#: a moment later than another by less than this is the same, s
_TICK = 1e-6


def idle_spans(motion: RobotMotion, settings: IdleSettings) -> list[EventRow]:
    """Spans in which nothing moves, in state or in action, mapped or not.

    A step of which nothing is known is not idle, and where neither an arm nor an end effector nor a base has a slot
    nothing is known of the robot: no spans.
    """
    if not set(_BODY) & {*motion.state_slots.tolist(), *motion.action_slots.tolist()}:
        return []
    period = 1.0 / motion.rate_hz
    times = np.append(motion.times, motion.times[-1] + period)
    slots = np.array(sorted(KIND_OF), int)
    limits = np.array([getattr(settings, KIND_OF[s]) for s in slots.tolist()])
    known = np.zeros(len(motion.times), bool)
    paths, bounds = [], []
    for path, steps_known in (speeds.realised_path(motion), speeds.commanded_path(motion)):
        known |= steps_known[:, _BODY].any(axis=1)  # a gripper alone says nothing of the arm
        there = np.isfinite(path[:, slots]).any(axis=0)
        mapped = path[:, slots[there]]
        paths.append(mapped)
        bounds.append(limits[there] + np.minimum(digits(mapped), settings.digit * limits[there]))
    if len(known) > 1 and not known[-1]:  # the last step has no successor: it is like the one before
        known[-1] = known[-2]
    free = _unmapped(motion)
    paths.append(np.concatenate([free, np.full((1, free.shape[1]), np.nan)]))
    bounds.append(_unmapped_bounds(free, settings, len(free) * period))
    idle = known & _rests(times, np.concatenate(paths, axis=1), np.concatenate(bounds), settings.window_s)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], idle, [False]]).astype(int)))
    spans = []
    for start, stop in zip(edges[::2], edges[1::2]):
        t0, t1 = float(motion.times[start]), float(motion.times[stop - 1]) + period
        if t1 - t0 >= settings.min_s - _TICK:
            spans.append(EventRow(t0, t1, "idle", "motion"))
    return spans


def _rests(times: np.ndarray, x: np.ndarray, bounds: np.ndarray, window_s: float) -> np.ndarray:
    """(T,) bool: steps that lie in a window in which every column's range stays within its bound.

    Windows begin or end at a point in time and lie within the episode (one that is shorter is one window).
    """
    count = len(times)
    window = min(window_s, float(times[-1] - times[0]))
    covered = np.zeros(count, int)  # +1 where a window of rest begins, -1 behind it
    for begins in (True, False):
        opens = times if begins else times - window
        inside = (opens >= times[0] - _TICK) & (opens + window <= times[-1] + _TICK)
        opens = opens[inside]
        first = np.searchsorted(times, opens - _TICK)
        stop = np.searchsorted(times, opens + window + _TICK, side="right")
        high, low = (pick * _largest(pick * x, first, stop) for pick in (1, -1))
        ends = _at(times, x, opens + window if begins else opens)
        ranges = np.fmax(high, ends) - np.fmin(low, ends)
        still = ~(ranges > bounds * (1 + 1e-9) + 1e-12).any(axis=1)  # what is not known (NaN) does not move
        np.add.at(covered, first[still], 1)
        np.add.at(covered, np.maximum(stop[still] - 1, first[still]), -1)
    return np.cumsum(covered)[:-1] > 0


def _largest(x: np.ndarray, first: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """(W, n): the largest known value of the rows ``first[w]`` to ``stop[w]`` less one, NaN where none is known."""
    level = np.log2(np.maximum(stop - first, 1)).astype(int)
    out = np.full((len(first), x.shape[1]), np.nan)
    table = x  # row i: the largest of 2 ** k rows from i
    for k in range(level.max(initial=-1) + 1):
        rows = np.flatnonzero(level == k)
        out[rows] = np.fmax(table[first[rows]], table[stop[rows] - 2**k])
        table = np.fmax(table[: -(2**k)], table[2**k :])
    return out


def _at(times: np.ndarray, x: np.ndarray, when: np.ndarray) -> np.ndarray:
    """(W, n): rows at these times, on the straight line between their neighbours."""
    after = np.clip(np.searchsorted(times, when), 1, len(times) - 1)
    share = np.clip((when - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)[:, None]
    exact = np.where(share < 0.5, x[after - 1], x[after])  # a neighbour that is not known spoils no exact hit
    return np.where((share < _TICK) | (share > 1 - _TICK), exact, x[after - 1] + share * (x[after] - x[after - 1]))


def digits(x: np.ndarray) -> np.ndarray:
    """(n,): the last digit of each column (N, n): the smallest step that nine tenths of its small steps (up to ten
    digits) are whole multiples of, where the column goes back and forth by it; else 0, as of a column that is not
    rounded or that only runs evenly.

    Steps below a millionth of the largest value are the rounding of float32 and of unit conversions.
    """
    out = np.zeros(x.shape[1])
    for column, values in enumerate(x.T):
        values = values[np.isfinite(values)]
        steps = np.diff(values)
        steps = steps[np.abs(steps) > 1e-6 * np.abs(values).max(initial=0.0)]
        sizes = np.sort(np.abs(steps))
        for rank in sorted({0, len(sizes) // 20, len(sizes) // 5}):  # a stray value may make a smaller step
            if len(sizes) < _ENOUGH:
                break
            digit = sizes[rank]
            whole = sizes[sizes < 10.5 * digit] / digit
            ones = np.abs(steps / digit - np.sign(steps)) < 0.05
            flickers = (ones[1:] & ones[:-1] & (steps[1:] * steps[:-1] < 0)).sum()
            if len(whole) >= _ENOUGH and flickers > 1 and (np.abs(whole - np.round(whole)) < 0.05).mean() > 0.9:
                out[column] = digit
                break
    return out


def noise(x: np.ndarray) -> np.ndarray:
    """(n,): standard deviation of each column's (T, n) white noise, from the median absolute second difference: a drift
    has none, and a motion in less than half of the steps does not count. 0 where fewer than three rows are known."""
    out = np.zeros(x.shape[1])
    for column, values in enumerate(x.T):
        bend = np.abs(np.diff(values[np.isfinite(values)], n=2))
        if len(bend):
            out[column] = 1.4826 * float(np.median(bend)) / np.sqrt(6.0)
    return out


def _unmapped(motion: RobotMotion) -> np.ndarray:
    """(T, n): the columns that have no slot, NaN where they are not known."""
    steps = len(motion.times)
    told = [v for name, v in motion.raw_extra.items() if not name.startswith("derived.")]
    parts = [np.asarray(values, float).reshape(steps, -1) for values in told]
    x = np.concatenate([np.zeros((steps, 0)), *parts], axis=1)
    x = np.where(np.isfinite(x), x, np.nan)
    return x[:, np.isfinite(x).any(axis=0)]


def _unmapped_bounds(x: np.ndarray, settings: IdleSettings, duration_s: float) -> np.ndarray:
    """(n,): the range within a window up to which a column rests.

    A digit either way is allowed where the column changes more often than once in ``min_s``: a sensor that flickers.
    One that changes less often is a switch, and its change is a motion.
    """
    if not x.shape[1]:
        return np.zeros(0)
    spread = np.nanquantile(x, 0.99, axis=0) - np.nanquantile(x, 0.01, axis=0)
    rests = np.maximum(settings.unmapped_noise * noise(x), settings.unmapped_share * spread)
    digit = digits(x)
    steps = np.abs(np.diff(x, axis=0))
    flickers = (np.nan_to_num(steps) > 0.5 * digit).sum(axis=0) * settings.min_s > duration_s
    return np.asarray(rests + np.where(flickers, 2 * digit, 0.0))
