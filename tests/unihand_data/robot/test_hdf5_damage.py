"""Damaged HDF5 trees and recordings with side files end in a Reject, a refusal of one sentence, or an opening that
keeps its promises."""

from __future__ import annotations

import pickle
import random
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers.damage import JUNK, RAW, damage_field, damage_raw, replace_part
from helpers.robots import end_of

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
ENDS = {"rejected": 0, "refused": 0, "not touched": 0}
ARRAYS = [
    np.zeros(0), np.zeros((0, 7)), np.zeros((3, 3)), np.full(8, np.nan), np.full((8, 14), np.inf),
    np.zeros((8, 2, 2, 2)), np.array(["x"] * 8, dtype="S3"), np.arange(8)[::-1],
    np.zeros((8, 5000)), np.array(3.0), np.zeros(8, "c16"),
]  # fmt: skip


def damage(path: Path, op: str, rng: random.Random) -> None:
    if damage_raw(path, op, rng):
        return
    what = op.partition("_")[0]
    if what == "field":
        damage_field(path, rng)
    elif what == "member":
        with h5py.File(path, "a") as f:
            names: list[str] = []
            f.visit(names.append)
            name = rng.choice(names)
            del f[name]
            if rng.random() < 0.75:
                f[name] = rng.choice(ARRAYS)
    elif path.suffix == ".npz":
        with np.load(path) as archive:
            members = dict(archive)
        replace_part(members, rng, ARRAYS)
        np.savez(path, **members)
    else:
        value = pickle.loads(path.read_bytes())  # written by the generator
        replace_part(value, rng, [*ARRAYS, *JUNK])
        path.write_bytes(pickle.dumps(value))


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("name", "file", "op"), CASES, ids=[f"{n}-{f}-{o}" for n, f, o in CASES])
def test_damaged_input_ends_in_a_reject(pristine, tmp_path, name, file, op):
    folder = tmp_path / "in"
    shutil.copytree(pristine(name), folder)
    damage(sorted(folder.rglob(file))[-1], op, random.Random(f"{name}{file}{op}"))
    end = end_of(folder, name if len(op) % 2 else None, converts=True)  # recognised, or named by a person
    ENDS[end] += 1
    if op in ("empty", "noise", "html") and file not in ("im_3.jpg", "*.json", "RoboMIND_v1_2_instr.csv", "lang.txt"):
        assert end != "not touched" or file.endswith(".png")  # pictures are judged when they are stored


def test_there_are_enough_cases():
    assert sum(len(ops) for _, _, ops in FILES) >= 120
    assert sum(len(ops) for _, _, ops in SIDECARS) >= 60


def test_damage_is_told_more_often_than_not():
    """Runs last; a flipped bit inside a picture, or a member that nobody reads, is not told by a reader."""
    assert sum(ENDS.values()) >= 2 * ENDS["not touched"]
