"""From a raw hand track to a smooth one: outliers out, short gaps filled and flagged, jitter down, and measured.

Legend: T frames of the clip at times t (s, may be uneven), C channels. Rotations are smoothed as unit quaternions of
one hemisphere. Filled frames are flagged ``interpolated``, have no confidence (NaN) and next to no weight in smoothing.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from unihand_data.hands.config import SmoothSettings
from unihand_data.values.hands import HandTrack

_FILLED_WEIGHT = 0.02  # of a seen frame with full confidence: keeps the local polynomial from running away in a gap


def clean(track: HandTrack, times: np.ndarray, settings: SmoothSettings | None = None) -> HandTrack:
    """Reject outliers, fill short gaps, smooth wrist and theta. ``keypoints`` are left to the caller.

    Args:
        track: wrist_pos, wrist_rot, theta, confidence, valid are read. times: (T,) s, increasing.

    Returns: a new track; ``figures`` gain ``outliers``, ``jitter_pos_raw_m``, ``jitter_pos_m``, ``jitter_rot_raw_deg``,
    ``jitter_rot_deg``, ``jitter_theta_raw_deg``, ``jitter_theta_deg`` (see :func:`jitter`) over seen frames.
    """
    settings = settings or SmoothSettings()
    times = np.asarray(times, float)
    if len(times) != len(track):
        raise ValueError(f"{len(times)} times for {len(track)} frames")
    bad = outliers(track, times, settings)
    out = _without(track, bad)
    raw = jitter(out)
    out = fill_gaps(out, times, settings.max_gap_s)
    if settings.window_s > 0:
        out = _smoothed(out, times, settings)
    done = jitter(out)
    figures = {**out.figures, "outliers": float(bad.sum())}
    for name in raw:
        head, unit = name.rsplit("_", 1)
        figures[f"{head}_raw_{unit}"], figures[name] = raw[name], done[name]
    return replace(out, figures=figures)


def outliers(track: HandTrack, times: np.ndarray, settings: SmoothSettings) -> np.ndarray:
    """(T,) bool: valid frames whose wrist leaves the running median of its neighbours (5 each side, 0.5 s at most)."""
    bad = np.zeros(len(track), bool)
    index = np.flatnonzero(track.valid)
    if len(index) < 5:
        return bad
    off, turn = np.full(len(index), np.nan), np.full(len(index), np.nan)
    rotations = Rotation.from_rotvec(track.wrist_rot[index])
    for k, i in enumerate(index):
        near = np.arange(max(0, k - 5), min(len(index), k + 6))
        near = near[(np.abs(times[index[near]] - times[i]) <= 0.5) & (near != k)]
        if len(near) < 4:
            continue
        # a straight line through the neighbours, robustly: steady motion is no outlier
        dt = times[index[near]] - times[i]
        off[k] = np.linalg.norm(track.wrist_pos[i] - _median_line(dt, track.wrist_pos[index[near]]))
        turn[k] = np.degrees(np.median((rotations[near] * rotations[k].inv()).magnitude()))
    for value, floor in ((off, settings.outlier_floor_m), (turn, settings.outlier_floor_deg)):
        known = value[np.isfinite(value)]
        if len(known):
            middle = np.median(known)
            spread = 1.4826 * np.median(np.abs(known - middle))
            bad[index] |= np.nan_to_num(value) > max(middle + settings.outlier_mad * spread, floor)
    return bad


def _median_line(dt: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Value at dt = 0 of a line with the median of pairwise slopes (Theil-Sen), per channel."""
    i, j = np.triu_indices(len(dt), 1)
    apart = np.abs(dt[j] - dt[i]) > 1e-9
    slopes = (values[j] - values[i])[apart] / (dt[j] - dt[i])[apart, None]
    slope = np.median(slopes, axis=0) if len(slopes) else 0.0
    return np.median(values - dt[:, None] * slope, axis=0)


def _without(track: HandTrack, bad: np.ndarray) -> HandTrack:
    if not bad.any():
        return replace(track)
    out = replace(
        track, wrist_pos=track.wrist_pos.copy(), wrist_rot=track.wrist_rot.copy(), theta=track.theta.copy(),
        confidence=track.confidence.copy(), valid=track.valid & ~bad,
    )  # fmt: skip
    out.wrist_pos[bad] = out.wrist_rot[bad] = out.theta[bad] = np.nan
    out.confidence[bad] = 0.0
    return out


def fill_gaps(track: HandTrack, times: np.ndarray, max_gap_s: float) -> HandTrack:
    """Fill invalid stretches between valid frames that are at most ``max_gap_s`` apart (linear, slerp per joint)."""
    index = np.flatnonzero(track.valid)
    pos, rot, theta = track.wrist_pos.copy(), track.wrist_rot.copy(), track.theta.copy()
    valid, filled, confidence = track.valid.copy(), track.interpolated.copy(), track.confidence.copy()
    for a, b in pairwise(index):
        if b - a < 2 or times[b] - times[a] > max_gap_s + 1e-9:
            continue
        inner = np.arange(a + 1, b)
        u = ((times[inner] - times[a]) / (times[b] - times[a]))[:, None]
        pos[inner] = (1 - u) * pos[a] + u * pos[b]
        rot[inner] = _slerp(rot[a], rot[b], u[:, 0])
        for j in range(0, 45, 3):
            theta[inner, j : j + 3] = _slerp(theta[a, j : j + 3], theta[b, j : j + 3], u[:, 0])
        valid[inner] = filled[inner] = True
        confidence[inner] = np.nan
    return replace(
        track, wrist_pos=pos, wrist_rot=rot, theta=theta, valid=valid, interpolated=filled, confidence=confidence
    )


