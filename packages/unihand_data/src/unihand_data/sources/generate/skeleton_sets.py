"""Generators of the sets that bring keypoints: EgoDex, FPHA, H2O, Aria MPS."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.sources.generate.media import write_pictures, write_video
from unihand_data.sources.generate.scene import Scene

#: z-up world -> ARKit's y-up world: (x, y, z) -> (x, z, -y)
_Z_TO_Y = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
_FINGERS = ("Thumb", "Index", "Middle", "Ring", "Little")


def _arkit_names(side: str) -> dict[str, tuple[int, int, float]]:
    """Joint -> (keypoint, second keypoint, share of the way from the first to the second where the joint lies)."""
    names = {f"{side}Hand": (0, 0, 0.0)}
    for f, finger in enumerate(_FINGERS):
        stem = f"{side}{finger}" if finger == "Thumb" else f"{side}{finger}Finger"
        for k, part in enumerate(("Knuckle", "IntermediateBase", "IntermediateTip", "Tip")):
            names[f"{stem}{part}"] = (1 + 4 * f + k,) * 2 + (0.0,)
        if finger != "Thumb":
            names[f"{stem}Metacarpal"] = (0, 1 + 4 * f, 0.2)
    return names


def egodex(out: Path, scenes: list[Scene]) -> None:
    import h5py

    for i, scene in enumerate(scenes):
        stem = out / f"{scene.verb.replace(' ', '_')}_{scene.thing}" / f"{i}"
        write_video(stem.with_suffix(".mp4"), scene)
        n = len(scene.times)
        with h5py.File(stem.with_suffix(".hdf5"), "w") as f:
            f["camera/intrinsic"] = scene.K.astype(np.float32)
            camera = scene.camera.copy()
            camera[:, :3] = _Z_TO_Y @ camera[:, :3]
            f["transforms/camera"] = camera.astype(np.float32)
            for side, hand in scene.hands.items():
                for name, (a, b, share) in _arkit_names(side).items():
                    pose = np.tile(np.eye(4), (n, 1, 1))
                    pose[:, :3, :3] = _Z_TO_Y @ Rotation.from_rotvec(hand.rot).as_matrix()
                    point = (1 - share) * hand.keypoints[:, a] + share * hand.keypoints[:, b]
                    pose[:, :3, 3] = point @ _Z_TO_Y.T
                    f[f"transforms/{name}"] = pose.astype(np.float32)
                    trust = np.full(n, 0.7, np.float32)
                    if name == "leftIndexFingerTip":
                        trust[0] = 0.003  # an untracked joint
                    f[f"confidences/{name}"] = trust
            f.attrs["llm_description"] = f"{scene.text} with both hands"
            f.attrs["llm_description2"] = f"do not {scene.text}"
            f.attrs["which_llm_description"] = "1"


#: constants of the set (mm): depth sensor to colour camera
_FPHA = np.array(
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594, 25.7],
        [0.00469115935266, 0.999985218048, -0.00273845880292, 1.22],
        [-0.000969709653873, 0.00274303671904, 0.99999576807, 3.902],
        [0, 0, 0, 1],
    ]
)
_FPHA_ORDER = [0, 1, 5, 9, 13, 17, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20]


def fpha(out: Path, scenes: list[Scene]) -> None:
    for i, scene in enumerate(scenes):
        key = f"Subject_{1 + i % 6}/{scene.verb.replace(' ', '_')}_{scene.thing}/{1 + i // 6}"
        write_pictures(out / "Video_files" / key / "color", scene, "color_{:04d}.jpeg")
        mm = scene.in_camera(scene.hands["right"].keypoints) * 1000.0
        sensor = np.einsum("ij,tkj->tki", np.linalg.inv(_FPHA), np.concatenate([mm, np.ones((*mm.shape[:2], 1))], -1))
        path = out / "Hand_pose_annotation_v1" / key / "skeleton.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            f"{t} " + " ".join(f"{v:.4f}" for v in frame[_FPHA_ORDER, :3].ravel()) for t, frame in enumerate(sensor)
        ]
        path.write_text("\n".join(rows) + "\n")


def h2o(out: Path, scenes: list[Scene]) -> None:
    for i, scene in enumerate(scenes):
        base = out / f"subject{1 + i % 4}" / "h1" / str(i) / "cam4"
        write_pictures(base / "rgb", scene, "{:06d}.jpg")
        points = {s: scene.in_camera(h.keypoints) for s, h in scene.hands.items()}
        for name in ("hand_pose", "cam_pose"):
            (base / name).mkdir(parents=True)
        for t in range(len(scene.times)):
            hands = [v for s in ("left", "right") for v in (1.0, *points[s][t].ravel())]
            (base / "hand_pose" / f"{t:06d}.txt").write_text(" ".join(f"{v:.6f}" for v in hands))
            (base / "cam_pose" / f"{t:06d}.txt").write_text(" ".join(f"{v:.9f}" for v in scene.camera[t].ravel()))
        k = scene.K
        (base / "cam_intrinsics.txt").write_text(
            f"{k[0, 0]} {k[1, 1]} {k[0, 2]} {k[1, 2]} {scene.width} {scene.height}"
        )


_ARIA_ORDER = [4, 8, 12, 16, 20, 0, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19]
_START_US = 150_000_000


def aria_mps(out: Path, scenes: list[Scene]) -> None:
    device_camera = np.eye(4)
    device_camera[:3, :3] = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    device_camera[:3, 3] = [0.01, -0.02, 0.03]
    quat = Rotation.from_matrix(device_camera[:3, :3]).as_quat()
    for i, scene in enumerate(scenes):
        base = out / f"recording_{i}"
        write_video(base / "rgb.mp4", scene)
        stamps = _START_US + np.round(scene.times * 1e6).astype(int)
        world_device = scene.camera @ np.linalg.inv(device_camera)
        columns = ["tracking_timestamp_us"]
        cells = [stamps]
        for side, hand in scene.hands.items():
            points = scene.in_camera(hand.keypoints) @ device_camera[:3, :3].T + device_camera[:3, 3]
            palm = points[:, [0, 9]].mean(1, keepdims=True)
            points = np.concatenate([points[:, _ARIA_ORDER], palm], axis=1)
            columns.append(f"{side}_tracking_confidence")
            cells.append(np.full(len(stamps), 0.9))
            for j in range(21):
                for a in range(3):
                    columns.append(f"t{'xyz'[a]}_{side}_landmark_{j}_device")
                    cells.append(points[:, j, a])
        write_csv(base / "hand_tracking" / "hand_tracking_results.csv", columns, cells)
        pose = Rotation.from_matrix(world_device[:, :3, :3]).as_quat()
        names = [
            "tracking_timestamp_us",
            *(f"t{a}_world_device" for a in "xyz"),
            *(f"q{a}_world_device" for a in "xyzw"),
        ]
        write_csv(base / "slam" / "closed_loop_trajectory.csv", names, [stamps, *world_device[:, :3, 3].T, *pose.T])
        write_csv(
            base / "rgb_mp4_to_vrs_time_ns.csv",
            ["mp4_time_ns", "vrs_device_time_ns"],
            [np.round(scene.times * 1e9).astype(int), stamps * 1000],
        )
        camera = {
            "Label": "camera-rgb",
            "T_Device_Camera": {
                "Translation": device_camera[:3, 3].tolist(),
                "UnitQuaternion": [quat[3], quat[:3].tolist()],
            },
            "Projection": {
                "Name": "KannalaBrandtK3",
                "Params": [scene.focal, scene.focal, scene.width / 2, scene.height / 2, 0, 0, 0, 0],
            },
        }
        line = {"tracking_timestamp_us": int(stamps[0]), "CameraCalibrations": [camera]}
        (base / "slam" / "online_calibration.jsonl").write_text(json.dumps(line) + "\n")


def write_csv(path: Path, columns: list[str], cells: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(columns)
        writer.writerows(zip(*(c.tolist() for c in cells)))
