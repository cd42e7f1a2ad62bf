"""Which camera estimator a clip gets, and the settings of all of them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from unihand_data.config import Settings
from unihand_data.geometry.camera import CameraTrack
from unihand_data.hands.estimator import CameraEstimator, HandResult
from unihand_data.video.clip import ClipRef


class CameraSettings(Settings):
    """``none`` knows no motion: the row's world is ``camera`` and its EEF slots are masked."""

    estimator: Literal["none"] = "none"


class NoMotion:
    """The honest answer of a machine that cannot tell how the camera moved."""

    name = "none"

    def estimate(self, clip: ClipRef, hands: HandResult) -> CameraTrack:
        frames = len(clip.pts)
        return CameraTrack(np.tile(np.eye(4), (frames, 1, 1)), np.ones(frames, bool), method="none")

    def close(self) -> None:
        return None


def build_camera_estimator(settings: CameraSettings) -> CameraEstimator:
    return NoMotion()
