"""A clip as a short-GOP video of its own: what shards store.

Native timestamps are kept: the time base is the first of a list that represents them all to a microsecond. The same
input and settings give the same bytes: one thread, bit-exact scaling, no dates, no writer's name.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from pydantic import Field, model_validator

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_file
from unihand_data.shards.rows import MediaRow
from unihand_data.values.clip import ClipRef
from unihand_data.video.decode import check_size, iter_frames
from unihand_data.video.opening import local_path
from unihand_data.video.probe import frame_interval
from unihand_data.video.pyav_reader import EXACT, NATIVE_TOLERANCE_S, PyAVReader, turn

Codec = Literal["h264", "hevc", "av1"]
#: rates of cameras first, so that times stay exact where they can
_TIME_BASES = (90_000, 1_000, 1_000_000)
_TOLERANCE_S = 1e-6
_FULL, _LIMITED, _BT709 = 2, 1, 1
_CRF = {"h264": 23, "hevc": 25, "av1": 32}


class EncodeSettings(Settings):
    """How a clip is stored (figures behind the defaults: docs/video.md).

    ``gop``: frames from one key frame to the next. ``crf``: constant quality, None for the codec's default.
    ``longest_side``: pixels of the longer side, never enlarged; or ``size``: exactly (width, height). Both even.
    ``preset``: the encoder's own (x264 and x265 names; a number for AV1), None for the default.
    """

    codec: Codec = "h264"
    gop: int = Field(default=8, ge=1, le=600)
    crf: int | None = Field(default=None, ge=0, le=63)
    longest_side: int | None = Field(default=640, ge=16, le=8192)
    size: tuple[int, int] | None = None
    preset: str | None = None

    @model_validator(mode="after")
    def _even(self) -> EncodeSettings:
        if self.size and (min(self.size) < 16 or max(self.size) > 8192 or any(n % 2 for n in self.size)):
            raise ValueError(f"encode.size {self.size}: two even numbers from 16 to 8192")
        if self.codec != "av1" and (self.crf or 0) > 51:
            raise ValueError(f"encode.crf {self.crf}: {self.codec} takes 0 to 51")
        return self


def stored_size(clip: ClipRef, settings: EncodeSettings) -> tuple[int, int]:
    """(width, height) of the stored picture: even, aspect kept to a pixel."""
    if settings.size:
        return settings.size
    view = clip.undistort_to
    width, height = (view.width, view.height) if view else (clip.width, clip.height)
    scale = min(1.0, settings.longest_side / max(width, height)) if settings.longest_side else 1.0
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def choose_time_base(pts: np.ndarray) -> Fraction:
    """Coarsest of 1/90000, n-frames-per-second bases (1000/1001 included), 1/1000000 that holds ``pts`` (T, s) to 1e-6.

    The frame rate's own base comes first: it holds 29.97 exactly, where 1/90000 holds most others.
    """
    step = frame_interval(pts)
    guesses: list[Fraction] = []
    if step > 0:
        rate = Fraction(1 / step).limit_denominator(1001)
        guesses = [Fraction(1, rate.numerator * k) for k in (1, 2, 4, 8, 16)] if 0 < rate.numerator <= 240_000 else []
    for base in (*guesses, *(Fraction(1, d) for d in _TIME_BASES)):
        ticks = pts / float(base)
        if np.abs(ticks - np.rint(ticks)).max(initial=0) * float(base) <= _TOLERANCE_S and (
            len(pts) < 2 or np.diff(np.rint(ticks)).min() >= 1
        ):
            return base
    return Fraction(1, _TIME_BASES[-1])


def encode_clip(
    clip: ClipRef,
    out_path: str | Path,
    settings: EncodeSettings | None = None,
    *,
    licence: str = "unknown",
    on_frame: Callable[[], None] | None = None,
) -> MediaRow:
    """Decode, turn, rectify, scale and store all frames of a clip as MP4, its first frame at time zero.

    Args:
        out_path: local path or URL; written under another name and renamed (an object store's put is atomic itself).
        on_frame: called for every frame (a worker's heartbeat).

    Returns:
        The row: ``media_id`` is the content id of the bytes, ``pts`` (T,) s as stored, ``pts_start`` 0, ``path`` set,
        ``data`` None.

    Raises:
        Reject: level ``clip``, from decoding.
    """
    s = settings or EncodeSettings()
    width, height = stored_size(clip, s)
    pts = (np.asarray(clip.pts, np.float64) - clip.pts[0]) / clip.extra.get("pace", 1.0)
    base = choose_time_base(pts)
    ticks = np.rint(pts / float(base)).astype(np.int64)
    with replacing(out_path) as temporary:
        _encode(clip, temporary, s, (width, height), base, ticks, on_frame)
        media_id = hash_file(temporary)
    return MediaRow(
        media_id=media_id,
        kind="video",
        width=width,
        height=height,
        frames=len(pts),
        codec=s.codec,
        gop=s.gop,
        pts_start=0.0,
        licence=licence,
        path=str(out_path),
        pts=ticks * float(base),
    )


def _encode(
    clip: ClipRef,
    path: Path,
    s: EncodeSettings,
    size: tuple[int, int],
    base: Fraction,
    ticks: np.ndarray,
    on_frame: Callable[[], None] | None,
) -> None:
    if s.codec == "av1":
        os.environ.setdefault("SVT_LOG", "1")  # it writes its whole configuration to stderr otherwise
    # The index in front: a reader of the blob needs its beginning and the wanted group, not its end.
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(f"file:{path}", "w", format="mp4", options=options) as out:
        stream: Any = out.add_stream(_ENCODERS[s.codec], options=_options(s))
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = context.time_base = base
        step = float(np.median(np.diff(ticks))) * float(base) if len(ticks) > 1 else 1 / 30
        context.framerate = Fraction(1 / step).limit_denominator(1001)
        context.thread_type, context.thread_count = "NONE", 1
        context.gop_size, context.max_b_frames, context.bit_rate = s.gop, 0, 0
        try:
            for i, frame in _pictures(clip, size):
                if i == 0:
                    for tag in ("colorspace", "color_primaries", "color_trc", "color_range"):
                        setattr(context, tag, getattr(frame, tag))
                frame.pts, frame.time_base = int(ticks[i]), base
                frame.pict_type = 0  # the source's key frames are not ours
                out.mux(stream.encode(frame))
                if on_frame is not None:
                    on_frame()
            out.mux(stream.encode(None))
        except av.error.FFmpegError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # the disk's fault, not the clip's
            raise Reject(
                Reason.INTERNAL, f"{clip.path}: the {s.codec} encoder refused a frame: {error}", level="clip"
            ) from error


def _pictures(clip: ClipRef, size: tuple[int, int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames as they are stored: limited-range yuv420p. Without rectification they never become RGB, so colours keep
    their values and their tags."""
    scaler = VideoReformatter()
    change = clip.extra.get("change")
    if clip.undistort_to is not None or change:
        for i, _, picture in iter_frames(clip, size=size):
            rgb = av.VideoFrame.from_ndarray(changed(picture, change or ()), format="rgb24")
            yield (
                i,
                scaler.reformat(
                    rgb,
                    format="yuv420p",
                    interpolation=EXACT,
                    src_color_range=_FULL,
                    dst_color_range=_LIMITED,
                    dst_colorspace=_BT709,
                    dst_color_primaries=_BT709,
                    dst_color_trc=_BT709,
                    threads=1,
                ),
            )
        return
    reader = PyAVReader(clip.path, origin=clip.extra.get("origin"))
    try:
        check_size(reader, clip)
        stored = size[::-1] if reader.rotation in (90, 270) else size
        for i, _, frame in reader.undecorated(clip.pts, tolerance_s=NATIVE_TOLERANCE_S):
            scaled = scaler.reformat(
                frame,
                width=stored[0],
                height=stored[1],
                format="yuv420p",
                interpolation=EXACT,
                dst_color_range=_LIMITED,
                threads=1,
            )
            yield i, _turned(scaled, reader.rotation, size)
    finally:
        reader.close()


def changed(picture: np.ndarray, changes: Sequence[str]) -> np.ndarray:
    """A picture (H, W, 3) as its data set meant it: ``rotate_180``, ``flip_vertical``, ``bgr`` (channels stored in the
    other order)."""
    for change in changes:
        match change:
            case "rotate_180":
                picture = picture[::-1, ::-1]
            case "flip_vertical":
                picture = picture[::-1]
            case "bgr":
                picture = picture[..., ::-1]
            case _:
                raise ValueError(f"no such change of a picture: {change}")
    return np.ascontiguousarray(picture)


def _turned(frame: av.VideoFrame, clockwise: int, size: tuple[int, int]) -> av.VideoFrame:
    """A fresh yuv420p frame, its planes turned one by one."""
    if not clockwise and frame.width == size[0]:
        planes = frame.to_ndarray()
    else:
        w, h = frame.width, frame.height
        flat = frame.to_ndarray().ravel()
        cuts = np.cumsum([w * h, w * h // 4])
        shapes = ((h, w), (h // 2, w // 2), (h // 2, w // 2))
        turned = [turn(p.reshape(shape), clockwise).ravel() for p, shape in zip(np.split(flat, cuts), shapes)]
        planes = np.concatenate(turned).reshape(size[1] * 3 // 2, size[0])
    out = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    for tag in ("colorspace", "color_primaries", "color_trc"):
        setattr(out, tag, getattr(frame, tag))
    out.color_range = _LIMITED
    return out


_ENCODERS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}


def _options(s: EncodeSettings) -> dict[str, str]:
    """Closed groups of fixed length without B-frames: any frame needs at most ``gop - 1`` others, all before it."""
    crf = str(_CRF[s.codec] if s.crf is None else s.crf)
    if s.codec == "h264":
        params = f"keyint={s.gop}:min-keyint={s.gop}:scenecut=0:bframes=0:open-gop=0:threads=1:lookahead-threads=1"
        return {"preset": s.preset or "medium", "crf": crf, "x264-params": params, "flags": "+bitexact"}
    if s.codec == "hevc":
        params = (
            f"keyint={s.gop}:min-keyint={s.gop}:scenecut=0:bframes=0:open-gop=0:pools=none:frame-threads=1"
            ":info=0:log-level=error:repeat-headers=0"
        )
        return {"preset": s.preset or "medium", "crf": crf, "x265-params": params, "flags": "+bitexact"}
    # SVT-AV1 counts the frames between key frames, so one less; pred-struct 1 is low delay
    params = f"keyint={s.gop}:scd=0:pred-struct=1:lp=1:irefresh-type=2"
    return {"preset": s.preset or "8", "crf": crf, "svtav1-params": params, "flags": "+bitexact"}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A local file to write to, that takes the place of ``path`` when the block ends well and vanishes otherwise."""
    local = local_path(path)
    folder = None if local is None else local.parent
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
    temporary = Path(name)
    try:
        os.close(handle)
        yield temporary
        if local is None:
            import fsspec

            with open(temporary, "rb") as source, fsspec.open(str(path), "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            return
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, local)
    finally:
        temporary.unlink(missing_ok=True)