def _slerp(a: np.ndarray, b: np.ndarray, u: np.ndarray) -> np.ndarray:
    return Slerp([0.0, 1.0], Rotation.from_rotvec(np.stack([a, b])))(u).as_rotvec()


def _smoothed(track: HandTrack, times: np.ndarray, settings: SmoothSettings) -> HandTrack:
    pos, rot, theta = track.wrist_pos.copy(), track.wrist_rot.copy(), track.theta.copy()
    weight = np.where(track.interpolated, _FILLED_WEIGHT, np.clip(np.nan_to_num(track.confidence), 0.05, 1.0))
    for rows in runs(track.valid):
        s = smoother(times[rows], weight[rows], settings.window_s, settings.order)
        pos[rows] = s @ track.wrist_pos[rows]
        rot[rows] = _smooth_rotations(s, track.wrist_rot[rows])
        for j in range(0, 45, 3):
            theta[rows, j : j + 3] = _smooth_rotations(s, track.theta[rows, j : j + 3])
    return replace(track, wrist_pos=pos, wrist_rot=rot, theta=theta)


def smoother(times: np.ndarray, weight: np.ndarray, window_s: float, order: int) -> np.ndarray:
    """(T, T) matrix of a weighted local polynomial fit: Savitzky and Golay's filter for uneven times.

    Each value becomes that of the polynomial fitted to what lies within half a window; the ends use what they have, and
    where fewer points than ``order + 2`` are near, the order goes down.
    """
    n = len(times)
    out = np.eye(n)
    for i in range(n):
        dt = times - times[i]
        near = np.flatnonzero(np.abs(dt) <= window_s / 2 + 1e-9)
        degree = min(order, len(near) - 2)
        if degree < 0:
            continue
        x = dt[near] / (window_s / 2)
        root = np.sqrt(weight[near] * np.maximum((1 - np.abs(x) ** 3) ** 3, 1e-3))
        basis = x[:, None] ** np.arange(degree + 1)
        out[i] = 0.0
        out[i, near] = np.linalg.pinv(basis * root[:, None])[0] * root
    return out


def _smooth_rotations(s: np.ndarray, rotvec: np.ndarray) -> np.ndarray:
    q = aligned(Rotation.from_rotvec(rotvec).as_quat())
    q = s @ q
    return Rotation.from_quat(q / np.maximum(np.linalg.norm(q, axis=1, keepdims=True), 1e-12)).as_rotvec()


def aligned(q: np.ndarray) -> np.ndarray:
    """(T, 4) quaternions with signs such that neighbours lie in one hemisphere."""
    q = np.asarray(q, float).copy()
    if len(q) > 1:
        flips = np.sign((q[1:] * q[:-1]).sum(1))
        q[1:] *= np.cumprod(np.where(flips == 0, 1, flips))[:, None]
    return q


def runs(mask: np.ndarray) -> list[slice]:
    """Maximal stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


def jitter(track: HandTrack) -> dict[str, float]:
    """RMS distance of a frame from the middle of its two neighbours, over triples of frames that were all seen.

    ``jitter_pos_m`` wrist, ``jitter_rot_deg`` wrist rotation, ``jitter_theta_deg`` finger joints. NaN without a triple.
    Interpolated frames never take part.
    """
    seen = track.valid & ~track.interpolated
    mid = np.flatnonzero(seen[1:-1] & seen[:-2] & seen[2:]) + 1 if len(seen) > 2 else np.zeros(0, int)
    if not len(mid):
        return {"jitter_pos_m": np.nan, "jitter_rot_deg": np.nan, "jitter_theta_deg": np.nan}
    p = track.wrist_pos
    d = np.linalg.norm(p[mid] - (p[mid - 1] + p[mid + 1]) / 2, axis=1)
    fingers = track.theta.reshape(-1, 15, 3)
    joints = [_middle_angle(fingers[:, j], mid) for j in range(15)]
    return {
        "jitter_pos_m": float(np.sqrt((d**2).mean())),
        "jitter_rot_deg": float(np.degrees(np.sqrt((_middle_angle(track.wrist_rot, mid) ** 2).mean()))),
        "jitter_theta_deg": float(np.degrees(np.sqrt(np.mean(np.square(joints))))),
    }


def _middle_angle(rotvec: np.ndarray, mid: np.ndarray) -> np.ndarray:
    a, m, b = (Rotation.from_rotvec(rotvec[mid + k]) for k in (-1, 0, 1))
    half = Rotation.from_rotvec((a.inv() * b).as_rotvec() / 2)
    return (m.inv() * a * half).magnitude()
