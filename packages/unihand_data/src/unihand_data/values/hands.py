"""What every hand estimator and every annotated source returns: one :class:`HandTrack` per side.

Legend: T frames, J joints. Camera axes OpenCV, metres, radians. ``theta`` is MANO's hand pose as 15 axis-angle joints
relative to the flat hand (``hands_mean`` added), of the model of its own side; joint order index, middle, pinky, ring,
thumb (MANO). Keypoints are the 21 of OpenPose/MediaPipe order: wrist, then thumb, index, middle, ring, pinky, each from
the palm to the tip.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Side = Literal["left", "right"]
HandModel = Literal["mano", "generic_v1"]

WRIST = 0
#: keypoint chains from the wrist outwards
FINGERS: dict[str, tuple[int, int, int, int]] = {
    "thumb": (1, 2, 3, 4),
    "index": (5, 6, 7, 8),
    "middle": (9, 10, 11, 12),
    "ring": (13, 14, 15, 16),
    "pinky": (17, 18, 19, 20),
}
BONES: tuple[tuple[int, int], ...] = tuple(
    edge for chain in FINGERS.values() for edge in zip((WRIST, *chain[:-1]), chain)
)


@dataclass
class HandTrack:
    """One hand over one clip. Rows that are not ``valid`` hold NaN.

    Attributes:
        side: which hand.
        wrist_pos: (T, 3) m, the wrist *joint* in the camera frame of that moment (for MANO: transl + J0).
        wrist_rot: (T, 3) axis-angle, hand (MANO global_orient) to camera.
        theta: (T, 45) rad, see the module's header.
        beta: (10,) shape coefficients; zeros for ``generic_v1``.
        hand_scale: size of the skeleton over its nominal size (``generic_v1``); 1 for MANO.
        keypoints: (T, 21, 3) m in the camera frame, as observed or as posed by the model.
        keypoints_px: (T, 21, 2) pixels of the undistorted source video; NaN where only 3-D is known.
        confidence: (T,) 0..1; NaN where an interpolated frame has none.
        valid: (T,) bool, a pose exists.
        interpolated: (T,) bool, the pose was filled in and not seen.
        hand_model: ``mano`` or ``generic_v1``.
        estimator: who made it, with its version (``mediapipe-1.2.2``, ``hawor-66c7d41``, ``annotated``).
    """

    side: Side
    wrist_pos: np.ndarray
    wrist_rot: np.ndarray
    theta: np.ndarray
    beta: np.ndarray
    keypoints: np.ndarray
    keypoints_px: np.ndarray
    confidence: np.ndarray
    valid: np.ndarray
    interpolated: np.ndarray
    hand_model: HandModel = "generic_v1"
    hand_scale: float = 1.0
    estimator: str = "annotated"
    figures: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.valid)

    @staticmethod
    def empty(side: Side, frames: int, *, hand_model: HandModel = "generic_v1", estimator: str = "none") -> HandTrack:
        """A hand that is never seen."""
        nan = np.full
        return HandTrack(
            side=side,
            wrist_pos=nan((frames, 3), np.nan),
            wrist_rot=nan((frames, 3), np.nan),
            theta=nan((frames, 45), np.nan),
            beta=np.zeros(10),
            keypoints=nan((frames, 21, 3), np.nan),
            keypoints_px=nan((frames, 21, 2), np.nan),
            confidence=np.zeros(frames),
            valid=np.zeros(frames, bool),
            interpolated=np.zeros(frames, bool),
            hand_model=hand_model,
            estimator=estimator,
        )
