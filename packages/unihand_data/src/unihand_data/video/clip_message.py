"""A :class:`~unihand_data.values.clip.ClipRef` as plain values and arrays, to cross into a worker process."""

from __future__ import annotations

from typing import Any

import numpy as np

from unihand_data.values.camera import Intrinsics
from unihand_data.values.clip import ClipRef

_CAMERA = ("fx", "fy", "cx", "cy", "width", "height", "model", "distortion", "source")


def clip_to_message(clip: ClipRef) -> dict[str, Any]:
    """Plain values and arrays. Of ``clip.extra`` the decoder's ``origin`` and the encoder's ``change`` and ``pace``."""
    return {
        "path": clip.path,
        "pts": np.asarray(clip.pts, np.float64),
        "width": int(clip.width),
        "height": int(clip.height),
        "rotation": int(clip.rotation),
        "intrinsics": _camera(clip.intrinsics),
        "undistort_to": _camera(clip.undistort_to),
        "extra": {k: clip.extra[k] for k in ("origin", "change", "pace") if clip.extra.get(k) is not None},
    }


def clip_from_message(message: dict[str, Any]) -> ClipRef:
    """The inverse of :func:`clip_to_message`."""
    return ClipRef(
        path=message["path"],
        pts=np.asarray(message["pts"]),
        width=message["width"],
        height=message["height"],
        rotation=message["rotation"],
        intrinsics=_intrinsics(message["intrinsics"]),
        undistort_to=_intrinsics(message["undistort_to"]),
        extra=dict(message["extra"]),
    )


def _camera(camera: Intrinsics | None) -> dict[str, Any] | None:
    if camera is None:
        return None
    out = {name: getattr(camera, name) for name in _CAMERA}
    out["distortion"] = [float(k) for k in camera.distortion]
    return {k: float(v) if isinstance(v, np.floating) else v for k, v in out.items()}


def _intrinsics(message: dict[str, Any] | None) -> Intrinsics | None:
    return None if message is None else Intrinsics(**{**message, "distortion": tuple(message["distortion"])})
