"""``pipelines/human_video.py`` on real pictures, once: what a run leaves, and that a second one adds nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import lance
import pytest

from unihand_data.cli import main as unihand
from unihand_data.language.config import LanguageSettings
from unihand_data.language.paraphrase import Paraphraser
from unihand_data.report.figures import FIGURES, STAGES
from unihand_data.shards.catalogue import inspect, validate

#: DESIGN: what `unihand inspect DIR --json` prints, to the key
INSPECT = {
    "schema_version": None, "inputs": None, "written": None, "rejected": None, "ignored": None, "episodes": None,
    "conversations": None, "frames": None, "hours": None, "samples": {"total", "by_task"}, "mirrored": None,
    "tokens": {"text", "visual", "supervised", "estimate"}, "by_source": None, "by_embodiment": None,
    "by_licence": None, "rejects": {"by_level", "by_stage", "by_reason"}, "hands": {"frames_with_hand_ratio"},
}  # fmt: skip


@pytest.fixture
def shards(whole) -> Path:
    output, ran = whole
    assert ran.code == 0, ran.out + ran.err
    return output


def test_a_run_writes_clips_with_their_twins_and_all_three_task_families(job, shards, recordings):
    held = job.holds(shards)
    rows = job.rows_of(shards)
    parents = [r for r in rows.values() if not r.mirrored]
    twins = {r.parent_id: r for r in rows.values() if r.mirrored}
    assert {Path(r.source_uri).name for r in parents} == {"reach.mp4", "place.mp4"}
    assert set(twins) == {r.episode_id for r in parents}
    assert all(twins[p.episode_id].split == p.split for p in parents)
    assert held.summary["frames"] == 45 + 40
    assert set(held.summary["samples"]["by_task"]) == {
        "motion_generation",
        "motion_continuation",
        "motion_description",
    }
    assert held.summary["mirrored"]["samples"] * 2 == held.summary["samples"]["total"]
    assert held.summary["hands"]["frames_with_hand_ratio"] > 0.6
    assert len(held.media) == len(parents), "a twin shares its parent's video"
    assert all(text.text_source == "motion_rules" for r in parents for text in r.language)


def test_every_promise_of_the_contract_holds(shards):
    assert validate(str(shards)) == []


def test_inspect_prints_one_object_with_the_keys_of_the_design(shards, capsys):
    assert unihand(["inspect", str(shards), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(INSPECT)
    for key, inner in INSPECT.items():
        if inner is not None:
            assert set(found[key]) == inner, key
    assert found["inputs"] == found["written"] + found["rejected"] == 2


def test_the_commands_end_well(shards, capsys):
    assert unihand(["inspect", str(shards)]) == 0
    assert unihand(["validate", str(shards)]) == 0
    assert unihand(["retry", str(shards)]) == 0
    said = capsys.readouterr().out
    assert "no problems" in said
    assert "no rejects" in said


def test_the_report_is_one_file_with_pictures_and_nothing_from_outside(shards, whole):
    html = (shards / "report.html").read_text()
    assert html.count('src="data:image/jpeg;base64,') >= 10
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", html)
    assert "http" not in re.sub(r"data:[^\"]*", "", html).replace("http://www.w3.org", "")
    assert "<script" not in html
    assert "mirror twin" in html
    assert "No language model was called" in html
    assert str(shards / "report.html") in whole[1].out


def test_the_report_draws_figures_of_all_four_stages_and_what_smoothing_changed(job, shards):
    html = (shards / "report.html").read_text()
    assert re.findall(r"<h3>(.*?)</h3>", html) == list(STAGES)
    for row in job.rows_of(shards).values():
        own_estimate = {n for n in FIGURES if n not in ("dba_px", "idle_share", "relevance_model_score")}
        own_estimate -= {"narrations_of_others", "world_jitter_pos", "world_jump_ratio"}
        own_estimate -= {"rate_off", "gap_steps"}  # of a robot's clock
        assert own_estimate <= set(row.quality)
        assert row.quality["smooth_pos_after"] < row.quality["smooth_pos_before"]
        assert row.quality["sentences"] + row.quality["paraphrases"] == len(row.language)
        if not row.mirrored:  # one worker did both clips: each has its own refusals
            paraphraser = Paraphraser(LanguageSettings())
            paraphraser.paraphrase({text.text for text in row.language if not text.paraphrase_id})
            assert row.quality["paraphrases_refused"] == paraphraser.refused_count.total()


def test_a_second_run_adds_nothing(job, shards, recordings, whole_settings):
    def state():
        tables = {t: lance.dataset(str(shards / f"{t}.lance")) for t in ("episodes", "media", "conversations")}
        manifest = json.loads((shards / "manifest.json").read_text())
        manifest.pop("run_id")
        return (
            manifest,
            {name: (table.version, table.count_rows(), sorted(table.tags.list())) for name, table in tables.items()},
            sorted(p.name for p in shards.glob("samples/*")),
            job.holds(shards),
        )

    before = state()
    again = job.run_here(recordings, shards, settings=whole_settings)
    assert again.code == 0, again.err
    assert "skipped 2" in again.out
    assert state() == before


def test_nothing_of_the_run_stays_beside_the_tables_but_its_ledger(shards):
    left = [p for p in (shards / "_job").rglob("*") if p.is_file()]
    assert not [p for p in left if p.suffix == ".mp4"], "encoded clips are in the media table"
    assert not list((shards / "_job" / "staging").iterdir())


def test_a_finer_look_at_one_row(job, shards):
    """Times are the file's own, the masks agree with what was seen, figures and provenance are there."""
    for row in job.rows_of(shards).values():
        assert row.timestamps[0] == 0.0
        assert row.rate_hz == pytest.approx(30, abs=0.01)
        assert not row.action_mask[-1].any(), "the last realised step is masked"
        for hand in row.hands:
            eef = list(row.state_slots).index({"right": 0, "left": 9}[hand.side])
            theta = list(row.state_slots).index({"right": 110, "left": 155}[hand.side])
            unseen = ~hand.valid | hand.interpolated
            assert not row.state_mask[unseen, eef].any()
            assert not row.state_mask[unseen, theta].any()
        assert {"seen_ratio", "jitter_pos", "reliability"} <= set(row.quality)
        assert {"item", "config", "hands", "camera", "models"} <= set(row.provenance)
        assert {"video", "hands", "camera", "curate", "motion_rules", "templates"} <= set(row.provenance["stages"])
        assert {"av", "mediapipe", "opencv"} <= set(row.provenance["libraries"])
        assert (row.embodiment, row.origin) == ("human_hands_generic", "real")
    assert set(inspect(str(shards))["by_embodiment"]) == {"human_hands_generic"}
