"""The default hand estimator: MediaPipe's landmarks, placed in the camera, fitted with a skeleton, smoothed.

Legend: T frames of the clip. Pixels and intrinsics are of the clip's view (rectified where it is fisheye).

    worker process: decode, landmarks, tracks, sides   (mediapipe_worker, association)
    here:           metric place and joint angles within limits (lift: pnp, ik), gaps and jitter (smooth)
"""

from __future__ import annotations

import logging
from importlib import metadata
from typing import Any, get_args

import numpy as np

from unihand_data.hands import skeleton, smooth
from unihand_data.hands.config import HandsSettings
from unihand_data.hands.lift import lift
from unihand_data.hands.models import ensure_hand_models
from unihand_data.values.camera import Intrinsics
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack, Side
from unihand_data.video.clip_message import clip_to_message
from unihand_data.video.killable import KillableWorker

log = logging.getLogger(__name__)

_TARGET = "unihand_data.hands.mediapipe_worker:build"


class MediaPipeEstimator:
    """Built once per worker; holds one killable process with the models.

    Raises:
        ModelsMissing: when built, if the model files are neither here nor could be fetched.
    """

    def __init__(self, settings: HandsSettings | None = None):
        self.settings = settings or HandsSettings()
        self.name = f"mediapipe-{metadata.version('mediapipe')}"
        model = ensure_hand_models(self.settings.model_path)
        self._worker = KillableWorker(
            _TARGET,
            {"model_path": str(model), "detect": self.settings.detect.model_dump()},
            timeout_s=min(60.0, self.settings.timeout_s),
            total_timeout_s=self.settings.timeout_s,
        )

    def estimate(self, clip: ClipRef) -> HandResult:
        """Both hands of a clip.

        Returns: tracks of ``generic_v1``; ``keypoints`` are posed by the fitted skeleton, ``keypoints_px`` are what was
        seen (projected where interpolated). Figures: ``det_mean`` and ``det_p10`` (confidence over seen hand frames),
        ``frames_with_hand_ratio``, ``reprojection`` (median, over the hand's size), ``assumed_intrinsics`` (0 or 1).

        Raises:
            Reject: TIMEOUT or CRASHED of the worker, or what its decoder found; level ``clip``.
        """
        answer = self._worker.call({"clip": clip_to_message(clip)}, name=clip.path)
        camera = view_camera(clip, self.settings.assumed_hfov_deg)
        tracks = {side: self._track(side, answer[side], camera, clip) for side in get_args(Side)}
        return HandResult(tracks["left"], tracks["right"], figures=_figures(tracks, camera))

    def close(self) -> None:
        self._worker.close()

    def _track(self, side: Side, seen: dict[str, Any], camera: Intrinsics, clip: ClipRef) -> HandTrack:
        frames = len(clip.pts)
        scale = self.settings.hand_length_m / skeleton.NOMINAL_HAND_LENGTH
        lifted = lift(seen["px"], seen["world"], seen["p_right"], side, camera, clip.pts, scale)
        if lifted is None:
            return HandTrack.empty(side, frames, estimator=self.name)
        fit, error = lifted
        valid = np.isfinite(error) & (error <= self.settings.max_reprojection)
        valid &= np.nan_to_num(fit.wrist_pos[:, 2], nan=-1.0) > 0.03
        confidence = np.where(valid, seen["confidence"] * np.exp(-np.nan_to_num(error) / 0.3), 0.0)
        raw = HandTrack(
            side=side,
            wrist_pos=_only(fit.wrist_pos, valid),
            wrist_rot=_only(fit.wrist_rot, valid),
            theta=_only(fit.theta, valid),
            beta=np.zeros(10),
            keypoints=np.full((frames, 21, 3), np.nan),
            keypoints_px=_only(seen["px"], valid),
            confidence=confidence,
            valid=valid,
            interpolated=np.zeros(frames, bool),
            hand_model="generic_v1",
            hand_scale=scale,
            estimator=self.name,
            figures={
                "reprojection": float(np.median(error[valid])) if valid.any() else np.nan,
                "side_votes": _share(seen["p_right"], side, valid),
            },
        )
        out = smooth.clean(raw, clip.pts, self.settings.smooth)
        return posed(out, camera)


def posed(track: HandTrack, camera: Intrinsics | None) -> HandTrack:
    """Set ``keypoints`` to the posed skeleton, and ``keypoints_px`` of frames that have none to its projection."""
    track.keypoints = skeleton.forward(track.theta, track.wrist_pos, track.wrist_rot, track.side, track.hand_scale)
    track.keypoints_px = _only(track.keypoints_px, track.valid)
    empty = track.valid & ~np.isfinite(track.keypoints_px).all((1, 2))
    if camera is not None and empty.any():
        p = track.keypoints[empty]
        track.keypoints_px[empty] = p[..., :2] / p[..., 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    return track


def view_camera(clip: ClipRef, assumed_hfov_deg: float) -> Intrinsics:
    """The clip's view intrinsics, or a pinhole of the assumed field of view with ``source`` ``assumed``."""
    if clip.view_intrinsics is not None:
        return clip.view_intrinsics
    # the field of view is that of the longer side, whichever way the camera was held
    f = max(clip.width, clip.height) / 2 / np.tan(np.radians(assumed_hfov_deg) / 2)
    return Intrinsics(f, f, (clip.width - 1) / 2, (clip.height - 1) / 2, clip.width, clip.height, source="assumed")


def _only(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    return np.where(valid.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)


def _share(p_right: np.ndarray, side: Side, valid: np.ndarray) -> float:
    """Share of seen frames whose own handedness agrees with the track's side."""
    p = p_right[valid & np.isfinite(p_right)]
    agree = p > 0.5 if side == "right" else p < 0.5
    return float(agree.mean()) if len(p) else np.nan


def _figures(tracks: dict[Side, HandTrack], camera: Intrinsics) -> dict[str, float]:
    seen = [t.valid & ~t.interpolated for t in tracks.values()]
    scores = np.concatenate([t.confidence[s] for t, s in zip(tracks.values(), seen)])
    errors = [t.figures["reprojection"] for t in tracks.values() if np.isfinite(t.figures.get("reprojection", np.nan))]
    any_valid = np.logical_or.reduce([t.valid for t in tracks.values()])
    return {
        "det_mean": float(scores.mean()) if len(scores) else 0.0,
        "det_p10": float(np.quantile(scores, 0.1)) if len(scores) else 0.0,
        "frames_with_hand_ratio": float(any_valid.mean()) if len(any_valid) else 0.0,
        "reprojection": float(np.mean(errors)) if errors else np.nan,
        "assumed_intrinsics": float(camera.source == "assumed"),
    }
