"""Damaged and hostile corpora: every input ends in rows or in rejects with a known reason, never in another exception.

``pytest -s`` prints how many inputs were tried and how their rows ended.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from unihand_data.config import SettingsError
from unihand_data.curate.conversations.geometry import GeometrySettings
from unihand_data.curate.conversations.images import ImageSettings, store_picture
from unihand_data.curate.conversations.rows import SeenMedia, place_marks
from unihand_data.curate.conversations.validators import TextSettings, check
from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.sources.conversations.generate.catalogue import WRITERS, generate
from unihand_data.sources.conversations.generate.files import ask
from unihand_data.sources.conversations.generate.still import still
from unihand_data.sources.conversations.pictures import read_picture
from unihand_data.sources.conversations.reader import BlockReader
from unihand_data.sources.conversations.registry import load_corpus, open_corpora

TRIED: Counter[str] = Counter()
CONTAINERS = [n for n in WRITERS if n not in ("llava_video", "as_v2_padded", "as_v2_mix")]


@pytest.fixture(scope="module", autouse=True)
def _tally():
    yield
    inputs = TRIED.pop("inputs")
    print(f"\n{inputs} damaged inputs: {dict(TRIED.most_common())}")
    assert inputs >= 300


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("originals")
    for name in CONTAINERS:
        generate(name, root / name, rows=2)
    return root


def go(folder: Path, dataset: str | None = None) -> Counter[str]:
    """Every row of a folder through reading, checks, pictures and geometry; how they ended."""
    TRIED["inputs"] += 1
    out: Counter[str] = Counter()
    try:
        corpora = open_corpora(str(folder), dataset)
    except (DatasetRefused, SettingsError):
        TRIED["refused"] += 1
        return Counter(refused=1)
    reader = BlockReader()
    for corpus in corpora.corpora:
        for block in corpus.blocks(3):
            try:
                for _, talk in reader.read(block):
                    out[_end(talk)] += 1
            except Reject as reject:
                out[str(reject.reason)] += 1
    TRIED.update(out)
    assert set(out) <= {str(r) for r in Reason} | {"written"}
    assert "internal" not in out
    return out


def _end(talk) -> str:
    if isinstance(talk, Reject):
        return str(talk.reason)
    try:
        check(talk, TextSettings(), "row")
        seen = [
            store_picture(read_picture(p, "row"), "row", ImageSettings(), licence="", name=p.name, sha256=p.sha256)
            for p in talk.pictures
        ]
        place_marks(talk, SeenMedia(seen), GeometrySettings(), "row")
    except Reject as reject:
        return str(reject.reason)
    return "written"


def copied(originals: Path, name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals / name, tmp_path / name))


def row_files(name: str, folder: Path) -> list[Path]:
    return [Path(c.root, f) for c in open_corpora(str(folder)).corpora for f in c.files()]


@pytest.mark.parametrize("name", CONTAINERS)
def test_cut_and_flipped_row_files(name, originals, tmp_path):
    rng = np.random.default_rng(3)
    for number, file in enumerate(row_files(name, originals / name)[:2]):
        data = file.read_bytes()
        relative = file.relative_to(originals / name)
        damaged = [data[: int(len(data) * share)] for share in (0.0, 0.1, 0.5, 0.9, 0.999)]
        for _ in range(6):
            copy = np.frombuffer(data, np.uint8).copy()
            copy[rng.integers(0, len(copy), 1 + len(copy) // 500)] ^= rng.integers(1, 256, dtype=np.uint8)
            damaged.append(copy.tobytes())
        damaged += [b"\x00" * 200, b"<html>gone</html>", b"null", b"[[[]]]"]
        folder = copied(originals, name, tmp_path / str(number))
        for content in damaged:
            (folder / relative).write_bytes(content)
            os.utime(folder / relative, ns=(int(rng.integers(1, 2**60)), int(rng.integers(1, 2**60))))
            go(folder)


STRANGE = [
    None,
    7,
    -1,
    1.5,
    True,
    "",
    "\x00",
    "../../etc/passwd",
    "/etc/passwd",
    [],
    [None],
    {},
    {"bytes": 7},
    "x" * 5000,
]


@pytest.mark.parametrize("name", [n for n in CONTAINERS if n not in ("refcoco", "robovqa", "a0_maniskill")])
def test_fields_of_another_type_or_absent(name, originals, tmp_path):
    """The first row of a JSON corpus with one key after the other replaced; parquet files keep their types."""
    folder = copied(originals, name, tmp_path)
    for file in row_files(name, folder)[:3]:
        if file.suffix != ".json":
            continue
        rows = json.loads(file.read_text())
        for key in rows[0]:
            for value in [*STRANGE[:: 5 if key in ("id", "scene", "num", "meta_data") else 1], ...]:
                row = {k: v for k, v in rows[0].items() if k != key}
                if value is not ...:
                    row[key] = value
                file.write_text(json.dumps([rows[1], row]))
                ended = go(folder, dataset=_corpus_of(name, file))
                assert sum(ended.values()) == 2
        file.write_text(json.dumps(rows))


def _corpus_of(name: str, file: Path) -> str:
    return f"sharerobot_{'planning' if 'planning' in str(file) else file.stem}" if name == "sharerobot" else name


def test_turns_of_every_wrong_shape(tmp_path):
    for conversations in [
        None, 3, "text", [], [[]], ["hi"], [{}], [{"from": "human"}], [{"value": "x"}], [{"from": None, "value": "x"}],
        [{"from": "human", "value": None}], [{"from": "human", "value": ["x"]}], {"from": ["human"], "value": []},
        {"from": "human", "value": "x"}, ask("Q", "A")[:1], ask("Q", "A")[::-1], ask("Q", "A") * 2 + ask("Q", "A")[:1],
        [{"role": "user", "content": "Q"}, {"role": "bot", "content": "A"}], ask("\ud800", "A"), ask("Q", "\x1b[31m"),
    ]:  # fmt: skip
        (tmp_path / "llava_v1_5_mix665k.json").write_text(json.dumps([{"conversations": conversations}]))
        assert "written" not in go(tmp_path, "llava_v1_5")


def test_refs_that_are_a_program_are_refused_and_never_run(originals, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    folder = copied(originals, "refcoco", tmp_path)
    file = folder / "refcoco" / "refs(unc).p"
    refs = pickle.loads(file.read_bytes())
    for content in (Evil(), [Evil()], {"a": 1}, 7, [7], [None], [{}], [{**refs[0], "ann_id": 999}],
                    [{**refs[0], "image_id": 9}], [{**refs[0], "sentences": 3}], [{**refs[0], "sentences": [7]}],
                    [{**refs[0], "split": None}]):  # fmt: skip
        file.write_bytes(pickle.dumps(content, protocol=2))
        go(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "instances",
    [b"", b"[]", b"{}", b'{"annotations": 3, "images": []}', b'{"annotations": [], "images": []}',
     b'{"annotations": [{"id": 1, "bbox": [1, 2]}], "images": [{"id": 1000}]}'],
)  # fmt: skip
def test_broken_annotations_beside_the_refs(instances, originals, tmp_path):
    folder = copied(originals, "refcoco", tmp_path)
    (folder / "refcoco" / "instances.json").write_bytes(instances)
    assert go(folder)["written"] == 4, "the other two sets are whole"


@pytest.mark.parametrize("kind", ["cut", "empty", "html", "gif", "flip", "folder", "gone"])
@pytest.mark.parametrize("name", ["llava_v1_5", "roborefit", "as_v2", "refcoco"])
def test_damaged_pictures_cost_their_own_row(name, kind, originals, tmp_path):
    folder = copied(originals, name, tmp_path)
    pictures = sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".png"))
    victim = pictures[0]
    data = victim.read_bytes()
    flipped = bytes(b ^ 0x5A if 300 < i < 400 else b for i, b in enumerate(data))
    content = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "html": b"<html>",
        "gif": still(1).encoded("GIF"),
        "flip": flipped,
    }
    victim.unlink()
    if kind == "folder":
        victim.mkdir()
    elif kind != "gone":
        victim.write_bytes(content[kind])
    ended = go(folder)
    assert sum(ended.values()) - ended["written"] <= 2


def test_pictures_in_archives_are_read_and_hostile_archives_are_not(originals, tmp_path):
    folder = copied(originals, "llava_v1_5", tmp_path)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix == ".jpg")
    whole = go(folder)
    with zipfile.ZipFile(folder / "pictures.zip", "w") as z, tarfile.open(folder / "more.tar", "w") as t:
        for i, name in enumerate(names):
            z.write(folder / name, name) if i % 2 else t.add(folder / name, name)
            (folder / name).unlink()
    assert go(folder) == whole
    with zipfile.ZipFile(folder / "pictures.zip", "w") as z:
        z.writestr("../../out.jpg", b"x")
    assert go(folder)["unsafe_content"] > 0
    (folder / "pictures.zip").write_bytes(b"PK\x03\x04 cut")
    assert go(folder) != whole
    (folder / "pictures.zip").unlink()
    (folder / "coco.tar.gz").write_bytes(b"\x1f\x8b")
    assert go(folder)["missing_file"] > 0


def test_a_link_out_of_the_folder_is_the_owners_business_and_a_name_is_not(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(still(1).encoded())
    root = tmp_path / "in"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "elsewhere")
    rows = [{"image": n, "conversations": ask("<image>\nQ", "A")} for n in ("a.jpg", "../elsewhere/a.jpg", "C:/a.jpg")]
    (root / "llava_v1_5_mix665k.json").write_text(json.dumps(rows))
    assert go(root) == {"written": 1, "unsafe_content": 2}


@pytest.mark.parametrize(
    "text",
    ["", "name: x", "name: [", "name: x\nunknown: 1", "- a list", "fingerprint: 3"],
)
def test_a_broken_yaml_of_the_user_is_a_settings_error(text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    TRIED["inputs"] += 1
    with pytest.raises(SettingsError) as found:
        load_corpus(str(path))
    assert "mine.yaml" in str(found.value)
