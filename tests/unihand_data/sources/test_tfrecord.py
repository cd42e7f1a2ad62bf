"""TFRecord files and tf.train.Example messages, against published check values and hand-written wire bytes."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.sources import crc32c, tfrecord
from unihand_data.sources.generate import tfrecord_writer


def test_crc32c_gives_the_check_values_of_rfc_3720():
    assert crc32c.crc32c(b"123456789") == 0xE3069283
    assert crc32c.crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c.crc32c(bytes(range(32))) == 0x46DD794E


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 200_003])
def test_long_data_in_lanes_give_the_checksum_of_the_plain_loop(size):
    data = random.Random(size).randbytes(size)
    table, crc = crc32c._plain_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    assert crc32c.crc32c(data) == crc ^ 0xFFFFFFFF


def test_an_example_written_by_hand_byte_for_byte_is_parsed():
    # features { a: bytes ["hi"], b: int64 [3, -1] unpacked, c: float [1.5] packed, d: {} }
    a = b"\x0a\x0a\x0a\x01a\x12\x05\x0a\x03\x0a\x01h"
    minus_one = b"\xff" * 9 + b"\x01"
    ints = b"\x08\x03\x08" + minus_one
    b = b"\x0a\x01b\x12" + bytes([len(ints) + 2]) + b"\x1a" + bytes([len(ints)]) + ints
    c = b"\x0a\x01c\x12\x08\x12\x06\x0a\x04" + struct.pack("<f", 1.5)
    d = b"\x0a\x01d\x12\x00"
    body = a[0:2] + a[2:] + b"".join(b"\x0a" + bytes([len(x)]) + x for x in (b, c, d))
    found = tfrecord.parse_example(b"\x0a" + bytes([len(body)]) + body)
    assert found["a"] == [b"h"]
    assert found["b"].tolist() == [3, -1]
    assert found["b"].dtype == np.int64
    assert found["c"].tolist() == [1.5]
    assert found["c"].dtype == np.float32
    assert found["d"] == []


def test_examples_come_back_as_they_were_written(tmp_path):
    example = {"f": np.float32([0.25, -3]), "i": [1, -(2**62)], "b": [b"x", b""], "empty": []}
    steps = {"images": [[b"jpeg0"], [b"jpeg1"]], "time": [[0], [1]]}
    path = tmp_path / "a.tfrecord"
    tfrecord_writer.write_records(
        path,
        [tfrecord_writer.encode_example(example), tfrecord_writer.encode_sequence_example({"texts": [b"t"]}, steps)],
    )
    first, second = tfrecord.read_records(path)
    found = tfrecord.parse_example(first)
    assert found["f"].tolist() == [0.25, -3]
    assert found["i"].tolist() == [1, -(2**62)]
    assert found["b"] == [b"x", b""]
    assert found["empty"] == []
    sequence = tfrecord.parse_sequence_example(second)
    assert sequence.context["texts"] == [b"t"]
    assert sequence.feature_lists["images"] == [[b"jpeg0"], [b"jpeg1"]]
    assert [v.tolist() for v in sequence.feature_lists["time"]] == [[0], [1]]
    offsets = list(tfrecord.record_offsets(path))
    assert [data for _, data in tfrecord.read_records_at(path, offsets[1][0])] == [second]
    assert offsets[1][0] == offsets[0][1] + 16


def test_damage_is_named_by_the_byte_it_starts_at(tmp_path):
    path = tmp_path / "a.tfrecord"
    tfrecord_writer.write_records(path, [bytes(100), bytes(50)])
    whole = path.read_bytes()

    def reason(data: bytes) -> Reason:
        path.write_bytes(data)
        with pytest.raises(Reject, match="byte") as caught:
            list(tfrecord.read_records(path))
        return caught.value.reason

    assert reason(whole[:-1]) == Reason.TRUNCATED
    assert reason(whole[:120]) == Reason.TRUNCATED
    assert reason(b"x" + whole[1:]) == Reason.UNREADABLE
    assert reason(whole[:20] + b"x" + whole[21:]) == Reason.CORRUPT
    assert reason(whole[:117] + b"x" + whole[118:]) == Reason.CORRUPT
    head = struct.pack("<Q", 1 << 60)
    assert reason(head + struct.pack("<I", crc32c.masked_crc32c(head))) == Reason.UNSAFE_CONTENT


def test_random_bytes_and_cut_messages_are_rejected_and_never_crash():
    whole = tfrecord_writer.encode_sequence_example({"t": [b"abc"]}, {"i": [[b"1"], [b"2"]], "n": [[1, 2, 3]]})
    dice = random.Random(0)
    ended, reasons = 0, set()
    for n in range(400):
        data = bytearray(whole)
        if n % 2:
            del data[dice.randrange(len(data)) :]
        for _ in range(dice.randrange(4)):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        for parse in (tfrecord.parse_example, tfrecord.parse_sequence_example):
            try:
                parse(bytes(data))
            except Reject as reject:
                ended += 1
                reasons.add(reject.reason)
    assert ended > 200
    assert reasons <= {Reason.CORRUPT, Reason.WRONG_TYPE}
