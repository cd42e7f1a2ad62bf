"""``--plan`` and the refusals: exit code 2, one sentence, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from unihand_data.shards.catalogue import inspect


def refused(ran) -> str:
    """The sentence of a refusal."""
    assert ran.code == 2, ran.out + ran.err
    assert "Traceback" not in ran.err
    lines = [line for line in ran.err.splitlines() if line.strip()]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("refused: ")
    return lines[0]


def test_a_plan_prints_stages_and_an_estimate_and_creates_nothing(job, recordings, tmp_path):
    before = sorted(recordings.rglob("*"))
    ran = job.run_here(recordings, tmp_path / "out", "--plan")
    assert ran.code == 0
    for word in (
        "2 input items",
        "split",
        "hands",
        "quality",
        "camera",
        "screen",
        "encode",
        "annotate",
        "rows",
        "no cost",
    ):
        assert word in ran.out
    assert not (tmp_path / "out").exists()
    assert sorted(recordings.rglob("*")) == before


def test_a_plan_estimates_calls_tokens_and_money_without_a_key(job, recordings, tmp_path, monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    ran = job.run_here(
        recordings,
        tmp_path / "out",
        "--plan",
        "--set",
        "language.backend=gemini",
        "--set",
        "language.model=gemini-3.5-flash",
    )
    assert ran.code == 0
    assert "4 calls to gemini-3.5-flash" in ran.out  # 1.5 s and 1.3 s in clips of at most 0.8 s
    assert "USD (prices of" in ran.out
    assert "a run is refused as things are" in ran.out
    assert "GEMINI_API_KEY" in ran.out
    assert not (tmp_path / "out").exists()


def test_a_plan_counts_paraphrase_calls_apart_and_holds_the_estimate_against_the_budget(
    job, recordings, tmp_path, monkeypatch
):
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    words = ["language.backend=gemini", "language.model=gemini-3.5-flash", "language.paraphrase.use_model=true"]

    def plan(*more: str) -> list[str]:
        ran = job.run_here(recordings, tmp_path / "out", "--plan", settings=[*job.FAST, *words, *more])
        assert ran.code == 0, ran.err
        return [line for line in ran.out.splitlines() if line.startswith(("language", "budget"))]

    annotation, paraphrases, total, _, budget = plan("language.budget=0.001")
    assert annotation.startswith("language: annotation: 4 calls")
    assert paraphrases.startswith("language: paraphrases: 4 calls")
    assert total.startswith("language: together: 8 calls to gemini-3.5-flash")
    assert "0.00100 of 0.00100 USD left, NOT ENOUGH" in budget
    assert "enough by this estimate" in plan("language.budget=10")[-1]
    assert "none is set" in plan()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["language.budget=1", "language.model=mine"], "language.prices"),
        (["runner.stages.no_such_stage.num_cpus=1"], "no_such_stage"),
        (["language.batch=true", "language.paraphrase.use_model=true"], "use_model"),
        (["language.prompt_version=annotate-v9"], "annotate-v1"),
        (["video.segment.max_seconds=60"], "max_seconds"),
    ],
)
@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["run", "plan"])
def test_what_a_run_is_refused_for_a_plan_is_refused_for_too(job, recordings, tmp_path, monkeypatch, more, words, plan):
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    chosen = ["language.backend=gemini", "language.model=gemini-3.5-flash", *more]
    assert words in refused(job.run_here(recordings, tmp_path / "out", *plan, settings=chosen))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_plan_counts_what_is_done_and_estimates_only_what_is_left(job, recordings, tmp_path, monkeypatch):
    from unihand_data.runner.ledger import Ledger

    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    words = ["language.backend=gemini", "language.model=gemini-3.5-flash"]
    chosen = [*job.FAST, "motion.min_seen_ratio=0.2"]
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    shutil.copy(recordings / "place.mp4", source)
    assert job.run_here(source, output, settings=chosen).code == 0
    assert (
        "1 input items: 1 done, 0 left\nnothing is left" in job.run_here(source, output, "--plan", settings=chosen).out
    )

    shutil.copy(recordings / "reach.mp4", source)
    (content,) = {p.parent.name for p in (output / "_job").glob("*/ledger")}
    ledger = Ledger(str(output), content)
    done = ledger.rows(["id", "parent"]).filter(pl.col("id") != pl.col("parent"))["id"].sort()
    assert ledger.forget(ids=[done[0]]) == 1  # one of the two clips
    before = sorted((p, p.stat().st_mtime_ns) for p in output.rglob("*"))
    ran = job.run_here(source, output, "--plan", settings=chosen)
    assert "2 input items: 0 done, 2 left (1 of them begun)" in ran.out
    frames = 45 + 20  # the whole of one, one of two clips of the other
    assert f"{frames} frames, about 3 clips" in ran.out
    assert sorted((p, p.stat().st_mtime_ns) for p in output.rglob("*")) == before, "a plan writes nothing"

    other = job.run_here(source, output, "--plan", settings=[*chosen, *words])
    assert "other content settings" in other.out
    assert "4 calls to gemini-3.5-flash" in other.out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--set", "motion.max_gap=1"], "motion.max_gap"),
        (["--set", "nonsense=1"], "nonsense"),
        (["--set", "motion.max_gap_s=soon"], "motion.max_gap_s"),
        (["--set", "runner.progress=loud"], "runner.progress"),
        (["--set", "motion.max_gap_s"], "write KEY=VALUE"),
        (["--set", "motion.max_gap_s=["], "not valid YAML"),
        (["--set", "motion=5"], "motion"),
        (["--config", "/nowhere/my.yaml"], "no such file"),
        (["--dataset", "no_such_set"], "no data set"),
        (["--set", "language.backend=gemini"], "language.model"),
        (["--set", "language.backend=openai", "--set", "language.model=m"], "OPENAI_API_KEY"),
        (["--set", "runner.stages.no_such_stage.num_cpus=1"], "no_such_stage"),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_exist_or_fit_is_refused(job, recordings, tmp_path, monkeypatch, more, words):
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert words in refused(job.run_here(recordings, tmp_path / "out", *more))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_unknown_key_in_a_config_file_is_refused_by_file_and_key(job, recordings, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("mirror: true\nmotion:\n  max_gap_seconds: 3\n")
    sentence = refused(job.run_here(recordings, tmp_path / "out", "--config", str(config)))
    assert "mine.yaml" in sentence
    assert "motion.max_gap_seconds" in sentence


def test_a_budget_for_a_model_without_a_price_is_refused_before_any_work(job, recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    more = [
        "language.backend=openai",
        "language.model=mine",
        "language.budget=1",
        "language.base_url=http://127.0.0.1:9",
    ]
    ran = job.run_here(recordings, tmp_path / "out", *[x for s in more for x in ("--set", s)])
    assert "language.prices" in refused(ran)


def test_a_missing_input_is_refused(job, tmp_path):
    assert "does not exist" in refused(job.run_here(tmp_path / "nothing", tmp_path / "out"))


@pytest.mark.parametrize("option", ["--input", "--output", "--work"])
def test_a_relative_path_inside_a_ray_job_is_refused_with_the_absolute_form(job, recordings, monkeypatch, option):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")  # how Ray tells a submitted job what it is
    given = {"--input": str(recordings), "--output": "/nowhere/out", "--work": "/nowhere/work"} | {option: "some/where"}
    ran = job.run_here(given["--input"], given["--output"], "--work", given["--work"])
    sentence = refused(ran)
    assert f"{option} 'some/where' is relative" in sentence
    assert '"$PWD/some/where"' in sentence


def test_an_input_without_any_video_is_refused(job, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("hello")
    assert "holds no video" in refused(job.run_here(tmp_path / "in", tmp_path / "out"))


def test_an_output_another_job_writes_to_is_refused(job, recordings, tmp_path):
    from unihand_data.runner.paths import output_lock

    with output_lock(str(tmp_path / "out")):
        assert "another job" in refused(job.run_here(recordings, tmp_path / "out"))


def test_other_content_settings_are_refused_unless_a_new_version_is_asked_for(job, one_recording, tmp_path):
    output: Path = tmp_path / "out"
    assert job.run_here(one_recording, output).code == 0
    first = job.holds(output)
    other = ["--set", "motion.min_seen_ratio=0.2"]
    assert "--new-version" in refused(job.run_here(one_recording, output, *other))
    assert job.holds(output) == first
    # how a job runs is no content: nothing to do, nothing refused
    assert "skipped 1" in job.run_here(one_recording, output, "--set", "runner.units_per_part=1").out
    assert job.run_here(one_recording, output, *other, "--new-version").code == 0
    both = job.holds(output)
    assert set(first.episodes) < set(both.episodes)
    assert len(both.episodes) == 2 * len(first.episodes)
    assert both.media == first.media, "the same pictures are stored once"
    counted = inspect(output)
    assert (counted["inputs"], counted["written"], counted["rejected"]) == (1, 1, 0), "one item, whatever its versions"
