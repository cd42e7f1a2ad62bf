"""Hands (and a camera) that the data set brings, brought to the frames of a clip.

Legend: N annotated frames at ``hands_t`` (s on the video's clock), T frames of the clip.

Between two annotated frames a pose is interpolated (linear, slerp per joint) when both are valid and no further apart
than a gap of the annotation's own rhythm and 0.2 s; outside the first and the last nothing is made up. Sets that bring
keypoints only (EgoDex, FPHA, Aria, Ego-Exo4D) get theta and the wrist's rotation by inverse kinematics, with one hand
size per recording.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, get_args

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.hands import ik, skeleton
from unihand_data.values.camera import CameraTrack, Intrinsics
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack, Side
from unihand_data.values.recording import Recording

if TYPE_CHECKING:
    from unihand_data.hands.mano import ManoHand

_SAME_TIME_S = 1e-3
_GAP_PERIODS = 2.5  # two annotated frames further apart than this many usual periods are not joined
_GAP_S = 0.2  # nor any further apart than this: a hand annotated once a second has no motion in between


def annotated_result(recording: Recording, clip: ClipRef, mano_dir: str | None = None) -> HandResult:
    """The recording's hands and camera on the clip's frames.

    Args:
        mano_dir: folder of the user's MANO files; None: ``UNIHAND_MANO_DIR``.

    ``keypoints_px`` are projected where the clip's intrinsics are known. A track whose keypoints were not annotated is
    posed by the user's MANO, without its files by ``generic_v1`` (``figures['keypoints_generic']`` is 1).

    Raises:
        Reject: level ``clip``; CONTRADICTION (two tracks of one side), MISSING_FIELD (hands without their times),
            WRONG_TYPE (times and frames differ in number or do not increase).
    """
    where = recording.item.uri
    tracks: dict[Side, HandTrack] = {}
    for track in recording.hands:
        if track.side in tracks:
            raise Reject(Reason.CONTRADICTION, f"{where}: two {track.side} hands in one recording", level="clip")
        tracks[track.side] = track
    for side in get_args(Side):
        if side in tracks:
            times = _times(recording.hands_t, len(tracks[side]), f"{where}: hands_t")
            tracks[side] = _on_clip(tracks[side], times, clip, mano_dir)
        else:
            tracks[side] = HandTrack.empty(side, len(clip.pts), estimator="annotated")
    camera = None
    if recording.camera is not None:
        times = _times(recording.camera_t, len(recording.camera.valid), f"{where}: camera_t")
        camera = resample_camera(recording.camera, times, clip.pts)
    seen = [t.valid & ~t.interpolated for t in tracks.values()]
    scores = np.concatenate([t.confidence[s] for t, s in zip(tracks.values(), seen)])
    figures = {
        "det_mean": float(scores.mean()) if len(scores) else 0.0,
        "frames_with_hand_ratio": float(np.logical_or.reduce([t.valid for t in tracks.values()]).mean()),
    }
    return HandResult(tracks["left"], tracks["right"], camera, figures)


def resample_camera(camera: CameraTrack, times: np.ndarray, pts: np.ndarray) -> CameraTrack:
    """A camera trajectory (N) on other times (T): linear and slerp between valid neighbours, NaN elsewhere."""
    b = _bracket(np.asarray(camera.valid, bool), times, pts)
    pose = np.full((len(pts), 4, 4), np.nan)
    i, j, u = b.left[b.ok], b.right[b.ok], b.share[b.ok]
    pose[b.ok] = np.eye(4)
    pose[b.ok, :3, 3] = _lerp(camera.pose[:, :3, 3], i, j, u)
    if len(i):
        rotvec = Rotation.from_matrix(np.concatenate([camera.pose[i, :3, :3], camera.pose[j, :3, :3]])).as_rotvec()
        between = _slerp(rotvec[: len(i)], rotvec[len(i) :], u)
        pose[b.ok, :3, :3] = Rotation.from_rotvec(between).as_matrix()
    return replace(camera, pose=pose, valid=b.ok)


def resample_track(track: HandTrack, times: np.ndarray, pts: np.ndarray) -> HandTrack:
    """A hand (N) on other times (T): see the module's header. A frame between an interpolated and a seen one counts as
    interpolated."""
    b = _bracket(np.asarray(track.valid, bool), times, pts)
    ok, (i, j, u) = b.ok, (b.left[b.ok], b.right[b.ok], b.share[b.ok])
    out = replace(
        HandTrack.empty(track.side, len(pts), hand_model=track.hand_model, estimator=track.estimator),
        beta=track.beta,
        hand_scale=track.hand_scale,
        figures=dict(track.figures),
    )
    out.wrist_pos[ok] = _lerp(track.wrist_pos, i, j, u)
    out.wrist_rot[ok] = _slerp(track.wrist_rot[i], track.wrist_rot[j], u)
    for k in range(0, 45, 3):
        out.theta[ok, k : k + 3] = _slerp(track.theta[i, k : k + 3], track.theta[j, k : k + 3], u)
    out.keypoints[ok] = _lerp(track.keypoints, i, j, u)
    out.keypoints_px[ok] = _lerp(track.keypoints_px, i, j, u)
    out.valid = ok
    out.interpolated[ok] = np.where(u > 0, track.interpolated[i] | track.interpolated[j], track.interpolated[i])
    out.confidence[ok] = np.minimum(track.confidence[i], np.where(u > 0, track.confidence[j], np.inf))
    return out


@dataclass
class _Bracket:
    """Per clip frame the annotated frames around it, how far it is on the way, and whether both are usable."""

    left: np.ndarray
    right: np.ndarray
    share: np.ndarray
    ok: np.ndarray


def _bracket(valid: np.ndarray, times: np.ndarray, pts: np.ndarray) -> _Bracket:
    pts = np.asarray(pts, float)
    if not len(times):
        zero = np.zeros(len(pts), int)
        return _Bracket(zero, zero, zero.astype(float), np.zeros(len(pts), bool))
    right = np.clip(np.searchsorted(times, pts, side="left"), 0, len(times) - 1)
    left = np.maximum(right - 1, 0)
    for at in (left, right):  # a frame that is there is taken as it is
        exact = np.abs(times[at] - pts) <= _SAME_TIME_S
        left, right = np.where(exact, at, left), np.where(exact, at, right)
    width = times[right] - times[left]
    share = np.where(width > 0, (pts - times[left]) / np.where(width > 0, width, 1.0), 0.0)
    gap = min(_GAP_PERIODS * float(np.median(np.diff(times))), _GAP_S) if len(times) > 1 else 0.0
    inside = (pts >= times[left] - _SAME_TIME_S) & (pts <= times[right] + _SAME_TIME_S)
    return _Bracket(left, right, share, valid[left] & valid[right] & inside & (width <= gap + 1e-9))


def _on_clip(track: HandTrack, times: np.ndarray, clip: ClipRef, mano_dir: str | None) -> HandTrack:
    if track.figures.get("needs_fit"):
        track, times = _fitted(track, times, clip)
    return fill_keypoints(resample_track(track, times, clip.pts), clip.view_intrinsics, mano_dir)


def fill_keypoints(out: HandTrack, camera: Intrinsics | None, mano_dir: str | None = None) -> HandTrack:
    """Pose the model where valid frames have no keypoints, and project where they have no pixels. Changes ``out``."""
    missing = out.valid & ~np.isfinite(out.keypoints).all((1, 2))
    if missing.any() and not out.figures.get("fitted"):
        hand = _mano(out.side, mano_dir) if out.hand_model == "mano" else None
        if hand is None:
            posed = skeleton.forward(out.theta, out.wrist_pos, out.wrist_rot, out.side, out.hand_scale)
            out.figures["keypoints_generic"] = 1.0
        else:
            posed = hand.forward(out.theta, out.wrist_pos, out.wrist_rot, out.beta)[0]
        out.keypoints[missing] = posed[missing]
    unknown = out.valid & ~np.isfinite(out.keypoints_px).any((1, 2))
    if camera is not None and unknown.any():
        p = out.keypoints[unknown]
        with np.errstate(invalid="ignore", divide="ignore"):
            px = p[..., :2] / p[..., 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        out.keypoints_px[unknown] = np.where(p[..., 2:] > 0.01, px, np.nan)
    return out


@lru_cache(maxsize=4)
def _mano(side: Side, folder: str | None) -> ManoHand | None:
    from unihand_data.hands.mano import load_mano

    return load_mano(side, folder)


def _fitted(track: HandTrack, times: np.ndarray, clip: ClipRef) -> tuple[HandTrack, np.ndarray]:
    """Theta and wrist rotation of the annotated frames around the clip, by inverse kinematics."""
    if not track.valid.any():
        return track, times
    scale = ik.hand_scale_of(track.keypoints[track.valid])  # of the whole recording: clips of it agree
    period = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    margin = 5 * period + _SAME_TIME_S
    near = np.flatnonzero((times >= clip.t0 - margin) & (times <= clip.t1 + margin))
    points = np.where(track.valid[near, None, None], track.keypoints[near], np.nan)
    fit = ik.fit_theta(points, track.side, hand_scale=scale)
    ok = track.valid[near] & np.isfinite(fit.theta).all(1)
    out = HandTrack(
        side=track.side, wrist_pos=track.wrist_pos[near], wrist_rot=fit.wrist_rot, theta=fit.theta, beta=track.beta,
        keypoints=track.keypoints[near], keypoints_px=track.keypoints_px[near],
        confidence=np.where(ok, track.confidence[near], 0.0), valid=ok, interpolated=track.interpolated[near],
        hand_model="generic_v1", hand_scale=scale, estimator=track.estimator,
        figures={
            **{k: v for k, v in track.figures.items() if k != "needs_fit"},
            "fitted": 1.0,
            "fit_residual_m": float(np.nanmedian(fit.residual)) if ok.any() else float("nan"),
        },
    )  # fmt: skip
    return out, times[near]


def _times(times: np.ndarray | None, frames: int, what: str) -> np.ndarray:
    if times is None:
        raise Reject(Reason.MISSING_FIELD, f"{what}: missing; annotation without times cannot be placed", level="clip")
    t = np.asarray(times, float)
    if t.shape != (frames,) or not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise Reject(
            Reason.WRONG_TYPE,
            f"{what}: {t.shape} times for {frames} frames; one increasing time per frame is needed",
            level="clip",
        )
    return t


def _lerp(values: np.ndarray, i: np.ndarray, j: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Between rows; where the share is 0 the left row alone counts, so a NaN to its right does no harm."""
    w = u.reshape(-1, *[1] * (values.ndim - 1))
    return np.where(w > 0, (1 - w) * values[i] + w * values[j], values[i])


def _slerp(a: np.ndarray, b: np.ndarray, u: np.ndarray) -> np.ndarray:
    """(M, 3) axis-angles a to b, share u."""
    if not len(a):
        return np.zeros((0, 3))
    first = Rotation.from_rotvec(a)
    step = (first.inv() * Rotation.from_rotvec(b)).as_rotvec()
    return (first * Rotation.from_rotvec(step * u[:, None])).as_rotvec()
