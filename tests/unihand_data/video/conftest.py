"""Videos whose frame n shows n, and where the samples lie."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

BITS = 12


def number_picture(n: int, width: int = 96, height: int = 64) -> np.ndarray:
    """(H, W, 3) RGB: n as 12 black or white blocks, 6 by 2, in the left upper half of the picture.

    The lower right stays gray, so that the picture tells which way it is turned."""
    picture = np.full((height, width, 3), 128, np.uint8)
    bh, bw = height // 4, width // 6
    for bit in range(BITS):
        row, column = divmod(bit, 6)
        value = 235 if n >> bit & 1 else 20
        picture[row * bh : (row + 1) * bh, column * bw : (column + 1) * bw] = value
    return picture


def read_number(picture: np.ndarray, strict: bool = True) -> int:
    """Inverse of :func:`number_picture` at any size; the lower half must be gray."""
    gray = picture if picture.ndim == 2 else picture.mean(-1)
    h, w = gray.shape
    n = 0
    for bit in range(BITS):
        row, column = divmod(bit, 6)
        y, x = (row + 0.5) * h / 4, (column + 0.5) * w / 6
        n |= int(gray[int(y), int(x)] > 128) << bit
    assert not strict or abs(gray[int(h * 0.75), int(w * 0.5)] - 128) < 40, "the picture is turned"
    return n


def write_video(
    path,
    pictures,
    *,
    ticks=None,
    time_base=Fraction(1, 30),
    codec="libx264",
    gop=12,
    bframes=0,
    rotation_ccw=None,
    hflip=False,
    pix_fmt="yuv420p",
    options=None,
    container_options=None,
    sar=None,
    format=None,
) -> Path:
    """Encode (H, W, 3) pictures at ``ticks`` of ``time_base``."""
    pictures = iter(pictures)
    first = next(pictures)
    h, w = first.shape[:2]
    extra = {"bf": str(bframes), "preset": "ultrafast", "crf": "20", "threads": "1"}
    if codec == "libx265":
        extra = {"preset": "ultrafast", "x265-params": f"log-level=none:bframes={bframes}:pools=none:frame-threads=1"}
    if codec == "libsvtav1":
        extra = {"preset": "12", "svtav1-params": "lp=1"}
    if codec in ("mpeg4", "mjpeg"):
        extra = {"bf": str(bframes)} if codec == "mpeg4" else {}
    with av.open(str(path), "w", format=format, options=container_options or {}) as out:
        stream = out.add_stream(codec, rate=30, options={**extra, **(options or {})})
        stream.width, stream.height, stream.pix_fmt = w, h, pix_fmt
        stream.codec_context.time_base = stream.time_base = time_base
        stream.codec_context.gop_size = gop
        if sar:
            stream.codec_context.sample_aspect_ratio = sar
        if rotation_ccw is not None or hflip:
            stream.set_display_rotation(rotation_ccw or 0, hflip=hflip)
        for i, picture in enumerate([first, *pictures]):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (i if ticks is None else int(ticks[i])), time_base
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return Path(path)


def write_numbers(path, n=60, *, width=96, height=64, rotation_ccw=None, **kwargs) -> Path:
    """``width`` and ``height`` are the stored ones; pictures are stored so that they show upright."""
    turns = (rotation_ccw or 0) // 90
    shown = (height, width) if turns % 2 else (width, height)
    pictures = (np.ascontiguousarray(np.rot90(number_picture(i, *shown), -turns)) for i in range(n))
    return write_video(path, pictures, rotation_ccw=rotation_ccw, **kwargs)


@pytest.fixture(scope="session")
def videos():
    """The functions above, for tests (a conftest cannot be imported under importlib mode)."""
    return SimpleNamespace(
        number_picture=number_picture, read_number=read_number, write_video=write_video, write_numbers=write_numbers
    )


@pytest.fixture(scope="session")
def kitchen(samples) -> Path:
    """A real egocentric clip: H.264, 1080p, 30 fps, 121 frames."""
    path = samples / "hawor_video" / "video_0.mp4"
    if not path.is_file():
        pytest.skip("no hawor_video sample")
    return path
