"""Damaged HDF5 trees and recordings with side files end in a Reject, a refusal of one sentence, or an opening that
keeps its promises."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from unihand_data.curate.robot.convert import convert
from unihand_data.errors import DatasetRefused, Reject
from unihand_data.sources.robot.generate import hdf5_sets, video_sidecar_sets
from unihand_data.sources.robot.registry import open_robot

RAW = ["empty", "cut_half", "cut_end", "flip_1", "flip_2", "noise", "html", "gone", "folder"]
FIELDS = [f"field_{i}" for i in range(4)]
MEMBERS = [f"member_{i}" for i in range(7)]
KEYS = [f"key_{i}" for i in range(8)]
#: set, pattern of the file that is damaged (the last that matches), operations
FILES = [
    ("robomind_franka", "trajectory.hdf5", [*RAW, *MEMBERS]),
    ("robomind_franka", "h5_franka_3rgb.json", [*RAW, *FIELDS]),
    ("robomind_franka", "RoboMIND_v1_2_instr.csv", ["empty", "noise", "folder"]),
    ("robomind2_franka_dual", "trajectory.hdf5", [*RAW[:5], *MEMBERS]),
    ("agibot_world_h5", "proprio_stats.h5", [*RAW, *MEMBERS]),
    ("agibot_world_h5", "task_327.json", [*RAW, *FIELDS]),
    ("agibot_world_h5", "head_color.mp4", RAW),
    ("agibot_world_h5", "head_intrinsic_params.json", [*RAW, *FIELDS]),
    ("agibot_world_h5", "head_depth_000003.png", ["empty", "gone", "folder"]),
    ("droid_raw", "trajectory.h5", [*RAW, *MEMBERS]),
    ("droid_raw", "metadata_*.json", [*RAW, *FIELDS]),
    ("libero_hdf5", "*.hdf5", [*RAW, *MEMBERS]),
    ("aloha_act_packed", "episode_1.hdf5", [*RAW, *MEMBERS]),
]
SIDECARS = [
    ("bridge_raw", "obs_dict.pkl", [*RAW, *KEYS]),
    ("bridge_raw", "policy_out.pkl", [*RAW, *KEYS]),
    ("bridge_raw", "lang.txt", ["empty", "noise", "gone", "folder"]),
    ("bridge_raw", "im_3.jpg", ["empty", "gone", "folder"]),
    ("beingbeyond_d1_teleop", "*.npz", [*RAW, *KEYS]),
    ("beingbeyond_d1_teleop", "*.json", [*RAW, *FIELDS]),
    ("beingbeyond_d1_teleop", "*.mp4", RAW),
]
CASES = [(name, file, op) for name, file, ops in [*FILES, *SIDECARS] for op in ops]
JUNK = [None, "junk", -1, 1e300, float("nan"), [], {}, True, [[1, 2], [3]], 10**30, "../../x", "{0.__class__}"]
ENDS = {True: 0, False: 0}
ARRAYS = [
    np.zeros(0), np.zeros((0, 7)), np.zeros((3, 3)), np.full(8, np.nan), np.full((8, 14), np.inf),
    np.zeros((8, 2, 2, 2)), np.array(["x"] * 8, dtype="S3"), np.arange(8)[::-1],
    np.zeros((8, 5000)), np.array(3.0), np.zeros(8, "c16"),
]  # fmt: skip


def maker(name):
    return hdf5_sets.generate if name in hdf5_sets.PLANS else video_sidecar_sets.generate


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    cache = {}

    def get(name):
        if name not in cache:
            cache[name] = tmp_path_factory.mktemp(name)
            maker(name)(name, cache[name], seed=1, steps=8)
        return cache[name]

    return get


def damage(path: Path, op: str, rng: random.Random) -> None:
    data = path.read_bytes()
    what = op.partition("_")[0]
    if op in ("gone", "folder"):
        path.unlink()
        if op == "folder":
            path.mkdir()
    elif what == "flip":
        bits = bytearray(data)
        for _ in range(max(2, len(bits) // 400)):
            bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(bits))
    elif what == "field":
        value = json.loads(data)
        replaced(value, rng, JUNK)
        path.write_text(json.dumps(value))
    elif what == "member":
        with h5py.File(path, "a") as f:
            names: list[str] = []
            f.visit(names.append)
            name = rng.choice(names)
            del f[name]
            if rng.random() < 0.75:
                f[name] = rng.choice(ARRAYS)
    elif what == "key" and path.suffix == ".npz":
        with np.load(path) as archive:
            members = dict(archive)
        replaced(members, rng, ARRAYS)
        np.savez(path, **members)
    elif what == "key":
        value = pickle.loads(data)  # written by the generator
        replaced(value, rng, [*ARRAYS, *JUNK])
        path.write_bytes(pickle.dumps(value))
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


def replaced(value, rng, junk) -> None:
    """One random part of ``value`` replaced or dropped, in place."""
    at, steps = value, []
    while isinstance(at, dict | list) and at and (not steps or rng.random() < 0.8):
        key = rng.choice(sorted(at)) if isinstance(at, dict) else rng.randrange(len(at))
        steps.append((at, key))
        at = at[key]
    parent, key = steps[-1]
    if rng.random() < 0.25:
        del parent[key]
    else:
        parent[key] = rng.choice(junk)


def check(e):
    """What an opened episode promises."""
    assert len(e.content_id) == 32
    assert e.timestamps is None or (np.diff(e.timestamps) > 0).all()
    assert {len(x) for x in e.columns.values()} == {e.steps}
    assert all(x.ndim == 2 and x.dtype.kind in "fi" for x in e.columns.values())
    assert all(loss.level == "row" and len(loss.message) > 10 for loss in e.losses)
    assert all(t.text.strip() and 0 <= t.start < (t.stop or e.steps) <= e.steps for t in e.texts)
    assert all(v.pictures is None or len(v.pictures) == e.steps for v in e.views.values())
    json.dumps(e.facts)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("name", "file", "op"), CASES, ids=[f"{n}-{f}-{o}" for n, f, o in CASES])
def test_damaged_input_ends_in_a_reject(pristine, tmp_path, name, file, op):
    folder = tmp_path / "in"
    shutil.copytree(pristine(name), folder)
    damage(sorted(folder.rglob(file))[-1], op, random.Random(f"{name}{file}{op}"))
    touched = False
    named = name if len(op) % 2 else None  # recognised, or named by a person
    try:
        source = open_robot(str(folder), named)
        for item in source.items():
            if "refused" in item.payload:
                touched = True
                continue
            try:
                spec, e = source.open(item)
            except Reject as reject:
                touched = True
                assert reject.level == "item"  # noqa: PT017
                assert len(reject.message) > 10  # noqa: PT017
                assert "\n" not in reject.message  # noqa: PT017
                continue
            touched |= bool(e.losses)
            check(e)
            try:
                convert(e, spec)
            except Reject as reject:
                touched = True
                assert len(reject.message) > 10  # noqa: PT017
        touched |= source.ignored() > 0
    except DatasetRefused as refused:
        touched = True
        assert "\n" not in str(refused)  # noqa: PT017
    ENDS[touched] += 1
    if op in ("empty", "noise", "html") and file not in ("im_3.jpg", "*.json", "RoboMIND_v1_2_instr.csv", "lang.txt"):
        assert touched or file.endswith(".png")  # pictures are judged when they are stored


def test_there_are_enough_cases():
    assert sum(len(ops) for _, _, ops in FILES) >= 120
    assert sum(len(ops) for _, _, ops in SIDECARS) >= 60


def test_damage_is_told_more_often_than_not():
    """Runs last; a flipped bit inside a picture, or a member that nobody reads, is not told by a reader."""
    assert ENDS[True] > ENDS[False]
