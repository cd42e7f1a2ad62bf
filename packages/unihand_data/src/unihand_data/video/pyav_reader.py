"""The default video reader, on PyAV: see :class:`unihand_data.video.decode.VideoReader`.

Legend: T targets, H height, W width. Pictures are uint8, rotation and sample aspect applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from unihand_data.errors import Reason, Reject
from unihand_data.video.opening import OpenVideo, VideoPath
from unihand_data.video.probe import _displayed, rotation_of
from unihand_data.video.taint import Taint

#: native times are compared exactly up to the rounding of a millisecond time base
NATIVE_TOLERANCE_S = 1e-3
#: frames it must save before a seek is worth it
_SEEK_SAVES = 8
_BLIND_SEEK_S = 10.0
#: bit-exact and unbiased scaling
EXACT = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class _Shown(NamedTuple):
    """A decoded frame, its presentation tick, and whether damage reaches it."""

    tick: int
    frame: av.VideoFrame
    spoiled: bool


class PyAVReader:
    """The default reader: one thread, one scaler, explicit close.

    Reads forward; jumps to a later key frame where that saves decoding, and back only for a new, earlier request.
    """

    name = "pyav"

    def __init__(self, path: VideoPath, *, origin: int | None = None):
        self._path = path
        self._origin = origin
        self._video: OpenVideo | None = None
        self._scaler = VideoReformatter()
        self._floor: int | None = None
        self._last: _Shown | None = None  # the two frames around the last request
        self._ahead: _Shown | None = None
        self._open()
        stream = self._file.stream
        try:
            if (shown := self._next()) is None:
                raise Reject(Reason.CORRUPT, f"{self._file.name}: no frame of it decodes", level="clip")
            first = shown.frame
            self.rotation = rotation_of(first, self._file.name)
        except Reject:
            self.close()
            raise
        self.width, self.height = _displayed(first, stream, self.rotation)
        self._coded = (first.width, first.height)
        self.fps = float(stream.average_rate or stream.guessed_rate or 0)
        self._keys = np.array([e.timestamp for e in stream.index_entries if e.is_keyframe], np.int64)

    # -- frames --------------------------------------------------------------------------------------------------

    def frames(self, times, *, size=None, rgb=True, tolerance_s=None):  # see decode.VideoReader
        for i, at, frame in self.undecorated(times, tolerance_s=tolerance_s):
            yield i, at, self._picture(frame, size, rgb)

    def undecorated(
        self, times: Sequence[float] | np.ndarray, *, tolerance_s: float | None = None
    ) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """As :meth:`frames`, but the decoder's own frames: not turned, scaled or converted."""
        tick = self._file.tick
        if tolerance_s is None:
            tolerance_s = 0.5 / self.fps if self.fps else NATIVE_TOLERANCE_S
        wanted = np.asarray(times, np.float64)
        if len(wanted) > 1 and not (np.diff(wanted) > 0).all():
            raise ValueError("times must increase")
        for i, t in enumerate(wanted):
            shown = self._nearest(self.origin + t / tick)
            at = (shown.tick - self.origin) * tick
            if abs(at - t) > tolerance_s + 1e-9:
                raise Reject(
                    Reason.TRUNCATED,
                    f"{self._file.name}: no frame at {t:.4f} s (number {i} of {len(wanted)}); "
                    f"the nearest that arrives is at {at:.4f} s",
                    level="clip",
                    frames=len(wanted),
                )
            if shown.spoiled:
                raise Reject(
                    Reason.CORRUPT,
                    f"{self._file.name}: the frame at {t:.4f} s is damaged, or refers to one that is",
                    level="clip",
                    frames=len(wanted),
                )
            self._same_size(shown.frame)
            yield i, at, shown.frame

    @property
    def origin(self) -> int:
        """Tick of the file's first frame."""
        if self._origin is None:
            self._origin = first_tick(self._path)
        return self._origin

    def close(self) -> None:
        self._last = self._ahead = None
        if self._video is not None:
            self._video.close()
            self._video = None

    # -- moving --------------------------------------------------------------------------------------------------

    @property
    def _file(self) -> OpenVideo:
        if self._video is None:
            raise ValueError("the reader is closed")
        return self._video

    def _open(self) -> None:
        if self._video is not None:
            self._video.close()
        self._video = OpenVideo(self._path)
        self._restart()

    def _restart(self) -> None:
        self._floor = self._last = self._ahead = None
        self._stream = self._decoded(self._file)

    def _decoded(self, file: OpenVideo) -> Iterator[_Shown]:
        taint = Taint()
        packets = file.container.demux(file.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                packet = None  # a cut or damaged file: what is missing shows as a frame that does not arrive
            if packet is None:
                return
            if packet.size:
                taint.packet(packet.pts, packet.is_keyframe, packet.is_corrupt)
            try:
                frames: list[Any] = packet.decode()
            except av.error.FFmpegError:
                taint.mark()
                continue
            for frame in frames:
                # After a jump, pictures that lead the key frame refer to what was not read.
                if frame.pts is not None and (self._floor is None or frame.pts >= self._floor):
                    yield _Shown(frame.pts, frame, taint.frame(frame.pts, frame.is_corrupt))

    def _next(self) -> _Shown | None:
        """Step forward; returns the frame ahead, None at the end."""
        shown = next(self._stream, None)
        if shown is not None:
            self._last, self._ahead = self._ahead, shown
        return shown

    def _nearest(self, target: float) -> _Shown:
        self._approach(target)
        while self._ahead is None or self._ahead.tick < target:
            if self._next() is None:
                break
        both = [f for f in (self._last, self._ahead) if f is not None]
        if not both:
            raise Reject(Reason.CORRUPT, f"{self._file.name}: no frame of it decodes any more", level="clip")
        return min(both, key=lambda f: abs(f.tick - target))

    def _approach(self, target: float) -> None:
        if self._ahead is None or target < (self._last or self._ahead).tick - 0.5:
            self._seek(target)
            return
        gap = (target - self._ahead.tick) * self._file.tick
        if gap > 0 and len(self._keys):
            key = self._keys[max(0, int(np.searchsorted(self._keys, np.float64(target), side="right")) - 1)]
            if (key - self._ahead.tick) * self._file.tick * (self.fps or 30.0) > _SEEK_SAVES:
                self._seek(target)
        elif gap > _BLIND_SEEK_S:
            self._seek(target)

    def _seek(self, target: float) -> None:
        """To a key frame at or before ``target``; from the file's beginning where seeking does not lead there."""
        at = int(target)
        for _ in range(3):
            if at <= (self._origin or 0):
                break
            try:
                self._file.container.seek(at, stream=self._file.stream, backward=True, any_frame=False)
            except av.error.FFmpegError:
                break
            self._restart()
            shown = self._next()
            while shown is not None and not shown.frame.key_frame:
                self._last = self._ahead = None  # nothing before a key frame can be trusted after a jump
                shown = self._next()
            if shown is not None and shown.tick <= target + 0.5:
                self._floor = shown.tick
                return
            # The index is by decoding time, which may lie before the presentation time by some frames.
            at -= max(1, round((2.0 if shown is None else 0.5) / self._file.tick))
        self._open()

    # -- pictures ------------------------------------------------------------------------------------------------

    def _same_size(self, frame: av.VideoFrame) -> None:
        if (frame.width, frame.height) != self._coded:
            raise Reject(
                Reason.CONTRADICTION,
                f"{self._file.name}: the picture changes from {self._coded} to {(frame.width, frame.height)}",
                level="clip",
            )

    def _picture(self, frame: av.VideoFrame, size: tuple[int, int] | None, rgb: bool) -> np.ndarray:
        width, height = size or (self.width, self.height)
        if self.rotation in (90, 270):
            width, height = height, width
        return turn(to_array(frame, (width, height), rgb, self._scaler), self.rotation)


def to_array(frame: av.VideoFrame, size: tuple[int, int], rgb: bool, scaler: VideoReformatter) -> np.ndarray:
    """Scale and convert in one pass and one thread. (H, W, 3) RGB or (H, W) gray, full range.

    Of swscale's paths to RGB only two are unbiased: the special one for unscaled pictures (5-15 times faster), and the
    one with full chroma interpolation, which costs nothing extra when scaling anyway. The others are two levels dark.
    """
    how = Interpolation.BILINEAR if size == (frame.width, frame.height) else EXACT
    out = scaler.reformat(
        frame,
        width=size[0],
        height=size[1],
        format="rgb24" if rgb else "gray",
        interpolation=how,
        dst_color_range="JPEG",
        threads=1,
    )
    return out.to_ndarray()


def turn(picture: np.ndarray, clockwise: int) -> np.ndarray:
    """Rotate by 0, 90, 180 or 270 degrees clockwise."""
    return np.ascontiguousarray(np.rot90(picture, -(clockwise // 90))) if clockwise else picture


def first_tick(path: VideoPath) -> int:
    """Least presentation tick of the file's beginning (frames are reordered over at most 16 places)."""
    with OpenVideo(path) as video:
        ticks: list[int] = []
        try:
            for packet in video.container.demux(video.stream):
                tick = packet.pts if packet.pts is not None else packet.dts
                if packet.size and tick is not None and not packet.is_discard:
                    ticks.append(tick)
                if len(ticks) >= 64:
                    break
        except av.error.FFmpegError as error:
            if not ticks:
                raise Reject(Reason.CORRUPT, f"{video.name}: no packet can be read: {error}") from error
        if not ticks:
            raise Reject(Reason.EMPTY, f"{video.name}: no timed frame in it")
        return min(ticks)
