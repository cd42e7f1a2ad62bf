"""The one interface behind which MediaPipe, HaWoR and annotated data stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from unihand_data.values.camera import CameraTrack
from unihand_data.values.clip import ClipRef
from unihand_data.values.hands import HandTrack


@dataclass
class HandResult:
    """Both hands of a clip (always a left and a right track, possibly all invalid), and the camera where the estimator
    also found it. ``figures`` are per-clip quality figures (``det_mean``, ``dba_px``, ...)."""

    left: HandTrack
    right: HandTrack
    camera: CameraTrack | None = None
    figures: dict[str, float] = field(default_factory=dict)


class HandEstimator(Protocol):
    """Finds hands in a clip. Built once per worker (models load in ``__init__``), closed at its end."""

    name: str

    def estimate(self, clip: ClipRef) -> HandResult:
        """Raises ``Reject(TIMEOUT | CRASHED | ...)`` with level ``clip``; finding no hand is no error."""
        ...

    def close(self) -> None: ...


class CameraEstimator(Protocol):
    """Finds the camera's motion over a clip, hands masked out, metric scale from the hands where it can."""

    name: str

    def estimate(self, clip: ClipRef, hands: HandResult) -> CameraTrack: ...

    def close(self) -> None: ...
