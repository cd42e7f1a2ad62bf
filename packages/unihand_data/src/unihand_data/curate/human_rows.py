"""A curated clip becomes an episode row: the human hand as one more embodiment (paper 5.1.1, CONTRACT sections 1-3).

Legend: T frames, S active slots. State: wrist pose in the world (EEF slots), beta, theta, per side. Action: wrist
displacement per step ``p[t+1] - p[t]`` and ``log(R[t+1] R[t]^T)`` from realised poses, theta as the absolute target
``theta[t+1]``. What was not seen is masked; filled-in frames are masked too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.curate.clip_state import ClipState
from unihand_data.curate.hand_models import embodiment_of, hand_model
from unihand_data.curate.motion_quality import MotionSettings, step_outliers
from unihand_data.geometry.world import level_world
from unihand_data.ids import split_of
from unihand_data.language.motion_rules import closure_from_theta
from unihand_data.shards.rows import CameraRow, EpisodeRow, HandRow
from unihand_data.values.camera import CameraTrack
from unihand_data.values.hands import HandTrack, Side

# docs/contract.md, section 1; the slot tables of ``space`` hold the same numbers and a test compares them.
EEF: dict[Side, int] = {"right": 0, "left": 9}
BETA: dict[Side, int] = {"right": 90, "left": 100}
THETA: dict[Side, int] = {"right": 110, "left": 155}
STATE_SLOTS = np.concatenate([np.arange(0, 6), np.arange(9, 15), np.arange(90, 110), np.arange(110, 200)])
ACTION_SLOTS = np.concatenate([np.arange(0, 6), np.arange(9, 15), np.arange(110, 200)])


@dataclass
class WorldMotion:
    """Both wrists in the row's world. ``known`` says whether displacements in it mean anything."""

    raw_to_world: np.ndarray
    world: str
    poses: np.ndarray  # (T, 4, 4) camera-to-world
    pose_valid: np.ndarray
    known: bool


def world_motion(camera: CameraTrack | None, frames: int) -> WorldMotion:
    """Camera poses in the row's world. Without any motion estimate the current camera frame is used and ``known`` is
    False: the EEF slots are stored but masked (docs/contract.md, section 2, ``world: camera``)."""
    if camera is None:
        camera = CameraTrack(np.tile(np.eye(4), (frames, 1, 1)), np.ones(frames, bool), method="none")
    up = camera.figures.get("up_x"), camera.figures.get("up_y"), camera.figures.get("up_z")
    measured = np.array(up, float) if all(v is not None for v in up) else None
    raw_to_world, world = level_world(camera, up=measured, label="table" if measured is not None else None)
    poses = np.einsum("ij,tjk->tik", raw_to_world, camera.pose)
    known = camera.method != "none" and camera.metric
    return WorldMotion(raw_to_world, world, poses, camera.valid.copy(), known)


