"""How the camera moved over a clip, on a CPU: recognised as static, else structure from motion with the hands masked
out and metric scale from the hands, else honestly unknown.

Legend: T frames, N observations of followed points, M points of the map.
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
from pydantic import Field

from unihand_data.config import Settings, runtime_field
from unihand_data.errors import Reject
from unihand_data.geometry.point_tracks import background_shift, keyframes, spread_tracks, weakest_link
from unihand_data.geometry.scale import metric_scale, table_normal
from unihand_data.values.camera import CameraTrack
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import CameraEstimator, HandResult
from unihand_data.video.clip_message import clip_to_message
from unihand_data.video.killable import KillableWorker, WorkerError

log = logging.getLogger(__name__)


class CameraSettings(Settings):
    """``auto``: static, else colmap, else none. ``none`` knows no motion: the row's EEF slots are masked."""

    estimator: Literal["auto", "static", "none"] = "auto"
    max_side_px: int = Field(default=960, ge=160)  # points are followed in a picture of this size
    max_points: int = Field(default=600, ge=50)
    static_px: float = Field(default=0.0025, ge=0, le=1)  # of the longer side: a smaller shift is a static camera
    keyframe_px: float = Field(default=0.03, gt=0, le=1)  # of the longer side: median shift that makes a new keyframe
    keyframe_max_s: float = Field(default=1.0, gt=0)
    min_tri_angle_deg: float = Field(default=1.0, gt=0, le=180)
    min_keyframe_ratio: float = Field(default=0.5, ge=0, le=1)  # of the keyframes: placed, for the map to count
    max_reprojection_px: float = Field(default=2.5, gt=0)  # in a picture 960 px wide
    min_points: int = Field(default=30, ge=4)  # a map of fewer says nothing, however small its error
    min_span_s: float = Field(default=0.8, gt=0)  # a stretch shorter than this is not mapped on its own
    max_speed_m_s: float = Field(default=4.0, gt=0)  # 95th percentile of a head's speed; a map beyond it is broken
    max_scale_spread: float = Field(
        default=0.5, gt=0
    )  # relative MAD of the per-frame scale beyond which scale is unknown
    timeout_s: float = runtime_field(300.0, gt=0)


class UnknownMotion:
    """The honest answer where nobody can tell how the camera moved."""

    name = "none"

    def estimate(self, clip: ClipRef, hands: HandResult) -> CameraTrack:
        return unknown(len(clip.pts))

    def close(self) -> None:
        """Holds nothing."""


class StaticCamera:
    """For sources that are known to be static."""

    name = "static"

    def estimate(self, clip: ClipRef, hands: HandResult) -> CameraTrack:
        return static(len(clip.pts))

    def close(self) -> None:
        """Holds nothing."""


