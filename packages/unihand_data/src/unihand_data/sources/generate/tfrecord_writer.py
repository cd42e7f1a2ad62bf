"""TFRecord files and ``tf.train`` messages written without TensorFlow, for generated data sets and tests."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from unihand_data.sources.crc32c import masked_crc32c
from unihand_data.sources.tfrecord import Values


def write_records(path: str | Path, records: list[bytes]) -> None:
    """A TFRecord file."""
    with open(path, "wb") as stream:
        for data in records:
            head = struct.pack("<Q", len(data))
            stream.write(head + struct.pack("<I", masked_crc32c(head)))
            stream.write(data + struct.pack("<I", masked_crc32c(data)))


def encode_example(features: dict[str, Values | list[int] | list[float]]) -> bytes:
    """The reverse of ``tfrecord.parse_example``; a list of int, float or bytes, or an array, per name."""
    return _delimited(1, _encode_features(features))


def encode_sequence_example(context: dict[str, Values], lists: dict[str, list[Values]]) -> bytes:
    """The reverse of :func:`unihand_data.sources.tfrecord.parse_sequence_example`."""
    body = b"".join(
        _delimited(1, _delimited(1, key.encode()) + _delimited(2, b"".join(_delimited(1, _encode(v)) for v in steps)))
        for key, steps in lists.items()
    )
    return _delimited(1, _encode_features(context)) + _delimited(2, body)


def _encode_features(features: dict) -> bytes:
    return b"".join(_delimited(1, _delimited(1, k.encode()) + _delimited(2, _encode(v))) for k, v in features.items())


def _encode(values: Values | list[int] | list[float]) -> bytes:
    first = values[0] if len(values) else None
    if isinstance(first, bytes):
        return _delimited(1, b"".join(_delimited(1, v) for v in values))  # type: ignore[arg-type]
    if first is None and not isinstance(values, np.ndarray):
        return b""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return _delimited(2, _delimited(1, array.astype("<f4").tobytes()))
    return _delimited(3, _delimited(1, b"".join(_encode_varint(int(v) & 0xFFFFFFFFFFFFFFFF) for v in array)))


def _delimited(number: int, data: bytes) -> bytes:
    return _encode_varint(number << 3 | 2) + _encode_varint(len(data)) + data


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
