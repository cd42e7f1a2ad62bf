"""Damaged and hostile inputs over every reader: each ends in a Reject, a clean refusal, or an opening that the damage
does not touch; never in another exception, a hang, or code that runs.

The number of cases and how they ended is printed at the end of the test run.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import random
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from unihand_data.errors import DatasetRefused, Reject
from unihand_data.sources.base import SourceOptions
from unihand_data.sources.generate.catalogue import generate
from unihand_data.sources.registry import open_source
from unihand_data.untrusted.pandas_pickle import read_frame
from unihand_data.untrusted.unpickle import loads_any

#: per data set one example of every kind of file it has
FILES = {
    "video_folder": ["*.mp4"],
    "rendered_clips": ["*.mp4", "*.camera.json"],
    "epic_kitchens_100": ["*.csv", "*.MP4"],
    "ego4d": ["narration.json", "fho_main.json", "*.mp4"],
    "ego_exo4d": [
        "takes.json",
        "atomic*.json",
        "hand/annotation/*.json",
        "camera_pose/*.json",
        "closed*.csv",
        "timesync.csv",
    ],
    "hd_epic": ["*.pkl"],
    "taste_rob": ["*.csv"],
    "egodex": ["*.hdf5", "*.mp4"],
    "fpha": ["skeleton.txt", "*_0001.jpeg"],
    "h2o": ["hand_pose/000002.txt", "cam_pose/000002.txt", "cam_intrinsics.txt", "rgb/000001.jpg"],
    "aria_mps": ["hand_tracking_results.csv", "closed*.csv", "online_calibration.jsonl", "*_time_ns.csv"],
    "vitra_1m": ["*_ep_000000.npy", "*.mp4"],
    "hoi4d": ["2.pickle", "color.json", "output.log", "*intrin.npy"],
    "taco": ["right_hand.pkl", "left_hand_shape.pkl", "*extrinsic.npy", "*intrinsic.txt"],
    "arctic": ["*.mano.npy", "*.egocam.dist.npy", "misc.json", "00006.jpg"],
    "oakink2": ["anno_preview/*.pkl", "desc_info/*.json", "000044.jpg"],
    "dexycb": ["labels_000002.npz", "meta.yml", "mano.yml", "color_000001.jpg", "MANO_RIGHT.pkl"],
    "egocentric_10k": ["*.tar", "intrinsics.json"],
    "hot3d": ["*.tar", "MANO_LEFT.pkl"],
    "unihand_preview": ["*.parquet", "info.json", "*.jsonl", "*.mp4"],
    "hawor_results": ["world_space_res.pth", "est_focal.txt", "*.npz", "model_tracks.npy"],
}
RAW = ["empty", "cut_half", "cut_end", "flip_1", "flip_2", "noise", "html", "gone", "folder"]
TEXT = (".json", ".jsonl", ".csv", ".txt", ".log", ".yml")
PICKLES = (".pkl", ".pickle", ".npy", ".pth")
JUNK = [None, "junk", -1, 1e300, float("nan"), [], {}, True, [[1, 2], [3]], 10**30]


def operations(pattern):
    suffix = Path(pattern).suffix
    out = list(RAW)
    if suffix in (".json", ".jsonl"):
        out += [f"field_{i}" for i in range(8)]
    if suffix in (".csv", ".txt", ".log", ".yml"):
        out += ["letters", "fewer_columns", "nan", "binary"]
    if suffix in PICKLES:
        out += ["hostile", "hostile_npy", *[f"value_{i}" for i in range(8)]]
    if suffix == ".hdf5":
        out += ["h5_missing", "h5_shape", "h5_nan", "h5_text", "h5_link", "h5_external"]
    if suffix == ".tar":
        out += ["tar_escape", "tar_link", "tar_less_1", "tar_less_2", "tar_less_3", "tar_noise_1", "tar_noise_2"]
    return out


CASES = [(name, pattern, op) for name, patterns in FILES.items() for pattern in patterns for op in operations(pattern)]
ENDS = {"rejected": 0, "refused": 0, "not touched": 0}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    cache = {}

    def get(name):
        if name not in cache:
            cache[name] = tmp_path_factory.mktemp(f"whole_{name}")
            # the odd recordings of the preview lie in tars
            generate(name, cache[name], seed=1, recordings=2 if name == "unihand_preview" else 1, frames=6, width=64,
                     height=48)  # fmt: skip
        return cache[name]

    return get


def damage(path: Path, op: str, rng: random.Random) -> None:
    data = path.read_bytes()
    kind = op.rsplit("_", 1)[0] if op[-1].isdigit() else op
    if kind == "gone":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut_half":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "cut_end":
        path.write_bytes(data[: max(1, len(data) - max(3, len(data) // 50))])
    elif kind == "flip":
        bits = bytearray(data)
        for _ in range(max(3, len(bits) // 300)):
            bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(bits))
    elif kind == "noise":
        path.write_bytes(rng.randbytes(len(data)))
    elif kind == "html":
        path.write_text("<html><body>404: sign in first</body></html>")
    elif kind == "field":
        path.write_text("\n".join(json.dumps(mutated(json.loads(line), rng)) for line in lines_of(path)))
    elif kind in ("letters", "fewer_columns", "nan", "binary"):
        damage_text(path, kind, rng)
    elif kind == "hostile":
        path.write_bytes(pickle.dumps(Hostile()))
    elif kind == "hostile_npy":
        holder = np.empty((), dtype=object)
        holder[()] = {"extrinsics": Hostile()}
        out = io.BytesIO()
        np.save(out, holder, allow_pickle=True)
        path.write_bytes(out.getvalue())
    elif kind == "value":
        path.write_bytes(pickle.dumps(mutated(whole(path), rng)))
    elif kind.startswith("h5_"):
        damage_hdf5(path, kind)
    else:
        damage_tar(path, kind, rng)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch CODE_RAN",)


def whole(path):
    if path.name.startswith("HD_EPIC"):
        rows = read_frame(path)
        return {k: np.array([r[k] for r in rows] + [None], dtype=object)[:-1] for k in rows[0]}
    return loads_any(path.read_bytes(), path.name)


def lines_of(path):
    text = path.read_text()
    return text.splitlines() if path.suffix == ".jsonl" else [text]


def mutated(value, rng):
    """``value`` with one random part replaced, dropped or cut."""
    steps, at = [], value
    while True:
        if isinstance(at, dict) and at and (not steps or rng.random() < 0.85):
            key = rng.choice(sorted(at, key=str))
        elif isinstance(at, list) and at and (not steps or rng.random() < 0.85):
            key = rng.randrange(len(at))
        else:
            break
        steps.append((at, key))
        at = at[key]
    if not steps:
        return rng.choice(JUNK)
    parent, key = steps[-1]
    choice = rng.random()
    if isinstance(at, np.ndarray) and at.dtype == object:
        parent[key] = rng.choice([at[:-1], at[::-1], np.arange(len(at)), "junk"])
    elif isinstance(at, np.ndarray) and at.size > 1 and choice < 0.6:
        parent[key] = rng.choice([at[:-1], at.ravel(), at.astype(float) * np.nan, at.astype("U8"), at * 1e6])
    elif choice < 0.2:
        del parent[key]
    else:
        parent[key] = rng.choice(JUNK)
    return value


def damage_text(path, kind, rng):
    text = path.read_text()
    if kind == "binary":
        path.write_bytes(text.encode()[:40] + b"\xff\xfe\x00\x80" + text.encode()[40:])
        return
    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(text)))
        if kind == "fewer_columns":
            rows = [r[:-3] for r in rows]
        else:
            row = rng.randrange(1, len(rows))
            rows[row] = ["nan" if kind == "nan" else "abc"] * len(rows[row])
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        path.write_text(out.getvalue())
        return
    words = text.split(" ")
    if kind == "fewer_columns":
        words = words[:-1]
    else:
        words[rng.randrange(len(words))] = "nan" if kind == "nan" else "abc"
    path.write_text(" ".join(words))


def damage_hdf5(path, kind):
    import h5py

    with h5py.File(path, "a") as f:
        name = "transforms/rightHand"
        value = f[name][()]
        del f[name]
        if kind == "h5_shape":
            f[name] = value[:-4]
        elif kind == "h5_nan":
            f[name] = value * np.nan
        elif kind == "h5_text":
            f[name] = np.array([b"abc"] * 3)
        elif kind == "h5_link":
            f[name] = h5py.ExternalLink("/etc/passwd", "/x")
        elif kind == "h5_external":
            f.create_dataset(name, value.shape, "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def damage_tar(path, kind, rng):
    with tarfile.open(path) as t:
        members = [(m.name, t.extractfile(m).read()) for m in t]
    link = None
    if kind == "tar_escape":
        members.append(("../../evil.mp4", b"x"))
    elif kind == "tar_link":
        link = tarfile.TarInfo("link.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    elif kind == "tar_less":
        members.pop(rng.randrange(len(members)))
    else:
        k = rng.randrange(len(members))
        members[k] = (members[k][0], rng.randbytes(len(members[k][1])))
    with tarfile.open(path, "w") as t:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        if link:
            t.addfile(link)


def attempt(source, item):
    try:
        return source.open(item), None
    except Reject as reject:
        return None, reject


def check(recording):
    """What an opened recording promises."""
    assert len(recording.content_id) == 32
    for track in recording.hands:
        assert len(track) == len(recording.hands_t)
        assert np.isfinite(track.wrist_pos[track.valid]).all()
        if not track.figures.get("needs_fit"):
            assert np.isfinite(track.theta[track.valid]).all()
    if recording.hands:
        assert (np.diff(recording.hands_t) > 0).all()
    if recording.camera is not None:
        assert np.isfinite(recording.camera.pose[recording.camera.valid]).all()
    for n in recording.narrations:
        assert 0 <= n.t0 < n.t1
        assert n.text.strip()


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("name", "pattern", "op"), CASES, ids=[f"{n}-{p}-{o}" for n, p, o in CASES])
def test_damaged_input_ends_in_a_reject(pristine, tmp_path, monkeypatch, name, pattern, op):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNIHAND_MANO_DIR", raising=False)
    folder = tmp_path / "in"
    shutil.copytree(pristine(name), folder)
    targets = sorted(p for p in folder.rglob("*") if p.is_file() and p.match(pattern))
    assert targets, f"{pattern} names no file of {name}"
    damage(targets[0], op, random.Random(f"{name}{pattern}{op}"))
    mano = folder / "mano_stand_in"
    options = SourceOptions(
        video_root=str(folder / "videos"), mano_dir=str(mano) if mano.exists() else None, work_dir=str(tmp_path / "w")
    )
    end = "not touched"
    try:
        source = open_source(str(folder), name, options)
        for item in source.items():
            recording, reject = attempt(source, item)
            if reject is not None:
                end = "rejected"
                assert reject.level == "item"
                assert len(reject.message) > 10
                continue
            if recording.extra.get("rejects"):
                end = "rejected"
                assert all(r.level == "row" for r in recording.extra["rejects"])
            check(recording)
        assert source.ignored() >= 0
    except DatasetRefused:
        end = "refused"
    ENDS[end] += 1
    assert not (tmp_path / "CODE_RAN").exists()
    assert not (tmp_path / "evil.mp4").exists()
    if op in ("hostile", "hostile_npy", "tar_escape", "tar_link", "h5_link", "h5_external"):
        assert end != "not touched"


def test_there_are_at_least_three_hundred_cases():
    assert len(CASES) >= 300
