"""Generator of Ego-Exo4D: takes with words, EgoPose hands and Aria's trajectory.

Takes of even number bring people's hand annotation with camera_pose and the trajectory, those of odd number the
automatic one with the trajectory alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.sources.generate.media import write_video
from unihand_data.sources.generate.scene import Scene
from unihand_data.sources.generate.skeleton_sets import write_csv
from unihand_data.sources.generate.text_sets import take_uid, write_json

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_JOINTS = ["wrist", *(f"{finger}_{k}" for finger in _FINGERS for k in (1, 2, 3, 4))]
#: coordinates of the built-in sensor -> of the upright picture, turned clockwise: x' = -y, y' = x
_UPRIGHT = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
_START_NS = 9_000_000_000
_FIRST_ROW = 4  # rows of timesync.csv before the take


def ego_exo4d(out: Path, scenes: list[Scene]) -> None:
    takes, words = [], {}
    for i, scene in enumerate(scenes):
        name, uid = f"site_{i:02d}_cooking_{scene.seed}", take_uid(scene)
        write_video(out / "takes" / name / "frame_aligned_videos" / "aria01_214-1.mp4", scene)
        row = {"take_uid": uid, "take_name": name, "root_dir": f"takes/{name}"}
        takes.append(row | {"timesync_start_idx": _FIRST_ROW - 1, "timesync_end_idx": _FIRST_ROW + len(scene.times)})
        words[uid] = [{"annotator": "a", "descriptions": _descriptions(scene)}]
        poses = out / "annotations" / "ego_pose" / "train"
        kind = "automatic" if i % 2 else "annotation"
        write_json(poses / "hand" / kind / f"{uid}.json", _hands(scene, uid, name))
        world_sensor = scene.camera @ _UPRIGHT  # sensor to world
        if kind == "annotation":
            write_json(poses / "camera_pose" / f"{uid}.json", _camera_pose(scene, world_sensor))
        _trajectory(out, name, f"site_{i:02d}_cooking", scene, world_sensor)
    write_json(out / "takes.json", takes)
    write_json(out / "annotations" / "atomic_descriptions_train.json", {"annotations": words})


def _descriptions(scene: Scene) -> list[dict[str, Any]]:
    return [
        {"text": f"C {scene.verb}s the {scene.thing} with her left hand.", "timestamp": 0.1, "subject": "C"},
        {"text": "O walks past.", "timestamp": 0.2, "subject": "O"},
        {"text": "C does something.", "timestamp": 0.3, "subject": "C", "unsure": True},
    ]


def _hands(scene: Scene, uid: str, name: str) -> dict[str, Any]:
    out = {}
    for t in range(len(scene.times)):
        joints = {
            f"{side}_{joint}": {**dict(zip("xyz", hand.keypoints[t, j].tolist())), "num_views_for_3d": 4}
            for side, hand in scene.hands.items()
            for j, joint in enumerate(_JOINTS)
        }
        metadata = {"take_uid": uid, "take_name": name, "frame_number": t}
        out[str(t)] = [{"metadata": metadata, "annotation2D": {}, "annotation3D": joints}]
    return out


def _camera_pose(scene: Scene, world_sensor: np.ndarray) -> dict[str, Any]:
    """The pinhole is that of the owner's undistorted pictures (512 x 512, focal length 150 px)."""
    inverse = np.linalg.inv(world_sensor)[:, :3]
    return {
        "metadata": {},
        "aria01": {
            "camera_intrinsics": [[150.0, 0.0, 255.5], [0.0, 150.0, 255.5], [0.0, 0.0, 1.0]],
            "camera_extrinsics": {str(t): inverse[t].tolist() for t in range(len(scene.times))},
        },
        "cam01": {"camera_intrinsics": np.eye(3).tolist(), "camera_extrinsics": np.eye(4)[:3].tolist()},
    }


def _trajectory(out: Path, take: str, capture: str, scene: Scene, world_sensor: np.ndarray) -> None:
    device_camera = np.eye(4)
    device_camera[:3, :3] = Rotation.from_euler("xyz", [-20, 5, 35], degrees=True).as_matrix()
    device_camera[:3, 3] = [-0.004, -0.012, -0.005]
    folder = out / "takes" / take / "trajectory"
    device = world_sensor @ np.linalg.inv(device_camera)
    stamps = _START_NS // 1000 + np.round(scene.times * 1e6).astype(int)
    names = ["tracking_timestamp_us", *(f"t{a}_world_device" for a in "xyz"), *(f"q{a}_world_device" for a in "xyzw")]
    quat = Rotation.from_matrix(device[:, :3, :3]).as_quat()
    write_csv(folder / "closed_loop_trajectory.csv", names, [stamps, *device[:, :3, 3].T, *quat.T])
    x, y, z, w = Rotation.from_matrix(device_camera[:3, :3]).as_quat().tolist()
    rgb = {
        "Label": "camera-rgb",
        "T_Device_Camera": {"Translation": device_camera[:3, 3].tolist(), "UnitQuaternion": [w, [x, y, z]]},
        "Projection": {"Name": "FisheyeRadTanThinPrism", "Params": [610.0, 704.0, 704.0, *[0.0] * 12]},
    }
    line = {"tracking_timestamp_us": int(stamps[0]), "CameraCalibrations": [rgb]}
    write_json(folder / "online_calibration.jsonl", line)
    before = stamps[0] - 33_333 * np.arange(_FIRST_ROW, 0, -1)
    column = np.concatenate([before, stamps, stamps[-1:] + 33_333]) * 1000
    write_csv(out / "captures" / capture / "timesync.csv", ["aria01_214-1_capture_timestamp_ns"], [column])
