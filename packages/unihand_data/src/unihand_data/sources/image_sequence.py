"""Numbered JPEG or PNG pictures -> one video file, without re-encoding.

The compressed pictures become the packets of a Matroska (MJPEG) or MOV (PNG) file as they are, with times ``i / fps``
or the given ones. The file lies in the work folder under the hash of the pictures and times, so a second call finds it;
the same pictures and times give the same bytes, so it may be removed and made again, on another machine too.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.ids import make_id
from unihand_data.untrusted.unpickle import read_bounded

MAX_PICTURE_BYTES = 64 << 20
_TICKS = 90_000


def default_work_dir() -> Path:
    """Where joined pictures lie unless the user names a folder."""
    return Path(tempfile.gettempdir()) / f"unihand_frames_{os.getuid()}"


def joined_name(content_id: str, times: np.ndarray) -> str:
    """File name of the video joined from these pictures at these times (T,) s."""
    ticks = ",".join(str(round(float(t) * _TICKS)) for t in times)
    return f"{make_id('joined', content_id, ticks)}.mkv"


def hash_pictures(names: Iterable[str], read: Callable[[str], bytes]) -> str:
    """Content id of a picture sequence: names and bytes in order."""
    h = hashlib.blake2b(digest_size=16)
    for name in names:
        data = read(name)
        h.update(len(name).to_bytes(4, "little") + name.encode() + len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()


def join(
    names: list[str], read: Callable[[str], bytes], times: np.ndarray, out: Path, source: str
) -> tuple[Path, tuple[int, int]]:
    """Write the pictures as ``out`` (Matroska) unless it exists.

    Args:
        names: pictures in order. read: gives the bytes of one.
        times: (T,) s, strictly increasing.

    Returns:
        the file and (width, height).

    Raises:
        Reject: EMPTY, UNREADABLE (a picture that is none), CONTRADICTION (pictures of different sizes)."""
    import av
    import av.error

    if not names:
        raise Reject(Reason.EMPTY, f"{source}: no pictures there; fetch them")
    size = picture_size(read(names[0]), names[0])
    with suppress(FileNotFoundError):
        os.utime(out)  # used now: the least recently used ones are removed first
        return out, size
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.stem}.{uuid.uuid4().hex[:12]}.part.mkv")  # machines may share the folder
    codec = "png" if read(names[0])[:4] == b"\x89PNG" else "mjpeg"
    try:
        muxer = "matroska" if codec == "mjpeg" else "mov"  # Matroska has no name for PNG; readers go by the content
        with av.open(str(temporary), "w", format=muxer, options={"fflags": "+bitexact"}) as container:
            step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
            stream: Any = container.add_stream(codec, rate=Fraction(round(1000 / step), 1000))
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else _png_format(read(names[0]), names[0])
            stream.time_base = Fraction(1, _TICKS)
            for name, t in zip(names, times):
                data = read(name)
                if picture_size(data, name) != size:
                    raise Reject(Reason.CONTRADICTION, f"{source}: {name} has another size than the first picture")
                packet = av.Packet(data)
                packet.stream = stream
                packet.time_base = Fraction(1, _TICKS)
                packet.pts = packet.dts = round(float(t) * _TICKS)
                packet.is_keyframe = True
                container.mux(packet)
        os.replace(temporary, out)
    except av.error.FFmpegError as error:
        raise Reject(Reason.UNREADABLE, f"{source}: the pictures do not join ({error}); fetch them again") from error
    finally:
        temporary.unlink(missing_ok=True)
    return out, size


def _png_format(data: bytes, name: str) -> str:
    """FFmpeg's pixel format of a PNG by bit depth and colour type of its header."""
    depth, colour = data[24], data[25]
    found = {(8, 2): "rgb24", (8, 0): "gray", (16, 0): "gray16be", (8, 6): "rgba", (16, 2): "rgb48be"}
    if (depth, colour) not in found:
        raise Reject(Reason.UNSUPPORTED, f"{name}: a PNG of {depth} bits and colour type {colour}; convert it to RGB")
    return found[depth, colour]


def file_reader(folder: str) -> Callable[[str], bytes]:
    """Reads pictures of a local folder."""
    return lambda name: read_bounded(f"{folder}/{name}", MAX_PICTURE_BYTES)


def picture_size(data: bytes, name: str) -> tuple[int, int]:
    """(width, height) from the header of a JPEG or PNG that has its end marker.

    Raises:
        Reject: UNREADABLE (neither), TRUNCATED (no end marker)."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 33:
        if b"IEND" not in data[-16:]:
            raise Reject(Reason.TRUNCATED, f"{name}: the PNG ends early; fetch it again")
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:2] != b"\xff\xd8":
        raise Reject(Reason.UNREADABLE, f"{name}: neither JPEG nor PNG; fetch it again")
    if b"\xff\xd9" not in data[-64:]:
        raise Reject(Reason.TRUNCATED, f"{name}: the JPEG ends early; fetch it again")
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            if width and height:
                return width, height
            break
        at += 2 + length
    raise Reject(Reason.UNREADABLE, f"{name}: damaged JPEG header; fetch it again")
