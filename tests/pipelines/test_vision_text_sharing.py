"""Pictures that several rows and corpora share, end to end: benchmarks kept out, one split, the strictest licence."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from unihand_data.shards.catalogue import inspect
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.validate import validate
from unihand_data.sources.conversations.generate.catalogue import generate
from unihand_data.sources.conversations.generate.files import Corpus, ask, image_type
from unihand_data.sources.conversations.generate.still import still

from .test_vision_text import WAIVED, rejects, run


@pytest.fixture(scope="module")
def refer(tmp_path_factory) -> Path:
    """REFER data of which COCO pictures 1003, 2003 and 3003 are in val or test, 1000 is not."""
    root = tmp_path_factory.mktemp("refer")
    generate("refcoco", root, rows=4, defects=True)
    return root


def picture(refer: Path, number: int) -> Image.Image:
    return Image.open(next((refer / "images").rglob(f"COCO_train2014_{number:012d}.jpg"))).convert("RGB")


def encoded(image: Image.Image, quality: int = 80) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def padded(image: Image.Image) -> Image.Image:
    side = max(image.size)
    out = Image.new("RGB", (side, side), (122, 116, 104))
    out.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return out


def llava(folder: Path, pictures: dict[str, bytes]) -> Path:
    corpus = Corpus(folder, 0, 0, False)
    rows = [
        {"image": corpus.lay(name, data), "conversations": ask("<image>\nWhat?", f"Thing {i}.")}
        for i, (name, data) in enumerate(pictures.items())
    ]
    corpus.json("llava_v1_5_mix665k.json", rows)
    return folder


@pytest.mark.parametrize("name", ["llava_v1_5", "finevision", "llava_onevision", "as_v2", "pixmo_points", "robopoint"])
def test_a_corpus_of_coco_pictures_needs_the_benchmarks_or_a_waiver(name, tmp_path):
    generate(name, tmp_path / "in", rows=1)
    ran = run(tmp_path / "in", tmp_path / "out", "--plan")
    assert ran.code == 2
    assert ran.err.startswith("refused: ")
    assert ran.err.count("\n") == 1
    assert "held_out.refer=DIR" in ran.err
    assert run(tmp_path / "in", tmp_path / "out", "--plan", *WAIVED).code == 0


def test_a_waiver_is_stated_in_summary_manifest_and_report(tmp_path):
    source = llava(tmp_path / "in", {"coco/train2017/000000001003.jpg": still(5).encoded()})
    ran = run(source, tmp_path / "out", *WAIVED)
    assert ran.code == 0, ran.err
    assert "WAIVED" in ran.out
    said = json.loads((tmp_path / "out" / "vision_text.json").read_text())["held_out"]
    assert (said["refcoco"], said["corpora"]) == ("waived", ["llava_v1_5"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["config"]["held_out"]["refcoco"] == "waived"
    generate("robovqa", tmp_path / "more", rows=1)
    assert run(tmp_path / "more", tmp_path / "out", *WAIVED).code == 0
    assert "WAIVED: RefCOCO" in (tmp_path / "out" / "report.html").read_text(), "a later run does not hide it"


def test_a_list_without_a_set_or_without_pictures_is_not_enough(refer, tmp_path):
    source = llava(tmp_path / "in", {"vg/1.jpg": still(5).encoded()})
    part = tmp_path / "part"
    generate("refcoco", part, rows=4, defects=True)
    for name in ("refs(umd).p", "instances.json"):
        (part / "refcocog" / name).unlink()
    ran = run(source, tmp_path / "out", "--set", f"held_out.refer={part}")
    assert ran.code == 2
    assert "refcocog are not given" in ran.err
    bare = tmp_path / "bare"
    generate("refcoco", bare, rows=4, defects=True)
    next((bare / "images").rglob("*_000000002003.jpg")).write_bytes(b"cut")
    ran = run(source, tmp_path / "out", "--set", f"held_out.refer={bare}")
    assert ran.code == 2
    assert "1 of 3 val and test pictures" in ran.err
    ran = run(source, tmp_path / "out", "--set", f"held_out.refer={bare}", "--set", "held_out.refcoco=by_id")
    assert ran.code == 0, ran.err
    assert "by COCO id alone" in ran.out


def test_pictures_of_a_benchmark_never_train_whatever_was_done_to_them(refer, tmp_path):
    held = picture(refer, 1003)
    copies = {
        "coco/train2017/000000001003.jpg": still(5).encoded(),  # by number, whatever the bytes
        "a/same.jpg": encoded(held, 92),
        "a/again.jpg": encoded(held, 40),
        "a/scaled.jpg": encoded(held.resize((held.width * 2, held.height * 2))),
        "a/squashed.jpg": encoded(held.resize((224, 224))),
        "a/padded.jpg": encoded(padded(held.resize((held.width * 4, held.height * 4)))),
        "a/padded_scaled.jpg": encoded(padded(held.resize((held.width * 4, held.height * 4))).resize((336, 336))),
    }
    free = {"coco/train2017/000000001000.jpg": encoded(picture(refer, 1000)), "b/other.jpg": still(77).encoded()}
    source = llava(tmp_path / "in", {**copies, **free})
    out = tmp_path / "out"
    ran = run(source, out, "--set", f"held_out.refer={refer}")
    assert ran.code == 0, ran.err
    lost = {Path(r["source_uri"]).name for r in rejects(out) if r["reason"] == "benchmark_leak"}
    assert lost == {f"llava_v1_5_mix665k.json#row={i}" for i in range(len(copies))}
    assert inspect(str(out))["written"] == len(free)
    other = run(source, out, *WAIVED)
    assert other.code == 2, "without the list it is another content version"
    assert "--new-version" in other.err


def test_refer_data_in_the_input_and_by_name_are_one_version(refer, tmp_path):
    both = tmp_path / "both"
    both.mkdir()
    (both / "refer").symlink_to(refer)
    llava(both / "llava", {"vg/1.jpg": still(5).encoded()})
    out = tmp_path / "out"
    assert run(both, out).code == 0
    more = llava(tmp_path / "more", {"vg/2.jpg": still(6).encoded()})
    ran = run(more, out, "--set", f"held_out.refer={refer}")
    assert ran.code == 0, ran.err


def test_a_row_that_names_a_coco_picture_where_none_should_be_is_refused(tmp_path):
    corpus = Corpus(tmp_path / "in", 0, 0, False)
    names = ["COCO_train2014_000000580957.jpg", "COCO_val2014_000000000042.jpg", "chart.jpg"]
    rows = [{"image": corpus.lay(n, still(i).encoded()), "conversations": ask("<image>\nWhat?", f"{i}")}
            for i, n in enumerate(names)]  # fmt: skip
    corpus.json("single_images.json", rows)
    out = tmp_path / "out"
    assert run(tmp_path / "in", out).code == 0
    assert [Path(r["source_uri"]).name for r in rejects(out)] == ["single_images.json#row=0"]


def frames(folder: Path, rows: list[list[int]], encode=lambda k: still(k).encoded("PNG")) -> Path:
    """FineVision rows with these pictures, in this order."""
    import pyarrow as pa

    pair = pa.list_(pa.struct([("user", pa.string()), ("assistant", pa.string())]))
    corpus = Corpus(folder, 0, 0, False)
    data = [
        {"images": [{"bytes": encode(k), "path": None} for k in numbers], "source": "s",
         "texts": [{"user": f"What is in {' '.join(map(str, numbers))}?", "assistant": "Things."}]}
        for numbers in rows
    ]  # fmt: skip
    corpus.parquet("s/train.parquet", data, {"images": pa.list_(image_type()), "texts": pair, "source": pa.string()})
    return folder


#: chains of pictures: 0-1-2-3 in pairs, 10-11-12 in a triple, some alone too, two that are held out, many single ones
CHAINS = [
    *([0, 1], [1, 2], [2, 3], [10, 11, 12], [12], [0], [3], [11], [159, 181], [181], [159]),
    *([k] for k in range(20, 60)),
    *([k, k + 1] for k in range(20, 58, 4)),
]


def splits(out: Path) -> tuple[dict[str, str], dict[str, set[str]]]:
    """(question -> split, picture -> splits of the rows that show it)."""
    rows: dict[str, str] = {}
    shown: dict[str, set[str]] = {}
    with ShardReader(str(out)) as reader:
        for name in reader.conversation_ids:
            row = reader.conversation(name)
            rows[row.turns[0]["text"].replace("<image>\n", "")] = row.split
            for media in row.media:
                shown.setdefault(media["media_id"], set()).add(row.split)
    return rows, shown


def test_no_picture_is_in_two_splits_and_the_order_of_rows_changes_nothing(tmp_path):
    runs = []
    for number, (rows, block) in enumerate([(CHAINS, 256), (CHAINS[::-1], 3)]):
        out = tmp_path / f"out{number}"
        ran = run(frames(tmp_path / f"in{number}", rows), out, *WAIVED, "--set", f"rows_per_block={block}")
        assert ran.code == 0, ran.err
        assert validate(str(out)) == []
        runs.append(splits(out))
    by_row, shown = runs[0]
    assert by_row == runs[1][0]
    assert {len(s) for s in shown.values()} == {1}
    assert set(by_row.values()) > {"train"}, "some group is held out, else this shows nothing"


def test_rows_of_a_later_run_follow_the_pictures_that_are_stored(tmp_path):
    out, more = tmp_path / "out", ["--set", "rows_per_block=4"]
    assert run(frames(tmp_path / "a", [[k] for k in range(60)]), out, *WAIVED, *more).code == 0
    before, _ = splits(out)
    assert len(set(before.values())) > 1
    assert run(frames(tmp_path / "b", CHAINS), out, *WAIVED, *more).code == 0
    after, shown = splits(out)
    assert {q: after[q] for q in before} == before, "what is stored keeps its split"
    assert {len(s) for s in shown.values()} == {1}
    torn = [r for r in rejects(out) if r["reason"] == "split_conflict"]
    assert torn, "rows that would be on both sides"
    assert validate(str(out)) == []
    found = inspect(str(out))
    assert found["inputs"] == found["written"] + found["rejected"]


def shared(folder: Path) -> Path:
    """RoboPoint (may leave) and LLaVA-v1.5 (may not) with one picture of both, and one of RoboPoint alone."""
    corpus = Corpus(folder / "robopoint", 0, 0, False)
    rows = [{"image": corpus.lay(f"images/{k}.png", still(k).encoded("PNG")).removeprefix("images/"),
             "conversations": ask("<image>\nWhere?", f"There {k}.")} for k in (1, 2)]  # fmt: skip
    corpus.json("robopoint_1432k.json", rows)
    llava(folder / "llava", {"a/1.png": still(1).encoded("PNG"), "a/9.jpg": still(9).encoded()})
    return folder


def test_a_shared_picture_is_stored_once_and_every_row_keeps_its_licence(tmp_path):
    out = tmp_path / "out"
    assert run(shared(tmp_path / "in"), out, *WAIVED).code == 0
    with ShardReader(str(out)) as reader:
        rows = [reader.conversation(i) for i in reader.conversation_ids]
        media = {m["media_id"]: reader.media(m["media_id"]).licence for r in rows for m in r.media}
    licences = {(r.source, r.licence, r.shareable) for r in rows}
    assert licences == {
        ("robopoint", "Apache-2.0", True), ("llava_v1_5", "CC-BY-4.0 and OpenAI's terms of use", False),
    }  # fmt: skip
    assert len(media) == 3
    assert set(media.values()) == {"of the conversations that show it"}, "no corpus' licence stands for another's rows"
    summary = json.loads((out / "vision_text.json").read_text())
    assert summary["shared_pictures"] == [{"sources": ["llava_v1_5", "robopoint"], "pictures": 1}]


@pytest.mark.parametrize(
    "setting", ["only_shareable=true", 'exclude_licences=["CC-BY-4.0 and OpenAI\'s terms of use"]']
)
def test_a_picture_known_under_a_licence_that_is_not_wanted_does_not_leave_with_another_corpus(setting, tmp_path):
    out = tmp_path / "out"
    ran = run(shared(tmp_path / "in"), out, *WAIVED, "--set", setting)
    assert ran.code == 0, ran.err
    with ShardReader(str(out)) as reader:
        rows = [reader.conversation(i) for i in reader.conversation_ids]
        held = list(reader.store.names("", ""))
    assert [(r.source, r.turns[1]["text"]) for r in rows] == [("robopoint", "There 2.")], held
    lost = [r for r in rejects(out) if r["reason"] == "licence_excluded"]
    assert len(lost) == 3
    assert sum("shows a picture of" in r["message"] for r in lost) == 1
    assert inspect(str(out))["inputs"] == 4
    assert json.loads((out / "manifest.json").read_text())["counts"]["media"] == 1, "nor are its bytes stored"
