"""HaWoR's result files as checked arrays: what is in them, nothing made of it yet.

Legend: N rows (frames of HaWoR's own 30 frames/s sequence), K keyframes of SLAM. Sides 0 left, 1 right.

    tracks_{s}_{e}/model_tracks.npy       {track id: [{frame, det, det_box (1, 5), det_handedness}]}
    tracks_{s}_{e}/frame_chunks_all.npy   {side: [frame numbers]}, the frames that were detected (joblib)
    cam_space/{side}/{first}_{last}.json  hands in the camera, one file per stretch of detected frames
    SLAM/hawor_slam_w_scale_{s}_{e}.npz   tstamp, traj (tx ty tz qx qy qz qw, camera-to-world), scale
    world_space_res.pth                   [trans, rot, hand_pose, betas, valid] after the infiller (joblib)
    unihand_sidecar.json                  what our driver kept (absent in folders HaWoR's own demo wrote)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from unihand_data.errors import Reason, Reject
from unihand_data.hands.mano_variants import from_matrices
from unihand_data.untrusted import arrays
from unihand_data.untrusted.tables import need, read_json
from unihand_data.untrusted.unpickle import safe_load

SIDECAR = "unihand_sidecar.json"
_MOST_FRAMES = 1_000_000
_FAR_M = 100.0  # a hand or camera further away than this is no measurement


@dataclass
class Detections:
    """Per side: frames HaWoR's hand model saw (2, N) bool, the detector's confidence there (2, N), NaN elsewhere, and
    the stretches of frames the hand model worked on at once."""

    seen: np.ndarray
    confidence: np.ndarray
    stretches: tuple[list[np.ndarray], list[np.ndarray]]


@dataclass
class WorldHands:
    """World-space hands (2, N, ...) after the infiller: m, axis-angle; ``valid`` also where they were filled in."""

    trans: np.ndarray
    rot: np.ndarray
    theta: np.ndarray
    beta: np.ndarray
    valid: np.ndarray


@dataclass
class CameraHands:
    """Hands in the camera of each frame (2, N, ...), NaN where nothing was detected."""

    trans: np.ndarray
    rot: np.ndarray
    theta: np.ndarray
    beta: np.ndarray


@dataclass
class Slam:
    """Camera-to-world (N, 4, 4) in metres, where it is known (N,), metres per unit, the picture's size in pixels."""

    pose: np.ndarray
    valid: np.ndarray
    scale: float
    width: float
    height: float


@dataclass
class Sidecar:
    """What our driver kept; empty without it."""

    dba_errors: list[float] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    static: bool = False


def tracks_folder(folder: Path) -> tuple[Path, int, int]:
    """``tracks_{s}_{e}`` and its numbers.

    Raises:
        Reject: MISSING_FILE, CONTRADICTION (several)."""
    found = sorted(p for p in folder.glob("tracks_*_*") if re.fullmatch(r"tracks_\d{1,9}_\d{1,9}", p.name))
    if not found:
        raise Reject(Reason.MISSING_FILE, f"{folder}/tracks_*_*: not there; HaWoR did not finish, run it again")
    if len(found) > 1:
        raise Reject(
            Reason.CONTRADICTION,
            f"{folder}: {len(found)} tracks folders; remove those of earlier runs over other frames",
        )
    start, end = (int(v) for v in found[0].name.split("_")[1:])
    if not 0 < end - start <= _MOST_FRAMES:
        raise Reject(Reason.BAD_VALUE, f"{found[0]}: its name announces {end - start} frames")
    return found[0], start, end


