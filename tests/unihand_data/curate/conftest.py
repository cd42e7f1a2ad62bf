"""Synthetic hands with a known path."""

import numpy as np
import pytest

from unihand_data.values.camera import CameraTrack, Intrinsics
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack


def track(side, path, *, rot=None, theta=None, seen=None, interpolated=None, confidence=0.9):
    path = np.asarray(path, float)
    frames = len(path)
    seen = np.ones(frames, bool) if seen is None else seen
    return HandTrack(
        side=side,
        wrist_pos=np.where(seen[:, None], path, np.nan),
        wrist_rot=np.zeros((frames, 3)) if rot is None else rot,
        theta=np.zeros((frames, 45)) if theta is None else theta,
        beta=np.zeros(10),
        keypoints=np.zeros((frames, 21, 3)),
        keypoints_px=np.zeros((frames, 21, 2)),
        confidence=np.where(seen, confidence, 0.0),
        valid=seen,
        interpolated=np.zeros(frames, bool) if interpolated is None else interpolated,
    )


def line(frames, start=(0.0, 0.1, 0.4), step=(0.004, 0.0, 0.0)):
    return np.asarray(start) + np.arange(frames)[:, None] * np.asarray(step)


@pytest.fixture
def make_track():
    return track


@pytest.fixture
def make_line():
    return line


@pytest.fixture
def static_camera():
    def build(frames, method="static"):
        return CameraTrack(np.tile(np.eye(4), (frames, 1, 1)), np.ones(frames, bool), method=method)

    return build


@pytest.fixture
def both_hands():
    def build(frames=60):
        return HandResult(left=track("left", line(frames, start=(-0.1, 0.1, 0.4))), right=track("right", line(frames)))

    return build


@pytest.fixture
def intrinsics():
    return Intrinsics(500.0, 500.0, 319.5, 239.5, 640, 480)
