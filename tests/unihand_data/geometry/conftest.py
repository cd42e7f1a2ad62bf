"""A simulated scene of points, seen by a moving pinhole; followed points as ``feature_tracks.follow`` returns them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

SIZE, FOCAL = (960, 540), 700.0


@dataclass
class Scene:
    """Poses camera-to-world (T, 4, 4), points (P, 3) in the world, and their observations sorted by frame."""

    pose: np.ndarray
    points: np.ndarray
    frame: np.ndarray
    track: np.ndarray
    xy: np.ndarray

    @property
    def seen(self):
        return self.frame, self.track, self.xy


def camera_path(frames: int, fps: float = 30.0) -> np.ndarray:
    """A head that sways by some 25 cm and turns by some 20 degrees, starting at the identity."""
    t = np.arange(frames) / fps
    pose = np.tile(np.eye(4), (frames, 1, 1))
    pose[:, :3, 3] = 0.2 * np.stack([np.sin(1.3 * t), 0.5 * np.sin(0.9 * t), 0.6 * (1 - np.cos(t))], 1)
    turn = 0.3 * np.stack([0.3 * np.sin(t), np.sin(0.8 * t), 0.2 * np.sin(1.7 * t)], axis=1)
    pose[:, :3, :3] = Rotation.from_rotvec(turn).as_matrix()
    return pose


def project(pose: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, P, 2) px and (T, P) depth."""
    local = np.einsum("tij,tpi->tpj", pose[:, :3, :3], points[None] - pose[:, None, :3, 3])
    px = FOCAL * local[..., :2] / local[..., 2:] + (np.array(SIZE) - 1) / 2
    return px, local[..., 2]


def observe(pose: np.ndarray, points: np.ndarray, noise_px: float, seed: int = 0) -> Scene:
    px, depth = project(pose, points)
    px = px + noise_px * np.random.default_rng(seed).normal(size=px.shape)
    inside = (depth > 0.1) & (px > 0).all(-1) & (px < np.array(SIZE) - 1).all(-1)
    frame, track = np.nonzero(inside)
    return Scene(pose, points, frame, track, px[inside])


@pytest.fixture
def scene_of():
    """``scene_of(frames, noise_px=0.3, moving=True)``: a table top with things on it, 0.6 to 1.6 m away."""

    def make(frames: int, noise_px: float = 0.3, *, moving: bool = True, count: int = 400, seed: int = 0) -> Scene:
        rng = np.random.default_rng(seed)
        points = np.stack(
            [rng.uniform(-1, 1, count), rng.uniform(-0.6, 0.6, count), rng.uniform(0.6, 1.6, count)], axis=1
        )
        pose = camera_path(frames) if moving else np.tile(np.eye(4), (frames, 1, 1))
        return observe(pose, points, noise_px, seed)

    return make


@pytest.fixture
def observed():
    return observe


@pytest.fixture
def lens():
    from unihand_data.values.camera import Intrinsics

    return Intrinsics(FOCAL, FOCAL, (SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2, *SIZE)


@pytest.fixture
def hands_at():
    """``hands_at(pose, wrist_world)``: a right hand of 10 keypoints' spread around a place (T, 3) in the world."""
    from unihand_data.values.estimator import HandResult
    from unihand_data.values.hands import HandTrack

    def make(pose: np.ndarray, place: np.ndarray, scale: float = 1.0) -> HandResult:
        frames = len(pose)
        right = HandTrack.empty("right", frames, estimator="test")
        angle = np.arange(21) * (2 * np.pi / 21)
        spread = 0.06 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
        local = np.einsum("tij,ti->tj", pose[:, :3, :3], place - pose[:, :3, 3])[:, None] + spread
        right.keypoints_px = FOCAL * local[..., :2] / local[..., 2:] + (np.array(SIZE) - 1) / 2
        right.keypoints, right.wrist_pos = scale * local, scale * local[:, 0]
        right.valid, right.confidence = np.ones(frames, bool), np.ones(frames)
        return HandResult(HandTrack.empty("left", frames), right)

    return make
