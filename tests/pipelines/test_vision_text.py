"""The vision-text page end to end: every corpus of section 3.3 from generated rows, counted row by row."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from helpers.samples import sample
from unihand_data.curate.conversations.geometry import grid, parse
from unihand_data.jobs.arguments import main_with
from unihand_data.shards.append import read_parquet
from unihand_data.shards.catalogue import inspect
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.validate import validate
from unihand_data.sources.conversations.generate.catalogue import WRITERS, generate
from unihand_data.sources.conversations.registry import corpus_names, load_corpus, open_corpora

from .conftest import Ran, load

PAGE = Path(__file__).parents[2] / "pipelines" / "vision_text.py"
#: two names of AS-V2 in one folder of corpora would be one corpus twice
WAIVED = ("--set", "held_out.refcoco=waived")
NAMES = [n for n in WRITERS if n not in ("as_v2_padded", "as_v2_mix")]


def run(source, output, *more: str) -> Ran:
    """``pipelines/vision_text.py`` in this process, as its last lines call it."""
    module = sys.modules.get("vision_text_page") or load(PAGE, "vision_text_page")
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [str(PAGE)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main_with(
                module.VisionTextSettings,
                module.run,
                default_config="vision_text.yaml",
                description=module.__doc__,
                argv=["--input", str(source), "--output", str(output), "--engine", "local", *more],
            )
    finally:
        sys.argv = before
    return Ran(code, out.getvalue(), err.getvalue())


def rejects(output) -> list[dict]:
    with ShardReader(str(output)) as reader:
        return [r for f in reader.manifest.rejects for r in read_parquet(reader.store, f.name, None).to_pylist()]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Every generated corpus in a folder of its own, and the truth about its rows."""
    root = tmp_path_factory.mktemp("corpora")
    truth = {}
    for name in NAMES:
        folder = root / name
        truth[name] = generate(name, folder, rows=4, defects=True)
    return root, truth


