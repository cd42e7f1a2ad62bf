"""Damaged LeRobot folders end in a Reject, a refusal of one sentence, or an opening that keeps its promises."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from unihand_data.errors import DatasetRefused, Reject
from unihand_data.sources.robot.generate.lerobot_sets import generate
from unihand_data.sources.robot.registry import open_robot

RAW = ["empty", "cut_half", "cut_end", "flip_1", "flip_2", "noise", "html", "gone", "folder"]
FIELDS = [f"field_{i}" for i in range(8)]
#: set, file that is damaged, operations
FILES = [
    ("so100_old_degrees", "meta/info.json", [*RAW, *FIELDS]),
    ("so100_old_degrees", "meta/episodes.jsonl", [*RAW, *FIELDS]),
    ("so100_old_degrees", "meta/tasks.jsonl", [*RAW, *FIELDS]),
    ("so100_old_degrees", "meta/stats.json", [*RAW, *FIELDS]),
    ("so100_old_degrees", "data/chunk-000/episode_000001.parquet", [*RAW, *(f"flip_{i}" for i in range(3, 12))]),
    ("so100_old_degrees", "videos/chunk-000/observation.images.laptop/episode_000001.mp4", RAW),
    ("metaworld_experts", "meta/info.json", [*RAW, *FIELDS]),
    ("metaworld_experts", "meta/tasks.parquet", RAW),
    ("metaworld_experts", "meta/episodes/chunk-000/file-000.parquet", [*RAW, *(f"flip_{i}" for i in range(3, 12))]),
    ("metaworld_experts", "data/chunk-000/file-000.parquet", [*RAW, *(f"flip_{i}" for i in range(3, 12))]),
    ("robocoin_cobot_magic", "annotations/subtask_annotations.jsonl", [*RAW, *FIELDS]),
]
CASES = [(name, file, op) for name, file, ops in FILES for op in ops]
ENDS = {"rejected": 0, "refused": 0, "not touched": 0}
JUNK = [None, "junk", -1, 1e300, float("nan"), [], {}, True, [[1, 2], [3]], 10**30, "../../x", "{0.__class__}"]


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
    data = path.read_bytes()
    if op in ("gone", "folder"):
        path.unlink()
        if op == "folder":
            path.mkdir()
    elif op.startswith("flip"):
        bits = bytearray(data)
        for _ in range(max(2, len(bits) // 400)):
            bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(bits))
    elif op.startswith("field"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        path.write_text("\n".join(json.dumps(mutated(json.loads(line), rng)) for line in lines))
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


def mutated(value, rng):
    """``value`` with one random part replaced or dropped."""
    at, steps = value, []
    while isinstance(at, dict | list) and at and (not steps or rng.random() < 0.8):
        key = rng.choice(sorted(at)) if isinstance(at, dict) else rng.randrange(len(at))
        steps.append((at, key))
        at = at[key]
    parent, key = steps[-1]
    if rng.random() < 0.25:
        del parent[key]
    else:
        parent[key] = rng.choice(JUNK)
    return value


def check(e):
    """What an opened episode promises."""
    assert len(e.content_id) == 32
    assert e.timestamps is None or (np.diff(e.timestamps) > 0).all()
    assert {len(x) for x in e.columns.values()} == {e.steps}
    assert all(x.ndim == 2 and x.dtype.kind in "fi" for x in e.columns.values())
    assert all(loss.level == "row" and len(loss.message) > 10 for loss in e.losses)
    assert all(t.text.strip() and 0 <= t.start < (t.stop or e.steps) <= e.steps for t in e.texts)
    assert all(0 <= v.t0 < (v.t1 or np.inf) for v in e.views.values())


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("name", "file", "op"), CASES, ids=[f"{n}-{Path(f).name}-{o}" for n, f, o in CASES])
def test_damaged_input_ends_in_a_reject(pristine, tmp_path, name, file, op):
    folder = tmp_path / "in"
    shutil.copytree(pristine(name), folder)
    damage(folder / file, op, random.Random(f"{name}{file}{op}"))
    end = "not touched"
    try:
        source = open_robot(str(folder))
        for item in source.items():
            if "refused" in item.payload:
                continue
            try:
                e = source.open(item)[1]
            except Reject as reject:
                end = "rejected"
                assert reject.level == "item"  # noqa: PT017
                assert len(reject.message) > 10  # noqa: PT017
                continue
            end = "rejected" if e.losses else end
            check(e)
        assert source.ignored() >= 0
    except DatasetRefused as refused:
        end = "refused"
        assert "\n" not in str(refused)  # noqa: PT017
    ENDS[end] += 1
    if op in ("empty", "noise", "html"):
        assert end != "not touched"


def test_there_are_enough_cases():
    assert len(CASES) >= 120
