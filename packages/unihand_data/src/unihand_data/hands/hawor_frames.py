"""The pictures HaWoR gets: frames of the clip at up to 30 a second, as the one kind of camera HaWoR knows.

HaWoR takes one square focal length, a centred principal point and no distortion, so the clip is brought to that pinhole
first. It also extracts pictures from a video with ffmpeg at 30 frames/s, but takes a folder of pictures that is there
already: writing them ourselves keeps which frame each of them is, costs no second encoding, and needs no ffmpeg.

Legend: T frames of the clip, N pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.hands.hawor_config import HAWOR_FPS
from unihand_data.values.camera import Intrinsics
from unihand_data.values.clip import ClipRef
from unihand_data.video.clip_message import clip_from_message

_QUALITY = 97
_CENTRED_PX, _SQUARE = 0.75, 2e-3  # closer than this is left as it is


def chosen_frames(pts: np.ndarray) -> np.ndarray:
    """(N,) indices into ``pts`` (T, s): the frame nearest to every 1/30 s, none twice. A slower video gives all."""
    pts = np.asarray(pts, float)
    grid = pts[0] + np.arange(int(np.floor((pts[-1] - pts[0]) * HAWOR_FPS + 0.5)) + 1) / HAWOR_FPS
    right = np.clip(np.searchsorted(pts, grid), 1, max(1, len(pts) - 1))
    right = np.minimum(right, len(pts) - 1)
    left = np.maximum(right - 1, 0)
    return np.unique(np.where(grid - pts[left] <= pts[right] - grid, left, right))


def windows(times: np.ndarray, longest_s: float, overlap_s: float) -> list[tuple[int, int]]:
    """[a, b) stretches of at most ``longest_s`` that overlap by ``overlap_s``, of nearly equal length."""
    total = float(times[-1] - times[0])
    if total <= longest_s:
        return [(0, len(times))]
    count = int(np.ceil((total - overlap_s) / (longest_s - overlap_s)))
    step = (total - overlap_s) / count
    starts = np.searchsorted(times, times[0] + step * np.arange(count))
    ends = [*(np.searchsorted(times, times[0] + step * np.arange(1, count) + overlap_s) + 1), len(times)]
    return [(int(a), int(b)) for a, b in zip(starts, ends)]


def hawor_camera(view: Intrinsics, max_side_px: int) -> tuple[Intrinsics, Intrinsics | None]:
    """The pinhole of the pictures, and the one the view is warped to first (None: scaling is enough)."""
    warp: Intrinsics | None = None
    off = max(abs(view.cx - (view.width - 1) / 2), abs(view.cy - (view.height - 1) / 2))
    if off > _CENTRED_PX or abs(view.fx / view.fy - 1) > _SQUARE:
        f = (view.fx + view.fy) / 2
        warp = Intrinsics(
            f, f, (view.width - 1) / 2, (view.height - 1) / 2, view.width, view.height, "none", (), view.source
        )
    scale = min(1.0, max_side_px / max(view.width, view.height))
    size = tuple(max(16, 2 * round(n * scale / 2)) for n in (view.width, view.height))
    return (warp or view).resized(*size), warp


def as_seen(clip: ClipRef, warp: Intrinsics | None) -> ClipRef:
    """The clip whose rectified picture HaWoR gets."""
    return clip if warp is None else replace(clip, undistort_to=warp)


def build() -> Callable[[dict[str, Any]], int]:
    """For ``KillableWorker``: ``{"clip": message of the chosen frames, "size": [w, h], "folders": [[a, b, path]]}``
    writes ``path/%04d.jpg`` for frames a..b-1 and answers how many."""

    def answer(request: dict[str, Any]) -> int:
        return write_pictures(clip_from_message(request["clip"]), tuple(request["size"]), request["folders"])

    return answer


def write_pictures(clip: ClipRef, size: tuple[int, int], folders: list[list[Any]]) -> int:
    """Write every frame of the clip to the folders whose stretch holds it. Raises ``Reject`` from decoding."""
    import cv2

    from unihand_data.video.decode import iter_frames
    from unihand_data.video.killable_child import heartbeat

    for _, _, folder in folders:
        Path(folder).mkdir(parents=True, exist_ok=True)
    written = 0
    for index, _, picture in iter_frames(clip, size=size):
        heartbeat()
        ok, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not ok:
            raise Reject(Reason.INTERNAL, f"{clip.path}: frame {index} could not be written as JPEG", level="clip")
        for a, b, folder in folders:
            if a <= index < b:
                (Path(folder) / f"{index - a:04d}.jpg").write_bytes(data.tobytes())
                written += 1
    return written
