"""EEF displacements per step in the world, and the way back (paper 5.1.1; docs/contract.md, section 2).

``dp[t] = p[t+1] - p[t]`` and ``dr[t] = log(R[t+1] R[t]^T)``, both expressed in the world: the rotation acts from the
left. Displacements are composed when time is resampled, never scaled.

Legend: T frames, N steps. Positions m, rotations rotvecs (rad); rows with NaN are invalid.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from unihand_data.space import rotations


class Displacements(NamedTuple):
    """``pos`` (T, 3), ``rot`` (T, 3), zero where ``mask`` (T,) is False. Row t leads from frame t to frame t + 1."""

    pos: np.ndarray
    rot: np.ndarray
    mask: np.ndarray


class Poses(NamedTuple):
    """``pos`` (T, 3) m and ``rot`` (T, 3) rotvec with angles of at most pi."""

    pos: np.ndarray
    rot: np.ndarray


def _pair(pos: np.ndarray, rot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, r = np.asarray(pos, np.float64), np.asarray(rot, np.float64)
    if p.ndim != 2 or p.shape[1] != 3 or p.shape != r.shape:
        raise ValueError(f"positions and rotvecs are both (T, 3), not {p.shape} and {r.shape}")
    return p, r


def displacements(pos: np.ndarray, rot: np.ndarray) -> Displacements:
    """Realised displacements of a trajectory (T, 3), (T, 3).

    The last step has no successor and is masked; a step whose start or end is NaN is masked.
    """
    p, r = _pair(pos, rot)
    dp, dr, mask = np.zeros_like(p), np.zeros_like(r), np.zeros(len(p), bool)
    if len(p) > 1:
        step_p, step_r = p[1:] - p[:-1], rotations.compose(r[1:], rotations.inverse(r[:-1]))
        good = np.isfinite(step_p).all(1) & np.isfinite(step_r).all(1)
        dp[:-1][good], dr[:-1][good], mask[:-1] = step_p[good], step_r[good], good
    return Displacements(dp, dr, mask)


def next_targets(values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Absolute targets (joints, theta, hands, grippers) where no command is trusted: action[t] = state[t + 1].

    Args:
        values: (T, S) state. mask: (T, S) bool.

    Returns:
        action (T, S) and its mask, both False and zero in the last frame, which has no successor.
    """
    v, ok = np.asarray(values), np.asarray(mask, bool)
    action, valid = np.zeros_like(v), np.zeros(v.shape, bool)
    valid[:-1] = ok[1:]
    action[:-1] = np.where(ok[1:], v[1:], 0)
    return action, valid


def integrate(p0: np.ndarray, r0: np.ndarray, pos: np.ndarray, rot: np.ndarray) -> Poses:
    """N displacements from the pose ``p0`` (3,), ``r0`` (3,) to N + 1 poses, the first being the start.

    ``integrate(p[0], r[0], d.pos[:-1], d.rot[:-1])`` gives back the trajectory that ``d`` was made from.
    """
    dp, dr = _pair(pos, rot)
    p = np.concatenate([np.asarray(p0, float)[None], np.asarray(p0, float) + np.cumsum(dp, axis=0)])
    matrices = np.empty((len(dr) + 1, 3, 3))
    matrices[0] = rotations.exp(np.asarray(r0, float))
    for t, step in enumerate(rotations.exp(dr) if len(dr) else ()):
        matrices[t + 1] = step @ matrices[t]
    return Poses(p, rotations.log(matrices))


def from_commands(pos: np.ndarray, rot: np.ndarray, p0: np.ndarray, r0: np.ndarray) -> Displacements:
    """Absolute Cartesian commands (T, 3), (T, 3) to displacements: ``c[t] - c[t-1]``, ``log(C[t] C[t-1]^T)``.

    ``c[-1]`` is the realised pose of frame 0 (``p0``, ``r0``): the first displacement leads from where the robot was.
    Every step is known; a step with a NaN command, and the one after it, is masked.
    """
    p, r = _pair(pos, rot)
    d = displacements(np.vstack([np.asarray(p0, float), p]), np.vstack([np.asarray(r0, float), r]))
    return Displacements(d.pos[:-1], d.rot[:-1], d.mask[:-1])


