"""A HaWoR result folder for a known motion, in the form its demo leaves (without pictures, masks and depth).

Legend: N frames, sides 0 left and 1 right. World: the first camera. Metres, OpenCV axes.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.sources.generate.text_sets import write_json


def stretches(detected: np.ndarray) -> list[np.ndarray]:
    """Runs of detected frames of one side (N,) bool."""
    rows = np.flatnonzero(detected)
    return [r for r in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(r)]


def write_result(
    folder: Path,
    *,
    camera: np.ndarray,
    wrist_pos: np.ndarray,
    wrist_rot: np.ndarray,
    theta: np.ndarray,
    beta: np.ndarray,
    wrist_joint: np.ndarray,
    size: tuple[int, int],
    focal: float,
    detected: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    filled: np.ndarray | None = None,
    scale: float = 1.0,
    tensors: bool = False,
) -> None:
    """Write everything.

    Args:
        camera: (N, 4, 4) camera-to-world. wrist_pos, wrist_rot: (2, N, 3) wrist joint in the camera, axis-angle.
        theta: (2, N, 45). beta: (2, N, 10). wrist_joint: (2, N, 3) J0: ``trans`` is the wrist less this.
        detected: (2, N) frames with a box (all by default), with ``confidence``. filled: (2, N) frames that are valid
            after the infiller (all by default).
        scale: metres per unit of the trajectory. tensors: as HaWoR writes them, which needs torch.
    """
    import joblib

    n = len(camera)
    seen = np.ones((2, n), bool) if detected is None else detected
    score = np.full((2, n), 0.8) if confidence is None else confidence
    after = np.ones((2, n), bool) if filled is None else filled | seen
    turn, place = Rotation.from_matrix(camera[:, :3, :3]), camera[:, :3, 3]
    world = [turn.apply(wrist_pos[k]) + place - wrist_joint[k] for k in (0, 1)]
    result: list[Any] = [
        np.stack(world),
        np.stack([(turn * Rotation.from_rotvec(wrist_rot[k])).as_rotvec() for k in (0, 1)]),
        theta,
        beta,
    ]
    result = [np.where(after[..., None], v, 0.0).astype(np.float32) for v in result]
    if tensors:
        import torch

        result = [torch.from_numpy(v) for v in result]
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump([*result, after], folder / "world_space_res.pth")
    (folder / "est_focal.txt").write_text(f"{focal}")
    (folder / "SLAM").mkdir(exist_ok=True)
    np.savez(
        folder / "SLAM" / f"hawor_slam_w_scale_0_{n}.npz",
        tstamp=np.arange(0, n, 4),
        disps=np.ones((1, 4, 4), np.float32),
        traj=np.concatenate([place / scale, turn.as_quat()], axis=1),
        img_focal=focal,
        img_center=np.array(size) / 2,
        scale=scale,
    )
    _write_tracks(folder / f"tracks_0_{n}", wrist_pos, seen, score, size, focal)
    _write_camera_space(folder, seen, wrist_pos - wrist_joint, wrist_rot, theta, beta)


def _write_tracks(
    folder: Path, wrist: np.ndarray, seen: np.ndarray, score: np.ndarray, size: tuple[int, int], focal: float
) -> None:
    import joblib

    folder.mkdir(exist_ok=True)
    tracks: dict[Any, list[dict[str, Any]]] = {}
    chunks: defaultdict[int, list[np.ndarray]] = defaultdict(list)
    for side in (0, 1):
        chunks[side] = stretches(seen[side])
        for t in np.flatnonzero(seen[side]).tolist():
            middle = focal * wrist[side, t, :2] / wrist[side, t, 2] + np.array(size) / 2
            half = 0.08 * focal / wrist[side, t, 2]
            box = np.array([[*(middle - half), *(middle + half), score[side, t]]], np.float32)
            tracks.setdefault(np.float32(1 + side), []).append(
                {"frame": t, "det": True, "det_box": box, "det_handedness": np.array([side], np.float32)}
            )
    holder = np.empty((), dtype=object)
    holder[()] = tracks
    np.save(folder / "model_tracks.npy", holder, allow_pickle=True)
    np.save(folder / "model_boxes.npy", np.array([], dtype=object), allow_pickle=True)
    joblib.dump(chunks, folder / "frame_chunks_all.npy")


def _write_camera_space(
    folder: Path, seen: np.ndarray, trans: np.ndarray, rot: np.ndarray, theta: np.ndarray, beta: np.ndarray
) -> None:
    for side in (0, 1):
        for rows in stretches(seen[side]):
            local = Rotation.from_rotvec(theta[side, rows].reshape(-1, 3)).as_matrix().reshape(1, len(rows), 15, 3, 3)
            values = {
                "init_root_orient": Rotation.from_rotvec(rot[side, rows]).as_matrix()[None].tolist(),
                "init_hand_pose": local.tolist(),
                "init_trans": trans[side, rows][None].tolist(),
                "init_betas": beta[side, rows][None].tolist(),
            }
            write_json(folder / "cam_space" / str(side) / f"{rows[0]}_{rows[-1]}.json", values)
