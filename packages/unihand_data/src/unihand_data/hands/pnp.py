"""Metric place of a hand in the camera from a landmark model's metric landmarks and the picture.

Legend: T frames, J = 21 keypoints. OpenCV camera axes, metres, pixels with centres at integers.

A landmark model gives keypoints in metres about the hand's own middle, and their pixels. The rotation and translation
that bring the first onto the second (perspective n-point) place the hand in the camera. The size of that hand is a
guess of the model, different in every frame; it is replaced by one size for the clip, so depth changes only when the
hand's picture does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unihand_data.hands.skeleton import rest_keypoints
from unihand_data.values.camera import Intrinsics

_PALM_BONES = [(0, 5), (0, 9), (0, 13), (0, 17), (5, 17)]


@dataclass
class PnpResult:
    """Attributes:
    keypoints: (T, 21, 3) m in the camera; NaN where nothing was found.
    reprojection: (T,) mean pixel distance over the hand's size in the picture.
    size_px: (T,) longest palm distance in the picture.
    """

    keypoints: np.ndarray
    reprojection: np.ndarray
    size_px: np.ndarray


def palm_size(points: np.ndarray) -> np.ndarray:
    """(T,) m: mean length of the palm's bones of (T, 21, 3) keypoints; bending fingers do not change it."""
    return np.mean([np.linalg.norm(points[:, b] - points[:, a], axis=-1) for a, b in _PALM_BONES], axis=0)


def undistorted_px(px: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """(..., 2) pixels of ``camera`` to pixels of the pinhole with the same matrix."""
    if camera.model == "none" or not any(camera.distortion):
        return px
    import cv2

    flat = np.asarray(px, float).reshape(-1, 1, 2)
    known = np.isfinite(flat).all((1, 2))
    out = np.full_like(flat, np.nan)
    k = np.array(camera.distortion, float)
    if known.any():
        if camera.model == "kannala_brandt":
            out[known] = cv2.fisheye.undistortPoints(flat[known], camera.K, k, P=camera.K)
        else:
            out[known] = cv2.undistortPoints(flat[known], camera.K, k, P=camera.K)
    return out.reshape(np.shape(px))


def solve_hands(world: np.ndarray, px: np.ndarray, camera: Intrinsics, hand_scale: float = 1.0) -> PnpResult:
    """Place hands in the camera.

    Args:
        world: (T, 21, 3) m, metric landmarks about any origin, axes like the camera's up to a rotation.
        px: (T, 21, 2) pixels of the same keypoints, already without distortion.
        camera: pinhole intrinsics.
        hand_scale: size of the hand over the nominal one; the landmarks are brought to it.

    Frames with a NaN are left NaN, as are hands that end up behind the camera.
    """
    import cv2

    frames = len(world)
    nominal = palm_size(rest_keypoints("right", hand_scale)[None])[0]
    size = palm_size(world)
    placed, error, size_px = np.full((frames, 21, 3), np.nan), np.full(frames, np.nan), np.full(frames, np.nan)
    for t in range(frames):
        if not (np.isfinite(world[t]).all() and np.isfinite(px[t]).all() and size[t] > 1e-6):
            continue
        metric = (world[t] - world[t].mean(0)) * nominal / size[t]
        picture = np.ascontiguousarray(px[t], dtype=np.float64)
        found, rvec, tvec = cv2.solvePnP(metric, picture, camera.K, None, flags=cv2.SOLVEPNP_SQPNP)
        if not found:
            continue
        rvec, tvec = cv2.solvePnPRefineLM(metric, picture, camera.K, None, rvec, tvec)
        points = metric @ cv2.Rodrigues(rvec)[0].T + tvec.ravel()
        if not np.isfinite(points).all() or (points[:, 2] < 0.03).any():
            continue
        seen = points[:, :2] / points[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        size_px[t] = _longest(px[t])
        error[t] = np.linalg.norm(seen - px[t], axis=1).mean() / max(size_px[t], 1e-6)
        placed[t] = points
    return PnpResult(placed, error, size_px)


def _longest(px: np.ndarray) -> float:
    palm = px[[0, 1, 5, 9, 13, 17]]
    return float(np.linalg.norm(palm[:, None] - palm[None], axis=-1).max())
