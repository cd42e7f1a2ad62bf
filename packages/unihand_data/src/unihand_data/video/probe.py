"""What a video file says about itself, with the presentation time of every frame, read from packets and not decoded.

Legend: N frames in presentation order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.values.clip import ClipRef
from unihand_data.video.opening import OpenVideo, VideoPath

#: how far into a damaged file to look for the first frame that decodes
_FIRST_FRAME_PACKETS = 600
_MAX_PIXELS = 1 << 26


@dataclass
class VideoInfo:
    """Facts about a video stream.

    Attributes:
        path: as given (empty for bytes).
        container, codec, pix_fmt: FFmpeg's names.
        width, height: of the *displayed* picture: sample aspect and rotation applied.
        coded_width, coded_height: of the stored picture.
        rotation: clockwise degrees (0, 90, 180, 270) from the stored to the displayed picture.
        time_base: seconds per tick.
        origin: tick of the first frame; time zero of ``pts``.
        pts: (N,) float64 s, strictly increasing, first is 0.
        keyframe: (N,) bool.
        order: (N,) int64, place of the frame's packet in decoding order.
        announced: frames the container's own index counts, frames it hides by an edit list left out; 0 where it says
            nothing.
        repeated: packets left out because another has the same time.
        fps: average rate (N - 1) / (last - first).
        vfr: more than one in a hundred frame distances is over 10 % off the median.
        audio: has an audio stream.
        short_by_s: seconds by which the last frame ends before the stream's announced duration (0 where unknown).
        error: why reading packets stopped early, else empty.
    """

    path: str
    container: str
    codec: str
    pix_fmt: str
    width: int
    height: int
    coded_width: int
    coded_height: int
    rotation: int
    time_base: Fraction
    origin: int
    pts: np.ndarray
    keyframe: np.ndarray
    order: np.ndarray
    announced: int
    repeated: int
    fps: float
    vfr: bool
    audio: bool
    short_by_s: float = 0.0
    error: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        return len(self.pts)

    @property
    def duration_s(self) -> float:
        """From the first frame's start to the last frame's end (its length taken as the median)."""
        return float(self.pts[-1] - self.pts[0]) + frame_interval(self.pts, self.fps)

    def clip(self, i0: int = 0, i1: int | None = None, **kwargs: Any) -> ClipRef:
        """Frames ``[i0, i1)`` as a :class:`ClipRef`; ``kwargs`` are its intrinsics, undistort_to and so on."""
        extra = {"origin": self.origin, **kwargs.pop("extra", {})}
        return ClipRef(self.path, self.pts[i0:i1], self.width, self.height, self.rotation, extra=extra, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values and arrays, for :mod:`~unihand_data.video.wire`."""
        tb = self.time_base
        return {**vars(self), "time_base": [tb.numerator, tb.denominator]}

    @staticmethod
    def from_dict(d: dict[str, Any]) -> VideoInfo:
        return VideoInfo(**{**d, "time_base": Fraction(*d["time_base"])})


def frame_interval(pts: np.ndarray, fps: float = 0.0) -> float:
    """Median distance of frames in seconds; ``1 / fps`` for a single frame."""
    if len(pts) > 1:
        return float(np.median(np.diff(pts)))
    return 1.0 / fps if fps > 0 else 0.0


def probe(path: VideoPath) -> VideoInfo:
    """Read all packets once and decode the first frame (only frames carry the display matrix).

    Raises:
        Reject: everything :class:`~unihand_data.video.opening.OpenVideo` raises; EMPTY (no frame), CORRUPT (no frame of
            the beginning decodes), UNSUPPORTED (no times, mirrored or skewed display matrix, absurd size).
    """
    with OpenVideo(path) as video:
        stream, name = video.stream, video.name
        ctx = stream.codec_context
        if ctx.width * ctx.height > _MAX_PIXELS:
            raise Reject(Reason.UNSUPPORTED, f"{name}: {ctx.width}x{ctx.height} pixels is over the limit")
        rows: list[tuple[int, bool]] = []
        first: av.VideoFrame | None = None
        hidden = untimed = 0
        error = ""
        try:
            for n, packet in enumerate(video.container.demux(stream)):
                if packet.size and not packet.is_discard:
                    ticks = packet.pts if packet.pts is not None or ctx.has_b_frames else packet.dts
                    untimed += ticks is None
                    if ticks is not None:
                        rows.append((ticks, packet.is_keyframe))
                elif packet.size:
                    hidden += 1
                if first is None and n < _FIRST_FRAME_PACKETS:
                    first = _first_frame(packet)
        except av.error.FFmpegError as e:
            error = str(e)
        if untimed:
            raise Reject(
                Reason.UNSUPPORTED,
                f"{name}: {untimed} of {untimed + len(rows)} packets have no presentation time; remux it",
            )
        if not rows:
            raise Reject(Reason.EMPTY, f"{name}: no video frame in it{f' ({error})' if error else ''}")
        if first is None:
            raise Reject(Reason.CORRUPT, f"{name}: none of its first {_FIRST_FRAME_PACKETS} packets decodes")
        return _info(video, rows, first, hidden, error, "" if isinstance(path, bytes) else str(path))


