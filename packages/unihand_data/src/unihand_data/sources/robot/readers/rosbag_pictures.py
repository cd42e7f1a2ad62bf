"""Picture messages as JPEG or PNG: sensor_msgs/CompressedImage, its depth transport, raw sensor_msgs/Image."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
#: compressed_depth_image_transport puts an int32 and two float32 before the PNG
_TRANSPORT_HEADER = 12
_RAW = {
    "rgb8": (np.uint8, 3), "bgr8": (np.uint8, 3), "rgba8": (np.uint8, 4), "bgra8": (np.uint8, 4),
    "mono8": (np.uint8, 1), "8UC1": (np.uint8, 1),
    "mono16": (np.uint16, 1), "16UC1": (np.uint16, 1),
}  # fmt: skip


def encoded(message: Any, kind: str, topic: str) -> tuple[bytes, bool]:
    """The picture and whether it is 16-bit depth.

    Raises:
        Reject: UNSUPPORTED (an encoding that is no picture, quantised depth), CORRUPT (too few bytes).
    """
    return _compressed(message, topic) if kind.endswith("CompressedImage") else _raw(message, topic)


def _compressed(message: Any, topic: str) -> tuple[bytes, bool]:
    data, form = message.data.tobytes(), str(message.format)
    if "compressedDepth" in form or topic.endswith("compressedDepth"):
        if "32FC1" in form or "rvl" in form.lower():
            raise Reject(Reason.UNSUPPORTED, f"{topic}: depth as {form[:60]!r}; only 16-bit PNG depth is taken")
        at = data[: _TRANSPORT_HEADER + 64].find(_PNG)
        if at < 0:
            raise Reject(Reason.CORRUPT, f"{topic}: no PNG behind the transport header (starts {data[:12]!r})")
        data = data[at:]
    if not data.startswith((_PNG, _JPEG)):
        raise Reject(Reason.UNSUPPORTED, f"{topic}: format {form[:60]!r} is neither JPEG nor PNG (starts {data[:8]!r})")
    return data, data.startswith(_PNG) and len(data) > 25 and data[24] == 16


def _raw(message: Any, topic: str) -> tuple[bytes, bool]:
    from PIL import Image

    known = _RAW.get(str(message.encoding))
    if known is None:
        raise Reject(Reason.UNSUPPORTED, f"{topic}: encoding {str(message.encoding)[:40]!r}; known: {', '.join(_RAW)}")
    dtype = np.dtype(known[0]).newbyteorder(">" if message.is_bigendian else "<")
    height, width, step = int(message.height), int(message.width), int(message.step)
    row = width * known[1] * dtype.itemsize
    if not height or not width or step < row or len(message.data) < height * step:
        raise Reject(
            Reason.CORRUPT, f"{topic}: {len(message.data)} bytes for {width}x{height} {message.encoding}, {step} a row"
        )
    pixels = message.data[: height * step].reshape(height, step)[:, :row].copy().view(dtype)
    pixels = pixels.astype(known[0]).reshape(height, width, known[1])
    if message.encoding in ("bgr8", "bgra8"):
        pixels = pixels[..., [2, 1, 0]]
    pixels = pixels[..., :3] if known[1] > 1 else pixels[..., 0]
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", compress_level=1)
    return out.getvalue(), known[0] is np.uint16