class AutoCamera:
    """The CPU default. Two worker processes: OpenCV follows points, pycolmap maps them (they cannot share one)."""

    name = "auto"

    def __init__(self, settings: CameraSettings):
        self.settings = settings
        self._follow = KillableWorker(
            "unihand_data.geometry.feature_tracks:build",
            {"max_side_px": settings.max_side_px, "max_points": settings.max_points},
            timeout_s=settings.timeout_s,
        )
        self._map = KillableWorker(
            "unihand_data.geometry.colmap_worker:build", {"threads": 1}, timeout_s=settings.timeout_s
        )

    def estimate(self, clip: ClipRef, hands: HandResult) -> CameraTrack:
        """A clip whose map fails keeps ``method: none`` with the reason as a figure; decoding failures are Rejects."""
        frames = len(clip.pts)
        view = clip.view_intrinsics
        if view is None:
            return unknown(frames)
        seen = self._follow.call(
            {
                "clip": clip_to_message(clip),
                "left": np.asarray(hands.left.keypoints_px, np.float64),
                "right": np.asarray(hands.right.keypoints_px, np.float64),
            },
            name=clip.path,
        )
        frame, track, xy = seen["frame"], seen["track"], seen["xy"]
        long = max(view.width, view.height)
        shift = background_shift(frame, track, xy, frames)
        figures = {"background_shift": float(shift / long)}
        if shift <= self.settings.static_px * long:
            return static(frames, figures)
        try:
            track_of = self._map_span(clip, hands, (frame, track, xy), (0, frames), figures)
        except Reject as reject:  # the mapper hung or died: the clip is good, only its camera is not known
            log.warning("%s: no camera motion: %s", clip.path, reject.message)
            figures["map_failed"] = 1.0
            return unknown(frames, figures)
        return track_of or unknown(frames, figures)

    def _map_span(self, clip, hands, seen, span: tuple[int, int], figures: dict[str, float]) -> CameraTrack | None:
        """Map frames [a, b). Where the whole cannot be mapped (a fast turn breaks it in two), the halves beside its
        weakest link are tried and the one that places more frames is kept; frames of the other stay unknown."""
        found = self._try_span(clip, hands, seen, span, figures)
        seconds = clip.pts[span[1] - 1] - clip.pts[span[0]]
        if found is not None or seconds < 2 * self.settings.min_span_s:
            return found
        cut = weakest_link(
            seen[0], seen[1], span, round(len(clip.pts) * self.settings.min_span_s / (clip.t1 - clip.t0))
        )
        halves = [self._map_span(clip, hands, seen, half, figures) for half in ((span[0], cut), (cut, span[1]))]
        return max((h for h in halves if h is not None), key=lambda h: int(h.valid.sum()), default=None)

    def _try_span(self, clip, hands, seen, span, figures) -> CameraTrack | None:
        s, view = self.settings, clip.view_intrinsics
        frames, long = len(clip.pts), max(view.width, view.height)
        inside = (seen[0] >= span[0]) & (seen[0] < span[1])
        frame, track, xy = (values[inside] for values in seen)
        per_second = (frames - 1) / max(clip.t1 - clip.t0, 1e-6)
        longest = max(2, round(s.keyframe_max_s * per_second))
        keys = keyframes(frame, track, xy, span, shift=s.keyframe_px * long, longest=longest)
        if len(keys) < 3:
            return None
        keep = np.isin(track, spread_tracks(frame, track, xy, keys, (view.width, view.height)))
        frame, track, xy = frame[keep], track[keep], xy[keep]
        lens = {k: float(getattr(view, k)) for k in ("fx", "fy", "cx", "cy", "width", "height")}
        try:
            answer = self._map.call(
                {
                    "frame": frame,
                    "track": track,
                    "xy": xy,
                    "frames": frames,
                    "keyframes": keys,
                    "camera": lens,
                    "min_tri_angle_deg": s.min_tri_angle_deg,
                },
                name=clip.path,
            )
        except WorkerError as error:  # COLMAP refuses some geometries with an exception
            log.warning("%s: frames %d to %d cannot be mapped: %s", clip.path, *span, str(error).splitlines()[0])
            figures["map_failed"] = 1.0
            return None
        return self._judge(clip, hands, answer, figures, frame, track, xy)

    def _judge(self, clip, hands, answer, figures, frame, track, xy) -> CameraTrack | None:
        """Scale, level and accept a map, or None. The figures of the last map tried are kept either way."""
        s = self.settings
        pose, valid = answer["pose"], answer["valid"]
        figures |= {
            "reprojection_px": float(answer["reprojection_px"]),
            "keyframe_ratio": float(answer["keyframe_ratio"]),
            "placed_ratio": float(valid.mean()),
        }
        points, view = answer["points"], clip.view_intrinsics
        limit = s.max_reprojection_px * max(view.width, view.height) / 960
        if not valid.any() or len(points) < s.min_points or not answer["reprojection_px"] <= limit:
            return None
        if answer["keyframe_ratio"] < s.min_keyframe_ratio:
            return None
        scale, spread, votes = metric_scale(hands, pose, valid, points, answer["point_track"], frame, track, xy)
        figures |= {"scale_spread": spread, "scale_frames": float(votes)}
        if not np.isfinite(scale) or spread > s.max_scale_spread:
            return None
        first = int(np.argmax(valid))
        to_first = np.linalg.inv(pose[first])
        pose = np.einsum("ij,tjk->tik", to_first, pose)
        pose[:, :3, 3] *= scale
        pose[~valid] = np.nan
        if _speed_p95(pose, valid, clip.pts) > s.max_speed_m_s:
            return None
        map_points = (points @ to_first[:3, :3].T + to_first[:3, 3]) * scale
        up = table_normal(map_points, pose[valid])
        if up is not None:
            figures |= dict(zip(("up_x", "up_y", "up_z"), map(float, up)))
        return CameraTrack(pose, valid, method="colmap", world="camera", metric=True, figures=dict(figures))

    def close(self) -> None:
        self._follow.close()
        self._map.close()


def _speed_p95(pose: np.ndarray, valid: np.ndarray, times: np.ndarray) -> float:
    pair = valid[1:] & valid[:-1]
    speed = np.linalg.norm(np.diff(pose[:, :3, 3], axis=0), axis=1) / np.maximum(np.diff(times), 1e-6)
    return float(np.percentile(speed[pair], 95)) if pair.any() else 0.0


def unknown(frames: int, figures: dict[str, float] | None = None) -> CameraTrack:
    """Identity poses, ``method: none``."""
    return CameraTrack(np.tile(np.eye(4), (frames, 1, 1)), np.ones(frames, bool), method="none", figures=figures or {})


def static(frames: int, figures: dict[str, float] | None = None) -> CameraTrack:
    """A camera that does not move: its own first frame is the raw world."""
    return CameraTrack(
        np.tile(np.eye(4), (frames, 1, 1)), np.ones(frames, bool), method="static", figures=figures or {}
    )


def build_camera_estimator(settings: CameraSettings) -> CameraEstimator:
    """The estimator of ``camera.estimator``: ``auto`` looks for motion and tracks it, ``static`` and ``none`` look at
    nothing. Build it once in a worker and close it."""
    if settings.estimator == "none":
        return UnknownMotion()
    return StaticCamera() if settings.estimator == "static" else AutoCamera(settings)
