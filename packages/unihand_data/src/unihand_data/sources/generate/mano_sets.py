"""Generators of the sets that bring MANO: VITRA-1M, HOI4D, TACO, ARCTIC, OakInk2, DexYCB.

Where a set needs MANO's own numbers, the stand-in files of ``mano_stand_in.py`` are written to ``OUT/mano_stand_in``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from unihand_data.sources.generate.foreign_pickle import dump, save_object_npy, tensor
from unihand_data.sources.generate.mano_stand_in import stand_in, write_stand_ins
from unihand_data.sources.generate.media import write_pictures, write_video
from unihand_data.sources.generate.scene import Hand, Scene
from unihand_data.sources.generate.text_sets import write_json


def _camera_pose(scene: Scene, hand: Hand) -> tuple[np.ndarray, np.ndarray]:
    """Wrist position and axis-angle in the camera."""
    pos = scene.in_camera(hand.pos[:, None])[:, 0]
    turn = scene.world_to_camera[:, :3, :3] @ Rotation.from_rotvec(hand.rot).as_matrix()
    return pos, Rotation.from_matrix(turn).as_rotvec()


def vitra_1m(out: Path, scenes: list[Scene]) -> None:
    mirror = np.diag([-1.0, 1.0, 1.0])
    for i, scene in enumerate(scenes):
        name = f"{i:08x}-0000-4000-8000-000000000000"
        write_video(out / "videos" / f"{name}.mp4", scene)
        n = len(scene.times)
        for k, rows in enumerate((np.arange(0, n // 2), np.arange(n // 2 + 1, n))):
            episode: dict[str, Any] = {
                "video_clip_id_segment": np.zeros(len(rows), int),
                "extrinsics": scene.world_to_camera[rows],
                "intrinsics": scene.K,
                "video_decode_frame": rows,
                "video_name": name,
                "avg_speed": np.float64(0.1),
                "anno_type": "right",
                "text": {
                    "right": [(f"{scene.text}.", (0, np.int64(len(rows))))],
                    "left": [(f"hold the {scene.thing}.", (np.int64(0), np.int64(0)))],
                },
                "text_rephrase": {"right": [([scene.text], (0, np.int64(len(rows))))], "left": []},
            }
            for side, hand in scene.hands.items():
                local = Rotation.from_rotvec(hand.theta[rows].reshape(-1, 3)).as_matrix().reshape(-1, 15, 3, 3)
                orient = Rotation.from_rotvec(hand.rot[rows]).as_matrix()
                episode[side] = {
                    "beta": hand.beta,
                    "global_orient_camspace": scene.world_to_camera[rows, :3, :3] @ orient,
                    "global_orient_worldspace": orient,
                    "hand_pose": mirror @ local @ mirror if side == "left" else local,  # all in the right model
                    "transl_worldspace": hand.keypoints[rows, 0],
                    "kept_frames": np.ones(len(rows), int),
                    "joints_camspace": scene.in_camera(hand.keypoints)[rows].astype(np.float32),
                    "joints_worldspace": hand.keypoints[rows],
                }
            save_object_npy(out / "annotations" / f"Ego4D_{name}_ep_{k:06d}.npy", episode)


def hoi4d(out: Path, scenes: list[Scene]) -> None:
    write_stand_ins(out / "mano_stand_in")
    numbers = stand_in("right")
    for i, scene in enumerate(scenes):
        key = f"ZY2021080000{1 + i % 4}/H1/C{1 + i}/N19/S100/s02/T1"
        write_video(out / "HOI4D_release" / key / "align_rgb" / "image.mp4", scene)
        hand = scene.hands["right"]
        pos, rot = _camera_pose(scene, hand)
        for t in range(len(scene.times)):
            row = {
                "poseCoeff": np.concatenate([rot[t], hand.theta[t]]),
                "beta": hand.beta,
                "trans": pos[t] - numbers.wrist_rest(hand.beta),
                "kps2D": np.zeros((21, 2)),
            }
            dump(out / "Hand_pose" / "handpose_right_hand" / key / f"{t}.pickle", row)
        matrices = "".join(
            f"{t} {t} {t + 1}\n" + "\n".join(" ".join(f"{v:.9f}" for v in r) for r in pose) + "\n"
            for t, pose in enumerate(scene.camera)
        )
        log = out / "HOI4D_release" / key / "3Dseg" / "output.log"
        log.parent.mkdir(parents=True)
        log.write_text(matrices)
        end = len(scene.times) / scene.fps
        write_json(
            out / "HOI4D_release" / key / "action" / "color.json",
            {"events": [{"id": "0", "event": scene.text, "startTime": 0.0, "endTime": end}]},
        )
        lens = out / "camera_params" / key.split("/")[0] / "color_intrin.npy"
        lens.parent.mkdir(parents=True, exist_ok=True)
        np.save(lens, np.array([[1000.0, 0, 960], [0, 1000.0, 540], [0, 0, 1]]))


def taco(out: Path, scenes: list[Scene]) -> None:
    for i, scene in enumerate(scenes):
        key = f"({scene.verb}, spoon, {scene.thing})/2023010{1 + i % 9}_{i:03d}"
        write_video(out / "Egocentric_RGB_Videos" / key / "color.mp4", scene)
        camera = out / "Egocentric_Camera_Parameters" / key
        camera.mkdir(parents=True)
        np.save(camera / "egocentric_frame_extrinsic.npy", scene.world_to_camera)
        lens = np.array([[1000.0, 0, 960], [0, 1000.0, 540], [0, 0, 1]])
        (camera / "egocentric_intrinsic.txt").write_text("\n".join(" ".join(f"{v:.4f}" for v in r) for r in lens))
        for side, hand in scene.hands.items():
            pose = np.concatenate([hand.rot, hand.theta], axis=1).astype(np.float32)
            rows = {
                f"{t + 1:05d}": {
                    "hand_pose": tensor(pose[t]),
                    "hand_trans": tensor(hand.keypoints[t, 0].astype(np.float32)),
                }
                for t in range(len(scene.times))
            }
            dump(out / "Hand_Poses" / key / f"{side}_hand.pkl", rows)
            shape = {"hand_shape": tensor(hand.beta.astype(np.float32))}
            dump(out / "Hand_Poses" / key / f"{side}_hand_shape.pkl", shape)


def arctic(out: Path, scenes: list[Scene]) -> None:
    write_stand_ins(out / "mano_stand_in")
    misc = {}
    for i, scene in enumerate(scenes):
        subject, seq, offset = f"s{1 + i:02d}", f"{scene.thing}_use_01", 5
        misc[subject] = {"ioi_offset": offset, "gender": "female"}
        write_pictures(out / "images" / subject / seq / "0", scene, "{:05d}.jpg", first=offset)
        n, sides = len(scene.times), {}
        for side, hand in scene.hands.items():
            numbers = stand_in(side)
            sides[side] = {
                "rot": hand.rot,
                "pose": hand.theta - numbers.mean,
                "trans": hand.pos - numbers.wrist_rest(hand.beta),
                "shape": hand.beta,
                "fitting_err": np.zeros(n),
            }
        save_object_npy(out / "raw_seqs" / subject / f"{seq}.mano.npy", sides)
        camera = scene.world_to_camera
        save_object_npy(
            out / "raw_seqs" / subject / f"{seq}.egocam.dist.npy",
            {
                "R_k_cam_np": camera[:, :3, :3],
                "T_k_cam_np": camera[:, :3, 3:],
                "intrinsics": scene.K,
                "dist8": np.array([0.1, -0.05, 0, 0, 0, 0, 0, 0.0]),
            },
        )
    write_json(out / "meta" / "misc.json", misc)


def oakink2(out: Path, scenes: list[Scene]) -> None:
    for i, scene in enumerate(scenes):
        name = f"scene_01__A00{1 + i % 9}++seq__{i:020x}__2023-01-01-00-00-00"
        serials = {"211422061000": "egocentric", "211422061001": "allocentric_top"}
        ids = [40 + 4 * t for t in range(len(scene.times))]
        write_pictures(out / "data" / name / "211422061000", scene, "{:06d}.jpg", first=40, step=4)
        camera = {f: scene.world_to_camera[t] for t, f in enumerate(ids)}
        mano = {}
        for t, f in enumerate(ids):
            row: dict[str, Any] = {}
            for side, hand in scene.hands.items():
                turns = Rotation.from_rotvec(np.concatenate([hand.rot[t : t + 1], hand.theta[t].reshape(15, 3)]))
                quat = turns.as_quat()[:, [3, 0, 1, 2]].astype(np.float32)
                short = side[0] + "h"
                row[f"{short}__pose_coeffs"] = tensor(quat[None])
                row[f"{short}__tsl"] = tensor(hand.keypoints[t, :1].astype(np.float32))
                row[f"{short}__betas"] = tensor(hand.beta[None].astype(np.float32))
            mano[f] = row
        anno = {
            "cam_def": serials,
            "cam_selection": list(serials.values()),
            "frame_id_list": ids,
            "cam_intr": {"211422061000": dict.fromkeys(ids, scene.K)},
            "cam_extr": {"211422061000": camera},
            "mocap_frame_id_list": list(range(40, ids[-1] + 1)),
            "raw_mano": mano,
        }
        dump(out / "anno_preview" / f"{name}.pkl", anno)
        span = f"(None, '({ids[0]}, {ids[-1]})')"
        write_json(
            out / "program" / "desc_info" / f"{name}.json", {span: {"seg_desc": f"{scene.text} with the right hand"}}
        )


def dexycb(out: Path, scenes: list[Scene]) -> None:
    write_stand_ins(out / "mano_stand_in")
    serial = "836212060125"
    for i, scene in enumerate(scenes):
        side = "left" if i % 2 else "right"
        hand, numbers = scene.hands[side], stand_in(side)  # type: ignore[index]
        still = Scene(**{**scene.__dict__, "camera": np.repeat(scene.camera[:1], len(scene.times), axis=0)})
        folder = out / f"2020070{1 + i % 9}-subject-0{1 + i % 9}" / f"20200709_14{i:04d}" / serial
        write_pictures(folder, still, "color_{:06d}.jpg")
        pos, rot = _camera_pose(still, hand)
        joints = still.in_camera(hand.keypoints)
        coefficients = (hand.theta - numbers.mean) @ numbers.components.T  # rows are orthonormal
        for t in range(len(still.times)):
            pose = np.concatenate([rot[t], coefficients[t], pos[t] - numbers.wrist_rest(hand.beta)])
            seen = t > 0  # the hand comes in with the second frame
            np.savez(
                folder / f"labels_{t:06d}.npz",
                pose_m=(pose if seen else 0 * pose)[None],
                joint_3d=joints[t : t + 1] if seen else -np.ones((1, 21, 3)),
                joint_2d=np.zeros((1, 21, 2)),
            )
        calib = f"20200709-subject-{i:02d}_{side}"
        meta = {"serials": [serial], "num_frames": len(still.times), "mano_sides": [side], "mano_calib": [calib]}
        (folder.parent / "meta.yml").write_text(yaml.safe_dump(meta))
        _yaml(out / "calibration" / f"mano_{calib}" / "mano.yml", {"betas": hand.beta.tolist()})
        lens = {"fx": 600.0, "fy": 600.0, "ppx": 320.0, "ppy": 240.0}
        _yaml(out / "calibration" / "intrinsics" / f"{serial}_640x480.yml", {"color": lens})


def _yaml(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(value))
