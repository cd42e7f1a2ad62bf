"""Damaged HDF5 trees, ROS bags and side files: rejects, refusals or unharmed episodes, never another exception."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from unihand_data.errors import DatasetRefused, Reject
from unihand_data.sources.robot.generate.catalogue import generate
from unihand_data.sources.robot.registry import opened_sets
from unihand_data.sources.robot.spec import load_spec, spec_names

SETS = [n for n in spec_names() if load_spec(n).container in ("hdf5", "rosbag", "video_sidecar")]
CASES = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    for name in SETS:
        generate(name, folder / name, seed=1, episodes=1)
    return folder


def damage(data: bytes, case: int, rng: np.random.Generator) -> bytes:
    """Cut in the middle, emptied, a run of zeros, or scattered bytes."""
    match case:
        case 0:
            return data[: int(len(data) * rng.uniform(0.2, 0.9))]
        case 1:
            return b""
        case 2:
            at = int(rng.integers(0, max(1, len(data) - 64)))
            return data[:at] + bytes(64) + data[at + 64 :]
    out = bytearray(data)
    for at in rng.integers(0, len(data), 24):
        out[at] = int(rng.integers(0, 256))
    return bytes(out)


@pytest.mark.parametrize("name", SETS)
def test_damage_ends_in_rejects_or_refusals(made, tmp_path, name):
    files = sorted(p for p in (made / name).rglob("*") if p.is_file() and p.stat().st_size)
    rng = np.random.default_rng(SETS.index(name))
    for case in range(CASES):
        copy = tmp_path / str(case)
        shutil.copytree(made / name, copy)
        victim = copy / files[int(rng.integers(len(files)))].relative_to(made / name)
        victim.write_bytes(damage(victim.read_bytes(), case, rng))
        said = "unharmed"
        try:
            _, sets = opened_sets(str(copy), name)
            for one in sets:
                for item in one.reader.items() if one.reader is not None else ():
                    one.reader.open(item)
        except (Reject, DatasetRefused) as error:
            said = str(error)
        assert said.strip()
