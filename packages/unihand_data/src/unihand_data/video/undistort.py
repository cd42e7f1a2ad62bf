"""From a distorted camera to a recorded pinhole.

Legend: H height, W width, N points. Pixel centres at integers, camera axes OpenCV (x right, y down, z forward).

Distortion models, from the OpenCV documentation (calib3d, "Detailed Description" and "Fisheye camera model"):
``radtan``: x'' = x q + 2 p1 x y + p2 (r^2 + 2 x^2) with
q = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6);
``kannala_brandt``: theta = atan r, r_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8).
"""

from __future__ import annotations

from dataclasses import astuple
from functools import lru_cache
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.values.camera import Intrinsics

_OUTSIDE = -1e4  # a source pixel that is in no picture


def project(points: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """(N, 3) points in camera axes to (N, 2) pixels. NaN behind the camera and where the lens polynomial has folded
    back (a calibration says nothing about rays beyond that)."""
    z = points[..., 2]
    ahead = z > 1e-12
    xy = points[..., :2] / np.where(ahead, z, 1.0)[..., None]
    u, v = _distort(xy[..., 0], xy[..., 1], camera)
    out = np.stack([u * camera.fx + camera.cx, v * camera.fy + camera.cy], -1)
    out[~ahead] = np.nan
    return out


def _distort(x: np.ndarray, y: np.ndarray, camera: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    if camera.model == "none":
        return x, y
    r = np.hypot(x, y)
    if camera.model == "kannala_brandt":
        k = _coefficients(camera, 4)
        theta = np.arctan(r)
        theta_d = theta * np.polyval([*k[::-1], 1.0], theta * theta)
        scale = np.where(r > 1e-12, theta_d / np.where(r > 1e-12, r, 1.0), 1.0)
        scale = np.where(theta <= _fold(camera), scale, np.nan)
        return x * scale, y * scale
    k1, k2, p1, p2, k3, k4, k5, k6 = _coefficients(camera, 8)
    r2 = r * r
    radial = np.polyval([k3, k2, k1, 1.0], r2) / np.polyval([k6, k5, k4, 1.0], r2)
    radial = np.where(r <= _fold(camera), radial, np.nan)
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


def _coefficients(camera: Intrinsics, n: int) -> tuple[float, ...]:
    if len(camera.distortion) > n or not np.isfinite(camera.distortion).all():
        raise Reject(Reason.BAD_VALUE, f"{camera.model} takes at most {n} finite coefficients, not {camera.distortion}")
    return (*camera.distortion, *([0.0] * (n - len(camera.distortion))))


def _fold(camera: Intrinsics) -> float:
    """First radius (``radtan``) or angle (``kannala_brandt``) at which the distorted radius stops growing."""
    return _fold_of(camera.model, tuple(camera.distortion))


@lru_cache(maxsize=64)
def _fold_of(model: str, distortion: tuple[float, ...]) -> float:
    plain = Intrinsics(1, 1, 0, 0, 1, 1, model, distortion)  # type: ignore[arg-type]
    if model == "kannala_brandt":
        s = np.linspace(0, np.pi / 2, 20001)
        d = s * np.polyval([*_coefficients(plain, 4)[::-1], 1.0], s * s)
    else:
        k1, k2, _, _, k3, k4, k5, k6 = _coefficients(plain, 8)
        s = np.linspace(0, 20, 20001)
        bottom = np.polyval([k6, k5, k4, 1.0], s * s)
        pole = np.flatnonzero(bottom <= 0)
        s, bottom = (s[: pole[0]], bottom[: pole[0]]) if len(pole) else (s, bottom)
        d = s * np.polyval([k3, k2, k1, 1.0], s * s) / bottom
    falls = np.flatnonzero(np.diff(d) <= 0)
    return float(s[falls[0]]) if len(falls) else (np.inf if model == "radtan" else float(s[-1]))


def rectified_intrinsics(
    source: Intrinsics,
    *,
    hfov_deg: float | None = None,
    focal: float | None = None,
    size: tuple[int, int] | None = None,
) -> Intrinsics:
    """The pinhole a source is rectified to: square pixels, principal point in the middle of the picture.

    Args:
        source: the distorted camera.
        hfov_deg: horizontal field of view of the result (below 180); or
        focal: its focal length in pixels. Neither: the source's mean focal length scaled to ``size``, which keeps the
            resolution in the middle of the picture and loses the border of a fisheye.
        size: (width, height) of the result; the source's by default.
    """
    if hfov_deg is not None and focal is not None:
        raise ValueError("give hfov_deg or focal, not both")
    width, height = size or (source.width, source.height)
    if hfov_deg is not None:
        if not 0 < hfov_deg < 180:
            raise ValueError(f"a pinhole cannot see {hfov_deg} degrees")
        f = width / 2 / np.tan(np.radians(hfov_deg) / 2)
    elif focal is not None:
        f = focal
    else:
        f = (source.fx + source.fy) / 2 * width / source.width
    return Intrinsics(
        float(f), float(f), (width - 1) / 2, (height - 1) / 2, width, height, "none", (), source.source
    )  # fmt: skip


def rectify_map(source: Intrinsics, target: Intrinsics) -> np.ndarray:
    """(H, W, 2) float32: for every pixel of the rectified picture, the (x, y) in the source picture it shows;
    far outside for rays the source does not see. Cached; do not write to it."""
    if target.model != "none":
        raise ValueError("the target of a rectification is a pinhole")
    return _map(_key(source), _key(target))


def _key(camera: Intrinsics) -> tuple:
    values = astuple(camera)
    return (*values[:-2], tuple(float(k) for k in values[-2]), values[-1])


@lru_cache(maxsize=8)
def _map(source_key: tuple, target_key: tuple) -> np.ndarray:
    source, target = Intrinsics(*source_key), Intrinsics(*target_key)
    x = (np.arange(target.width) - target.cx) / target.fx
    y = (np.arange(target.height) - target.cy) / target.fy
    rays = np.stack([*np.meshgrid(x, y), np.ones((target.height, target.width))], -1)
    out = np.nan_to_num(project(rays, source), nan=_OUTSIDE).clip(_OUTSIDE, -_OUTSIDE).astype(np.float32)
    out.setflags(write=False)
    return out


def seen_share(source: Intrinsics, target: Intrinsics) -> float:
    """Share of the rectified picture that the source picture shows; the rest is black."""
    m = rectify_map(source, target)
    inside = (m[..., 0] >= 0) & (m[..., 0] <= source.width - 1) & (m[..., 1] >= 0) & (m[..., 1] <= source.height - 1)
    return float(inside.mean())


def rectify(picture: np.ndarray, source: Intrinsics, target: Intrinsics) -> np.ndarray:
    """Resample a uint8 picture (source.height, source.width[, 3]) to the target pinhole, bilinear, black outside."""
    import cv2

    if picture.shape[:2] != (source.height, source.width):
        raise ValueError(
            f"a picture of {picture.shape[1]}x{picture.shape[0]} for a {source.width}x{source.height} camera"
        )
    m = rectify_map(source, target)
    no_second_map: Any = None
    return cv2.remap(picture, m, no_second_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
