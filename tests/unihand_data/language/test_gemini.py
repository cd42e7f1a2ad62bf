"""The real google-genai client against a fake Gemini server on loopback."""

import datetime
import json

import pytest

from unihand_data.errors import Reason
from unihand_data.language.annotator import Annotator, build_backend, build_client
from unihand_data.language.backends import ClipRequest, answer_reject, answer_rows
from unihand_data.language.config import LanguageSettings
from unihand_data.language.gemini_files import UploadedFiles
from unihand_data.language.spend import SpendLedger

FAST = {"attempts": 3, "initial_s": 0.01, "max_s": 0.05, "jitter": 0.0}


def _settings(server, **extra):
    values = {"backend": "gemini", "model": "gemini-3.5-flash-lite", "base_url": server.url, "retry": FAST}
    return LanguageSettings(**{**values, **extra})


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not really a video" * 10)

    def make(number=0, **extra):
        return ClipRequest(f"clip{number}", f"hash{number}", ((0.0, 1.0), (1.0, 2.0)), str(path), **extra)

    return make


@pytest.fixture
def annotator(gemini):
    made = []

    def make(**extra):
        settings = _settings(gemini, **extra)
        made.append(Annotator(build_client(settings, api_key="k"), settings))
        return made[-1]

    yield make
    for item in made:
        item.close()


def test_a_clip_gets_instructions_an_intent_and_an_account(gemini, annotator, clip):
    backend = annotator()
    (answer,) = backend.annotate([clip(context=("C picks up a cup",))])
    assert answer.status == "ok"
    assert answer.is_manipulation is True
    assert answer.model_version == "fake-gemini-001"
    # 1000 in at 0.30, 100 + 20 thinking out at 2.50, per million
    assert answer.cost == pytest.approx(1000 * 0.30e-6 + 120 * 2.50e-6)
    rows = answer_rows(answer, clip(), backend.name)
    assert [(r.level, r.t0, r.t1, r.hand) for r in rows] == [
        ("instruction", 0.0, 1.0, "left"), ("instruction", 1.0, 2.0, "left"), ("intent", 0.0, 2.0, "left")]  # fmt: skip
    assert {r.text_source for r in rows} == {"gemini"}


def test_the_request_carries_schema_frame_rate_resolution_and_thinking(gemini, annotator, clip):
    annotator(fps=2.0).annotate([clip(video_window=(0.5, 2.5), context=("washes a plate",))])
    (body,) = gemini.calls(":generateContent")
    config = body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["properties"]["per_second"]["minItems"] == 2
    assert "$ref" not in json.dumps(config["responseJsonSchema"])
    assert config["mediaResolution"] == "MEDIA_RESOLUTION_LOW"
    assert config["thinkingConfig"] == {"thinkingBudget": 0}
    video, text = body["contents"][0]["parts"]
    assert video["videoMetadata"] == {"fps": 2.0, "startOffset": "0.5s", "endOffset": "2.5s"}
    assert "washes a plate" in text["text"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_throttling_and_server_errors_are_retried(gemini, annotator, clip, status):
    error = (status, {"error": {"code": status, "message": "later", "status": "X"}})
    gemini.script = [error, error]
    (answer,) = annotator().annotate([clip()])
    assert answer.status == "ok"
    assert len(gemini.calls(":generateContent")) == 3


def test_retries_end_and_the_clip_may_be_tried_in_a_later_run(gemini, annotator, clip):
    gemini.script = [(503, {"error": {"code": 503, "message": "down", "status": "UNAVAILABLE"}})] * 3
    backend = annotator()
    (answer,) = backend.annotate([clip()])
    assert (answer.status, answer.transient) == ("error", True)
    assert answer_reject(answer).reason == Reason.TIMEOUT
    assert backend.annotate([clip()])[0].status == "ok"  # an accident is not cached


def test_a_bad_request_is_final_and_not_retried(gemini, annotator, clip):
    gemini.script = [(400, {"error": {"code": 400, "message": "no such field", "status": "INVALID_ARGUMENT"}})]
    (answer,) = annotator().annotate([clip()])
    assert (answer.status, answer.transient) == ("error", False)
    assert "no such field" in answer.message
    assert len(gemini.calls(":generateContent")) == 1


@pytest.mark.parametrize("text", ["{", "I cannot", '{"per_second": 3}', "[]", '{"a":1} {"b":2}'])
def test_a_malformed_answer_is_asked_once_more_and_then_is_a_bad_answer(gemini, annotator, clip, replies, text):
    gemini.script = [(200, replies.gemini(text)), (200, replies.gemini(text))]
    (answer,) = annotator().annotate([clip()])
    assert answer.status == "bad_answer"
    assert answer_reject(answer).reason == Reason.BAD_ANSWER
    assert answer.usage.input == 2000  # both tries are paid and accounted
    gemini.script = [(200, replies.gemini(text))]
    assert annotator().annotate([clip()])[0].status == "ok"


def test_an_answer_for_another_number_of_seconds_is_a_bad_answer(gemini, annotator, clip, good_annotation, replies):
    good_annotation["per_second"].append("one too many")
    gemini.script = [(200, replies.gemini(json.dumps(good_annotation)))] * 2
    (answer,) = annotator().annotate([clip()])
    assert answer.status == "bad_answer"
    assert "per_second" in answer.message


def test_a_body_that_is_not_json_is_an_error_that_may_pass(gemini, annotator, clip):
    gemini.script = [(200, b"<html>busy</html>")]
    (answer,) = annotator().annotate([clip()])
    assert (answer.status, answer.transient) == ("error", True)


@pytest.mark.parametrize("finish", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "BLOCKLIST"])
def test_a_safety_ending_is_blocked_and_not_irrelevant(gemini, annotator, clip, replies, finish):
    gemini.script = [(200, replies.gemini("", finish))]
    (answer,) = annotator().annotate([clip()])
    assert answer.status == "blocked"
    assert answer.is_manipulation is None
    assert finish in answer.message
    assert answer_reject(answer).reason == Reason.BLOCKED


