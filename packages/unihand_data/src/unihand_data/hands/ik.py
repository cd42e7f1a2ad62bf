"""Hand pose from keypoints: inverse kinematics with anatomical limits, all frames at once.

Legend: T frames, J = 21 keypoints, D = 27 degrees of freedom (:mod:`unihand_data.hands.dof`). Metres, radians, OpenCV
camera axes where an image takes part.

Levenberg-Marquardt with analytic derivatives, one 27 x 27 system per frame, solved as a batch. Limits are kept by
projection (an angle at its limit whose gradient points outwards is held). A second sweep pulls each frame weakly to the
median of its neighbours, which decides what a single frame leaves open. A left hand is fitted as its mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import median_filter
from scipy.spatial.transform import Rotation

from unihand_data.hands import dof
from unihand_data.hands.skeleton import FINGER_FRAMES, MIRROR_ROTVEC, MIRROR_X, mirror_theta, rest_keypoints
from unihand_data.values.hands import BONES, FINGERS, Side

#: keypoints that barely move against each other: they fix the wrist's rotation
PALM = (0, 5, 9, 13, 17)
_BATCH = 1024  # frames solved together; 1024 x 63 x 27 doubles are 14 MB


@dataclass
class ImageTerm:
    """What the picture says about the keypoints.

    Attributes:
        px: (T, 21, 2) observed pixels. K: (3, 3) of that picture. sigma: (T,) pixel standard deviation.
        depth_sigma: metres; standard deviation of the keypoints' depth *relative to their mean*, which then is all that
            is used of ``keypoints_3d`` (a landmark model sees relative depth poorly and absolute depth not at all).
    """

    px: np.ndarray
    K: np.ndarray
    sigma: np.ndarray
    depth_sigma: float = 0.015


@dataclass
class HandFit:
    """Result of :func:`fit_theta`; frames without enough keypoints are NaN.

    Attributes:
        theta: (T, 45). wrist_pos: (T, 3). wrist_rot: (T, 3). hand_scale: over the nominal hand.
        residual: (T,) m, mean distance of posed to given keypoints.
        residual_px: (T,) mean reprojection distance, NaN without an image.
        rest: (21, 3) the flat hand that was posed (this hand's own proportions, or the generic ones).
        angles: (T, 21) the anatomical angles behind theta, of the right hand or the mirrored left one.
    """

    theta: np.ndarray
    wrist_pos: np.ndarray
    wrist_rot: np.ndarray
    hand_scale: float
    residual: np.ndarray
    residual_px: np.ndarray
    rest: np.ndarray
    angles: np.ndarray


def fit_theta(
    keypoints_3d: np.ndarray,
    side: Side,
    *,
    weights: np.ndarray | None = None,
    hand_scale: float | None = None,
    own_proportions: bool = True,
    image: ImageTerm | None = None,
    sigma: float = 0.005,
    prior: float = 0.15,
    temporal: float = 0.5,
    iterations: int = 25,
) -> HandFit:
    """Fit wrist and finger angles to keypoints.

    Args:
        keypoints_3d: (T, 21, 3) m; a frame with a NaN keypoint uses the others, below 12 (or below 4 of the palm) it is
            left out.
        side: which hand.
        weights: (T, 21) relative trust, default 1.
        hand_scale: fixed size of the hand; None takes it from the keypoints.
        own_proportions: pose a flat hand with the bone lengths seen in the keypoints instead of the generic ones.
        image: fit the picture, with depth from the hand's size (needs ``hand_scale`` or a trustworthy 3-D size).
        sigma: m, standard deviation of a keypoint. prior: weight of the resting posture (0 none).
        temporal: weight of the pull to neighbouring frames in the second sweep (0 none).
    """
    points = np.asarray(keypoints_3d, float)
    if points.ndim != 3 or points.shape[1:] != (21, 3):
        raise ValueError(f"keypoints_3d has shape {points.shape}, expected (T, 21, 3)")
    left = side == "left"
    seen = np.isfinite(points).all(-1)
    ok = (seen.sum(1) >= 12) & (seen[:, PALM].sum(1) >= 4)
    if not ok.any():
        return _nothing(len(points), side, hand_scale or 1.0)
    w = np.ones(points.shape[:2]) if weights is None else np.asarray(weights, float)
    p, w = (points * MIRROR_X if left else points)[ok], np.where(seen, w, 0.0)[ok]
    scale = hand_scale if hand_scale is not None else hand_scale_of(p)
    rotation = palm_rotation(p, w)
    rest = _own_rest(p, rotation, scale) if own_proportions else rest_keypoints("right", scale)
    rays = None
    if image is not None:
        rays = _rays(image, left)[ok], np.asarray(image.sigma, float)[ok], float(image.K[0, 0]), image.depth_sigma
    p = np.where(w[..., None] > 0, p, 0.0)
    problem = _Problem(p, w, rest, sigma, prior, rays)
    root = _root(p, w, rest, rotation)
    angles = dof.initial_angles(p, rotation)
    position, rotation, angles = _solve(problem, root, rotation, angles, iterations)
    if temporal and len(p) >= 5:
        index = np.flatnonzero(ok)
        near = _neighbour_median(angles, index)
        problem.pull(near, temporal)
        position, rotation, angles = _solve(problem, position, rotation, angles, max(6, iterations // 3))
    return _result(points, ok, left, position, rotation, angles, rest, scale, image)


def palm_rotation(points: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(T, 3, 3) rotation of right hands from their palm keypoints (T, 21, 3), by Kabsch against ``generic_v1``."""
    reference = rest_keypoints("right")[list(PALM)]
    w = np.ones(points.shape[:2])[:, PALM] if weights is None else weights[:, PALM].copy()
    w[:, 0] *= 2.0  # the wrist sets the direction of the fingers
    w = w / w.sum(1, keepdims=True)
    q = np.where(w[..., None] > 0, points[:, PALM], 0.0)
    qc = q - (w[..., None] * q).sum(1, keepdims=True)
    rc = reference[None] - (w @ reference)[:, None]
    u, _, vt = np.linalg.svd(np.einsum("tk,tki,tkj->tij", w, qc, rc))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return u @ vt


def hand_scale_of(p: np.ndarray) -> float:
    """Size of a hand over the nominal one: median over frames of all bones of (T, 21, 3) keypoints together."""
    rest = rest_keypoints("right")
    nominal = np.array([np.linalg.norm(rest[b] - rest[a]) for a, b in BONES])
    lengths = np.stack([np.linalg.norm(p[:, b] - p[:, a], axis=-1) for a, b in BONES], 1)
    known = np.isfinite(lengths)
    ratio = np.where(known, lengths, 0).sum(1) / np.maximum((known * nominal).sum(1), 1e-9)
    return float(np.median(ratio))


def _own_rest(p: np.ndarray, rotation: np.ndarray, scale: float) -> np.ndarray:
    """(21, 3): generic directions with the hand's own bone lengths, and its own finger roots, brought to ``scale``."""
    nominal = rest_keypoints("right", scale)
    size = scale / hand_scale_of(p)  # 1 unless the caller fixed another size
    rest = nominal.copy()
    for name, chain in FINGERS.items():
        local = np.einsum("tji,tj->ti", rotation, p[:, chain[0]] - p[:, 0]) * size
        rest[chain[0]] = _finite_median(local, nominal[chain[0]])
        for a, b in pairwise(chain):
            length = np.linalg.norm(p[:, b] - p[:, a], axis=-1, keepdims=True) * size
            usual = float(np.linalg.norm(nominal[b] - nominal[a]))
            own = float(_finite_median(length, np.array([usual]))[0])
            rest[b] = rest[a] + FINGER_FRAMES[name][:, 0] * np.clip(own, 0.5 * usual, 1.8 * usual)
    return rest


def _finite_median(values: np.ndarray, default: np.ndarray) -> np.ndarray:
    values = values[np.isfinite(values).all(1)]
    return np.median(values, axis=0) if len(values) else default


def _root(p: np.ndarray, w: np.ndarray, rest: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(T, 3) wrist that puts the palm where it was seen; the wrist keypoint itself may be missing."""
    palm = list(PALM)
    guess = p[:, palm] - np.einsum("tij,kj->tki", rotation, rest[palm])
    weight = w[:, palm, None]
    return (guess * weight).sum(1) / np.maximum(weight.sum(1), 1e-9)


def _rays(image: ImageTerm, left: bool) -> np.ndarray:
    """(T, 21, 2) normalised picture coordinates, mirrored for a left hand."""
    rays = (np.asarray(image.px, float) - image.K[:2, 2]) / image.K[[0, 1], [0, 1]]
    return rays * np.array([-1.0, 1.0]) if left else rays


def _neighbour_median(angles: np.ndarray, index: np.ndarray, half: int = 3) -> np.ndarray:
    """Running median over frames; frames further than ``half`` from each other do not see each other's values."""
    out = np.empty_like(angles)
    start = 0
    for stop in [*(np.flatnonzero(np.diff(index) > half) + 1).tolist(), len(index)]:
        out[start:stop] = median_filter(angles[start:stop], size=(2 * half + 1, 1), mode="nearest")
        start = stop
    return out


class _Problem:
    """Residuals of all frames, as normal equations."""

    def __init__(self, points, weights, rest, sigma, prior, rays):
        self.points, self.weights, self.rest, self.sigma, self.rays = points, weights, rest, sigma, rays
        self.target = np.tile(dof.REST, (len(points), 1))
        self.stiffness = np.full((1, dof.N_ANGLES), prior) / dof.SPREAD

    def pull(self, target: np.ndarray, weight: float) -> None:
        """Replace the resting posture by neighbouring frames."""
        self.target, self.stiffness = target, np.full((1, dof.N_ANGLES), weight) / np.radians(10.0)

    def part(self, rows: slice) -> _Problem:
        out = object.__new__(_Problem)
        rays = self.rays and (self.rays[0][rows], self.rays[1][rows], *self.rays[2:])
        out.points, out.weights, out.rest, out.sigma, out.rays = (
            self.points[rows], self.weights[rows], self.rest, self.sigma, rays,
        )  # fmt: skip
        out.target, out.stiffness = self.target[rows], self.stiffness
        return out

    def residuals(self, position, rotation, angles, with_jacobian=True):
        """(T, R) and (T, R, D); robust weights are folded in."""
        p, jac = dof.points_and_jacobian(position, rotation, angles, self.rest)
        frames = len(p)
        w = self.weights
        if self.rays is None:
            r = (p - self.points) / self.sigma
            k = np.sqrt(w * _huber(np.linalg.norm(r, axis=-1), 4.0))[..., None]
            parts, jacs = [(r * k).reshape(frames, -1)], [(jac * (k / self.sigma)[..., None]).reshape(frames, 63, -1)]
        else:
            rays, sigma_px, focal, depth_sigma = self.rays
            z = np.maximum(p[..., 2:], 0.02)
            uv = p[..., :2] / z
            gain = (focal / sigma_px)[:, None, None]
            r = np.where(np.isfinite(rays), uv - rays, 0.0) * gain
            k = np.sqrt(w * _huber(np.linalg.norm(r, axis=-1), 2.5))[..., None]
            d_uv = (jac[..., :2, :] - uv[..., None] * jac[..., 2:, :]) / z[..., None]
            n = np.maximum(w.sum(1), 1e-9)[:, None]
            depth = p[..., 2] - self.points[..., 2]
            depth = depth - (w * depth).sum(1, keepdims=True) / n
            d_depth = jac[..., 2, :] - (w[..., None] * jac[..., 2, :]).sum(1, keepdims=True) / n[..., None]
            kd = np.sqrt(w * _huber(np.abs(depth) / depth_sigma, 2.5)) / depth_sigma
            parts = [(r * k).reshape(frames, -1), depth * kd]
            jacs = [(d_uv * (gain * k)[..., None]).reshape(frames, 42, -1), d_depth * kd[..., None]]
        parts.append((angles - self.target) * self.stiffness)
        tail = np.zeros((frames, dof.N_ANGLES, 6 + dof.N_ANGLES))
        tail[:, np.arange(dof.N_ANGLES), 6 + np.arange(dof.N_ANGLES)] = self.stiffness
        jacs.append(tail)
        return np.concatenate(parts, 1), np.concatenate(jacs, 1)


def _huber(r: np.ndarray, delta: float) -> np.ndarray:
    return np.minimum(1.0, delta / np.maximum(r, 1e-12))


def _solve(problem: _Problem, position, rotation, angles, iterations: int):
    """Levenberg-Marquardt in batches of frames."""
    out = [np.empty_like(position), np.empty_like(rotation), np.empty_like(angles)]
    for start in range(0, len(position), _BATCH):
        rows = slice(start, start + _BATCH)
        solved = _solve_batch(problem.part(rows), position[rows], rotation[rows], angles[rows], iterations)
        for whole, piece in zip(out, solved):
            whole[rows] = piece
    return tuple(out)


def _solve_batch(problem: _Problem, position, rotation, angles, iterations: int):
    frames = len(position)
    damping = np.full(frames, 1e-2)
    r, jac = problem.residuals(position, rotation, angles)
    cost = (r * r).sum(1)
    diagonal = np.arange(6 + dof.N_ANGLES)
    for _ in range(iterations):
        gradient = np.einsum("trd,tr->td", jac, r)
        hessian = np.swapaxes(jac, 1, 2) @ jac
        held = np.zeros((frames, 6 + dof.N_ANGLES), bool)
        held[:, 6:] = ((angles <= dof.LOW) & (gradient[:, 6:] > 0)) | ((angles >= dof.HIGH) & (gradient[:, 6:] < 0))
        hessian[:, diagonal, diagonal] += damping[:, None] * hessian[:, diagonal, diagonal] + 1e-9
        hessian = np.where(held[:, :, None] | held[:, None, :], 0.0, hessian)
        hessian[:, diagonal, diagonal] += held
        step = -np.linalg.solve(hessian, np.where(held, 0.0, gradient)[..., None])[..., 0]
        step[:, 3:] = np.clip(step[:, 3:], -0.6, 0.6)
        new = (
            position + step[:, :3],
            Rotation.from_rotvec(step[:, 3:6]).as_matrix() @ rotation,
            np.clip(angles + step[:, 6:], dof.LOW, dof.HIGH),
        )
        r_new, jac_new = problem.residuals(*new)
        cost_new = (r_new * r_new).sum(1)
        better = cost_new < cost
        position = np.where(better[:, None], new[0], position)
        rotation = np.where(better[:, None, None], new[1], rotation)
        angles = np.where(better[:, None], new[2], angles)
        r, jac = np.where(better[:, None], r_new, r), np.where(better[:, None, None], jac_new, jac)
        gain = np.where(better, (cost - cost_new) / np.maximum(cost, 1e-12), 0.0)
        cost = np.where(better, cost_new, cost)
        damping = np.clip(np.where(better, damping * 0.3, damping * 8.0), 1e-7, 1e4)
        if ((gain < 1e-6).all() and (damping > 1.0).all()) or (better & (gain < 1e-7)).all():
            break
    return position, rotation, angles


def _result(points, ok, left, position, rotation, angles, rest, scale, image) -> HandFit:
    frames = len(points)
    posed = np.full((frames, 21, 3), np.nan)
    posed[ok] = dof.points_and_jacobian(position, rotation, angles, rest)[0]
    theta, wrist, rotvec = dof.to_theta(angles), position, Rotation.from_matrix(rotation).as_rotvec()
    if left:
        theta, wrist, rotvec = mirror_theta(theta), wrist * MIRROR_X, rotvec * MIRROR_ROTVEC
        posed, rest = posed * MIRROR_X, rest * MIRROR_X
    residual = np.full(frames, np.nan)
    distance = np.linalg.norm(posed - points, axis=-1)[ok]
    residual[ok] = np.nanmean(distance, axis=1)
    residual_px = np.full(frames, np.nan)
    if image is not None:
        projected = posed[..., :2] / posed[..., 2:] * image.K[[0, 1], [0, 1]] + image.K[:2, 2]
        residual_px[ok] = np.nanmean(np.linalg.norm(projected - image.px, axis=-1)[ok], axis=1)
    return HandFit(
        _spread_out(theta, ok), _spread_out(wrist, ok), _spread_out(rotvec, ok), float(scale), residual, residual_px,
        rest, _spread_out(angles, ok),
    )  # fmt: skip


def _spread_out(values: np.ndarray, ok: np.ndarray) -> np.ndarray:
    out = np.full((len(ok), *values.shape[1:]), np.nan)
    out[ok] = values
    return out


def _nothing(frames: int, side: Side, scale: float) -> HandFit:
    nan = np.full((frames, 45), np.nan)
    return HandFit(
        nan, nan[:, :3].copy(), nan[:, :3].copy(), scale, nan[:, 0].copy(), nan[:, 0].copy(),
        rest_keypoints(side, scale), nan[:, : dof.N_ANGLES].copy(),
    )  # fmt: skip
