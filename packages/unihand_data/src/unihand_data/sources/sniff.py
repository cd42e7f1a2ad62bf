"""Is this really a video container? Read from the first bytes and the box headers, without a decoder.

It keeps an HTML error page or half a download from reaching the decoder with a message nobody understands. Damage
inside the streams is found by the video room.
"""

from __future__ import annotations

import os
from typing import IO

from unihand_data.errors import Reason, Reject

_MP4_FIRST = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}
_MAGIC = (b"\x1aE\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"0&\xb2u\x8ef\xcf\x11")


def check_container(stream: IO[bytes], size: int, name: str) -> None:
    """Raise unless ``stream`` starts like a known container and, for MP4, its boxes fit into the file.

    Raises:
        Reject: EMPTY, UNREADABLE (no container), TRUNCATED (a box ends behind the file, or no ``moov``)."""
    if check_head(stream.read(400), size, name):
        _check_boxes(stream, size, name)


def check_head(head: bytes, size: int, name: str) -> bool:
    """As :func:`check_container` from the first bytes alone; True for MP4."""
    if size == 0:
        raise Reject(Reason.EMPTY, f"{name}: the file is empty; fetch it again")
    if len(head) >= 8 and head[4:8] in _MP4_FIRST:
        return True
    transport = head[:1] == b"G" and (len(head) < 189 or head[188:189] == b"G")
    m2ts = len(head) > 196 and head[4:5] == b"G" and head[196:197] == b"G"
    if head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:11] == b"AVI") or transport or m2ts:
        return False
    raise Reject(Reason.UNREADABLE, f"{name}: not a video container (starts with {head[:12]!r}); fetch it again")


def _check_boxes(stream: IO[bytes], size: int, name: str) -> None:
    position, kinds = 0, set()
    for _ in range(10_000):
        if position + 8 > size:
            break
        stream.seek(position)
        head = stream.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # to the end of the file
            length = size - position
        if length < 8:
            raise Reject(Reason.UNREADABLE, f"{name}: damaged MP4 box at byte {position}; fetch it again")
        kinds.add(kind)
        if position + length > size:
            raise Reject(
                Reason.TRUNCATED,
                f"{name}: box {kind!r} at byte {position} ends {position + length - size} bytes behind the file; "
                "fetch it again",
            )
        position += length
    if b"moov" not in kinds:
        raise Reject(Reason.TRUNCATED, f"{name}: no 'moov' box, the recording was not closed or is cut; fetch it again")


def check_video_file(path: str) -> None:
    """:func:`check_container` on a local file; MISSING_FILE if it is not there."""
    try:
        with open(path, "rb") as stream:
            check_container(stream, os.path.getsize(path), path)
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: the video is not there; fetch it or check the path") from error
    except OSError as error:
        raise Reject(Reason.UNREADABLE, f"{path}: cannot be read ({error})") from error