def test_a_blocked_prompt_is_blocked(gemini, annotator, clip):
    gemini.script = [(200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "v"})]
    (answer,) = annotator().annotate([clip()])
    assert answer.status == "blocked"
    assert "PROHIBITED_CONTENT" in answer.message


def test_an_answer_without_candidates_is_blocked_and_a_refusal_is_not_paid_twice(gemini, annotator, clip):
    gemini.script = [(200, {"usageMetadata": {"promptTokenCount": 10}})]
    backend = annotator()
    assert backend.annotate([clip()])[0].status == "blocked"
    again = backend.annotate([clip()])[0]
    assert again.status == "blocked"
    assert again.cached
    assert len(gemini.calls(":generateContent")) == 1


def test_an_answer_cut_off_says_what_to_change(gemini, annotator, clip, replies):
    gemini.script = [(200, replies.gemini('{"per', "MAX_TOKENS"))] * 2
    (answer,) = annotator().annotate([clip()])
    assert answer.status == "bad_answer"
    assert "max_output_tokens" in answer.message


def test_thoughts_are_not_part_of_the_answer(gemini, annotator, clip, replies):
    reply = replies.gemini()
    reply["candidates"][0]["content"]["parts"].insert(0, {"text": "{hmm", "thought": True})
    gemini.script = [(200, reply)]
    assert annotator().annotate([clip()])[0].status == "ok"


def test_the_budget_ends_cleanly_and_a_higher_one_goes_on_where_it_stopped(gemini, clip, tmp_path):
    clips = [clip(i) for i in range(6)]
    extra = {"cache_dir": str(tmp_path / "cache"), "concurrency": 1, "max_output_tokens": 200}
    settings = _settings(gemini, **extra)
    ledger = SpendLedger(tmp_path / "spend.jsonl", limit=0.0030)
    with_budget = Annotator(build_client(settings, api_key="k"), settings, ledger=ledger)
    answers = with_budget.annotate(clips)
    done = [a.status for a in answers].count("ok")
    assert 0 < done < 6
    assert [a.status for a in answers] == ["ok"] * done + ["budget"] * (6 - done)
    assert ledger.account().spent <= 0.0030
    assert answer_reject(answers[-1]).reason == Reason.BUDGET
    more = Annotator(build_client(settings, api_key="k"), settings, ledger=SpendLedger(tmp_path / "spend.jsonl", 1.0))
    assert [a.status for a in more.annotate(clips)] == ["ok"] * 6
    assert len(gemini.calls(":generateContent")) == 6