def _wrist(track: HandTrack, motion: WorldMotion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wrist position (T, 3), rotation matrix (T, 3, 3) and validity (T,) in the row's world; zeros where invalid."""
    ok = track.valid & motion.pose_valid & np.isfinite(track.wrist_pos).all(1) & np.isfinite(track.wrist_rot).all(1)
    rotation = motion.poses[:, :3, :3]
    position = np.zeros((len(ok), 3))
    matrix = np.tile(np.eye(3), (len(ok), 1, 1))
    position[ok] = np.einsum("tij,tj->ti", rotation[ok], track.wrist_pos[ok]) + motion.poses[ok, :3, 3]
    matrix[ok] = rotation[ok] @ Rotation.from_rotvec(track.wrist_rot[ok]).as_matrix()
    return position, matrix, ok


def human_state_action(
    tracks: dict[Side, HandTrack], motion: WorldMotion, times: np.ndarray, settings: MotionSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """(state, state_mask, action, action_mask) over :data:`STATE_SLOTS` / :data:`ACTION_SLOTS`, and how many steps an
    outlier masked."""
    frames = len(times)
    state, state_mask = np.zeros((frames, 200), np.float32), np.zeros((frames, 200), bool)
    action, action_mask = np.zeros((frames, 200), np.float32), np.zeros((frames, 200), bool)
    outliers = 0
    for side, track in tracks.items():
        position, matrix, ok = _wrist(track, motion)
        seen = ok & ~track.interpolated
        eef, theta, beta = EEF[side], THETA[side], BETA[side]
        state[:, eef : eef + 3] = position
        state[:, eef + 3 : eef + 6] = Rotation.from_matrix(matrix).as_rotvec()
        state_mask[:, eef : eef + 6] = (seen & motion.known)[:, None]

        fingers = np.where(ok[:, None], np.nan_to_num(track.theta), 0.0)
        finger_ok = seen & np.isfinite(track.theta).all(1)
        state[:, theta : theta + 45] = fingers
        state_mask[:, theta : theta + 45] = finger_ok[:, None]
        state[:, beta : beta + 10] = track.beta
        state_mask[:, beta : beta + 10] = (seen & (track.hand_model == "mano"))[:, None]

        both = ok[:-1] & ok[1:]
        action[:-1, eef : eef + 3] = np.where(both[:, None], position[1:] - position[:-1], 0.0)
        turn = Rotation.from_matrix(matrix[1:] @ matrix[:-1].transpose(0, 2, 1)).as_rotvec()
        action[:-1, eef + 3 : eef + 6] = np.where(both[:, None], turn, 0.0)
        bad = step_outliers(position, seen, times, settings)
        outliers += int(bad.sum())
        action_mask[:-1, eef : eef + 6] = (seen[:-1] & seen[1:] & ~bad[:-1] & motion.known)[:, None]
        action[:-1, theta : theta + 45] = fingers[1:]
        action_mask[:-1, theta : theta + 45] = finger_ok[1:, None]
    pick_s, pick_a = STATE_SLOTS, ACTION_SLOTS
    return state[:, pick_s], state_mask[:, pick_s], action[:, pick_a], action_mask[:, pick_a], outliers


def human_episode(clip: ClipState, settings: MotionSettings) -> EpisodeRow:
    """The unmirrored row of a finished clip, whose hands are of one model."""
    if clip.hands is None or clip.media is None:
        raise ValueError("rows are built after hands and encoding")
    times = np.asarray(clip.clip.pts, float) - clip.clip.t0
    motion = world_motion(clip.camera, clip.frames)
    tracks: dict[Side, HandTrack] = {"right": clip.hands.right, "left": clip.hands.left}
    state, state_mask, action, action_mask, outliers = human_state_action(tracks, motion, times, settings)
    origin, media, view = clip.origin, clip.media, clip.clip.view_intrinsics
    model = hand_model(clip.hands)
    embodiment, embodiment_hash = embodiment_of(model)
    quality = {k: float(v) for k, v in clip.figures.items()}
    quality["outlier_steps"] = float(outliers)
    return EpisodeRow(
        episode_id=clip.clip_id,
        recording_id=origin.recording_id,
        source=origin.dataset,
        source_uri=origin.uri,
        suite=origin.suite,
        task_id=origin.task_id,
        licence=origin.licence,
        shareable=origin.shareable,
        embodiment=embodiment,
        embodiment_hash=embodiment_hash,
        domain="human",
        origin=origin.origin,
        setting=origin.setting,
        split=split_of(origin.split_group or origin.recording_id),
        rate_hz=clip.fps,
        timestamps=times,
        world=motion.world,
        raw_to_world=motion.raw_to_world,
        action_source=[{"slot_group": group, "kind": "realised"} for group in ("eef", "theta")],
        state_slots=STATE_SLOTS.astype(np.int16),
        action_slots=ACTION_SLOTS.astype(np.int16),
        state=state,
        action=action,
        state_mask=state_mask,
        action_mask=action_mask,
        cameras=[
            CameraRow(
                view="ego",
                media_id=media.media_id,
                width=media.width,
                height=media.height,
                fps=clip.fps,
                intrinsics=view.resized(media.width, media.height).vector if view else None,
                poses=motion.poses.astype(np.float32),
                pose_valid=motion.pose_valid & motion.known,
            )
        ],
        hands=[
            HandRow(
                side=side,
                hand_model=model,
                estimator=track.estimator,
                confidence=np.nan_to_num(track.confidence).astype(np.float32),
                valid=track.valid.copy(),
                interpolated=track.interpolated.copy(),
                hand_scale=float(track.hand_scale),
            )
            for side, track in tracks.items()
        ],
        language=list(clip.language),
        quality=quality,
        provenance=dict(clip.provenance),
    )


def wrist_motion(clip: ClipState) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """What the motion describer reads, per side: wrist (T, 3) m and rotation (T, 3) axis-angle in the row's world,
    whether it was seen (T,), and finger closure (T,) with 0 open and 1 fist."""
    if clip.hands is None:
        raise ValueError("the describer runs after the hands")
    motion = world_motion(clip.camera, clip.frames)
    out = {}
    for side, track in (("left", clip.hands.left), ("right", clip.hands.right)):
        position, matrix, ok = _wrist(track, motion)
        rotvec = Rotation.from_matrix(matrix).as_rotvec()
        out[side] = (position, rotvec, ok & ~track.interpolated, closure_from_theta(np.nan_to_num(track.theta)))
    return out
