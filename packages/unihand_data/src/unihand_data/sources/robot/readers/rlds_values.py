"""Values of one RLDS record: number of steps, numbers of a feature, fillers in place of a camera, calibration.

Legend: T steps, n columns of a feature.
"""

from __future__ import annotations

import io
import zlib

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.readers.rlds_features import STEPS, Feature, Info
from unihand_data.sources.tfrecord import Values

#: flags of the format itself, one per step
BOOKKEEPING = ("is_first", "is_last", "is_terminal")
#: the longest episode that is taken, in steps
MAX_STEPS = 1_000_000
MAX_PIXELS = 64 << 20


def is_filler(pictures: list[bytes]) -> bool:
    """Whether every step has the same picture of one colour: what converters write for a camera that was not there."""
    if any(p != pictures[0] for p in pictures):
        return False
    from PIL import Image

    try:
        with Image.open(io.BytesIO(pictures[0]), formats=("JPEG", "PNG")) as picture:
            if picture.width * picture.height > MAX_PIXELS or picture.mode == "I;16":
                return False
            return all(low == high for low, high in np.reshape(picture.convert("RGB").getextrema(), (-1, 2)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False  # whoever decodes it says what is wrong


def steps_of(info: Info, record: dict[str, Values], where: str) -> int:
    """T: the flags of the format have one value per step; without them, every feature of known width must agree."""
    counts: dict[str, int] = {}
    for name in BOOKKEEPING:
        if len(record.get(f"{STEPS}/{name}", [])):
            counts[name] = len(record[f"{STEPS}/{name}"])
    if not counts:
        for name, feature in info.steps.items():
            n, width = len(record.get(f"{STEPS}/{name}", [])), feature.width
            if n and (feature.kind != "number" or feature.encoding != "none"):
                counts[name] = n
            elif n and width:
                counts[name] = n // width if n % width == 0 else -1
    if not counts:
        raise Reject(Reason.EMPTY, f"{where}: no step: neither is_first nor any feature of features.json has values")
    if len(set(counts.values())) > 1 or min(counts.values()) < 0:
        said = ", ".join(f"{n} {c}" for n, c in sorted(counts.items()))[:200]
        raise Reject(Reason.CONTRADICTION, f"{where}: features disagree about the number of steps: {said}")
    steps = next(iter(counts.values()))
    if steps > MAX_STEPS:
        raise Reject(Reason.UNSAFE_CONTENT, f"{where}: {steps} steps")
    first = np.asarray(record.get(f"{STEPS}/is_first", []))
    if first.dtype.kind in "iuf" and np.count_nonzero(first) > 1:
        again = int(np.flatnonzero(first)[1])
        raise Reject(
            Reason.CONTRADICTION, f"{where}: is_first is set at step {again} again: two episodes in one record"
        )
    return steps


def array_of(values: Values, feature: Feature, rows: int, where: str) -> np.ndarray | None:
    """(rows, n) numbers; None where there are none (an optional feature that is empty)."""
    if isinstance(values, list):
        if not values:
            return None
        if feature.encoding == "none":
            raise Reject(Reason.WRONG_TYPE, f"{where}: strings where features.json says {feature.dtype}")
        return _unpacked(values, feature, rows, where)
    if not len(values):
        return None
    width = feature.width
    if len(values) != rows * width if width is not None else len(values) % rows:
        raise Reject(
            Reason.CONTRADICTION,
            f"{where}: {len(values)} values for {rows} steps, features.json says {width or 'any number'} per step",
        )
    return np.asarray(values).reshape(rows, -1)


def _unpacked(values: list[bytes], feature: Feature, rows: int, where: str) -> np.ndarray:
    """(rows, n) of one string per step: raw bytes of the dtype, or those compressed by zlib."""
    dtype = np.dtype({"bool": "?", "bfloat16": "V2"}.get(feature.dtype, feature.dtype)).newbyteorder("<")
    if feature.width is None or dtype.kind == "V" or feature.encoding not in ("zlib", "bytes"):
        raise Reject(Reason.UNSUPPORTED, f"{where}: {feature.dtype} packed as {feature.encoding}")
    if len(values) != rows:
        raise Reject(Reason.CONTRADICTION, f"{where}: {len(values)} strings for {rows} steps")
    size, out = feature.width * dtype.itemsize, []
    for step, packed in enumerate(values):
        raw = packed
        if feature.encoding == "zlib":
            try:
                raw = zlib.decompressobj().decompress(packed, size + 1)  # never more than is announced
            except zlib.error as error:
                raise Reject(Reason.CORRUPT, f"{where}: step {step} is no zlib data ({error})") from error
        if len(raw) != size:
            raise Reject(Reason.CONTRADICTION, f"{where}: step {step} has {len(raw)} bytes, {size} are announced")
        out.append(np.frombuffer(raw, dtype))
    return np.stack(out).astype(np.float64)


def intrinsics_of(matrices: np.ndarray | None, corner: bool) -> np.ndarray | None:
    """(4,) fx fy cx cy with pixel centres at integers of 3x3 matrices (T, 9); None where they are not the same at every
    step, or there are none."""
    if matrices is None or matrices.shape[1] != 9 or not np.allclose(matrices, matrices[0], rtol=1e-5):
        return None
    fx, cx, fy, cy = (float(matrices[0, i]) for i in (0, 2, 4, 5))
    half = 0.5 if corner else 0.0
    return np.array([fx, fy, cx - half, cy - half]) if fx > 0 and fy > 0 else None


def poses_of(matrices: np.ndarray | None) -> np.ndarray | None:
    """(T, 4, 4) camera-to-world of world-to-camera matrices (T, 16); NaN where one is no rotation and shift."""
    if matrices is None or matrices.shape[1] != 16:
        return None
    m = matrices.reshape(-1, 4, 4).astype(np.float64)
    back = np.swapaxes(m[:, :3, :3], 1, 2)
    out = np.tile(np.eye(4), (len(m), 1, 1))
    out[:, :3, :3], out[:, :3, 3] = back, -np.einsum("tij,tj->ti", back, m[:, :3, 3])
    out[np.abs(back @ m[:, :3, :3] - np.eye(3)).max(axis=(1, 2)) > 1e-3] = np.nan
    return out
