"""Pictures of foreign HDF5 files: encoded ones as they are, raw ones as PNG without loss.

Runs inside the worker of ``isolated.py``. How publishers store them: one string of bytes per picture (variable length,
fixed length or opaque); rows of uint8 padded with zeros (ACT); raw arrays (T, H, W, 3) or 16-bit depth (T, H, W); raw
bytes whose count alone gives the size (RoboMIND).

Legend: T pictures of H x W pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.hdf5_safe import inside, member, opened
from unihand_data.video.killable_child import heartbeat

MAX_ENCODED = 3 << 30
MAX_RAW = 16 << 30
MAX_PIXELS = 64 << 20
BLOCK = 64 << 20
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*")
#: bytes of a raw picture -> its shape; the sizes of RoboMIND's cameras, colour and 16-bit depth
RAW_SHAPES: dict[int, tuple[int, ...]] = {
    720 * 1280 * 3: (720, 1280, 3), 480 * 640 * 3: (480, 640, 3),
    720 * 1280 * 2: (720, 1280), 480 * 640 * 2: (480, 640),
}  # fmt: skip


def read_pictures(path: str, name: str, opencv: bool) -> dict[str, Any]:
    """The pictures of one data set, laid end to end.

    Args:
        opencv: raw colour pictures are in the order an OpenCV encoder takes (its red is the last channel), so that raw
            and encoded pictures of one data set agree.

    Returns:
        ``bytes`` uint8, ``ends`` (T,) int64: picture i is ``bytes[ends[i - 1] : ends[i]]``.

    Raises:
        Reject: MISSING_FIELD, WRONG_TYPE, UNREADABLE (no picture), UNSAFE_CONTENT, and those of ``read_hdf5``."""
    import h5py

    with opened(path) as f:
        data = member(f, name, path)
        if not isinstance(data, h5py.Dataset) or data.shape is None:
            raise Reject(Reason.MISSING_FIELD, f"{path}: no pictures {name}; fetch the file again")
        inside(data, name, path)
        parts: list[bytes] = []
        total = 0
        for i, picture in enumerate(_pictures(data, f"{path}: {name}", opencv)):
            total += len(picture)
            if total > MAX_ENCODED:
                raise Reject(Reason.UNSAFE_CONTENT, f"{path}: {name} holds more than {MAX_ENCODED} bytes of pictures")
            if i % 16 == 0:
                heartbeat()
            parts.append(picture)
        ends = np.cumsum([len(p) for p in parts], dtype=np.int64)
        return {"bytes": np.frombuffer(b"".join(parts), np.uint8), "ends": ends}


def _pictures(data: Any, where: str, opencv: bool) -> Iterator[bytes]:
    shape, kind = data.shape, data.dtype
    raw = kind.kind == "u" and (
        (kind.itemsize == 1 and len(shape) == 4 and shape[3] == 3)
        or (kind.itemsize == 2 and (len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)))
    )
    if raw:
        if math.prod(shape) * kind.itemsize > MAX_RAW or math.prod(shape[1:]) > 3 * MAX_PIXELS:
            raise Reject(Reason.UNSAFE_CONTENT, f"{where} announces pictures of shape {shape}")
        block = max(1, BLOCK // max(1, math.prod(shape[1:]) * kind.itemsize))
        for start in range(0, shape[0], block):
            for array in data[start : start + block]:
                yield _png(array.reshape(array.shape[:2]) if kind.itemsize == 2 else array, opencv)
                heartbeat()
        return
    padded = kind.kind == "u" and kind.itemsize == 1 and len(shape) == 2
    if not padded and (len(shape) != 1 or kind.kind not in "OSV"):
        raise Reject(Reason.WRONG_TYPE, f"{where} has type {kind} and shape {shape}, which is no picture per step")
    if math.prod(shape) * (kind.itemsize if kind.kind in "SV" else 1) > MAX_ENCODED:
        raise Reject(Reason.UNSAFE_CONTENT, f"{where} announces {shape} of {kind}")
    for i in range(shape[0]):
        value = data[i]
        plain = value if isinstance(value, bytes) else np.asarray(value).tobytes()
        if padded:
            plain = plain.rstrip(b"\0")
        if plain.startswith(MAGIC):
            yield plain
        elif len(plain) in RAW_SHAPES:
            form = RAW_SHAPES[len(plain)]
            yield _png(np.frombuffer(plain, np.uint8 if len(form) == 3 else np.uint16).reshape(form), opencv)
        else:
            what = f"starts with {plain[:8]!r}, {len(plain)} bytes" if plain else "is empty"
            raise Reject(
                Reason.UNREADABLE, f"{where}, picture {i}: no PNG, JPEG, TIFF or known raw size ({what}); fetch again"
            )


def _png(array: np.ndarray, opencv: bool) -> bytes:
    """An 8-bit colour PNG of (H, W, 3), or a 16-bit one of (H, W)."""
    from PIL import Image

    out = io.BytesIO()
    if array.ndim == 3 and opencv:
        array = array[:, :, ::-1]
    image = Image.fromarray(np.ascontiguousarray(array, dtype=np.uint8 if array.ndim == 3 else np.uint16))
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