def read_detections(tracks: Path, frames: int) -> Detections:
    """Seen frames from ``frame_chunks_all.npy``; confidence from the boxes."""
    path = f"{tracks}/frame_chunks_all.npy"
    chunks = safe_load(path)
    if not isinstance(chunks, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: a {type(chunks).__name__} where sides and frames belong")
    seen = np.zeros((2, frames), bool)
    stretches: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for side in (0, 1):
        for k, chunk in enumerate(_list(chunks.get(side, []), f"{path}, {side}")):
            rows = arrays.array(chunk, (None,), f"{path}, {side}[{k}]")
            if (
                not len(rows)
                or rows.min() < 0
                or rows.max() >= frames
                or (rows % 1).any()
                or (np.diff(rows) <= 0).any()
            ):
                raise Reject(Reason.BAD_VALUE, f"{path}, {side}[{k}]: no rising frames of 0..{frames - 1}")
            stretches[side].append(rows.astype(int))
            seen[side, stretches[side][-1]] = True
    return Detections(seen, np.where(seen, _boxes(tracks, frames)[..., 4], np.nan), stretches)


def read_boxes(tracks: Path, frames: int) -> np.ndarray:
    """(2, N, 4) x0 y0 x1 y1 in pixels of HaWoR's pictures, NaN where nothing was detected."""
    return _boxes(tracks, frames)[..., :4]


def _boxes(tracks: Path, frames: int) -> np.ndarray:
    """(2, N, 5): boxes and their confidence. As in HaWoR a whole track goes to the side most of its boxes have; of two
    boxes of one side in a frame the more confident counts."""
    path = f"{tracks}/model_tracks.npy"
    table = safe_load(path)
    if not isinstance(table, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: a {type(table).__name__} where tracks belong")
    out = np.full((2, frames, 5), np.nan)
    for number, track in table.items():
        found, right = [], []
        for k, box in enumerate(_list(track, f"{path}, track {number}")):
            where = f"{path}, track {number}[{k}]"
            if not need(box, "det", where):
                continue
            frame = int(arrays.array(need(box, "frame", where), (), f"{where}.frame"))
            if not 0 <= frame < frames:
                raise Reject(Reason.BAD_VALUE, f"{where}.frame: {frame} of {frames}")
            row = arrays.array(need(box, "det_box", where), (1, 5), f"{where}.det_box")[0]
            if not 0 <= row[4] <= 1 + 1e-6:
                raise Reject(Reason.BAD_VALUE, f"{where}.det_box: a confidence of {row[4]:.4g}")
            found.append((frame, row))
            right.append(arrays.array(need(box, "det_handedness", where), (1,), f"{where}.det_handedness")[0] > 0)
        side = int(np.mean(right) >= 0.5) if right else 0
        for frame, row in found:
            if not row[4] <= out[side, frame, 4]:
                out[side, frame] = row
    return out


def read_camera_hands(folder: Path, detections: Detections) -> CameraHands:
    """The ``cam_space`` files of every stretch of detected frames."""
    frames = detections.seen.shape[1]
    out = CameraHands(*(np.full((2, frames, n), np.nan) for n in (3, 3, 45, 10)))
    for side in (0, 1):
        for rows in detections.stretches[side]:
            path = folder / "cam_space" / str(side) / f"{rows[0]}_{rows[-1]}.json"
            data, where, n = read_json(path), str(path), len(rows)
            root = arrays.array(need(data, "init_root_orient", where), (1, n, 3, 3), f"{path}, init_root_orient")
            pose = arrays.array(need(data, "init_hand_pose", where), (1, n, 15, 3, 3), f"{path}, init_hand_pose")
            betas = arrays.array(need(data, "init_betas", where), (1, n, 10), f"{path}, init_betas")
            trans = arrays.array(need(data, "init_trans", where), (1, n, 3), f"{path}, init_trans")
            if np.abs(trans).max(initial=0.0) > _FAR_M:
                raise Reject(Reason.BAD_VALUE, f"{path}, init_trans: a hand more than {_FAR_M:g} m from the camera")
            out.trans[side, rows], out.beta[side, rows] = trans[0], betas[0]
            out.rot[side, rows] = from_matrices(root[0], f"{path}, init_root_orient")
            out.theta[side, rows] = from_matrices(pose[0], f"{path}, init_hand_pose").reshape(n, 45)
    return out


def read_world_hands(path: Path, frames: int, *, may_be_bad: np.ndarray | None = None) -> WorldHands:
    """``world_space_res.pth``. Rows of ``may_be_bad`` (2, N) may hold NaN and lose their validity."""
    data = safe_load(path)
    items = _list(data, str(path))
    if len(items) != 5:
        raise Reject(Reason.WRONG_TYPE, f"{path}: {len(items)} entries, expected trans, rot, hand_pose, betas, valid")
    sizes = {"pred_trans": (3,), "pred_rot": (3,), "pred_hand_pose": (45,), "pred_betas": (10,), "pred_valid": ()}
    found = []
    for value, (name, tail) in zip(items, sizes.items()):
        found.append(arrays.array(value, (2, frames, *tail), f"{path}, {name}", finite=False))
    valid = found[4] > 0
    bad = ~np.isfinite(np.concatenate(found[:4], axis=2)).all(axis=2) & valid
    bad |= valid & (np.abs(np.nan_to_num(found[0])).max(axis=2) > _FAR_M)
    refused = bad if may_be_bad is None else bad & ~may_be_bad
    if refused.any():
        side, row = np.argwhere(refused)[0]
        name = next((n for n, a in zip(sizes, found[:4]) if not np.isfinite(a[side, row]).all()), "pred_trans")
        raise Reject(
            Reason.BAD_VALUE,
            f"{path}, {name}: row {row} of side {side} is not finite, or more than {_FAR_M:g} m away; run HaWoR again",
        )
    return WorldHands(found[0], found[1], found[2], found[3], valid & ~bad)


def read_slam(path: Path, frames: int) -> Slam:
    """The camera's trajectory. Where the file has keyframes only, poses between them are interpolated (linear, slerp),
    and frames outside the first and last keyframe stay unknown."""
    data = safe_load(path)
    where = str(path)
    scale = float(arrays.array(need(data, "scale", where), (), f"{where}, scale"))
    width, height = 2 * arrays.array(need(data, "img_center", where), (2,), f"{where}, img_center")
    if not 0 < scale < 1e6:
        raise Reject(Reason.BAD_VALUE, f"{where}, scale: {scale:.4g} metres per unit")
    traj = arrays.array(need(data, "traj", where), (None, 7), f"{where}, traj")
    norm = np.linalg.norm(traj[:, 3:], axis=1)
    if len(traj) == 0 or np.abs(norm - 1).max() > 1e-2:
        raise Reject(Reason.BAD_VALUE, f"{where}, traj: its quaternions are not of unit length, or it is empty")
    turn, place = Rotation.from_quat(traj[:, 3:]), traj[:, :3] * scale
    if np.abs(place).max() > 1e3:
        raise Reject(Reason.BAD_VALUE, f"{where}, traj: the camera is more than a kilometre away")
    pose, valid = np.tile(np.eye(4), (frames, 1, 1)), np.ones(frames, bool)
    if len(traj) == frames:
        pose[:, :3, :3], pose[:, :3, 3] = turn.as_matrix(), place
        return Slam(pose, valid, scale, float(width), float(height))
    keys = arrays.array(need(data, "tstamp", where), (None,), f"{where}, tstamp")
    if len(keys) != len(traj) or (np.diff(keys) <= 0).any():
        raise Reject(
            Reason.CONTRADICTION, f"{where}, traj: {len(traj)} poses for {frames} frames and {len(keys)} keyframes"
        )
    rows = np.arange(frames)
    valid = (rows >= keys[0]) & (rows <= keys[-1])
    pose[valid, :3, 3] = np.stack([np.interp(rows[valid], keys, place[:, k]) for k in range(3)], axis=1)
    pose[valid, :3, :3] = (Slerp(keys, turn)(rows[valid]) if len(keys) > 1 else turn).as_matrix()
    return Slam(pose, valid, scale, float(width), float(height))


def read_sidecar(path: Path) -> Sidecar:
    """``unihand_sidecar.json`` where it is there."""
    if not path.is_file():
        return Sidecar()
    data, where = read_json(path), str(path)
    return Sidecar(
        arrays.array(data.get("dba_errors") or [], (None,), f"{where}, dba_errors").tolist(),
        arrays.array(data.get("scales") or [], (None,), f"{where}, scales").tolist(),
        bool(data.get("static")),
    )


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise Reject(Reason.WRONG_TYPE, f"{where}: a {type(value).__name__} where a list belongs")
    return list(value)
