"""Fixtures of the hand tests: posed hands, a camera, and the sample folder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.hands import dof, skeleton
from unihand_data.values.camera import Intrinsics
from unihand_data.values.hands import HandTrack


@pytest.fixture
def camera() -> Intrinsics:
    return Intrinsics(900.0, 900.0, 639.5, 359.5, 1280, 720)


@pytest.fixture
def moving_hand() -> Callable[..., dict]:
    """``moving_hand(side, frames)``: a smooth true motion in front of a camera, as a dict of arrays."""

    def make(side: str = "right", frames: int = 60, seed: int = 0, scale: float = 1.0) -> dict:
        rng = np.random.default_rng(seed)
        t = np.arange(frames) / 30.0
        low, high = 0.7 * dof.LOW + 0.3 * dof.HIGH, 0.4 * dof.LOW + 0.6 * dof.HIGH
        phase, speed = rng.uniform(0, 6.28, dof.N_ANGLES), rng.uniform(0.5, 2.0, dof.N_ANGLES)
        angles = low + (high - low) * (0.5 + 0.5 * np.sin(phase + speed * t[:, None]))
        pos = np.stack([0.1 * np.sin(t), 0.05 * np.cos(1.3 * t), 0.45 + 0.05 * np.sin(0.7 * t)], 1)
        base = Rotation.from_euler("xyz", [-1.2, 0.3, 1.5])
        rot = base * Rotation.from_rotvec(0.3 * np.stack([np.sin(t), np.cos(t), np.sin(1.7 * t)], 1))
        theta, rotvec = dof.to_theta(angles), rot.as_rotvec()
        if side == "left":
            theta = skeleton.mirror_theta(theta)
            pos, rotvec = pos * skeleton.MIRROR_X, rotvec * skeleton.MIRROR_ROTVEC
        points = skeleton.forward(theta, pos, rotvec, side, scale)
        return {"t": t, "theta": theta, "pos": pos, "rot": rotvec, "points": points, "side": side, "scale": scale}

    return make


@pytest.fixture
def as_track() -> Callable[[dict], HandTrack]:
    """A true motion as a fully valid track."""

    def make(truth: dict) -> HandTrack:
        n = len(truth["t"])
        track = HandTrack.empty(truth["side"], n)
        track.wrist_pos, track.wrist_rot, track.theta = (truth[k].copy() for k in ("pos", "rot", "theta"))
        track.keypoints, track.valid, track.confidence = truth["points"].copy(), np.ones(n, bool), np.ones(n)
        return track

    return make


@pytest.fixture
def project() -> Callable[[np.ndarray, Intrinsics], np.ndarray]:
    def make(points: np.ndarray, camera: Intrinsics) -> np.ndarray:
        return points[..., :2] / points[..., 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]

    return make


@pytest.fixture
def degrees_between() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Angle between rotations given as axis-angles of any leading shape."""

    def make(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        shape = np.shape(a)[:-1]
        turn = Rotation.from_rotvec(np.reshape(a, (-1, 3))) * Rotation.from_rotvec(np.reshape(b, (-1, 3))).inv()
        return np.degrees(turn.magnitude()).reshape(shape)

    return make
