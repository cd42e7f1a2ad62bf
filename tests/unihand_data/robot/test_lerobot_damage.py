"""Damaged LeRobot folders end in a Reject, a refusal of one sentence, or an opening that keeps its promises."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from helpers.damage import RAW, damage_field, damage_raw
from helpers.robots import end_of

FIELDS = [f"field_{i}" for i in range(8)]
FLIPS = [f"flip_{i}" for i in range(3, 12)]
#: set, file that is damaged, operations
FILES = [
    ("so100_old_degrees", "meta/info.json", [*RAW, *FIELDS]),
    ("so100_old_degrees", "meta/episodes.jsonl", [*RAW, *FIELDS]),
    ("so100_old_degrees", "meta/tasks.jsonl", [*RAW, *FIELDS]),
    ("so100_old_degrees", "meta/stats.json", [*RAW, *FIELDS]),
    ("so100_old_degrees", "data/chunk-000/episode_000001.parquet", [*RAW, *FLIPS]),
    ("so100_old_degrees", "videos/chunk-000/observation.images.laptop/episode_000001.mp4", RAW),
    ("metaworld_experts", "meta/info.json", [*RAW, *FIELDS]),
    ("metaworld_experts", "meta/tasks.parquet", RAW),
    ("metaworld_experts", "meta/episodes/chunk-000/file-000.parquet", [*RAW, *FLIPS]),
    ("metaworld_experts", "data/chunk-000/file-000.parquet", [*RAW, *FLIPS]),
    ("robocoin_cobot_magic", "annotations/subtask_annotations.jsonl", [*RAW, *FIELDS]),
]
CASES = [(name, file, op) for name, file, ops in FILES for op in ops]


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("name", "file", "op"), CASES, ids=[f"{n}-{Path(f).name}-{o}" for n, f, o in CASES])
def test_damaged_input_ends_in_a_reject(pristine, tmp_path, name, file, op):
    folder, rng = tmp_path / "in", random.Random(f"{name}{file}{op}")
    shutil.copytree(pristine(name), folder)
    if not damage_raw(folder / file, op, rng):
        damage_field(folder / file, rng)
    end = end_of(folder)
    if op in ("empty", "noise", "html"):
        assert end != "not touched"


def test_there_are_enough_cases():
    assert len(CASES) >= 120
