"""Batches with the real google-genai client against the fake server: three idempotent steps, no job state believed."""

import json

import pytest

from unihand_data.errors import Reason
from unihand_data.language.annotator import build_backend, build_client
from unihand_data.language.backends import ClipRequest, answer_reject
from unihand_data.language.batch import GeminiBatches
from unihand_data.language.batch_cli import main, step
from unihand_data.language.cache import AnswerCache
from unihand_data.language.config import LanguageSettings
from unihand_data.language.spend import SpendLedger

FAST = {"attempts": 2, "initial_s": 0.01, "max_s": 0.02, "jitter": 0.0}
ERROR = {"code": 13, "message": "internal error"}


@pytest.fixture
def clips(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\xff\xfe\xfd video")
    return [ClipRequest(f"clip{i}", f"h{i}", ((0.0, 1.0), (1.0, 2.0)), str(path)) for i in range(4)]


@pytest.fixture(params=["inline", "file"])
def batches(gemini, tmp_path, request):
    """A new set of objects on the same directory each time: every step is a process of its own."""
    made = []

    def make(**extra):
        settings = LanguageSettings(
            backend="gemini", model="gemini-3.5-flash-lite", base_url=gemini.url, retry=FAST, batch=True,
            cache_dir=str(tmp_path / "cache"), batch_inline_mb=15.0 if request.param == "inline" else 0.0, **extra,
        )  # fmt: skip
        made.append(build_client(settings, api_key="k"))
        return GeminiBatches(made[-1], settings, tmp_path / "job", AnswerCache(settings.cache_dir))

    yield make
    for client in made:
        client.close()


def _error_row(row):
    return {**({"key": row["key"]} if "key" in row else {"metadata": row["metadata"]}), "error": ERROR}


def _statuses(batches, clips):
    return [a.status for a in batches().answers(clips)]


def test_a_batch_is_submitted_polled_and_collected_by_separate_processes(gemini, batches, clips, tmp_path):
    assert batches().submit(clips).submitted == 4
    assert set(batches().poll().values()) == {"SUCCEEDED"}
    report = batches().collect()
    assert (report.answered, report.failed, report.missing) == (4, 0, 0)
    assert _statuses(batches, clips) == ["ok"] * 4
    account = SpendLedger(tmp_path / "job" / "spend.jsonl").account()
    # 1000 in at 0.30 and 120 out at 2.50 per million, half price
    assert account.spent == pytest.approx(4 * 0.5 * (1000 * 0.30e-6 + 120 * 2.50e-6))
    assert account.reserved == 0.0


def test_the_rows_carry_the_schema_the_video_and_its_bytes(gemini, batches, clips):
    batches().submit(clips[:1])
    (row,) = gemini.batches["b0"]["rows"]
    text = json.dumps(row)
    assert "per_second" in text
    assert "minItems" in text
    assert "__79IHZpZGVv" in text or "//79IHZpZGVv" in text  # base64 of the clip, in either alphabet
    assert "wearer" in json.dumps(row["request"]["systemInstruction"])


def test_every_step_may_run_again_without_effect(gemini, batches, clips):
    batches().submit(clips)
    again = batches().submit(clips)
    assert (again.submitted, again.waiting) == (0, 4)
    batches().poll()
    batches().collect()
    assert batches().collect().jobs == 0
    done = batches().submit(clips)
    assert (done.submitted, done.cached) == (0, 4)
    assert len(gemini.batches) == 1


def test_waiting_clips_say_so(batches, clips):
    batches().submit(clips)
    answers = batches().answers(clips)
    assert all(a.status == "waiting" and a.transient for a in answers)


def test_a_batch_that_succeeded_with_every_row_failed_goes_out_again_and_is_given_up_in_the_end(gemini, batches, clips):
    gemini.batch_result = lambda rows: ("BATCH_STATE_SUCCEEDED", [_error_row(r) for r in rows])
    for _ in range(2):
        assert batches(batch_attempts=2).submit(clips).submitted == 4
        report = batches().collect()
        assert (report.answered, report.failed) == (0, 4)
    last = batches(batch_attempts=2).submit(clips)
    assert (last.submitted, last.given_up) == (0, 4)
    answers = batches(batch_attempts=2).answers(clips)
    assert all(a.status == "error" and not a.transient and "internal error" in a.message for a in answers)


@pytest.mark.filterwarnings("ignore:BATCH_STATE")
def test_rows_that_were_asked_and_not_answered_are_missing_and_resubmitted(gemini, batches, clips):
    gemini.batch_result = lambda rows: ("BATCH_STATE_PARTIALLY_SUCCEEDED", [gemini.good_row(r) for r in rows[:3]])
    batches().submit(clips)
    assert batches().poll() == {"batches/b0": "PARTIALLY_SUCCEEDED"}
    report = batches().collect()
    assert (report.answered, report.missing) == (3, 1)
    gemini.batch_result = lambda rows: ("BATCH_STATE_SUCCEEDED", [gemini.good_row(r) for r in rows])
    assert batches().submit(clips).submitted == 1
    batches().poll()
    batches().collect()
    assert _statuses(batches, clips) == ["ok"] * 4


@pytest.mark.parametrize("state", ["BATCH_STATE_EXPIRED", "BATCH_STATE_FAILED", "BATCH_STATE_CANCELLED"])
def test_an_expired_failed_or_cancelled_batch_is_resubmitted(gemini, batches, clips, state):
    gemini.batch_result = lambda rows: (state, [])
    batches().submit(clips)
    assert batches().collect().missing == 4
    assert batches().submit(clips).submitted == 4


def test_rows_in_another_order_unknown_rows_and_second_rows_do_no_harm(gemini, batches, clips):
    def shuffled(rows):
        good = [gemini.good_row(r) for r in reversed(rows)]
        stranger = {**good[0], **({"key": "who"} if "key" in good[0] else {"metadata": {"key": "who"}})}
        return "BATCH_STATE_SUCCEEDED", [*good, good[0], stranger]

    gemini.batch_result = shuffled
    batches().submit(clips)
    assert batches().collect().answered == 4


def test_blocked_and_malformed_rows_are_told_apart(gemini, batches, clips):
    def mixed(rows):
        out = [gemini.good_row(r) for r in rows]
        out[0]["response"] = {"promptFeedback": {"blockReason": "SAFETY"}}
        out[1]["response"]["candidates"][0]["content"]["parts"][0]["text"] = "{"
        return "BATCH_STATE_SUCCEEDED", out

    gemini.batch_result = mixed
    batches().submit(clips)
    batches().collect()
    assert _statuses(batches, clips) == ["blocked", "bad_answer", "ok", "ok"]


def test_a_step_killed_between_creation_and_ledger_adopts_the_job(gemini, batches, clips, tmp_path):
    batches().submit(clips)
    ledger = tmp_path / "job" / "batches.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(x for x in lines if '"submitted"' not in x) + '{"event": "subm')  # and a torn line
    report = batches().submit(clips)
    assert (report.submitted, report.waiting) == (0, 4)
    assert len(gemini.batches) == 1
    assert batches().collect().answered == 4


def test_a_creation_that_failed_is_repeated_by_the_next_submit(gemini, batches, clips):
    gemini.fail_create = True
    with pytest.raises(Exception, match="500"):
        batches().submit(clips)
    gemini.fail_create = False
    assert batches().submit(clips).submitted == 4
    assert len(gemini.batches) == 1


def test_clips_beyond_the_budget_stay_home(gemini, batches, clips):
    report = batches(budget=0.0075).submit(clips)
    assert report.submitted > 0
    assert report.budget > 0
    assert report.submitted + report.budget == 4
    batches(budget=0.0075).collect()
    assert [a.status for a in batches().answers(clips)].count("waiting") == report.budget


def test_batches_are_cut_to_the_allowed_number_of_rows(gemini, batches, clips):
    assert len(batches(batch_rows=3).submit(clips).jobs) == 2
    assert [len(b["rows"]) for b in gemini.batches.values()] == [3, 1]


def test_a_job_spools_what_it_wants_to_ask_and_finds_the_answers_in_its_next_run(gemini, clips, tmp_path):
    settings = LanguageSettings(
        backend="gemini", model="gemini-3.5-flash-lite", base_url=gemini.url, retry=FAST, batch=True
    )  # fmt: skip
    directory = tmp_path / "batch"
    first = build_backend(settings, work_dir=tmp_path).annotate(clips)
    assert {a.status for a in first} == {"waiting"}
    assert answer_reject(first[0]).reason == Reason.BUDGET
    assert gemini.requests == []
    assert step("submit", settings, directory, api_key="k")["submitted"] == 4
    assert step("poll", settings, directory, api_key="k")["jobs"] == {"batches/b0": "SUCCEEDED"}
    assert step("collect", settings, directory, api_key="k")["answered"] == 4
    again = build_backend(settings, work_dir=tmp_path).annotate(clips)
    assert [(a.clip_id, a.status) for a in again] == [(f"clip{i}", "ok") for i in range(4)]
    assert step("submit", settings, directory, api_key="k")["cached"] == 4


def test_the_batch_command_reads_the_jobs_yaml_and_prints_json(gemini, clips, tmp_path, monkeypatch, capsys):
    config = tmp_path / "job.yaml"
    config.write_text(
        f"language: {{backend: gemini, model: m, base_url: '{gemini.url}', batch: true, api_key_env: FAKE_KEY}}"
    )
    args = ["poll", "--config", str(config), "--directory", str(tmp_path / "b")]
    monkeypatch.delenv("FAKE_KEY", raising=False)
    assert main(args) == 2
    assert "FAKE_KEY" in capsys.readouterr().err
    monkeypatch.setenv("FAKE_KEY", "k")
    assert main(args) == 0
    assert json.loads(capsys.readouterr().out) == {"jobs": {}}


def test_a_clip_given_up_by_the_batches_ends_in_the_job(gemini, clips, tmp_path):
    settings = LanguageSettings(
        backend="gemini", model="gemini-3.5-flash-lite", base_url=gemini.url, retry=FAST, batch=True, batch_attempts=1
    )  # fmt: skip
    gemini.batch_result = lambda rows: ("BATCH_STATE_SUCCEEDED", [_error_row(r) for r in rows])
    build_backend(settings, work_dir=tmp_path).annotate(clips)
    step("submit", settings, tmp_path / "batch", api_key="k")
    step("collect", settings, tmp_path / "batch", api_key="k")
    answers = build_backend(settings, work_dir=tmp_path).annotate(clips)
    assert {a.status for a in answers} == {"error"}
