"""Frames by presentation time.

Legend: T targets, H height, W width. Pictures are uint8, rotation and sample aspect applied.

A frame is chosen by its own timestamp and never by number times rate. A wanted frame that does not arrive or is damaged
is a Reject; no neighbour takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.values.clip import ClipRef
from unihand_data.video.opening import VideoPath
from unihand_data.video.pyav_reader import NATIVE_TOLERANCE_S, PyAVReader


class VideoReader(Protocol):
    """Frames of one file by time. Not thread-safe; close it."""

    name: str
    width: int
    height: int
    fps: float

    def frames(
        self,
        times: Sequence[float] | np.ndarray,
        *,
        size: tuple[int, int] | None = None,
        rgb: bool = True,
        tolerance_s: float | None = None,
    ) -> Iterator[tuple[int, float, np.ndarray]]:
        """For every time (T, increasing, s from the first frame): ``(index, time of the frame, picture)``.

        Args:
            size: (width, height) of the picture; the displayed size by default.
            rgb: (H, W, 3) RGB, else (H, W) gray.
            tolerance_s: how far the nearest frame may be; half a frame by default.

        Raises:
            Reject: level ``clip``; TRUNCATED where no frame is near, CORRUPT where it is damaged.
        """
        ...

    def close(self) -> None: ...


def open_reader(path: VideoPath, backend: str = "pyav", *, origin: int | None = None) -> VideoReader:
    """``pyav`` (default) | ``decord`` | ``torchcodec``; the last two are extras and raise ImportError by name."""
    if backend == "pyav":
        return PyAVReader(path, origin=origin)
    from unihand_data.video import adapters

    return adapters.open_reader(path, backend)


def iter_frames(
    clip: ClipRef,
    *,
    size: tuple[int, int] | None = None,
    rgb: bool = True,
    undistort: bool = True,
    backend: str = "pyav",
    tolerance_s: float = NATIVE_TOLERANCE_S,
) -> Iterator[tuple[int, float, np.ndarray]]:
    """``(index in clip.pts, its time, picture)`` of every frame of a clip, in order.

    Args:
        size: (width, height) of the picture; by default that of the rectified, else of the displayed picture.
        rgb: (H, W, 3) RGB, else (H, W) gray.
        undistort: rectify to ``clip.undistort_to`` where it is set.

    Raises:
        Reject: level ``clip``; TRUNCATED, CORRUPT, CONTRADICTION (the file's picture is not as large as the clip says).
    """
    reader = open_reader(clip.path, backend, origin=clip.extra.get("origin"))
    try:
        check_size(reader, clip)
        target = clip.undistort_to if undistort else None
        if target is None:
            yield from reader.frames(clip.pts, size=size, rgb=rgb, tolerance_s=tolerance_s)
            return
        if clip.intrinsics is None:
            raise Reject(Reason.MISSING_FIELD, f"{clip.path}: undistort_to without intrinsics", level="clip")
        from unihand_data.video.undistort import rectify

        target = target.resized(*size) if size else target
        # Scale down in the decoder's own conversion first, where it filters; remapping alone would alias.
        scale = min(1.0, target.fx / clip.intrinsics.fx)
        within = (max(2, round(clip.width * scale)), max(2, round(clip.height * scale)))
        source = clip.intrinsics.resized(*within)
        for i, t, picture in reader.frames(clip.pts, size=within, rgb=rgb, tolerance_s=tolerance_s):
            yield i, t, rectify(picture, source, target)
    finally:
        reader.close()


def check_size(reader: VideoReader, clip: ClipRef) -> None:
    """Reject CONTRADICTION unless the file shows a picture as large as the clip says."""
    if (reader.width, reader.height) != (clip.width, clip.height):
        raise Reject(
            Reason.CONTRADICTION,
            f"{clip.path}: shows {reader.width}x{reader.height}, the clip says {clip.width}x{clip.height}",
            level="clip",
        )
