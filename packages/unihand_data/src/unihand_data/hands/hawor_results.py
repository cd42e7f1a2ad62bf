"""HaWoR's result folder as hands in the camera of each moment and a camera trajectory.

Legend: N rows of HaWoR's 30 frames/s sequence, T frames of the clip. Sides 0 left, 1 right. OpenCV axes, metres.

The world is the first SLAM camera. ``trans`` is MANO's translation, not the wrist: the wrist joint is trans + J0(beta),
whatever the rotation, so with the camera pose (R, t) of a frame

    wrist in the camera = R^T (trans_world + J0 - t),      rotation in the camera = R^T R_world.

Frames that were detected are taken from the camera-space files and compared with the world; frames the infiller wrote
exist in the world only and are marked ``interpolated``, without a confidence. What it wrote before the first and after
the last detection of a hand is left out: nothing was seen there that could be filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.hands import hawor_files as files
from unihand_data.hands.annotated import fill_keypoints, resample_camera, resample_track
from unihand_data.hands.hawor_config import HAWOR_FPS, HaworReadSettings
from unihand_data.hands.mano import mano_dir
from unihand_data.hands.mano_variants import mano_numbers
from unihand_data.values.camera import CameraTrack, Intrinsics
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack, Side

SIDES: tuple[Side, Side] = ("left", "right")
#: J0 of MANO's mean shape (m), the offset between ``transl`` and the wrist, as published with ArtiGrasp (``ref_r`` and
#: ``ref_l`` of its evaluation script) and GraspXL (``BIAS`` of its visualiser)
MEAN_WRIST = {"right": np.array([0.09566993, 0.00638343, 0.00618631])}
MEAN_WRIST["left"] = MEAN_WRIST["right"] * [-1.0, 1.0, 1.0]
#: DROID works on a picture of this area, and measures its error at an eighth of that
_SLAM_AREA, _SLAM_STEP = 384 * 512, 8
#: how far world and camera files of one run may be apart; with the mean shape the rotated difference of J0 adds up
_SAME_M, _SAME_MEAN_SHAPE_M, _SAME_DEG = 0.005, 0.05, 1.0

#: (n, 10) betas -> (n, 3)
WristJoint = Callable[[np.ndarray], np.ndarray]


def read_results(
    folder: str | Path,
    *,
    pts: np.ndarray | None = None,
    intrinsics: Intrinsics | None = None,
    times: np.ndarray | None = None,
    settings: HaworReadSettings | None = None,
    estimator: str = "hawor",
    with_camera: bool = True,
    dba_errors: list[float] | None = None,
) -> HandResult:
    """Read a result folder.

    Args:
        folder: what HaWoR wrote for one video (``<video dir>/<stem>``).
        pts: (T,) s, frames the result is wanted on; None gives HaWoR's own rows.
        intrinsics: of the picture the clip is seen in; gives 21 keypoints and their pixels. None leaves them NaN.
        times: (N,) s of HaWoR's rows on the clock of ``pts``; None: 30 a second from the first of ``pts``.
        dba_errors: of DROID's backend, where the side-car file does not have them.
        with_camera: False reads the camera-space hands alone (SLAM failed): no camera, nothing filled in.

    Returns:
        Tracks of ``mano``. Figures: ``det_mean``, ``det_p10``, ``frames_with_hand_ratio``, ``wrist_mean_shape`` (1: the
        wrist is placed with the mean shape); of the camera ``scale``, and where our driver ran ``dba_px`` (pixels of
        ``intrinsics``' picture) and ``scale_mad`` (relative).

    Raises:
        Reject: level ``item``; the message names file and field. MISSING_FILE, TRUNCATED, UNREADABLE, UNSAFE_CONTENT,
            MISSING_FIELD, WRONG_TYPE, BAD_VALUE, CONTRADICTION (files of different runs), UNSUPPORTED.
    """
    folder, s = Path(folder), settings or HaworReadSettings()
    tracks, start, end = files.tracks_folder(folder)
    if start:
        raise Reject(Reason.UNSUPPORTED, f"{tracks}: starts at frame {start}; only whole sequences are read")
    detections = files.read_detections(tracks, end)
    hands = files.read_camera_hands(folder, detections)
    joints, mean_shape = wrist_joints(s)
    wrist = np.stack([hands.trans[k] + joints[k](hands.beta[k]) for k in (0, 1)])
    rot, theta, filled = hands.rot, hands.theta, np.zeros_like(detections.seen)
    camera: CameraTrack | None = None
    if with_camera:
        path = folder / "SLAM" / f"hawor_slam_w_scale_{start}_{end}.npz"
        slam, sidecar = files.read_slam(path, end), files.read_sidecar(folder / files.SIDECAR)
        sidecar.dba_errors = sidecar.dba_errors or dba_errors or []
        world_path = folder / "world_space_res.pth"
        world = files.read_world_hands(world_path, end, may_be_bad=~detections.seen)
        placed = _in_camera(world, slam, joints)
        limit = _SAME_MEAN_SHAPE_M if mean_shape else _SAME_M
        _same_run(world_path, detections.seen & slam.valid, world.valid, (wrist, rot), placed, limit)
        if s.keep_infilled:
            filled = world.valid & ~detections.seen & _between(detections.seen) & slam.valid
            wrist, rot, theta = (
                np.where(filled[..., None], b, a) for a, b in zip((wrist, rot, theta), (*placed, world.theta))
            )
        figures = _camera_figures(slam, sidecar, intrinsics)
        pose = np.where(slam.valid[:, None, None], slam.pose, np.nan)
        camera = CameraTrack(pose, slam.valid, "static" if sidecar.static else "hawor", "camera", True, figures)
    out = []
    for k, side in enumerate(SIDES):
        track = HandTrack.empty(side, end, hand_model="mano", estimator=estimator)
        seen = detections.seen[k]
        track.valid, track.interpolated = seen | filled[k], filled[k].copy()
        track.wrist_pos, track.wrist_rot = wrist[k], rot[k]
        track.theta = theta[k]
        if seen.any():
            track.beta = np.median(hands.beta[k][seen], axis=0)
        track.confidence = np.where(track.valid, detections.confidence[k], 0.0)
        out.append(track)
    rows = np.arange(end) / HAWOR_FPS + (0.0 if pts is None else float(pts[0])) if times is None else times
    return finished(out, camera, rows, pts, intrinsics, s, mean_shape)


def finished(
    tracks: list[HandTrack],
    camera: CameraTrack | None,
    rows: np.ndarray,
    pts: np.ndarray | None,
    intrinsics: Intrinsics | None,
    settings: HaworReadSettings,
    mean_shape: bool,
) -> HandResult:
    """Left and right tracks (N) at times ``rows`` -> the result on ``pts``, with keypoints and figures."""
    if pts is not None:
        tracks = [resample_track(t, rows, pts) for t in tracks]
        camera = None if camera is None else resample_camera(camera, rows, pts)
    if intrinsics is not None:
        tracks = [fill_keypoints(t, intrinsics, settings.mano_dir) for t in tracks]
    scores = np.concatenate([t.confidence[t.valid & ~t.interpolated] for t in tracks])
    scores = scores[np.isfinite(scores)]
    figures = {
        "det_mean": float(scores.mean()) if len(scores) else 0.0,
        "det_p10": float(np.quantile(scores, 0.1)) if len(scores) else 0.0,
        "frames_with_hand_ratio": float(np.logical_or.reduce([t.valid for t in tracks]).mean()),
        "wrist_mean_shape": float(mean_shape),
    }
    return HandResult(tracks[0], tracks[1], camera, {**figures, **(camera.figures if camera else {})})


def wrist_joints(settings: HaworReadSettings) -> tuple[tuple[WristJoint, WristJoint], bool]:
    """J0(beta) of the left and the right hand, and whether it is the mean shape's.

    HaWoR turns the x sign of the left model's shape directions on every file it loads; so does this."""
    if settings.wrist_joint == "auto" and mano_dir(settings.mano_dir) is None:
        return (_mean("left"), _mean("right")), True
    purpose = "the wrist joint of HaWoR's hands"
    left = mano_numbers(settings.mano_dir, "left", purpose)
    right = mano_numbers(settings.mano_dir, "right", purpose)
    left = replace(left, wrist_shape=left.wrist_shape * np.array([[-1.0], [1.0], [1.0]]))
    return (left.wrist, right.wrist), False


def _mean(side: Side) -> WristJoint:
    return lambda betas: np.broadcast_to(MEAN_WRIST[side], (len(betas), 3))


def _in_camera(
    world: files.WorldHands, slam: files.Slam, joints: tuple[WristJoint, WristJoint]
) -> tuple[np.ndarray, np.ndarray]:
    """Wrist positions and rotations (2, N, 3) in the camera of each frame; NaN where not valid."""
    pos, rot = np.full_like(world.trans, np.nan), np.full_like(world.rot, np.nan)
    for k in (0, 1):
        ok = world.valid[k] & slam.valid
        if not ok.any():
            continue
        turn = Rotation.from_matrix(slam.pose[ok, :3, :3]).inv()
        pos[k, ok] = turn.apply(world.trans[k, ok] + joints[k](world.beta[k, ok]) - slam.pose[ok, :3, 3])
        rot[k, ok] = (turn * Rotation.from_rotvec(world.rot[k, ok])).as_rotvec()
    return pos, rot


def _same_run(
    path: Path,
    seen: np.ndarray,
    in_world: np.ndarray,
    local: tuple[np.ndarray, np.ndarray],
    placed: tuple[np.ndarray, np.ndarray],
    limit_m: float,
) -> None:
    if (seen & ~in_world).any():
        raise Reject(Reason.CONTRADICTION, f"{path}, pred_valid: detected frames are missing; run HaWoR again")
    if not seen.any():
        return
    off = np.linalg.norm(local[0][seen] - placed[0][seen], axis=1).max()
    turn = Rotation.from_rotvec(local[1][seen]).inv() * Rotation.from_rotvec(placed[1][seen])
    angle = np.degrees(turn.magnitude().max())
    if off > limit_m or angle > _SAME_DEG:
        raise Reject(
            Reason.CONTRADICTION,
            f"{path}: its hands lie {1e3 * off:.0f} mm and {angle:.1f} degrees from those of cam_space; SLAM, world "
            "and camera files are not of one run",
        )


def _between(seen: np.ndarray) -> np.ndarray:
    """(2, N): from the first to the last detection of that side."""
    return (np.cumsum(seen, axis=1) > 0) & (np.cumsum(seen[:, ::-1], axis=1)[:, ::-1] > 0)


def _camera_figures(slam: files.Slam, sidecar: files.Sidecar, intrinsics: Intrinsics | None) -> dict[str, float]:
    if sidecar.static:
        return {}
    figures = {"scale": slam.scale}
    if len(sidecar.scales) > 1:
        s = np.array(sidecar.scales)
        figures["scale_mad"] = float(1.4826 * np.median(np.abs(s - np.median(s))) / np.median(s))
    if sidecar.dba_errors and slam.width > 0:
        # the last pass of the backend, at an eighth of DROID's picture -> HaWoR's picture -> the clip's
        droid = int(slam.width * np.sqrt(_SLAM_AREA / (slam.width * slam.height)))
        wide = intrinsics.width if intrinsics is not None else slam.width
        figures["dba_px"] = sidecar.dba_errors[-1] * _SLAM_STEP * wide / droid
    return figures
