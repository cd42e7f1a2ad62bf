"""Generators of the sets that come as archives or trees of their own: Egocentric-10K, HOT3D-Clips, UniHand_Preview,
HaWoR result folders."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.sources.generate.mano_stand_in import stand_in, write_stand_ins
from unihand_data.sources.generate.media import jpeg, video_bytes, write_video
from unihand_data.sources.generate.scene import Scene
from unihand_data.sources.generate.text_sets import write_json

#: MANO's published wrist joint of the mean shape (m), left and right: HaWoR's trans is the wrist less this
_WRIST_REST = np.array([[-0.09566993, 0.00638343, 0.00618631], [0.09566993, 0.00638343, 0.00618631]])


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A plain tar with fixed times and owners."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as t:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return path


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def egocentric_10k(out: Path, scenes: list[Scene]) -> None:
    for i, scene in enumerate(scenes):
        factory, worker = 1 + i // 4, 1 + i % 4
        folder = out / f"factory_{factory:03d}" / "workers" / f"worker_{worker:03d}"
        key, video = f"factory{factory:03d}_worker{worker:03d}_{i:05d}", video_bytes(scene)
        side_car = {
            "factory_id": f"factory_{factory:03d}",
            "worker_id": f"worker_{worker:03d}",
            "video_index": i,
            "duration_sec": len(scene.times) / scene.fps,
            "width": scene.width,
            "height": scene.height,
            "fps": scene.fps,
            "size_bytes": len(video),
            "codec": "h264",
        }
        tar = folder / f"factory{factory:03d}_worker{worker:03d}_part00.tar"
        write_tar(tar, {f"{key}.mp4": video, f"{key}.json": _json(side_car)})
        lens = {"model": "fisheye", "fx": 0.45 * scene.width, "fy": 0.45 * scene.width}
        lens |= {"cx": scene.width / 2, "cy": scene.height / 2, "k1": 0.02, "k2": -0.01, "k3": 0.001, "k4": 0.0}
        write_json(folder / "intrinsics.json", lens)


def hot3d(out: Path, scenes: list[Scene]) -> None:
    write_stand_ins(out / "mano_stand_in")
    for i, scene in enumerate(scenes):
        members: dict[str, bytes] = {}
        beta = scene.hands["right"].beta
        for t in range(len(scene.times)):
            frame = f"{t:06d}"
            quat = Rotation.from_matrix(scene.camera[t, :3, :3]).as_quat()
            pose = {"quaternion_wxyz": quat[[3, 0, 1, 2]].tolist(), "translation_xyz": scene.camera[t, :3, 3].tolist()}
            lens = {
                "image_width": scene.width,
                "image_height": scene.height,
                "projection_model_type": "CameraModelType.KANNALA_BRANDT_K3",
                "projection_params": [scene.focal, scene.focal, scene.width / 2, scene.height / 2, 0, 0, 0, 0],
            }
            hands = {}
            for side, hand in scene.hands.items():
                numbers = stand_in(side)
                thetas = ((hand.theta[t] - numbers.mean) @ numbers.components.T)[:15]
                transl = hand.pos[t] - numbers.wrist_rest(beta)
                xform = np.concatenate([hand.rot[t], transl]).tolist()
                hands[side] = {"mano_pose": {"thetas": thetas.tolist(), "wrist_xform": xform}}
            members[f"{frame}.image_214-1.jpg"] = jpeg(scene, t)
            members[f"{frame}.cameras.json"] = _json({"214-1": {"calibration": lens, "T_world_from_camera": pose}})
            members[f"{frame}.hands.json"] = _json(hands)
            stamp = int(1_000_000_000 + round(scene.times[t] * 1e9))
            members[f"{frame}.info.json"] = _json({"image_timestamps_ns": {"214-1": stamp}})
        members["__hand_shapes.json__"] = _json({"mano": beta.tolist()})
        write_tar(out / "train_aria" / f"clip-{i:06d}.tar", members)


def unihand_preview(out: Path, scenes: list[Scene]) -> None:
    """Even recordings lie in a folder, odd ones in a tar of the published name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    loose, packed = out / "taco_lerobot_v3", out / "arctic_lerobot_v3"
    for root, mine in ((loose, scenes[0::2]), (packed, scenes[1::2])):
        if not mine:
            continue
        tasks = []
        for i, scene in enumerate(mine):
            place = f"chunk-000/file-{i:06d}"
            write_video(root / "videos" / "ego-view" / f"{place}.mp4", scene)
            n = len(scene.times)
            tables = {
                f"meta/episodes/instruction/{place}.parquet": {
                    "episode_index": [0, 1, 2],
                    "task_index": [2 * i, 2 * i + 1, 2 * i],
                    "dataset_from_index": [0, n // 2, 0],
                    "dataset_to_index": [n // 2, n, n // 2],
                    "mirrored": [False, False, True],
                },
                f"data/{place}.parquet": {"frame_index": list(range(n)), "timestamp": scene.times.tolist()},
            }
            for name, columns in tables.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(pa.table(columns), root / name)
            tasks += [(2 * i, scene.text), (2 * i + 1, f"{scene.verb} other {scene.thing}")]
        lines = [json.dumps({"task_index": k, "task": text}) for k, text in tasks]
        (root / "meta" / "tasks_instruction.jsonl").write_text("\n".join(lines) + "\n")
        info = {
            "base_dataset": root.name.split("_")[0],
            "fps": 30.0,
            "action_stride": 1,
            "robot_type": "human hand",
            "layout": "file-centric-split-mirror-v4",
            "mirror_video_transform": "horizontal_flip",
            "num_files": len(mine),
            "num_episodes": 3 * len(mine),
        }
        write_json(root / "meta" / "info.json", info)
    if packed.exists():
        import shutil

        names = sorted(p.relative_to(packed).as_posix() for p in packed.rglob("*") if p.is_file())
        write_tar(out / f"{packed.name}.tar", {n: (packed / n).read_bytes() for n in names})
        shutil.rmtree(packed)


def hawor_results(out: Path, scenes: list[Scene]) -> None:
    from unihand_data.hands.hawor_results import MEAN_WRIST
    from unihand_data.sources.generate.hawor_sets import write_result

    for i, scene in enumerate(scenes):
        write_video(out / f"video_{i}.mp4", scene)
        n, hands = len(scene.times), [scene.hands["left"], scene.hands["right"]]
        turn = Rotation.from_matrix(scene.world_to_camera[:, :3, :3])
        write_result(
            out / f"video_{i}",
            camera=np.linalg.inv(scene.camera[0]) @ scene.camera,  # its world is its first camera
            wrist_pos=np.stack([scene.in_camera(h.pos[:, None])[:, 0] for h in hands]),
            wrist_rot=np.stack([(turn * Rotation.from_rotvec(h.rot)).as_rotvec() for h in hands]),
            theta=np.stack([h.theta for h in hands]),
            beta=np.stack([np.tile(h.beta, (n, 1)) for h in hands]),
            wrist_joint=np.stack([np.tile(MEAN_WRIST[s], (n, 1)) for s in ("left", "right")]),
            size=(scene.width, scene.height),
            focal=scene.focal,
        )
