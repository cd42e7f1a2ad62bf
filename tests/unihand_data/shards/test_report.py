"""The report of a directory: counts are exact, what is drawn is drawn fairly and alike."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unihand_data.config import content_dict
from unihand_data.ids import make_id
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.report import charts, tally
from unihand_data.report.build import write_report
from unihand_data.report.figures import FIGURES, STAGES
from unihand_data.shards import schema, staging, writer
from unihand_data.shards.id_index import id_keys
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import LanguageRow, figures_json
from unihand_data.shards.validate import validate


@pytest.fixture(scope="module")
def shown(tmp_path_factory, make, clip) -> str:
    """Six episodes and two twins; figures and sentences by number; some rejects."""
    root = tmp_path_factory.mktemp("report")
    episodes = []
    for n in range(6):
        lines = [
            LanguageRow("instruction", 0, 1, text, text_source="narration") for text in ("take it", f"put {n % 2}")
        ]
        quality = {"jitter_pos": 1e-3 * n, "dba_px": float("nan"), "not shown": 5.0}
        quality |= {"jitter_rot": np.radians(n), "depth_left": 0.3, "paraphrases": 4.0, "score": 0.1 * n}
        quality["sentences_not_mirrored"] = 0.0
        episodes.append(make.episode(f"e{n}", clip.media_id, language=lines, quality=quality, shareable=n > 0))
    first, second = sorted(episodes, key=lambda e: e.episode_id)[1:3]
    twins = [replace(e, episode_id=f"twin{k}", parent_id=e.episode_id) for k, e in enumerate((second, first))]
    rejects = [make.reject(f"i{n}", duration_s=0.5, message=f"message {n}") for n in range(5)]
    rejects.append(make.reject("i9", level="item", reason="no_hands"))
    staging.write_part(root / "st", [*episodes, *twins], [clip], rejects=rejects)
    config = content_dict(HumanVideoSettings())
    writer.commit(root / "st", root / "out", content_hash="h", config=config, run_id="r")
    return str(root / "out")


def test_one_pass_counts_what_a_look_at_every_row_counts(shown):
    reader = ShardReader(shown)
    found = tally.tally(reader, FIGURES, clips=3)
    rows = [reader.episode(i) for i in reader.episode_ids if not reader.episode(i).mirrored]
    assert set(found.figures) == set(rows[0].quality) - {"not shown"}
    assert sorted(found.figures["jitter_pos"].values) == sorted(row.quality["jitter_pos"] for row in rows)
    assert (found.figures["jitter_pos"].count, found.figures["dba_px"].count) == (6, 0)
    assert found.by_source == {("test", "CC0-1.0", True): 5, ("test", "CC0-1.0", False): 1}
    assert {k: (d.total, d.count, d.exact) for k, d in found.sentences.items()} == {"narration": (12, 3, True)}
    chosen = sorted(row.episode_id for row in rows)[:3]
    assert found.clips == [*chosen, "twin1"]  # the twin of the first that has one
    assert tally.tally(reader, FIGURES, clips=0).clips == []


def test_rejects_are_shown_by_reason_with_the_first_message(shown):
    level, item = tally.reject_table(ShardReader(shown))
    assert (level["count"], level["seconds"], level["reason"]) == (5, "2.5", "jitter")
    assert level["example"] == "message 0"
    assert (item["count"], item["reason"]) == (1, "no_hands")


def test_the_page_is_written_with_its_pictures(shown):
    with open(write_report(shown, clips=2, pictures=2)) as page:
        html = page.read()
    assert html.count("data:image/jpeg") == 3 * 2
    assert "n=6</figcaption>" in html
    assert "DBA error: no value" in html


def test_figures_are_drawn_by_stage_with_the_thresholds_of_the_directory_in_their_own_unit(shown):
    with open(write_report(shown, clips=0)) as page:
        html = page.read()
    said = dict(re.findall(r"<figcaption><b>(.*?)</b><br>median (.*?), n=6", html))
    assert said == {
        "paraphrases of a clip": "4",
        "wrist jitter": "2.5 mm, limit 30 mm (motion.max_jitter_pos_m)",
        "wrist rotation jitter": "2.5°, limit 15° (motion.max_jitter_rot_deg)",
        "distance of the left wrist": "0.3 m, limit 0.08 m to 1.3 m (motion.depth_m)",
        "manipulation score by motion": "0.25, limit 0.25 (relevance.min_score)",
        "sentences whose side words cannot be exchanged (above 0: no twin)": "0, limit 0",
    }
    assert re.findall(r"<h3>(.*?)</h3>", html) == list(STAGES)
    drawn = html.split("<h3>")
    assert [group.count('stroke="#d33"') for group in drawn[1:]] == [0, 4, 1, 1]


@pytest.mark.parametrize("name", [n for n, figure in FIGURES.items() if isinstance(figure.limit, str)])
def test_each_threshold_in_the_report_is_a_setting_and_null_switches_its_line_off(name):
    figure = FIGURES[name]
    config = content_dict(HumanVideoSettings())
    section, key = figure.limit.split(".")
    assert key in config[section]
    config[section][key] = None
    assert figure.limits(config) == []


@pytest.mark.parametrize("pieces", [1, 7])
def test_values_beyond_memory_are_a_fair_draw_that_does_not_depend_on_pieces(pieces):
    values = np.random.default_rng(0).normal(size=20_000)
    values[5] = np.nan
    keys = id_keys([make_id(n) for n in range(len(values))])[:, 0]
    figure = tally.Figure(kept=2000)
    for some in np.array_split(np.arange(len(values)), pieces):
        figure.add(keys[some], values[some])
    assert figure.count == len(values) - 1
    assert figure.low == np.nanmin(values)
    kept = np.argsort(np.where(np.isnan(values), np.uint64(2**64 - 1), keys))[:2000]
    assert sorted(figure.values) == sorted(values[kept])
    assert abs(np.median(figure.values) - np.nanmedian(values)) < 0.1
    assert "n=19999, drawn from 2000 of them" in charts.histogram(figure.values, "x", count=figure.count)


@pytest.mark.parametrize("n", [0, 900, 1000, 50_000])
def test_distinct_texts_are_counted_exactly_or_within_the_error_of_the_estimate(n):
    distinct = tally.Distinct(kept=1000)
    for _ in range(2):
        for start in range(0, n, 7000):
            distinct.add(pa.array([f"sentence {k}" for k in range(start, min(start + 7000, n))], pa.string()))
    assert distinct.total == 2 * n
    assert distinct.exact == (n <= 1000)
    assert abs(distinct.count - n) <= (0 if n <= 1000 else 0.12 * n)  # four standard errors, 1 / sqrt(1000)


def test_what_was_dropped_is_drawn_beside_what_was_kept(tmp_path, make, clip):
    kept = [make.episode(f"e{n}", clip.media_id, quality={"jitter_pos": 0.01, "score": 0.9}) for n in range(3)]
    lost = [
        make.reject(f"i{n}", source_uri=f"/in/{n}.mp4#t=0,1", figures=figures_json({"jitter_pos": 0.05 + 0.01 * n}))
        for n in range(4)
    ]
    staging.write_part(tmp_path / "st", kept, [clip], rejects=[*lost, make.reject("i9", reason="unreadable")])
    config = content_dict(HumanVideoSettings())
    writer.commit(tmp_path / "st", tmp_path / "out", content_hash="h", config=config, run_id="r")
    reader = ShardReader(tmp_path / "out")
    found = tally.tally(reader, FIGURES, clips=0)
    assert set(found.dropped) == {"jitter_pos"}
    assert sorted(found.dropped["jitter_pos"].values) == pytest.approx([0.05, 0.06, 0.07, 0.08])
    assert found.figures["jitter_pos"].count == 3
    with open(write_report(str(tmp_path / "out"), clips=0, reader=reader)) as page:
        html = page.read()
    jitter = next(f for f in html.split("<figure>") if "<b>wrist jitter</b>" in f)
    assert "n=3, 4 dropped (median 65 mm)" in jitter
    assert jitter.count('fill="#e8924a"') >= 3, "bars of the dropped"
    score = next(f for f in html.split("<figure>") if "manipulation score by motion" in f)
    assert "dropped" not in score, "no filter had measured it before the clips were dropped"


def test_rejects_written_before_they_had_figures_are_read_and_added_to(tmp_path, make, clip, monkeypatch):
    without = pa.schema([f for f in schema.REJECTS if f.name != "figures"])

    def commit(name: str, rejects) -> None:
        staging.write_part(tmp_path / name, [make.episode(name, clip.media_id)], [clip], rejects=rejects)
        writer.commit(tmp_path / name, tmp_path / "out", content_hash="h", config={}, run_id=name)

    with monkeypatch.context() as before:
        before.setitem(staging.KINDS, "reject", without)
        before.setattr(staging, "STAGED", pa.schema(
            [f if f.name != "reject" else pa.field("reject", pa.struct(list(without))) for f in staging.STAGED],
            metadata=staging.STAGED.metadata,
        ))  # fmt: skip
        commit("one", [make.reject("a"), make.reject("b")])
    assert "figures" not in reject_columns(tmp_path / "out")
    commit("two", [make.reject("c", source_uri="/in/c.mp4", figures=figures_json({"jitter_pos": 0.5}))])
    reader = ShardReader(tmp_path / "out")
    assert tally.tally(reader, FIGURES, clips=0).dropped["jitter_pos"].count == 1
    assert sum(row["count"] for row in tally.reject_table(reader)) == 3
    assert writer.drop_rejects(tmp_path / "out", ["a"]) == 1  # its file is written anew
    assert [f.rows for f in ShardReader(tmp_path / "out").manifest.rejects] == [1, 1]
    assert validate(str(tmp_path / "out")) == []


def reject_columns(out) -> list[str]:
    (file,) = ShardReader(out).manifest.rejects
    return pq.read_schema(out / file.name).names
