"""Camera values that cross a room boundary: intrinsics, distortion and the trajectory of one clip.

Legend: T frames, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

DistortionModel = Literal["none", "radtan", "kannala_brandt"]
World = Literal["gravity", "table", "base", "camera"]


@dataclass
class Intrinsics:
    """Pinhole intrinsics in pixels of the video they belong to, pixel centres at integers, plus a distortion.

    ``radtan`` is OpenCV's (k1, k2, p1, p2[, k3, k4, k5, k6]), ``kannala_brandt`` OpenCV fisheye's (k1..k4).
    ``source`` says where the numbers come from: ``given`` (dataset), ``assumed`` (field of view from the config),
    ``estimated``.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    model: DistortionModel = "none"
    distortion: tuple[float, ...] = ()
    source: Literal["given", "assumed", "estimated"] = "given"

    @property
    def K(self) -> np.ndarray:
        """(3, 3) float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def vector(self) -> np.ndarray:
        """(4,) float64 fx fy cx cy, as a row's camera stores them."""
        return np.array([self.fx, self.fy, self.cx, self.cy])

    def resized(self, width: int, height: int) -> Intrinsics:
        """The same camera after the picture was scaled to ``width x height`` (pixel centres at integers)."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(
            self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5,
            width, height, self.model, self.distortion, self.source,
        )  # fmt: skip


@dataclass
class CameraTrack:
    """Trajectory of one camera over a clip.

    Attributes:
        pose: (T, 4, 4) float64 camera-to-world, metres, OpenCV camera axes. NaN where not valid.
        valid: (T,) bool.
        method: ``given`` | ``hawor`` | ``colmap`` | ``static`` | ``none`` (no motion known: poses are identity and
            ``world`` is ``camera``).
        world: what the raw world of ``pose`` is (``gravity``: its z axis is up).
        metric: whether translations are metres.
        figures: quality figures of the estimate (``dba_px``, ``reprojection_px``, ``scale_mad`` ...).
    """

    pose: np.ndarray
    valid: np.ndarray
    method: str = "given"
    world: World = "camera"
    metric: bool = True
    figures: dict[str, float] = field(default_factory=dict)
