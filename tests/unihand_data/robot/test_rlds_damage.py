"""Damaged RLDS folders end in a Reject, a refusal of one sentence, or an opening that keeps its promises."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from unihand_data.errors import DatasetRefused, Reject
from unihand_data.sources.generate.tfrecord_writer import write_records
from unihand_data.sources.robot.generate.rlds_sets import generate
from unihand_data.sources.robot.registry import open_robot
from unihand_data.sources.tfrecord import read_records

SETS = {"oxe_kuka": "kuka/0.1.0", "oxe_language_table": "language_table/0.0.1", "bridge_rlds": "bridge_dataset/1.0.0"}
RAW = ["empty", "cut_half", "cut_end", "flip_1", "flip_2", "noise", "html", "gone", "folder"]
FIELDS = [f"field_{i}" for i in range(8)]
INSIDE = [f"inside_{i}" for i in range(12)]
CASES = [
    *((name, "features.json", op) for name in ("oxe_kuka", "bridge_rlds") for op in [*RAW, *FIELDS]),
    *(("oxe_kuka", "dataset_info.json", op) for op in [*RAW, *FIELDS]),
    *((name, "record", op) for name in SETS for op in [*RAW, *INSIDE]),
]
JUNK = [None, "junk", -1, 1e300, float("nan"), [], {}, True, [[1, 2], [3]], 10**30, "../../x", "99999999999999"]
ENDS = {"rejected": 0, "refused": 0, "not touched": 0}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    cache = {}

    def get(name):
        if name not in cache:
            cache[name] = tmp_path_factory.mktemp(name)
            generate(name, cache[name], seed=1, steps=8)
        return cache[name]

    return get


def damage(path: Path, op: str, rng: random.Random) -> None:
    if op in ("gone", "folder"):
        path.unlink()
        if op == "folder":
            path.mkdir()
        return
    data = path.read_bytes()
    if op.startswith("inside"):  # the frame and its checksums hold, the message does not
        write_records(path, [bytes(torn(bytearray(record), rng)) for record in read_records(path)])
    elif op.startswith("flip"):
        path.write_bytes(bytes(flipped(bytearray(data), max(2, len(data) // 400), rng)))
    elif op.startswith("field"):
        path.write_text(json.dumps(mutated(json.loads(data), rng)))
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut_half": data[: len(data) // 2],
                "cut_end": data[: len(data) - max(3, len(data) // 50)],
                "noise": rng.randbytes(len(data)),
                "html": b"<html><body>404: sign in first</body></html>",
            }[op]
        )


def flipped(data: bytearray, count: int, rng: random.Random) -> bytearray:
    for _ in range(count):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


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


def mutated(value, rng):
    """``value`` with one random part replaced or dropped."""
    at, steps = value, []
    while isinstance(at, dict | list) and at and (not steps or rng.random() < 0.85):
        key = rng.choice(sorted(at)) if isinstance(at, dict) else rng.randrange(len(at))
        steps.append((at, key))
        at = at[key]
    parent, key = steps[-1]
    if rng.random() < 0.25:
        del parent[key]
    else:
        parent[key] = rng.choice(JUNK)
    return value


def check(e) -> None:
    """What an opened episode promises."""
    assert len(e.content_id) == 32
    assert {len(x) for x in e.columns.values()} <= {e.steps}
    assert all(x.ndim == 2 and x.dtype.kind in "fiu" for x in e.columns.values())
    assert all(loss.level == "row" and len(loss.message) > 10 for loss in e.losses)
    assert all(t.text.strip() and 0 <= t.start < t.stop for t in e.texts)
    assert all(v.pictures and all(v.pictures) for v in e.views.values())
    assert all(v.times is None or len(v.times) == len(v.pictures) for v in e.views.values())
    json.dumps(e.facts)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "file", "op"), CASES, ids=["-".join(c) for c in CASES])
def test_damaged_input_ends_in_a_reject(pristine, tmp_path, name, file, op):
    folder = tmp_path / "in"
    shutil.copytree(pristine(name), folder)
    base = folder / SETS[name]
    path = next(base.glob("*.tfrecord-*")) if file == "record" else base / file
    damage(path, op, random.Random(f"{name}{file}{op}"))
    end, items = "not touched", 0
    try:
        source = open_robot(str(folder))
        for item in source.items():
            items += 1
            try:
                e = source.open(item)[1]
            except Reject as reject:
                end = "rejected"
                assert reject.level == "item"  # noqa: PT017
                assert len(reject.message) > 10  # noqa: PT017
                continue
            end = "rejected" if e.losses else end
            check(e)
        assert items
        assert source.ignored() >= 0
    except DatasetRefused as refused:
        end = "refused"
        assert "\n" not in str(refused)  # noqa: PT017
    ENDS[end] += 1
    if op in ("empty", "noise", "html"):
        assert end != "not touched"


def test_there_are_enough_cases():
    assert len(CASES) >= 100
    assert np.array(list(ENDS.values())).sum() in (0, len(CASES))