@pytest.fixture(scope="module")
def shards(corpora, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "shards"
    return run(corpora[0], out, "--set", "rows_per_block=5"), out


def test_all_corpora_of_the_paper_have_a_yaml():
    wanted = {
        "LLaVA-v1.5", "LLaVA-OneVision", "FineVision", "LLaVA-Video", "RefCOCO", "RefSpatial", "RoboPoint",
        "ShareRobot", "RoboRefIt", "RoboVQA", "MolmoAct", "A0-ManiSkill", "PixMo-Points", "AsV2", "EO1.5M-QA",
    }  # fmt: skip
    specs = [load_corpus(n) for n in corpus_names()]
    assert wanted == {s.paper_name for s in specs} - {""}
    pillars = {s.pillar for s in specs if s.paper_name == "ShareRobot"}
    assert pillars == {"grounding", "planning"}, "ShareRobot is listed in two pillars: sixteen corpora in all"


def test_every_row_ends_as_it_must_and_is_counted_once(corpora, shards):
    ran, out = shards
    assert ran.code == 0, ran.err + ran.out
    _, truth = corpora
    rows = [t for rows in truth.values() for t in rows]
    found = inspect(str(out))
    lost = rejects(out)
    duplicates = sum(r["reason"].startswith("duplicate") for r in lost)
    assert duplicates == 2, "RoboPoint holds two rows of LLaVA-v1.5"
    assert found["inputs"] == len(rows)
    assert found["written"] == sum(t.outcome == "written" for t in rows) - duplicates
    assert found["rejected"] == found["rejects"]["by_level"]["item"] == found["inputs"] - found["written"]
    assert found["conversations"] == found["written"] == found["samples"]["total"]
    wanted = Counter(t.outcome for t in rows if t.outcome != "written")
    wanted["duplicate"] += duplicates
    assert Counter(r["reason"] for r in lost if r["level"] == "item") == wanted


def test_a_shard_of_conversations_keeps_every_promise(shards):
    assert validate(str(shards[1])) == []


def test_whether_boxes_have_the_stated_order_is_told_by_job_summary_and_report(shards):
    ran, out = shards
    said = json.loads((out / "vision_text.json").read_text())["box_order"]
    assert [(v["corpus"], v["result"]) for v in said] == [("robopoint", "not checked"), ("roborefit", "not checked")]
    for verdict in said:
        assert "too few to tell" in verdict["sentence"]
        assert f"box order: {verdict['sentence']}" in ran.out
        assert verdict["sentence"] in (out / "report.html").read_text()


def test_a_corpus_whose_boxes_contradict_its_yaml_is_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "robopoint"
    generate("robopoint", folder, rows=2, defects=False)
    file = folder / "robopoint_1432k.json"
    rows = json.loads(file.read_text())
    corners = [{"from": "human", "value": "<image>\nFind it."}, {"from": "gpt", "value": "[(0.2, 0.3, 0.9, 0.8)]"}]
    file.write_text(json.dumps(rows + [{"image": rows[0]["image"], "conversations": corners}] * 40))
    for more in ((), ("--plan",)):
        ran = run(folder, tmp_path / "out", *WAIVED, *more)
        assert (ran.code, len(ran.err.strip().splitlines())) == (2, 1), ran.err
        assert "its YAML says that boxes are cxcywh" in ran.err
        assert "write geometry.box: xyxy" in ran.err
    assert not (tmp_path / "out" / "manifest.json").exists()
    ran = run(folder, tmp_path / "out", *WAIVED, "--plan", "--set", "box_order.waived=[robopoint]")
    assert ran.code == 0, ran.err
    assert "order cxcywh not checked: waived by box_order.waived" in ran.out


def test_a_second_run_adds_nothing(corpora, shards):
    _, out = shards
    before = (out / "manifest.json").read_bytes()
    ran = run(corpora[0], out, "--set", "rows_per_block=5")
    assert ran.code == 0
    assert (out / "manifest.json").read_bytes() == before


def test_the_result_does_not_depend_on_blocks_parts_or_batches(corpora, shards, tmp_path, monkeypatch):
    from unihand_data.shards import append

    monkeypatch.setattr(append, "ROWS_AT_ONCE", 20)  # conversations and media are dealt to several files
    out = tmp_path / "out"
    ran = run(corpora[0], out, "--set", "rows_per_block=3", "--set", "runner.units_per_part=2")
    assert ran.code == 0, ran.err
    assert not list((out / "_job" / "work" / "media").glob("*")), "packs and films are gone once they are committed"
    with ShardReader(str(out)) as mine, ShardReader(str(shards[1])) as other:
        assert sorted(mine.conversation_ids) == sorted(other.conversation_ids)
        for name in ("inputs", "written", "rejected"):
            assert mine.manifest.inputs[name] == other.manifest.inputs[name]
    assert Counter(r["reason"] for r in rejects(out)) == Counter(r["reason"] for r in rejects(shards[1]))
    assert validate(str(out)) == []


def test_the_duplicate_of_another_corpus_goes_whoever_is_read_first(shards):
    lost = [r for r in rejects(shards[1]) if r["reason"] == "duplicate"]
    assert {Path(r["source_uri"].split("#")[0]).name for r in lost} == {"robopoint_1432k.json"}
    assert all("llava_v1_5" in r["message"] for r in lost)
    summary = json.loads((shards[1] / "vision_text.json").read_text())
    assert summary["duplicates"] == [
        {"source": "robopoint", "of_source": "llava_v1_5", "reason": "duplicate", "len": 2}
    ]


def test_a_recipe_of_rows_that_may_leave_holds_no_corpus_that_may_not(shards, tmp_path):
    from unihand_data.recipe.build import build
    from unihand_data.recipe.settings import RecipeSettings

    recipe = build([str(shards[1])], tmp_path, RecipeSettings(only_shareable=True))
    by = recipe["by_source"]
    taken = {name for name, counted in by.items() if counted["taken"]["conversations"]}
    may = {name for name in corpus_names() if load_corpus(name).shareable}
    assert taken == set(by) & may
    assert set(by) - may
    assert recipe["notes"] == []


def test_fixes_are_counted_by_corpus(shards):
    fixes = json.loads((shards[1] / "vision_text.json").read_text())["by_source"]["llava_v1_5"]["fixes"]
    assert fixes == {"image_format_mismatch": 1, "placeholder_moved_to_front": 1, "to_rgb": 1, "transcoded": 1}


def test_the_report_shows_conversations_with_their_geometry(shards):
    from unihand_data.report import conversations

    page = (shards[1] / "report.html").read_text()
    assert "<h2>Conversations</h2>" in page
    with ShardReader(str(shards[1])) as reader:
        chosen = [reader.conversation(i) for i in conversations.choose(reader, 20)]
        assert len({t.source for t in chosen}) >= 15, "every corpus has its turn"
        row = next(t for t in chosen if t.source == "refcoco")
        picture = reader.frames(row.media[0]["media_id"], [0])[0]
    drawn = conversations.draw(picture, row.geometry)
    x0, y0, x1, _ = row.geometry[0]["points"]
    height, width = drawn.shape[:2]
    assert tuple(drawn[round(y0 * height), round((x0 + x1) / 2 * width)]) == conversations.COLOURS[0]
    assert {r["source"] for r in conversations.source_rows(reader)} >= {"refcoco", "robovqa"}


def test_low_rated_turns_are_lost_and_their_row_stays(shards):
    lost = [r for r in rejects(shards[1]) if r["level"] == "clip"]
    assert {r["reason"] for r in lost} == {"low_rating"}
    assert len(lost) == 2, "one turn each of two written rows"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run over one generated corpus with nothing but good rows: name -> (truth, conversations in row order)."""
    done: dict[str, tuple] = {}

    def of(name: str):
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            truth = generate(name, folder / "in", rows=3, seed=2, defects=name == "as_v2_mix")
            ran = run(folder / "in", folder / "out", *WAIVED)
            with ShardReader(str(folder / "out")) as reader:
                talks = [reader.conversation(i) for i in reader.conversation_ids]
                media = {m["media_id"]: reader.media(m["media_id"]) for t in talks for m in t.media}
            done[name] = (ran, [t for t in truth if t.outcome == "written"], talks, media)
        return done[name]

    return of


@pytest.mark.parametrize("name", [n for n in WRITERS if n not in ("llava_onevision", "finevision", "llava_video")])
def test_geometry_of_every_corpus_is_where_the_thing_is_in_the_picture(name, alone):
    ran, truth, talks, _ = alone(name)
    assert ran.code == 0, ran.err
    found = sorted(tuple((g["kind"], tuple(g["points"])) for g in t.geometry) for t in talks)
    wanted = sorted(tuple((kind, tuple(points)) for kind, points in t.shapes) for t in truth)
    assert [len(f) for f in found] == [len(w) for w in wanted]
    tolerance = max(t.tolerance for t in truth)
    left = list(wanted)
    for row in found:
        hit = next((w for w in left if _near(row, w, tolerance)), None)
        assert hit is not None, (row, left[:3])
        left.remove(hit)


def _near(a, b, tolerance: float) -> bool:
    return len(a) == len(b) and all(
        x[0] == y[0] and len(x[1]) == len(y[1]) and np.allclose(x[1], y[1], atol=tolerance) for x, y in zip(a, b)
    )


@pytest.mark.parametrize("name", ["refcoco", "robopoint", "as_v2", "pixmo_points", "sharerobot"])
def test_stored_geometry_is_what_the_text_says(name, alone):
    for talk in alone(name)[2]:
        shapes = [[grid(v) for v in g["points"]] for g in talk.geometry]
        said = [s for turn in talk.turns for p in parse(turn["text"]) for s in p.shapes]
        flat = [v for s in said for p in s for v in p]
        assert [v for s in shapes for v in s] == [grid(v) for v in flat]


def test_videos_are_stored_once_as_the_frames_that_are_seen(alone):
    ran, _, talks, media = alone("llava_video")
    assert ran.code == 0, ran.err
    assert len(media) == 2
    assert len(talks) == 4
    for talk in talks:
        row = media[talk.media[0]["media_id"]]
        assert row.kind == "video"
        assert row.frames == len(talk.media[0]["times"])
        assert np.allclose(
            np.asarray(row.pts) - row.pts[0], np.asarray(talk.media[0]["times"]) - talk.media[0]["times"][0]
        )
        assert talk.turns[0]["text"].startswith("<video>\n")


def test_a_picture_that_was_fetched_later_is_taken_up_by_retry(tmp_path):
    from unihand_data.commands.retry import retry
    from unihand_data.sources.conversations.generate.still import still

    truth = generate("llava_v1_5", tmp_path / "in", rows=2, defects=True)
    out = tmp_path / "out"
    assert run(tmp_path / "in", out, *WAIVED).code == 0
    before = inspect(str(out))
    (tmp_path / "in" / "ocr_vqa" / "images" / "gone.jpg").write_bytes(still(77).encoded())
    again = run(tmp_path / "in", out, *WAIVED)
    assert inspect(str(out)) == before, again.out + " (rows that ended are not looked at again by themselves)"
    assert retry(str(out), reason=["missing_file"]) == 0
    assert run(tmp_path / "in", out, *WAIVED).code == 0
    after = inspect(str(out))
    assert (after["written"], after["rejected"]) == (before["written"] + 1, before["rejected"] - 1)
    assert after["inputs"] == len(truth)
    assert "missing_file" not in after["rejects"]["by_reason"]
    assert validate(str(out)) == []


def test_an_unknown_folder_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rows.json").write_text("[]")
    ran = run(tmp_path / "in", tmp_path / "out")
    assert ran.code == 2
    assert ran.err.startswith("refused: ")
    assert ran.err.count("\n") == 1


def test_a_folder_of_corpora_with_a_stranger_is_refused(tmp_path):
    generate("as_v2", tmp_path / "in" / "a", rows=1)
    generate("refspatial", tmp_path / "in" / "c", rows=1)
    (tmp_path / "in" / "b").mkdir()
    (tmp_path / "in" / "b" / "x.json").write_text("[]")
    ran = run(tmp_path / "in", tmp_path / "out")
    assert ran.code == 2
    assert "b is no corpus" in ran.err


def test_plan_counts_rows_and_runs_nothing(corpora, tmp_path):
    ran = run(corpora[0], tmp_path / "out", "--plan")
    assert ran.code == 0, ran.err
    assert not (tmp_path / "out").exists()
    assert len([line for line in ran.out.splitlines() if line.startswith("refcoco ")]) == 1


def test_fingerprints_tell_every_generated_corpus_apart(corpora):
    for name in NAMES:
        found = {c.spec.name for c in open_corpora(str(corpora[0] / name)).corpora}
        assert found == ({name} if name != "sharerobot" else {n for n in corpus_names() if n.startswith("sharerobot")})


@pytest.mark.parametrize(
    ("name", "written", "reasons"),
    [
        ("qwenvl_demo", 3, {"missing_file": 3}),
        ("llava_qa", 0, {"missing_file": 90}),
        ("robomind_annotations", 209, {"duplicate": 31}),
    ],
)
def test_real_rows_run_through_their_readers(name, written, reasons, tmp_path):
    ran = run(sample(name), tmp_path / "out", "--set", "max_reject_share=1")
    found = inspect(str(tmp_path / "out"))
    assert (found["written"], found["rejects"]["by_reason"]) == (written, reasons), ran.out
