"""LeRobot sets packed in tar files: the same episodes as unpacked, nothing trusted, nothing laid out twice."""

from __future__ import annotations

import os
import pickle
import random
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.sources.robot.generate import lerobot_sets
from unihand_data.sources.robot.generate.webdataset_sets import PLANS, generate, write_tar
from unihand_data.sources.robot.readers import webdataset_trees as trees
from unihand_data.sources.robot.registry import find, open_robot

NAMES = list(PLANS)


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """Tars are laid out below the test's own folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "work"))
    return tmp_path / "work"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Name -> bytes of its tar."""
    out = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        generate(name, folder, seed=1, steps=8)
        out[name] = (folder / PLANS[name].tar).read_bytes()
    return out


def laid(folder: Path, name: str, data: bytes) -> Path:
    path = folder / PLANS[name].tar
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def episodes(folder):
    source = open_robot(str(folder))
    return [source.open(item) for item in source.items()]


@pytest.mark.parametrize("name", NAMES)
def test_a_packed_set_gives_the_episodes_of_the_unpacked_one(tmp_path, packed, name):
    tar = laid(tmp_path / "in", name, packed[name])
    lerobot_sets.generate(PLANS[name].unpacked, tmp_path / "plain", seed=8, steps=8)
    got, expected = episodes(tmp_path / "in"), episodes(tmp_path / "plain")
    assert len(got) == len(expected) == 2
    for (spec, one), (plain, other) in zip(got, expected):
        assert spec.name == name
        assert spec.source == plain.source
        assert one.content_id == other.content_id
        assert set(one.columns) == set(other.columns)
        assert all(np.array_equal(one.columns[c], other.columns[c], equal_nan=True) for c in one.columns)
        assert [(t.text, t.start, t.stop) for t in one.texts] == [(t.text, t.start, t.stop) for t in other.texts]
        assert set(one.views) == set(other.views)
        assert all(Path(v.video).is_file() for v in one.views.values() if v.video)
        assert one.item.uri.startswith(f"{tar}!{PLANS[name].folder}/data/")


def test_the_source_travels_to_workers(tmp_path, packed):
    laid(tmp_path / "in", NAMES[0], packed[NAMES[0]])
    source = open_robot(str(tmp_path / "in"))
    copy = pickle.loads(pickle.dumps(source.without_files()))
    assert copy.open(next(source.items()))[1].steps == 8
    assert source.ignored() == 0


def test_a_tar_is_laid_out_once_and_again_when_it_changed(tmp_path, work, packed):
    tar = laid(tmp_path / "in", NAMES[0], packed[NAMES[0]])
    episodes(tmp_path / "in")
    (tree,) = (p for p in (work / trees.work_dir().name / "all").iterdir() if p.is_dir())
    inode = tree.stat().st_ino
    episodes(tmp_path / "in")
    assert tree.stat().st_ino == inode
    os.utime(tar, ns=(1, 1))
    episodes(tmp_path / "in")
    assert len([p for p in tree.parent.iterdir() if p.is_dir()]) == 2


def test_trees_that_nobody_uses_make_room_and_used_ones_stay(tmp_path, packed):
    made = []
    for i in range(3):
        tar = laid(tmp_path / f"in{i}", NAMES[0], packed[NAMES[0]])
        made.append(trees.whole_tree(str(tar), keep_bytes=1))
        if i == 0:
            os.utime(made[0], (time.time() - 2 * trees.UNUSED_S,) * 2)
    assert [p.is_dir() for p in made] == [False, True, True]


def test_messages_name_the_tar_and_its_member(tmp_path):
    generate(NAMES[0], tmp_path / "in", seed=1, steps=8)
    tar = tmp_path / "in" / PLANS[NAMES[0]].tar
    with tarfile.open(tar) as t:
        members = [(m.name, t.extractfile(m).read()) for m in t]
    members = [(n, b"no parquet" if n.endswith("episode_000000.parquet") else d) for n, d in members]
    write_tar(tar, members)
    source = open_robot(str(tmp_path / "in"))
    first = next(source.items())
    with pytest.raises(Reject) as caught:
        source.open(first)
    assert f"{tar}!{PLANS[NAMES[0]].folder}/data/chunk-000/episode_000000.parquet" in caught.value.message
    assert "work" not in caught.value.message.replace(str(tmp_path), "")


def test_tars_of_other_things_are_left_alone(tmp_path):
    write_tar(tmp_path / "talk.tar", [(f"sample_{i}.json", b"{}") for i in range(500)])
    write_tar(tmp_path / "late.tar", [*((f"x/{i}", b"") for i in range(300)), ("a/meta/info.json", b"{}")])
    assert find(str(tmp_path), ["late.tar", "talk.tar"]) == []


@pytest.mark.parametrize("member", ["../out/meta/info.json", "/abs/meta/info.json", "a\\b/meta/info.json"])
def test_names_that_leave_the_folder_refuse_the_tar(tmp_path, member):
    write_tar(tmp_path / "in" / "bad.tar", [(member, b"{}")])
    with pytest.raises(DatasetRefused, match="would leave the folder"):
        open_robot(str(tmp_path / "in"))
    assert not (tmp_path / "out").exists()


def test_links_refuse_the_tar(tmp_path):
    tar = tmp_path / "bad.tar"
    with tarfile.open(tar, "w") as t:
        entry = tarfile.TarInfo("set/meta/info.json")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        t.addfile(entry)
    with pytest.raises(Reject) as caught:
        trees.meta_tree(str(tar))
    assert caught.value.reason == Reason.UNSAFE_CONTENT


def test_two_members_of_one_name_refuse_the_tar(tmp_path):
    write_tar(tmp_path / "bad.tar", [("a/meta/info.json", b"{}"), ("a/meta/info.json", b"[]")])
    with pytest.raises(Reject, match="two members"):
        trees.meta_tree(str(tmp_path / "bad.tar"))


OPS = ["empty", "cut_10", "cut_50", "cut_90", "cut_99", "html", "zeros_1", "zeros_2"] + [f"flip_{i}" for i in range(26)]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_tar_ends_in_a_sentence_or_an_episode_that_holds(tmp_path, packed, name, op):
    rng = random.Random(f"{name} {op}")
    data = bytearray(packed[name])
    what, _, number = op.partition("_")
    match what:
        case "empty":
            data = bytearray()
        case "cut":
            del data[len(data) * int(number) // 100 :]
        case "html":
            data = bytearray(b"<!DOCTYPE html>" * 99)
        case "zeros":
            at = rng.randrange(len(data) - 512)
            data[at : at + 512] = bytes(512)
        case _:
            for _ in range(1 + int(number)):
                data[rng.randrange(len(data))] = rng.randrange(256)
    laid(tmp_path / "in", name, bytes(data))
    said = []
    try:
        source = open_robot(str(tmp_path / "in"))
        for item in source.items():
            try:
                episode = source.open(item)[1]
                assert all(len(x) == episode.steps for x in episode.columns.values())
                said += [r.message for r in episode.losses]
            except Reject as reject:
                said.append(reject.message)
    except DatasetRefused as refused:
        said.append(str(refused))
    assert all(s and "\n" not in s for s in said)
    if what in ("empty", "html") or op in ("cut_10", "cut_50", "cut_90"):  # the last hundredth of a tar is padding
        assert said, "it cannot have gone unseen"
