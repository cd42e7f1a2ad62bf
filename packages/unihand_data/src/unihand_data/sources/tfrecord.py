"""TFRecord files, ``tf.train.Example`` and ``tf.train.SequenceExample`` without TensorFlow.

File format (tensorflow/core/lib/io/record_writer): per record ``uint64 length | uint32 masked CRC32C(length) |
bytes[length] | uint32 masked CRC32C(bytes)``, little-endian; the mask is ``((crc >> 15 | crc << 17) + 0xa282ead8)``.

Messages (tensorflow/core/example/{feature,example}.proto)::

    Example          { features 1: Features }
    Features         { feature 1: map<string, Feature> }
    Feature          { bytes_list 1 | float_list 2 | int64_list 3 }, each { value 1, repeated (packed or not) }
    SequenceExample  { context 1: Features, feature_lists 2: FeatureLists }
    FeatureLists     { feature_list 1: map<string, FeatureList> }
    FeatureList      { feature 1: repeated Feature }

Everything is lazy and bounded: a length is compared with the bytes that are there before anything is allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.crc32c import masked_crc32c

#: the largest record that is taken; an episode of RLDS with its pictures is some hundred MB at most
MAX_RECORD_BYTES = 2 << 30

#: a feature's values: bytes as a list, floats as float32 (N,), integers as int64 (N,); a feature without a list is []
Values = list[bytes] | np.ndarray


@dataclass(frozen=True)
class SequenceExample:
    """``context`` by name, and per feature list the values of each of its steps."""

    context: dict[str, Values]
    feature_lists: dict[str, list[Values]]


# framing --------------------------------------------------------------------------------------------------------------


def read_records(path: str | Path, *, check_data: bool = True) -> Iterator[bytes]:
    """The records of one file, one at a time.

    Args:
        check_data: compare the CRC32C of every record's bytes; the one of its length is always compared.

    Raises:
        Reject: MISSING_FILE, UNREADABLE, TRUNCATED (the file ends inside a record), CORRUPT (a checksum does not
            match), UNSAFE_CONTENT (a record above ``MAX_RECORD_BYTES``)."""
    for _, data in read_records_at(path, check_data=check_data):
        yield data


def read_records_at(path: str | Path, offset: int = 0, *, check_data: bool = True) -> Iterator[tuple[int, bytes]]:
    """As :func:`read_records` from a byte offset, with the offset of each record: one record can be read by itself."""
    name = str(path)
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, 2)
            while offset < size:
                stream.seek(offset)
                head = stream.read(12)
                length = _length(head, name, offset, size)
                body = stream.read(length + 4)
                if len(body) != length + 4:
                    raise Reject(Reason.TRUNCATED, f"{name}: ends inside the record at byte {offset}; fetch it again")
                data = body[:length]
                if check_data and masked_crc32c(data) != struct.unpack("<I", body[length:])[0]:
                    raise Reject(
                        Reason.CORRUPT, f"{name}: checksum of the record at byte {offset} is wrong; fetch it again"
                    )
                yield offset, data
                offset += length + 16
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{name}: no such file; fetch it") from error
    except OSError as error:
        raise Reject(Reason.UNREADABLE, f"{name}: cannot be read ({error})") from error


def record_offsets(path: str | Path) -> Iterator[tuple[int, int]]:
    """``(offset, length)`` of every record, from the heads alone: a listing that reads 12 bytes per record."""
    name = str(path)
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, 2)
            offset = 0
            while offset < size:
                stream.seek(offset)
                length = _length(stream.read(12), name, offset, size)
                yield offset, length
                offset += length + 16
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{name}: no such file; fetch it") from error
    except OSError as error:
        raise Reject(Reason.UNREADABLE, f"{name}: cannot be read ({error})") from error


def _length(head: bytes, name: str, offset: int, size: int) -> int:
    if len(head) < 12:
        raise Reject(Reason.TRUNCATED, f"{name}: ends inside the head of the record at byte {offset}; fetch it again")
    length, crc = struct.unpack("<QI", head)
    if masked_crc32c(head[:8]) != crc:
        raise Reject(
            Reason.CORRUPT if offset else Reason.UNREADABLE,
            f"{name}: the length at byte {offset} has a wrong checksum; no TFRecord file, or damaged: fetch it again",
        )
    if length > MAX_RECORD_BYTES:
        raise Reject(Reason.UNSAFE_CONTENT, f"{name}: the record at byte {offset} announces {length} bytes")
    if offset + length + 16 > size:
        raise Reject(Reason.TRUNCATED, f"{name}: ends inside the record at byte {offset}; fetch it again")
    return length


# messages -------------------------------------------------------------------------------------------------------------

_Field = tuple[int, int, int | memoryview]  # number, wire type, value


def parse_example(
    data: bytes, source: str = "<example>", keep: Callable[[str], bool] | None = None
) -> dict[str, Values]:
    """The features of a ``tf.train.Example`` by name.

    Args:
        keep: which features to take apart, by name; the others are not in the result.

    Returns:
        bytes features as list[bytes], float ones as (N,) float32, integer ones as (N,) int64, a feature without a
        list as [].

    Raises:
        Reject: CORRUPT (not the wire format), WRONG_TYPE (a field of another type than the message has)."""
    return _features(_only(data, 1, source), source, keep)


def parse_sequence_example(data: bytes, source: str = "<example>") -> SequenceExample:
    """A ``tf.train.SequenceExample``; errors as :func:`parse_example`."""
    lists: dict[str, list[Values]] = {}
    for value in _only(data, 2, source):
        for key, entry in _map_entries(value, source):
            lists[key] = [
                _feature(_message(step, source, key), f"{source}: {key}")
                for number, _, step in _fields(entry, source)
                if number == 1
            ]
    return SequenceExample(_features(_only(data, 1, source), source), lists)


def _only(data: bytes | memoryview, wanted: int, source: str) -> list[memoryview]:
    return [_message(value, source, "") for number, _, value in _fields(memoryview(data), source) if number == wanted]


def _features(parts: list[memoryview], source: str, keep: Callable[[str], bool] | None = None) -> dict[str, Values]:
    out: dict[str, Values] = {}
    for part in parts:
        for key, value in _map_entries(part, source):
            if keep is None or keep(key):
                out[key] = _feature(value, f"{source}: {key}")
    return out


def _map_entries(data: memoryview, source: str) -> Iterator[tuple[str, memoryview]]:
    """Entries of ``map<string, message>``: each is a field 1 holding key 1 and value 2."""
    for number, _, entry in _fields(data, source):
        if number != 1:
            continue
        key, value = "", memoryview(b"")
        for part, _, content in _fields(_message(entry, source, "map entry"), source):
            if part == 1:
                try:
                    key = str(_message(content, source, "key"), "utf-8")
                except UnicodeDecodeError as error:
                    raise Reject(Reason.CORRUPT, f"{source}: a feature's name is no UTF-8 text") from error
            elif part == 2:
                value = _message(content, source, key)
        yield key, value


def _feature(data: memoryview, source: str) -> Values:
    out: Values = []
    for number, _, value in _fields(data, source):
        content = _message(value, source, "list")
        if number == 1:
            out = [bytes(_message(v, source, "bytes")) for n, _, v in _fields(content, source) if n == 1]
        elif number == 2:
            out = _floats(content, source)
        elif number == 3:
            out = _integers(content, source)
    return out


def _floats(data: memoryview, source: str) -> np.ndarray:
    pieces = []
    for number, kind, value in _fields(data, source):
        if number != 1:
            continue
        if kind == 5 or kind == 2:
            raw = _message(value, source, "floats")
            if len(raw) % 4:
                raise Reject(Reason.CORRUPT, f"{source}: {len(raw)} bytes of packed floats")
            pieces.append(np.frombuffer(raw, "<f4"))
        else:
            raise Reject(Reason.WRONG_TYPE, f"{source}: wire type {kind} where floats belong")
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _integers(data: memoryview, source: str) -> np.ndarray:
    values: list[int] = []
    for number, kind, value in _fields(data, source):
        if number != 1:
            continue
        if kind == 0 and isinstance(value, int):
            values.append(value)
        elif kind == 2 and not isinstance(value, int):
            place, end = 0, len(value)
            while place < end:
                found, place = _varint(value, place, source)
                values.append(found)
        else:
            raise Reject(Reason.WRONG_TYPE, f"{source}: wire type {kind} where integers belong")
    return np.array(values, np.uint64).astype(np.int64)


def _message(value: int | memoryview, source: str, what: str) -> memoryview:
    if isinstance(value, int):
        raise Reject(Reason.WRONG_TYPE, f"{source}: a number where {what or 'a message'} belongs")
    return value


def _fields(data: memoryview, source: str) -> Iterator[_Field]:
    """Protocol-buffer fields of one message; length-delimited and fixed values as views of their bytes."""
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place, source)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise Reject(Reason.CORRUPT, f"{source}: field number 0")
        if kind == 0:
            value, place = _varint(data, place, source)
            yield number, kind, value
            continue
        if kind == 2:
            length, place = _varint(data, place, source)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise Reject(Reason.CORRUPT, f"{source}: wire type {kind}")
        if length > end - place:
            raise Reject(Reason.CORRUPT, f"{source}: a field announces {length} bytes, {end - place} are there")
        yield number, kind, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int, source: str) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place
        shift += 7
        if shift > 63:
            break
    raise Reject(Reason.CORRUPT, f"{source}: a number without an end")
