"""Checked arrays, camera trajectories and frame times for readers of annotated motion.

Legend: T rows of the annotation, N frames of the video.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.spec import CameraSpec
from unihand_data.untrusted.arrays import array, rigid
from unihand_data.values.camera import CameraTrack, Intrinsics

#: turns a world whose up axis is the key into one whose z is up (rows of the matrix: new axes in old coordinates)
UP_TO_Z = {
    "z": np.eye(3),
    "y": np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]),
    "-y": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
    "x": np.array([[0.0, 0, -1.0], [0, 1.0, 0], [1.0, 0, 0]]),
}
MAX_ROWS = 10_000_000
#: hands further from the camera than this are a wrong unit (third-person cameras stand 1 to 2 m away)
MAX_DEPTH_M = 5.0


def inverse(pose: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms (T, 4, 4)."""
    out = np.zeros_like(pose)
    rt = pose[:, :3, :3].transpose(0, 2, 1)
    out[:, :3, :3] = rt
    out[:, :3, 3] = -np.einsum("tij,tj->ti", rt, pose[:, :3, 3])
    out[:, 3, 3] = 1.0
    return out


def camera_to_world(raw: Any, spec: CameraSpec, source: str) -> tuple[np.ndarray, np.ndarray]:
    """A data set's camera poses -> (T, 4, 4) camera-to-world with OpenCV axes in metres, and which rows hold.

    The world stays the data set's own (see :func:`camera_track` for turning it upright)."""
    pose, ok = rigid(raw, source)
    pose = pose.copy()
    pose[:, :3, 3] *= spec.unit_in_m
    if spec.pose == "world_to_camera":
        pose[ok] = inverse(pose[ok])
    if spec.axes == "opengl":
        pose[:, :3, 1:3] *= -1.0  # camera y and z turn round
    for _ in range(spec.turned // 90):  # a picture turned clockwise: its x axis is the old -y, its y axis the old x
        pose[:, :3, :2] = np.stack([-pose[:, :3, 1], pose[:, :3, 0]], axis=-1)
    return pose, ok


def camera_track(pose: np.ndarray, valid: np.ndarray, spec: CameraSpec) -> CameraTrack:
    """The trajectory a recording carries. Where the up axis is known the world is turned so that z is up."""
    pose = pose.copy()
    if spec.world_up in UP_TO_Z:
        turn = UP_TO_Z[spec.world_up]
        pose[:, :3] = turn @ pose[:, :3]
    pose[~valid] = np.nan
    return CameraTrack(pose, valid.copy(), method="given", world="gravity" if spec.world_up in UP_TO_Z else "camera")


def pinhole(k: Any, width: float, height: float, source: str, model: str = "none", distortion: Any = ()) -> Intrinsics:
    """Intrinsics from a 3x3 matrix, checked to be plausible for the picture's size (0: unknown, filled from cx, cy).

    Raises:
        Reject: BAD_VALUE for a focal length or centre no camera has."""
    m = array(k, (3, 3), source)
    fx, fy, cx, cy = m[0, 0], m[1, 1], m[0, 2], m[1, 2]
    if not width or not height:
        width, height = 2 * round(cx), 2 * round(cy)
    if not (1 <= width <= 1 << 15 and 1 <= height <= 1 << 15):
        raise Reject(Reason.BAD_VALUE, f"{source}: a picture of {width} x {height}")
    size = max(width, height)
    if not (0.05 * size < fx < 20 * size and 0.05 * size < fy < 20 * size and 0 < cx < width and 0 < cy < height):
        raise Reject(
            Reason.BAD_VALUE, f"{source}: fx {fx:.4g}, fy {fy:.4g}, cx {cx:.4g}, cy {cy:.4g} fit no {width} x {height}"
        )
    coeffs = tuple(float(v) for v in array(list(distortion), (None,), f"{source}, distortion"))
    kind: Any = model if coeffs else "none"
    return Intrinsics(float(fx), float(fy), float(cx), float(cy), int(width), int(height), kind, coeffs)


def in_front(depth: np.ndarray, valid: np.ndarray, source: str) -> None:
    """Refuse hands that lie behind the camera or out of any arm's reach: axes, direction of the pose or unit of this
    copy contradict the YAML.

    Raises:
        Reject: CONTRADICTION if the median depth (m) of the valid rows is not within 0 .. :data:`MAX_DEPTH_M`."""
    seen = depth[valid & np.isfinite(depth)]
    if len(seen) and not 0 < np.median(seen) <= MAX_DEPTH_M:
        raise Reject(
            Reason.CONTRADICTION,
            f"{source}: the hands lie {np.median(seen):.2f} m before the camera; this copy's camera pose, axes or unit "
            "are not those of the YAML",
        )


def row_times(video: str | None, rows: int, fps: float | None, source: str, slack: int = 3) -> np.ndarray:
    """Times (s) of annotation rows that count the video's frames: the frames' own presentation times.

    Without a video the published rate is used. Up to ``slack`` rows more than frames are left out.

    Raises:
        Reject: CONTRADICTION (rows and frames differ by more), MISSING_FIELD (neither video nor rate)."""
    if video is None:
        if fps is None:
            raise Reject(Reason.MISSING_FIELD, f"{source}: neither a video nor a frame rate gives its rows a time")
        return np.arange(rows) / fps
    from unihand_data.sources.isolated import frame_times

    pts = frame_times(video)
    if rows > len(pts) + slack:
        raise Reject(
            Reason.CONTRADICTION, f"{source}: {rows} rows for a video of {len(pts)} frames; they belong to another cut"
        )
    return pts[:rows]
