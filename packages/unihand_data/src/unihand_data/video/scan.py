"""One decoding pass that serves everything that looks at whole recordings: damage, shot cuts and thumbnails.

Legend: N frames in presentation order, K thumbnails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from pydantic import Field

from unihand_data.config import Settings, runtime_field
from unihand_data.errors import Reason, Reject
from unihand_data.values.clip import ClipRef
from unihand_data.video.opening import OpenVideo, VideoPath
from unihand_data.video.probe import VideoInfo, probe
from unihand_data.video.pyav_reader import to_array, turn
from unihand_data.video.shots import ShotDetector, ShotSettings, thumbnail_size
from unihand_data.video.taint import spoiled


class ScanSettings(Settings):
    """``thumbnail_hz`` 0 keeps none; ``thumbnail_side`` is their longer side in pixels. ``max_frames`` refuses films
    that would fill the memory of a worker."""

    shots: ShotSettings = ShotSettings()
    thumbnail_hz: float = runtime_field(0.0, ge=0, le=30)
    thumbnail_side: int = runtime_field(256, ge=16, le=1024)
    max_frames: int = Field(default=4_000_000, gt=0)


@dataclass
class ScanResult:
    """What one pass found.

    Attributes:
        info: the probe's facts.
        damaged: (N,) bool, frames no clip may contain: flagged, missing, or referring to such a frame.
        corrupt_frames: frames the decoder flagged.
        decoded: frames that came out.
        announced: the most the file promises: its index's count or its packets.
        errors: packets the decoder refused.
        cuts: (C,) int64, first frames of new shots.
        distances: (N,) float32, distance of every frame to the one before (see :mod:`shots`); 0 where damaged.
        thumbnails: (K, h, w, 3) uint8 RGB, displayed orientation.
        thumbnail_frames: (K,) int64, the frames they show.
    """

    info: VideoInfo
    damaged: np.ndarray
    corrupt_frames: int
    decoded: int
    announced: int
    errors: int
    cuts: np.ndarray
    distances: np.ndarray
    thumbnails: np.ndarray
    thumbnail_frames: np.ndarray

    @property
    def decoded_ratio(self) -> float:
        """Frames that came out over frames announced."""
        return self.decoded / self.announced if self.announced else 0.0

    def clip(self, i0: int, i1: int, **kwargs: Any) -> ClipRef:
        return self.info.clip(i0, i1, **kwargs)

    def losses(self) -> list[Reject]:
        """What the file announces and its packets do not hold (the rest shows in the clip plan)."""
        lost = self.announced - self.info.frames
        seconds = lost / self.info.fps if self.info.fps else 0.0
        if lost <= 0 and self.info.short_by_s > 1.0:
            lost, seconds = round(self.info.short_by_s * self.info.fps), self.info.short_by_s
        if lost <= 0:
            return []
        text = f"{self.info.path}: {lost} of {lost + self.info.frames} announced frames are not in the file"
        return [Reject(Reason.TRUNCATED, text, level="clip", frames=lost, duration_s=seconds)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values and arrays, for :mod:`~unihand_data.video.wire`."""
        return {**vars(self), "info": self.info.to_dict()}

    @staticmethod
    def from_dict(d: dict[str, Any]) -> ScanResult:
        return ScanResult(**{**d, "info": VideoInfo.from_dict(d["info"])})


def scan(
    path: VideoPath, settings: ScanSettings | None = None, *, on_frame: Callable[[], None] | None = None
) -> ScanResult:
    """Decode every frame once.

    Args:
        on_frame: called after every packet (a worker's heartbeat).

    Raises:
        Reject: level ``item``; what :func:`~unihand_data.video.probe.probe` raises, and CORRUPT when no frame decodes.
    """
    s = settings or ScanSettings()
    info = probe(path)
    if info.frames > s.max_frames:
        raise Reject(Reason.UNSUPPORTED, f"{info.path}: {info.frames} frames are over scan.max_frames = {s.max_frames}")
    with OpenVideo(path) as video:
        return _Pass(video, info, s).run(on_frame)


