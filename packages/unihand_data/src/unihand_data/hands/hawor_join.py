"""Windows of a long clip put together again.

Legend: N rows of the clip, [a, b) of them per window, W windows. Hands are in the camera and need no alignment; each
window's world is its own first camera, so worlds are aligned where windows overlap.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.values.camera import CameraTrack
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack

_PER_ROW = ("wrist_pos", "wrist_rot", "theta", "keypoints", "keypoints_px", "confidence", "valid", "interpolated")


def seams(spans: list[tuple[int, int]]) -> list[int]:
    """First row of every window that is taken from it, and the end: the middle of each overlap."""
    middles = [(a + b) // 2 for (_, b), (a, _) in pairwise(spans)]
    return [spans[0][0], *middles, spans[-1][1]]


def join_tracks(parts: list[HandResult], spans: list[tuple[int, int]], rows: int) -> list[HandTrack]:
    """Left and right track over all rows. Beta is the mean over seen rows."""
    cuts, out = seams(spans), []
    for side in ("left", "right"):
        tracks: list[HandTrack] = [getattr(p, side) for p in parts]
        whole = HandTrack.empty(side, rows, hand_model="mano", estimator=tracks[0].estimator)
        for track, (a, _), begin, end in zip(tracks, spans, cuts[:-1], cuts[1:]):
            for name in _PER_ROW:
                getattr(whole, name)[begin:end] = getattr(track, name)[begin - a : end - a]
        weights = np.array([float((t.valid & ~t.interpolated).sum()) for t in tracks])
        if weights.any():
            whole.beta = np.average([t.beta for t in tracks], axis=0, weights=weights)
        out.append(whole)
    return out


def join_cameras(
    cameras: list[CameraTrack], spans: list[tuple[int, int]], rows: int, figures: dict[str, float]
) -> CameraTrack:
    """One trajectory in the first window's world.

    Each window is moved rigidly onto the one before it by the mean over the rows both have; ``stitch_m`` is the largest
    distance that is left there. Figures of the parts are kept at their worst (``scale`` at its mean)."""
    cuts = seams(spans)
    pose, valid = np.full((rows, 4, 4), np.nan), np.zeros(rows, bool)
    turned = [cameras[0].pose]
    worst = 0.0
    for k in range(1, len(cameras)):
        (a0, b0), (a1, _) = spans[k - 1], spans[k]
        before, after = turned[-1][a1 - a0 :], cameras[k].pose[: b0 - a1]
        both = np.isfinite(before).all((1, 2)) & np.isfinite(after).all((1, 2))
        move = _rigid_mean(before[both], after[both]) if both.any() else np.full((4, 4), np.nan)
        if both.any():
            worst = max(worst, float(np.linalg.norm((move @ after[both] - before[both])[:, :3, 3], axis=1).max()))
        turned.append(move @ cameras[k].pose)
    for p, camera, (a, _), begin, end in zip(turned, cameras, spans, cuts[:-1], cuts[1:]):
        pose[begin:end] = p[begin - a : end - a]
        valid[begin:end] = camera.valid[begin - a : end - a] & np.isfinite(pose[begin:end]).all((1, 2))
    if len(cameras) > 1:
        figures["stitch_m"] = worst
    merged: dict[str, float] = {}
    for name in {n for c in cameras for n in c.figures}:
        values = [c.figures[name] for c in cameras if name in c.figures]
        merged[name] = float(np.mean(values) if name == "scale" else np.max(values))
    return CameraTrack(pose, valid, cameras[0].method, "camera", True, merged)


def _rigid_mean(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The rigid motion A (4, 4) that brings poses ``source`` (M, 4, 4) onto ``target`` on average."""
    turn = Rotation.from_matrix(target[:, :3, :3] @ source[:, :3, :3].transpose(0, 2, 1)).mean().as_matrix()
    out = np.eye(4)
    out[:3, :3] = turn
    out[:3, 3] = (target[:, :3, 3] - source[:, :3, 3] @ turn.T).mean(axis=0)
    return out
