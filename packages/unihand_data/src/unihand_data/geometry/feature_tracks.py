"""Points followed through a clip, hands left out: what camera motion is estimated from. Runs in a worker process.

Legend: T frames, N points. Pixels are those of the clip's view, pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unihand_data.values.clip import ClipRef
from unihand_data.values.hands import FINGERS, WRIST
from unihand_data.video.clip_message import clip_from_message

_LK: dict[str, Any] = {"winSize": (21, 21), "maxLevel": 4, "criteria": (3, 20, 0.03)}  # EPS | COUNT


def build(max_side_px: int, max_points: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """For ``KillableWorker``: request ``{"clip": message, "left": (T, 21, 2), "right": (T, 21, 2)}`` with NaN where a
    hand is not seen; answer ``{"frame", "track": (N,) int64, "xy": (N, 2) float64}``."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        clip = clip_from_message(request["clip"])
        frame, track, xy = follow(clip, request["left"], request["right"], max_side_px, max_points)
        return {"frame": frame, "track": track, "xy": xy}

    return answer


def follow(
    clip: ClipRef, left: np.ndarray, right: np.ndarray, max_side_px: int, max_points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow corners with pyramidal Lucas-Kanade, checked backwards; corners on hands and forearms are left out.

    Returns:
        frame (N,), track id (N,) and xy (N, 2) of every observation, sorted by frame.
    """
    import cv2

    from unihand_data.video.decode import iter_frames
    from unihand_data.video.killable_child import heartbeat

    view = clip.view_intrinsics
    full = (view.width, view.height) if view is not None else (clip.width, clip.height)
    scale = min(1.0, max_side_px / max(full))
    size = (max(16, round(full[0] * scale)), max(16, round(full[1] * scale)))
    factor = np.array(size) / np.array(full)

    before: np.ndarray | None = None
    unset: Any = None
    points, ids = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
    frames, tracks, places = [], [], []
    born = 0
    for index, _, picture in iter_frames(clip, size=size, rgb=False):
        if index % 30 == 0:
            heartbeat()
        free = _free_area(size, [(p[index] + 0.5) * factor - 0.5 for p in (left, right)])
        if before is not None and len(points):
            ahead, ok, _ = cv2.calcOpticalFlowPyrLK(before, picture, points, unset, **_LK)
            back, ok_back, _ = cv2.calcOpticalFlowPyrLK(picture, before, ahead, unset, **_LK)
            keep = (ok[:, 0] == 1) & (ok_back[:, 0] == 1) & (np.abs(back - points).max(axis=1) < 0.7)
            keep &= (ahead > 2).all(axis=1) & (ahead < np.array(size) - 3).all(axis=1)
            cell = np.clip(np.nan_to_num(ahead).astype(int), 0, np.array(size) - 1)
            keep &= free[cell[:, 1], cell[:, 0]] > 0
            points, ids = ahead[keep], ids[keep]
        if len(points) < 0.7 * max_points:
            around = free.copy()
            for x, y in points.astype(int).tolist():
                cv2.circle(around, (x, y), 9, 0, -1)
            new = cv2.goodFeaturesToTrack(picture, max_points - len(points), 0.005, 9, mask=around)
            if new is not None:
                points = np.concatenate([points, new.reshape(-1, 2)])
                ids = np.concatenate([ids, np.arange(born, born + len(new))])
                born += len(new)
        frames.append(np.full(len(points), index, np.int64))
        tracks.append(ids.copy())
        places.append((points.astype(np.float64) + 0.5) / factor - 0.5)
        before = picture
    if not frames:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2))
    return np.concatenate(frames), np.concatenate(tracks), np.concatenate(places)


def _free_area(size: tuple[int, int], hands: list[np.ndarray]) -> np.ndarray:
    """(H, W) uint8, 255 where no hand or forearm is. The forearm is taken to go on from the wrist, away from the
    middle knuckle, for three palms."""
    import cv2

    area: np.ndarray = np.full((size[1], size[0]), 255, np.uint8)
    for hand in hands:
        known = np.isfinite(hand).all(axis=1)
        if known.sum() < 3:
            continue
        hand = np.clip(hand, -1e4, 1e4)  # a hand at the lens projects anywhere
        cv2.fillConvexPoly(area, cv2.convexHull(hand[known].astype(np.int32)), 0)
        wrist, knuckle = hand[WRIST], hand[FINGERS["middle"][0]]
        palm = 0.0
        if known[WRIST] and known[FINGERS["middle"][0]]:
            palm = min(float(np.linalg.norm(knuckle - wrist)), float(max(size)))
            elbow = np.clip(wrist + 3 * (wrist - knuckle), -3e4, 3e4)
            thick = max(3, round(0.9 * palm))
            cv2.line(area, tuple(wrist.astype(int).tolist()), tuple(elbow.astype(int).tolist()), 0, thick)
        border = max(3, round(0.25 * palm)) | 1
        area = np.asarray(cv2.erode(area, np.ones((border, border), np.uint8)))
    return area
