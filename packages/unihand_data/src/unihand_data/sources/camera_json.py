"""Intrinsics given with a video: ``NAME.camera.json`` beside ``NAME.mp4``, on disk, in a bucket or in an archive.

A flat object: ``fx, fy, cx, cy, width, height`` in pixels of the displayed picture, pixel centres at integers, and for
a lens ``model`` (``radtan`` | ``kannala_brandt``) with ``distortion``, the coefficients in OpenCV's order.
"""

from __future__ import annotations

import math
import os
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources import archive
from unihand_data.sources.listing import is_remote
from unihand_data.untrusted import tables
from unihand_data.untrusted.unpickle import read_bounded
from unihand_data.values.camera import Intrinsics

SUFFIX = ".camera.json"
_FIELDS = ("fx", "fy", "cx", "cy", "width", "height")
_COEFFICIENTS = {"none": (0,), "radtan": (4, 5, 8), "kannala_brandt": (4,)}
_MAX_BYTES = 1 << 16


def beside(video: str) -> str:
    """The name of the camera file of a video: its own without the last suffix."""
    return f"{os.path.splitext(video)[0]}{SUFFIX}"


def read_bytes(path: str) -> bytes:
    """A camera file: a local path, a URL or ``archive!member``.

    Raises:
        Reject: MISSING_FILE, EMPTY, UNREADABLE, UNSAFE_CONTENT (larger than a camera file can be)."""
    file, member = archive.split_member(path)
    if member:
        return archive.read_member(file, member, _MAX_BYTES)
    if not is_remote(path):
        return read_bounded(path, _MAX_BYTES)
    import fsspec

    try:
        with fsspec.open(path, "rb") as stream:
            data: bytes = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such object; it was listed, so run again") from error
    except OSError as error:
        raise Reject(Reason.UNREADABLE, f"{path}: cannot be read ({error}); check access and try again") from error
    if len(data) > _MAX_BYTES:
        raise Reject(Reason.UNSAFE_CONTENT, f"{path}: more than {_MAX_BYTES} bytes, no camera file")
    return data


def parse(data: bytes, path: str) -> Intrinsics:
    """The camera a file describes; ``path`` names it in messages.

    Raises:
        Reject: UNREADABLE, TRUNCATED (no JSON), MISSING_FIELD, WRONG_TYPE, BAD_VALUE or CONTRADICTION (a lens without
            its coefficients, or a number of them that OpenCV's model does not have), naming file and field.
    """
    said = tables.parse_json(tables.decode_text(data, path), path)
    if not isinstance(said, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: an object with fx, fy, cx, cy, width, height is expected")
    unknown = set(said) - set(_FIELDS) - {"model", "distortion"}
    if unknown:
        raise Reject(Reason.WRONG_TYPE, f"{path}: unknown field {sorted(unknown)[0]}")
    values = {name: _number(path, said, name) for name in _FIELDS}
    model, lens = said.get("model", "none"), said.get("distortion", [])
    if model not in _COEFFICIENTS:
        raise Reject(Reason.BAD_VALUE, f"{path}: model is none, radtan or kannala_brandt, not {model!r}")
    if not isinstance(lens, list) or not all(_is_number(k) for k in lens):
        raise Reject(Reason.WRONG_TYPE, f"{path}: distortion is a list of finite numbers")
    if len(lens) not in _COEFFICIENTS[model]:
        wanted = " or ".join(map(str, _COEFFICIENTS[model]))
        raise Reject(
            Reason.CONTRADICTION, f"{path}: model {model} with {len(lens)} distortion coefficients, not {wanted}"
        )
    if values["fx"] <= 0 or values["fy"] <= 0 or values["width"] < 1 or values["height"] < 1:
        raise Reject(Reason.BAD_VALUE, f"{path}: fx, fy, width and height are positive")
    size = int(values["width"]), int(values["height"])
    return Intrinsics(values["fx"], values["fy"], values["cx"], values["cy"], *size, model, tuple(map(float, lens)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(path: str, data: dict[str, Any], name: str) -> float:
    if name not in data:
        raise Reject(Reason.MISSING_FIELD, f"{path}: field {name} is missing")
    if not _is_number(data[name]):
        raise Reject(Reason.WRONG_TYPE, f"{path}: {name} is a finite number, not {data[name]!r}")
    return float(data[name])
