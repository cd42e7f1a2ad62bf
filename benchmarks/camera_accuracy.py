"""How far the estimated camera motion lies from the truth of a generated clip.

    python benchmarks/camera_accuracy.py [--hands truth] [--video CLIP.mp4 --truth TRUTH.npz] [--json OUT.json]

Without arguments it measures the clip that the package ships, with the hands MediaPipe finds in it; ``--hands truth``
takes the hands from the truth instead, which leaves the errors of following, mapping and scale alone. Both tracks are
expressed in the first camera; nothing is aligned. ``scale`` is the estimated over the true length of the path (least
squares over positions), ``up_deg`` the angle between the table's normal and the true vertical.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.demo.truth import SHIPPED_TRUTH, SHIPPED_VIDEO, SIDES, Truth, load_truth
from unihand_data.geometry.camera_motion import AutoCamera, CameraSettings
from unihand_data.values.camera import CameraTrack, Intrinsics
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack
from unihand_data.video.probe import probe


def true_hands(truth: Truth) -> HandResult:
    """The truth's hands as an estimator would return them, where they can be seen."""
    tracks = {}
    for k, side in enumerate(SIDES):
        track = HandTrack.empty(side, len(truth), estimator="truth")
        ok = truth.hand_visible[k]
        track.valid, track.confidence = ok.copy(), ok.astype(float)
        track.wrist_pos[ok] = truth.wrist_pos_cam[k][ok]
        track.wrist_rot[ok] = Rotation.from_matrix(truth.wrist_rot_cam[k][ok]).as_rotvec()
        track.theta[ok] = truth.theta[k][ok]
        track.keypoints[ok], track.keypoints_px[ok] = truth.keypoints_cam[k][ok], truth.keypoints_px[k][ok]
        tracks[side] = track
    return HandResult(tracks["left"], tracks["right"])


def camera_errors(truth: Truth, camera: CameraTrack) -> dict[str, float]:
    """Position (mm) and rotation (degrees) errors over placed frames, in the first placed camera; see the header."""
    ok = camera.valid
    first = int(np.argmax(ok))
    true = np.linalg.inv(truth.camera[first]) @ truth.camera
    pose = np.linalg.inv(camera.pose[first]) @ camera.pose
    place, true_place = pose[ok, :3, 3], true[ok, :3, 3]
    off = 1e3 * np.linalg.norm(place - true_place, axis=1)
    turn = np.degrees(Rotation.from_matrix(pose[ok, :3, :3].transpose(0, 2, 1) @ true[ok, :3, :3]).magnitude())
    out = {
        "placed_ratio": float(ok.mean()),
        "path_mm": float(1e3 * np.linalg.norm(np.diff(true_place, axis=0), axis=1).sum()),
        "position_mm": float(np.median(off)),
        "position_max_mm": float(off.max()),
        "rotation_deg": float(np.median(turn)),
        "rotation_max_deg": float(turn.max()),
        "scale": float((place * true_place).sum() / max((true_place * true_place).sum(), 1e-12)),
    }
    if "up_x" in camera.figures:
        up = np.array([camera.figures[f"up_{axis}"] for axis in "xyz"])
        vertical = truth.camera[first][:3, :3].T @ [0.0, 0.0, 1.0]
        out["up_deg"] = float(np.degrees(np.arccos(np.clip(up @ vertical / np.linalg.norm(up), -1, 1))))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=SHIPPED_VIDEO)
    parser.add_argument("--truth", type=Path, default=SHIPPED_TRUTH)
    parser.add_argument("--hands", choices=("mediapipe", "truth"), default="mediapipe")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()

    truth, info = load_truth(options.truth), probe(str(options.video))
    fx, fy, cx, cy = map(float, truth.intrinsics)
    lens = Intrinsics(fx, fy, cx, cy, int(truth.size[0]), int(truth.size[1]))
    clip = ClipRef(str(options.video), info.pts, info.width, info.height, intrinsics=lens)
    if options.hands == "truth":
        hands = true_hands(truth)
    else:
        from unihand_data.hands.mediapipe_estimator import MediaPipeEstimator

        estimator = MediaPipeEstimator()
        hands = estimator.estimate(clip)
        estimator.close()
    camera_estimator = AutoCamera(CameraSettings())
    start = time.perf_counter()
    camera = camera_estimator.estimate(clip, hands)
    seconds = time.perf_counter() - start
    camera_estimator.close()

    out = sys.stdout.write
    out(f"{options.video.name}: {len(clip.pts)} frames, hands {options.hands}, method {camera.method}, ")
    out(f"{1e3 * seconds / len(clip.pts):.0f} ms per frame (start of both processes included)\n")
    figures = {**camera.figures, "seconds": seconds}
    if camera.method != "none":
        errors = camera_errors(truth, camera)
        figures |= {f"error_{k}": v for k, v in errors.items()}
        out("".join(f"  {name:18s}{value:10.3f}\n" for name, value in errors.items()))
    out("".join(f"  {name:18s}{value:10.3f}\n" for name, value in camera.figures.items()))
    if options.json:
        options.json.write_text(json.dumps({"method": camera.method, **figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
