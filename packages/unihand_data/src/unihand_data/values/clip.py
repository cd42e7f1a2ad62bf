"""A reference to a stretch of a video file: what travels between stages instead of pixels.

Time is the stream's own presentation time, in seconds from the first frame of the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unihand_data.values.camera import Intrinsics


@dataclass
class ClipRef:
    """Frames ``pts[i]`` of ``path``, as one clip.

    Attributes:
        path: local path or URL (``s3://``, ``gs://``) of the video file; a member of an archive is ``path!member``.
        pts: (T,) float64 seconds, native presentation times of the clip's frames, strictly increasing.
        width, height: of the *displayed* picture (rotation applied), before undistortion.
        rotation: display rotation of the stream in degrees clockwise (0, 90, 180, 270); decoders apply it.
        intrinsics: of the displayed picture, distortion included; None when nothing is known.
        undistort_to: pinhole the picture is rectified to before anything looks at it (None: it is a pinhole already).
            Everything measured in the picture is in pixels of this rectified picture.
        extra: ``origin`` (tick of the file's first frame), ``change`` (what to do to each picture, see
            ``encode.changed``), ``pace`` (seconds of the file per stored second).
    """

    path: str
    pts: np.ndarray
    width: int
    height: int
    rotation: int = 0
    intrinsics: Intrinsics | None = None
    undistort_to: Intrinsics | None = None
    extra: dict = field(default_factory=dict)

    @property
    def t0(self) -> float:
        return float(self.pts[0])

    @property
    def t1(self) -> float:
        return float(self.pts[-1])

    @property
    def view_intrinsics(self) -> Intrinsics | None:
        """Intrinsics of the picture stages work on (rectified where the source is distorted)."""
        return self.undistort_to or self.intrinsics