class _Pass:
    def __init__(self, video: OpenVideo, info: VideoInfo, settings: ScanSettings):
        self.video, self.info, self.settings = video, info, settings
        self.ticks = info.origin + np.rint(info.pts / video.tick).astype(np.int64)
        self.arrived = np.zeros(info.frames, bool)
        self.flagged = np.zeros(info.frames, bool)
        self.corrupt = self.errors = self.strange = 0
        self.detector = ShotDetector(settings.shots)
        self.shown: list[int] = []  # frames the detector saw
        self.thumbnails: list[np.ndarray] = []
        self.thumbnail_frames: list[int] = []
        self.next_thumbnail = 0.0
        self.small, self.big = VideoReformatter(), VideoReformatter()
        self.shot_size = thumbnail_size(info.coded_width, info.coded_height)
        scale = min(1.0, settings.thumbnail_side / max(info.width, info.height))
        w, h = max(2, round(info.width * scale)), max(2, round(info.height * scale))
        self.thumbnail_size = (h, w) if info.rotation in (90, 270) else (w, h)

    def run(self, on_frame: Callable[[], None] | None) -> ScanResult:
        packets = self.video.container.demux(self.video.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                break  # the probe stopped at the same place
            if packet is None:
                break
            if packet.is_corrupt and packet.pts is not None:
                self._flag(packet.pts)
            try:
                frames: list[Any] = packet.decode()
            except av.error.FFmpegError:
                self.errors += 1
                if packet.pts is not None:
                    self._flag(packet.pts)
                continue
            for frame in frames:
                self._take(frame)
            if on_frame is not None:
                on_frame()
        return self._result()

    def _flag(self, tick: int) -> None:
        i = self._index(tick)
        if i is not None:
            self.flagged[i] = True

    def _index(self, tick: int) -> int | None:
        i = int(np.searchsorted(self.ticks, tick))
        return i if i < len(self.ticks) and self.ticks[i] == tick else None

    def _take(self, frame: av.VideoFrame) -> None:
        i = None if frame.pts is None else self._index(frame.pts)
        if i is None:  # a time no packet has
            self.strange += 1
            return
        if (frame.width, frame.height) != (self.info.coded_width, self.info.coded_height):
            raise Reject(
                Reason.UNSUPPORTED,
                f"{self.video.name}: the picture changes size from {self.info.coded_width}x{self.info.coded_height} "
                f"to {frame.width}x{frame.height} at {self.info.pts[i]:.2f} s; split the file there",
            )
        self.arrived[i] = True
        if frame.is_corrupt:
            self.corrupt += 1
            self.flagged[i] = True
            return
        if self.settings.shots.enabled:
            self.detector.push(to_array(frame, self.shot_size, True, self.small))
            self.shown.append(i)
        hz = self.settings.thumbnail_hz
        if hz and self.info.pts[i] >= self.next_thumbnail - 1e-6:
            self.next_thumbnail = (np.floor(self.info.pts[i] * hz + 1e-6) + 1) / hz
            picture = to_array(frame, self.thumbnail_size, True, self.big)
            self.thumbnails.append(turn(picture, self.info.rotation))
            self.thumbnail_frames.append(i)

    def _result(self) -> ScanResult:
        info, decoded = self.info, int(self.arrived.sum())
        if not (self.arrived & ~self.flagged).any():
            raise Reject(Reason.CORRUPT, f"{self.video.name}: none of its {info.frames} frames decodes undamaged")
        damaged = spoiled(self.flagged, info.keyframe, info.order, ~self.arrived)
        distances = np.zeros(info.frames, np.float32)
        distances[self.shown] = self.detector.distances
        cuts = np.array(self.shown, np.int64)[self.detector.cuts()]
        keep = [k for k, i in enumerate(self.thumbnail_frames) if not damaged[i]]
        w, h = self.thumbnail_size if info.rotation in (0, 180) else self.thumbnail_size[::-1]
        return ScanResult(
            info=info,
            damaged=damaged,
            corrupt_frames=self.corrupt,
            decoded=decoded,
            announced=max(info.announced, info.frames),
            errors=self.errors,
            cuts=cuts,
            distances=distances,
            thumbnails=np.stack([self.thumbnails[k] for k in keep]) if keep else np.zeros((0, h, w, 3), np.uint8),
            thumbnail_frames=np.array([self.thumbnail_frames[k] for k in keep], np.int64),
        )
