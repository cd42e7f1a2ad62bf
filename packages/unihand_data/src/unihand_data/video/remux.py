"""A stretch of a video file as a file of its own, its packets copied and not encoded again.

What shards store must be quick to reach at random, so packets are copied only where the worst frame is cheap to reach;
where they are not usable as they are, :class:`NotUsable` says why and the caller encodes. The copy begins at the key
frame at or before the stretch (pre-roll: negative times in the row, never sampled) and ends with the last packet that
one of its frames needs. Copied files are decoded once, whole: damage in H.264 shows in no other way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import av.error
import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_file
from unihand_data.shards.rows import MediaRow
from unihand_data.video.encode import replacing
from unihand_data.video.integrity import IntegrityReport
from unihand_data.video.opening import OpenVideo
from unihand_data.video.probe import rotation_of
from unihand_data.video.pyav_reader import NATIVE_TOLERANCE_S, first_tick
from unihand_data.video.scan import ScanSettings, scan
from unihand_data.video.shots import ShotSettings

#: FFmpeg's decoder names -> the codec words of media rows
_CODECS = {"h264": "h264", "hevc": "hevc", "av1": "av1", "libdav1d": "av1"}
_PIXELS = ("yuv420p", "yuvj420p")
#: packets after the stretch until no frame of it can come any more
_REORDER = 32


class RemuxSettings(Settings):
    """When packets are copied.

    ``max_reach_pixels``: pixels that must be decoded to show the worst frame (frames from one key frame to the next
    times the picture); ``longest_side``: of the picture as it is.
    """

    enabled: bool = True
    codecs: list[Literal["h264", "hevc", "av1"]] = Field(default_factory=lambda: ["h264", "hevc", "av1"])  # type: ignore[arg-type]
    max_reach_pixels: int = Field(default=3_000_000, ge=1)
    longest_side: int = Field(default=1280, ge=16)


class NotUsable(Exception):
    """The packets cannot be stored as they are; the sentence says why."""


@dataclass
class _Stretch:
    """Packets in decoding order, ticks of presentation sorted, and where the stretch itself starts."""

    packets: list[Any]
    ticks: np.ndarray
    keys: np.ndarray
    start: int


def remux(
    path: str,
    out_path: str | Path,
    settings: RemuxSettings | None = None,
    *,
    t0: float = 0.0,
    t1: float | None = None,
    pace: float = 1.0,
    licence: str = "unknown",
    on_frame: Callable[[], None] | None = None,
) -> MediaRow:
    """Copy the packets of ``[t0, t1)`` (s from the file's first frame; None: to its end) into an MP4 of their own.

    Args:
        pace: seconds of the file per second of the copy, for files whose stamped rate is not the true one.

    Returns:
        The row: ``pts`` (T,) s with 0 at ``t0``, pre-roll negative; ``gop`` the longest distance of key frames found.

    Raises:
        NotUsable: codec, pixel format, rotation, size or distance of key frames ask for encoding.
        Reject: level ``clip``; the file cannot be opened, has no frame there, or is damaged.
    """
    s = settings or RemuxSettings()
    if not s.enabled:
        raise NotUsable("remux.enabled is off")
    try:
        with OpenVideo(path) as video:
            codec = _usable_stream(video, s)
            stretch = _stretch(video, path, t0, t1)
            reach = _longest_reach(stretch)
            width, height = video.stream.codec_context.width, video.stream.codec_context.height
            if reach * width * height > s.max_reach_pixels:
                raise NotUsable(
                    f"key frames lie {reach} frames of {width}x{height} apart, over max_reach_pixels "
                    f"{s.max_reach_pixels}"
                )
            with replacing(out_path) as temporary:
                base = video.time_base / Fraction(pace).limit_denominator(100_000)
                _copy(video, stretch, temporary, base)
                pts = _verified(temporary, path, stretch, float(base), on_frame)
                media_id = hash_file(temporary)
    except Reject as error:
        raise Reject(error.reason, error.message, level="clip", frames=error.frames) from error
    pts = pts - (stretch.start - stretch.ticks[0]) * float(base)
    return MediaRow(
        media_id=media_id,
        kind="video",
        width=width,
        height=height,
        frames=len(pts),
        codec=codec,
        gop=reach,
        pts_start=float(pts[0]),
        licence=licence,
        path=str(out_path),
        pts=pts,
    )


def _usable_stream(video: OpenVideo, s: RemuxSettings) -> str:
    context = video.stream.codec_context
    codec = _CODECS.get(context.name, context.name)
    if codec not in s.codecs:
        raise NotUsable(f"codec {codec}")
    if context.pix_fmt not in _PIXELS:
        raise NotUsable(f"pixel format {context.pix_fmt}")
    if max(context.width, context.height) > s.longest_side:
        raise NotUsable(f"{context.width}x{context.height}, over longest_side {s.longest_side}")
    if video.stream.sample_aspect_ratio not in (None, 0, 1):
        raise NotUsable(f"pixels that are not square ({video.stream.sample_aspect_ratio})")
    return codec


def _stretch(video: OpenVideo, path: str, t0: float, t1: float | None) -> _Stretch:
    """The packets from the key frame at or before ``t0`` to the last one a frame before ``t1`` needs."""
    tick, origin = video.tick, first_tick(path)
    start = origin + round(t0 / tick)
    stop = None if t1 is None else origin + round(t1 / tick)
    back = 0.0
    while True:
        packets = _packets_from(video, origin, start, stop, seek_s=max(0.0, t0 - back) if t0 > 0 else None)
        if packets and packets[0].pts <= start + 1:
            break
        if t0 - back <= 0:
            raise Reject(Reason.TRUNCATED, f"{path}: no key frame at or before {t0:.3f} s")
        back = 2 * back + 1.0  # the index goes by decoding time, which lies before the presentation time
    if stop is not None:
        inside = [i for i, p in enumerate(packets) if p.pts < stop]
        packets = packets[: inside[-1] + 1] if inside else []
    first = packets[0].pts if packets else 0
    packets = [p for p in packets if p.pts >= first]  # pictures that lead the key frame refer to what is left out
    if not any(p.pts >= start - 1 for p in packets):
        raise Reject(Reason.TRUNCATED, f"{path}: no frame at or after {t0:.3f} s")
    ticks = np.sort(np.array([p.pts for p in packets], np.int64))
    if (np.diff(ticks) == 0).any():
        raise NotUsable("two frames of one presentation time")
    keys = np.sort(np.array([p.pts for p in packets if p.is_keyframe], np.int64))
    return _Stretch(packets, ticks, keys, start)


def _packets_from(video: OpenVideo, origin: int, start: int, stop: int | None, seek_s: float | None) -> list[Any]:
    """Packets in decoding order, from the last key frame at or before ``start``."""
    stream = video.stream
    try:
        at = origin if seek_s is None else origin + round(seek_s / video.tick)
        video.container.seek(max(at, origin), stream=stream, backward=True)
        out: list[Any] = []
        late = 0
        for packet in video.container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            if packet.pts is None or packet.dts is None:
                raise NotUsable("packets without times")
            if packet.is_keyframe and packet.pts <= start + 1:
                out = []  # nothing before it is needed
            if out or packet.is_keyframe:
                out.append(packet)
            late = late + 1 if stop is not None and packet.pts >= stop else 0
            if late > _REORDER:
                break
        return out
    except av.error.FFmpegError as error:
        raise Reject(Reason.CORRUPT, f"{video.name}: packets near {start * video.tick:.3f} s: {error}") from error


def _longest_reach(stretch: _Stretch) -> int:
    """Frames from one key frame up to the next, the most of all."""
    bounds = np.append(np.searchsorted(stretch.ticks, stretch.keys), len(stretch.ticks))
    return int(np.diff(bounds).max())


def _copy(video: OpenVideo, stretch: _Stretch, path: Path, base: Fraction) -> None:
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    zero = int(stretch.ticks[0])
    with av.open(f"file:{path}", "w", format="mp4", options=options) as out:
        target = out.add_stream_from_template(video.stream, opaque=True)
        target.metadata.clear()
        target.time_base = base
        for packet in stretch.packets:
            packet.stream = target
            packet.time_base = base
            packet.pts -= zero
            packet.dts -= zero
            out.mux(packet)


def _verified(
    copied: Path, source: str, stretch: _Stretch, tick: float, on_frame: Callable[[], None] | None
) -> np.ndarray:
    """Presentation times (T,) s of the copy, first is 0, after every frame of it was decoded."""
    result = scan(str(copied), ScanSettings(shots=ShotSettings(enabled=False), thumbnail_hz=0), on_frame=on_frame)
    report = IntegrityReport.of(result, "")
    if not report.ok:
        reason = Reason.CORRUPT if report.corrupt_frames or report.errors else Reason.TRUNCATED
        raise Reject(
            reason,
            f"{source}: {report.decoded} of {report.announced} frames decode, {report.damaged_frames} are damaged",
            frames=report.announced,
        )
    wanted = (stretch.ticks - stretch.ticks[0]) * tick
    if len(result.info.pts) != len(wanted) or np.abs(result.info.pts - wanted).max() > NATIVE_TOLERANCE_S:
        raise NotUsable("its times do not survive the copy")
    with OpenVideo(str(copied)) as video:
        first = next(iter(video.container.decode(video.stream)))
        if rotation_of(first, source):
            raise NotUsable("a rotation flag")
    return result.info.pts