def test_a_budget_without_a_price_is_refused_before_anything_is_asked(gemini):
    settings = _settings(gemini, model="some-new-model", budget=1.0)
    with pytest.raises(ValueError, match=r"language\.prices\.models"):
        Annotator(build_client(settings, api_key="k"), settings)


def test_a_missing_key_names_the_variable(gemini, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ValueError, match="MY_KEY"):
        build_backend(_settings(gemini, api_key_env="MY_KEY"))


def test_a_large_video_is_uploaded_once_and_used_by_every_window(gemini, annotator, clip):
    gemini.file_states = ["PROCESSING", "PROCESSING"]
    backend = annotator(inline_limit_mb=0.0, concurrency=1)
    backend._client.files._sleep = lambda s: None
    windows = [clip(video_window=(0.0, 2.0)), clip(video_window=(2.0, 4.0))]
    assert [a.status for a in backend.annotate(windows)] == ["ok", "ok"]
    assert list(gemini.files.values()) == [b"not really a video" * 10]
    bodies = gemini.calls(":generateContent")
    assert len({b["contents"][0]["parts"][0]["fileData"]["fileUri"] for b in bodies}) == 1
    assert [b["contents"][0]["parts"][0]["videoMetadata"]["startOffset"] for b in bodies] == ["0s", "2s"]


def test_a_file_the_vendor_dropped_is_uploaded_again(gemini, annotator, clip):
    gemini.script = [(200, gemini_ok(gemini)), (403, {"error": {"code": 403, "message": "no file", "status": "X"}})]
    backend = annotator(inline_limit_mb=0.0, concurrency=1)
    assert backend.annotate([clip(video_window=(0.0, 2.0))])[0].status == "ok"
    assert backend.annotate([clip(video_window=(2.0, 4.0))])[0].status == "ok"
    assert len(gemini.files) == 2


def gemini_ok(server):
    return server.good_row({"key": ""})["response"]


def test_an_upload_about_to_expire_is_repeated_and_remembered_between_runs(gemini, tmp_path, clip):
    settings = _settings(gemini)
    sdk = build_client(settings, api_key="k").sdk
    gemini.expires = "2030-01-02T00:00:00Z"
    clock = [datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)]
    args = {"ledger": tmp_path / "files.jsonl", "now": lambda: clock[0]}
    first = UploadedFiles(sdk, **args).ensure(clip().video, "h", "video/mp4")
    assert UploadedFiles(sdk, **args).ensure(clip().video, "h", "video/mp4") == first
    assert len(gemini.files) == 1
    clock[0] += datetime.timedelta(hours=23, minutes=30)
    assert UploadedFiles(sdk, **args).ensure(clip().video, "h", "video/mp4") != first


def test_a_video_the_vendor_cannot_process_is_a_final_error(gemini, annotator, clip):
    gemini.file_states = ["FAILED"]
    (answer,) = annotator(inline_limit_mb=0.0).annotate([clip()])
    assert (answer.status, answer.transient) == ("error", False)


def test_frames_travel_with_their_times(gemini, annotator):
    request = ClipRequest(
        "c", "h", ((0.0, 1.0), (1.0, 2.0)), frames=(b"\xff\xd8a", b"\xff\xd8b"), frame_times=(0.5, 1.5)
    )
    assert annotator(send="frames").annotate([request])[0].status == "ok"
    parts = gemini.calls(":generateContent")[0]["contents"][0]["parts"]
    assert [p.get("text", "image") for p in parts[:4]] == ["0.5 s", "image", "1.5 s", "image"]


def test_several_clips_at_once_are_answered_in_their_order_and_never_pass_the_budget(gemini, annotator, clip):
    backend = annotator(concurrency=4, budget=0.02, max_output_tokens=200)
    answers = backend.annotate([clip(i) for i in range(40)])
    assert [a.clip_id for a in answers] == [f"clip{i}" for i in range(40)]
    assert {a.status for a in answers} == {"ok", "budget"}
    assert sum(a.cost for a in answers) <= 0.02