def _first_frame(packet: av.Packet) -> av.VideoFrame | None:
    try:
        return next(iter(packet.decode()), None)  # type: ignore[return-value]
    except av.error.FFmpegError:
        return None  # damaged beginning; a later packet may still decode


def _info(video: OpenVideo, rows: list, first: av.VideoFrame, hidden: int, error: str, path: str) -> VideoInfo:
    stream = video.stream
    ticks, order = np.unique(np.array([r[0] for r in rows], np.int64), return_index=True)
    pts = (ticks - ticks[0]) * video.tick
    steps = np.diff(pts)
    fps = (len(pts) - 1) / pts[-1] if len(pts) > 1 else float(stream.average_rate or 0)
    off = np.abs(steps - np.median(steps)) > 0.1 * np.median(steps) if len(steps) else np.zeros(1, bool)
    rotation = rotation_of(first, video.name)
    width, height = _displayed(first, stream, rotation)
    end = float(pts[-1] + frame_interval(pts, fps))
    announced_s = stream.duration * video.tick if stream.duration else 0.0
    if not announced_s and video.container.duration and not video.container.streams.audio:
        announced_s = video.container.duration / av.time_base  # Matroska has one duration for all its streams
    return VideoInfo(
        path=path,
        container=video.container.format.name,
        codec=stream.codec_context.name,
        pix_fmt=stream.codec_context.pix_fmt or "",
        width=width,
        height=height,
        coded_width=first.width,
        coded_height=first.height,
        rotation=rotation,
        time_base=video.time_base,
        origin=int(ticks[0]),
        pts=pts,
        keyframe=np.array([rows[i][1] for i in order], bool),
        order=order.astype(np.int64),
        announced=max(0, stream.frames - hidden) if stream.frames else 0,
        repeated=len(rows) - len(ticks),
        fps=float(fps),
        vfr=bool(off.mean() > 0.01),
        audio=bool(video.container.streams.audio),
        short_by_s=max(0.0, announced_s - end) if announced_s else 0.0,
        error=error,
    )


def _displayed(frame: av.VideoFrame, stream: Any, rotation: int) -> tuple[int, int]:
    sar = Fraction(stream.sample_aspect_ratio or 1)
    width = round(frame.width * sar) if sar > 0 else frame.width
    return (frame.height, width) if rotation in (90, 270) else (width, frame.height)


def rotation_of(frame: av.VideoFrame, name: str) -> int:
    """Clockwise degrees of the frame's display matrix (ISO 14496-12, 16.16 fixed point, row vectors).

    Raises:
        Reject: UNSUPPORTED for a mirrored picture (it would swap the hands) and for other than right angles.
    """
    side_data: Any = frame.side_data
    for data in side_data.keys():  # noqa: SIM118 - it yields the data, not names
        if data.type.name != "DISPLAYMATRIX":
            continue
        a, b, _, c, d, *_ = np.frombuffer(bytes(data), "<i4").astype(float) / 65536
        scale = max(abs(a), abs(b))
        if scale == 0 or a * d - b * c <= 0:
            raise Reject(Reason.UNSUPPORTED, f"{name}: its display matrix mirrors the picture; remux it without")
        angle = np.degrees(np.arctan2(b, a))  # the stored x axis turns to (a, b), y down: positive is clockwise
        right = round(angle / 90) * 90
        if abs(angle - right) > 1:
            raise Reject(Reason.UNSUPPORTED, f"{name}: its display matrix turns the picture by {angle:.1f} degrees")
        return int(right) % 360
    return 0