def to_commands(p0: np.ndarray, r0: np.ndarray, pos: np.ndarray, rot: np.ndarray) -> Poses:
    """Inverse of :func:`from_commands`: displacements (T, 3), (T, 3) to the absolute commands (T, 3), (T, 3)."""
    poses = integrate(p0, r0, pos, rot)
    return Poses(poses.pos[1:], poses.rot[1:])


def compose_steps(pos: np.ndarray, rot: np.ndarray, mask: np.ndarray, edges: np.ndarray) -> Displacements:
    """Merge runs of steps: run k is ``edges[k] .. edges[k+1] - 1`` and becomes one displacement.

    Args:
        pos, rot: (N, 3) displacements. mask: (N,) bool. edges: (K + 1,) strictly increasing within 0..N.

    Returns:
        K displacements; one is valid only if every step in it is.
    """
    dp, dr = _pair(pos, rot)
    e, ok = np.asarray(edges, np.int64), np.asarray(mask, bool)
    if e.ndim != 1 or len(e) < 2 or bool(np.any(np.diff(e) <= 0)) or e[0] < 0 or e[-1] > len(dp):
        raise ValueError(f"edges are strictly increasing and within 0..{len(dp)}: {edges!r}")
    out_p, out_r = np.zeros((len(e) - 1, 3)), np.zeros((len(e) - 1, 3))
    out_ok = np.array([bool(ok[a:b].all()) for a, b in pairwise(e)])
    starts, lengths = e[:-1][out_ok], np.diff(e)[out_ok]
    total_p, total_r = np.zeros((len(starts), 3)), np.zeros((len(starts), 3))
    for n in range(int(lengths.max(initial=0))):  # the n-th step of all runs at once
        still = lengths > n
        total_p[still] += dp[starts[still] + n]
        total_r[still] = rotations.compose(dr[starts[still] + n], total_r[still])
    out_p[out_ok], out_r[out_ok] = total_p, total_r
    return Displacements(out_p, out_r, out_ok)


def resample(
    pos: np.ndarray, rot: np.ndarray, mask: np.ndarray, times: np.ndarray, new_times: np.ndarray
) -> Displacements:
    """Displacements between ``times`` (N + 1,) to displacements between ``new_times`` (M + 1,), by composition.

    The steps are integrated, the path is interpolated (positions linearly, rotations along the shortest arc of each
    step) and cut again, so the whole displacement between common times is kept exactly. A new step is valid only if
    every old step that it touches is.
    """
    dp, dr = _pair(pos, rot)
    t, new, ok = np.asarray(times, float), np.asarray(new_times, float), np.asarray(mask, bool)
    if len(t) != len(dp) + 1 or bool(np.any(np.diff(t) <= 0)) or bool(np.any(np.diff(new) <= 0)):
        raise ValueError("N displacements lie between N + 1 strictly increasing times")
    if new[0] < t[0] or new[-1] > t[-1]:
        raise ValueError("resampling never extrapolates")
    path = integrate(np.zeros(3), np.zeros(3), np.where(ok[:, None], dp, 0), np.where(ok[:, None], dr, 0))
    at = np.stack([np.interp(new, t, path.pos[:, k]) for k in range(3)], axis=-1)
    d = displacements(at, rotations.slerp(t, path.rot, new))
    first = np.searchsorted(t, new[:-1], side="right") - 1
    last = np.searchsorted(t, new[1:], side="left")
    good = np.array([bool(ok[a:b].all()) for a, b in zip(first, last)])
    return Displacements(np.where(good[:, None], d.pos[:-1], 0), np.where(good[:, None], d.rot[:-1], 0), good)
