"""Metric scale and the vertical of a map without units, from hands of known size.

Legend: T frames, N observations, M points of the map (arbitrary scale). Camera axes OpenCV.
"""

from __future__ import annotations

import numpy as np

from unihand_data.values.estimator import HandResult

_RING = 1.2  # points within this many hand sizes of a hand are its surroundings
_CONTACT = 90.0  # percentile of hand depth over surface depth that stands for touching


def metric_scale(
    hands: HandResult,
    pose: np.ndarray,
    valid: np.ndarray,
    points: np.ndarray,
    point_track: np.ndarray,
    frame: np.ndarray,
    track: np.ndarray,
    xy: np.ndarray,
) -> tuple[float, float, int]:
    """Metres per unit of the map.

    A hand is in front of the surfaces around it and touches some of them some of the time. So in every frame the ratio
    of the hand's metric depth to the map's depth of the points around it is at most the scale, and it reaches the scale
    at contact: the 90th percentile over frames is taken.

    Returns:
        scale (NaN where no frame votes), relative MAD of the votes about their median, number of votes.
    """
    votes = []
    depth_of = {int(i): p for i, p in zip(point_track, points)}
    starts = np.searchsorted(frame, np.arange(len(valid) + 1))
    for t in np.flatnonzero(valid).tolist():
        rows = np.arange(starts[t], starts[t + 1])
        rows = rows[[int(i) in depth_of for i in track[rows]]] if len(rows) else rows
        if len(rows) < 4:
            continue
        world = np.array([depth_of[int(i)] for i in track[rows]])
        depth = (world - pose[t, :3, 3]) @ pose[t, :3, 2]
        for hand in (hands.left, hands.right):
            if not hand.valid[t] or hand.interpolated[t]:
                continue
            px, z = hand.keypoints_px[t], hand.keypoints[t, :, 2]
            size = float(np.ptp(px, axis=0).max())
            gap = np.linalg.norm(xy[rows][:, None] - px[None], axis=2)
            near = (gap.min(axis=1) < _RING * size) & (depth > 0)
            if near.sum() < 3:
                continue
            ratio = z[gap.argmin(axis=1)[near]] / depth[near]
            votes.append(float(np.median(ratio)))
    if len(votes) < 5:
        return float("nan"), float("nan"), len(votes)
    value = np.array(votes)
    scale = float(np.percentile(value, _CONTACT))
    median = float(np.median(value))
    return scale, float(1.4826 * np.median(np.abs(value - median)) / median), len(votes)


def table_normal(points: np.ndarray, poses: np.ndarray, *, rounds: int = 200) -> np.ndarray | None:
    """Up direction from the dominant plane in front of the cameras, or None.

    RANSAC over the map's points (seeded by their number, so the same map gives the same answer). The plane counts
    when half of the points lie within 3 % of their median distance and its normal is within 75 degrees of the first
    camera's up: a table seen from above, not a wall.

    Args:
        points: (M, 3) m in the first camera's frame. poses: camera-to-world of the placed frames.
    """
    if len(points) < 30:
        return None
    distance = float(np.median(np.linalg.norm(points - poses[0, :3, 3], axis=1)))
    limit = 0.03 * distance
    rng = np.random.default_rng(len(points))
    best, inliers = None, np.zeros(len(points), bool)
    for _ in range(rounds):
        a, b, c = points[rng.choice(len(points), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length < 1e-9:
            continue
        hit = np.abs((points - a) @ (normal / length)) < limit
        if hit.sum() > inliers.sum():
            best, inliers = normal / length, hit
    if best is None or inliers.mean() < 0.5:
        return None
    centred = points[inliers] - points[inliers].mean(axis=0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][2]
    up = -poses[0, :3, 1]
    if normal @ (poses[:, :3, 3].mean(axis=0) - points[inliers].mean(axis=0)) < 0:
        normal = -normal  # the camera is above the table
    return normal if normal @ up > np.cos(np.radians(75.0)) else None
