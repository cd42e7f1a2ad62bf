"""Damaged RLDS folders end in a Reject, a refusal of one sentence, or an opening that keeps its promises."""

from __future__ import annotations

import random
import shutil

import pytest

from helpers.damage import RAW, damage_field, damage_raw, flipped
from helpers.robots import end_of
from unihand_data.sources.generate.tfrecord_writer import write_records
from unihand_data.sources.tfrecord import read_records

SETS = {"oxe_kuka": "kuka/0.1.0", "oxe_language_table": "language_table/0.0.1", "bridge_rlds": "bridge_dataset/1.0.0"}
FIELDS = [f"field_{i}" for i in range(8)]
INSIDE = [f"inside_{i}" for i in range(12)]
CASES = [
    *((name, "features.json", op) for name in ("oxe_kuka", "bridge_rlds") for op in [*RAW, *FIELDS]),
    *(("oxe_kuka", "dataset_info.json", op) for op in [*RAW, *FIELDS]),
    *((name, "record", op) for name in SETS for op in [*RAW, *INSIDE]),
]


def torn(data: bytearray, rng: random.Random) -> bytearray:
    how = rng.randrange(4)
    if how == 0:
        return flipped(data, rng.choice([1, 3, 30]), rng)
    if how == 1:
        return data[: rng.randrange(len(data))]
    at = rng.randrange(len(data))
    if how == 2:
        return data[:at] + bytearray(rng.randbytes(8)) + data[at:]
    return data[:at] + data[at + rng.randrange(1, 200) :]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "file", "op"), CASES, ids=["-".join(c) for c in CASES])
def test_damaged_input_ends_in_a_reject(pristine, tmp_path, name, file, op):
    folder, rng = tmp_path / "in", random.Random(f"{name}{file}{op}")
    shutil.copytree(pristine(name), folder)
    base = folder / SETS[name]
    path = next(base.glob("*.tfrecord-*")) if file == "record" else base / file
    if op.startswith("inside"):  # the frame and its checksums hold, the message does not
        write_records(path, [bytes(torn(bytearray(record), rng)) for record in read_records(path)])
    elif not damage_raw(path, op, rng):
        damage_field(path, rng)
    end = end_of(folder)
    if op in ("empty", "noise", "html"):
        assert end != "not touched"


def test_there_are_enough_cases():
    assert len(CASES) >= 100
