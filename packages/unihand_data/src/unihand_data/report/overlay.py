"""Hand skeletons of an episode row projected into its stored picture.

Legend: T frames, J = 21 joints (OpenPose order). Pixels are those of the stored video, pixel centres at integers.
"""

from __future__ import annotations

import numpy as np

from unihand_data.shards.rows import EpisodeRow
from unihand_data.values.hands import BONES, Side

COLOURS: dict[Side, tuple[int, int, int]] = {"right": (255, 140, 30), "left": (40, 160, 255)}  # RGB
_EEF: dict[Side, int] = {"right": 0, "left": 9}
_THETA: dict[Side, int] = {"right": 110, "left": 155}


def dense_state(row: EpisodeRow) -> tuple[np.ndarray, np.ndarray]:
    """(T, 200) values and mask of the row's state; zeros where a slot is not active."""
    values = np.zeros((row.frames, 200), np.float32)
    mask = np.zeros((row.frames, 200), bool)
    values[:, row.state_slots] = row.state
    mask[:, row.state_slots] = row.state_mask
    return values, mask


def keypoints_world(row: EpisodeRow, side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Posed skeleton of one hand: (T, 21, 3) m in the row's world and (T,) whether the hand has a pose at all.

    The pose is taken where the estimator had one (seen or filled in), also where the EEF slots are masked because the
    camera's motion is unknown: the picture shows exactly what was measured.
    """
    from unihand_data.hands import skeleton

    values, _ = dense_state(row)
    hand = next((h for h in row.hands if h.side == side), None)
    valid = hand.valid if hand is not None else np.zeros(row.frames, bool)
    scale = hand.hand_scale if hand is not None else 1.0
    eef, theta = _EEF[side], _THETA[side]
    points = skeleton.forward(
        values[:, theta : theta + 45], values[:, eef : eef + 3], values[:, eef + 3 : eef + 6], side, scale
    )
    return points, np.asarray(valid, bool)


def keypoints_pixels(row: EpisodeRow, side: Side, view: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(T, 21, 2) pixels in the stored video of ``view`` and (T,) whether all joints lie in front of the camera."""
    camera = row.cameras[view]
    points, valid = keypoints_world(row, side)
    if camera.intrinsics is None or camera.poses is None:
        return np.full((row.frames, 21, 2), np.nan), np.zeros(row.frames, bool)
    rotation, origin = camera.poses[:, :3, :3].astype(float), camera.poses[:, :3, 3].astype(float)
    local = np.einsum("tji,tkj->tki", rotation, points - origin[:, None])
    fx, fy, cx, cy = camera.intrinsics
    depth = local[..., 2]
    valid = valid & (depth > 0.02).all(axis=1)
    safe = np.where(depth > 1e-6, depth, np.nan)
    return np.stack([fx * local[..., 0] / safe + cx, fy * local[..., 1] / safe + cy], axis=-1), valid


def draw_hand(image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], *, seen: bool = True) -> None:
    """Draw one skeleton (21, 2) into an RGB uint8 picture in place; a filled-in hand is thin and without joints."""
    import cv2

    if not np.isfinite(points).all():
        return
    thick = max(1, round(image.shape[1] / 320)) if seen else 1
    xy = [(round(float(x) * 8), round(float(y) * 8)) for x, y in points]
    for a, b in BONES:
        cv2.line(image, xy[a], xy[b], colour, thick, cv2.LINE_AA, 3)
    if seen:
        for point in xy:
            cv2.circle(image, point, thick * 8, (255, 255, 255), -1, cv2.LINE_AA, 3)


def draw_row(row: EpisodeRow, frame: int, image: np.ndarray, pixels: dict[Side, tuple[np.ndarray, np.ndarray]]) -> None:
    """Draw both hands of one frame, scaled from the stored video's size to ``image``'s, in place."""
    camera = row.cameras[0]
    scale = np.array([image.shape[1] / camera.width, image.shape[0] / camera.height])
    for side, (points, valid) in pixels.items():
        hand = next((h for h in row.hands if h.side == side), None)
        if hand is None or not valid[frame]:
            continue
        draw_hand(image, (points[frame] + 0.5) * scale - 0.5, COLOURS[side], seen=not bool(hand.interpolated[frame]))
