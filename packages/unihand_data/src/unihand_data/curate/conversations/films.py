"""Videos of conversations: the frames a model will see, at their own times, stored once.

A conversation about a video is trained on at most some dozen frames. These are chosen by the stream's presentation
times and stored as one small short-GOP video that keeps those times, instead of 1.5 TB of video or loose pictures.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import replace

import numpy as np
from pydantic import Field

from unihand_data.config import Settings, runtime_field
from unihand_data.errors import Reason, Reject
from unihand_data.ids import make_id
from unihand_data.shards.rows import MediaRow
from unihand_data.sources.conversations.talk import Film
from unihand_data.video.encode import EncodeSettings
from unihand_data.video.probe import VideoInfo
from unihand_data.video.worker import VideoWorker, VideoWorkerSettings


class FilmSettings(Settings):
    """``frames``: at most so many, evenly over the span (InternVL trains on 8 to 32). ``min_frames``: shorter videos
    are refused."""

    frames: int = Field(default=32, ge=1, le=512)
    min_frames: int = Field(default=4, ge=1)
    encode: EncodeSettings = EncodeSettings(gop=8)
    worker: VideoWorkerSettings = runtime_field(VideoWorkerSettings())


def choose_frames(info: VideoInfo, film: Film, settings: FilmSettings, where: str) -> np.ndarray:
    """(K,) numbers of the frames to store, increasing.

    Raises:
        Reject: VIDEO_FRAMES_SHORT (fewer frames than the row names, or than ``min_frames``).
    """
    if film.frames is not None:
        wanted = np.unique(np.asarray(film.frames, np.int64))
        if wanted[-1] >= info.frames:
            raise Reject(
                Reason.VIDEO_FRAMES_SHORT, f"{where}: frame {wanted[-1]} of {film.path}, which has {info.frames} frames"
            )
    else:
        end = np.inf if film.duration_s is None else film.start_s + film.duration_s
        wanted = np.flatnonzero((info.pts >= film.start_s - 1e-9) & (info.pts <= end + 1e-9))
    if len(wanted) < settings.min_frames:
        raise Reject(
            Reason.VIDEO_FRAMES_SHORT,
            f"{where}: {len(wanted)} frames of {film.path}, under video.min_frames = {settings.min_frames}",
        )
    if len(wanted) > settings.frames:
        wanted = wanted[np.unique(np.linspace(0, len(wanted) - 1, settings.frames).round().astype(np.int64))]
    return wanted


class FilmStore:
    """Stores videos below ``folder``; rows about the same video share the file, within a worker also the work."""

    def __init__(self, settings: FilmSettings, folder: str):
        self.settings, self.folder = settings, folder
        self._worker: VideoWorker | None = None
        self._done: OrderedDict[str, MediaRow] = OrderedDict()

    def store(self, film: Film, where: str, *, licence: str) -> tuple[MediaRow, list[float]]:
        """The stored video and the times (s of the source's own clock) of its frames.

        Raises:
            Reject: VIDEO_FRAMES_SHORT, and what probing and encoding raise (UNREADABLE, TRUNCATED, CORRUPT ...).
        """
        self._worker = self._worker or VideoWorker(self.settings.worker)
        info = self._worker.probe(film.path)
        chosen = choose_frames(info, film, self.settings, where)
        clip = replace(info.clip(0, info.frames), pts=info.pts[chosen])
        stamp = os.stat(film.path.split("!")[0])
        key = make_id("film", film.path, stamp.st_size, stamp.st_mtime_ns, chosen.tolist(), self.settings.encode)
        if key not in self._done:
            path = f"{self.folder.rstrip('/')}/{key}.mp4"
            self._done[key] = self._worker.encode(clip, path, self.settings.encode, licence=licence)
            while len(self._done) > 256:
                self._done.popitem(last=False)
        return self._done[key], [float(t) for t in clip.pts]

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
