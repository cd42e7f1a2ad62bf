"""Words from a model, through the whole job: the vendors' own clients against servers on loopback."""

from __future__ import annotations

import json

import pytest

MODEL = "a-model"
#: per million tokens; a call of the fakes (1000 in, 100 out, 20 thinking) costs 1000 * 2 + 120 * 10 = 0.0032
PRICES = f"language.prices.models={{{MODEL}: {{input: 2, output: 10}}}}"


@pytest.fixture(scope="module")
def fakes(job):
    """The module with the fake vendors."""
    return job.load(job.ROOT / "tests" / "unihand_data" / "language" / "conftest.py", "language_fakes")


@pytest.fixture
def gemini(fakes, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    server = fakes.FakeGemini()
    yield server
    server.stop()


@pytest.fixture
def openai(fakes, monkeypatch):
    monkeypatch.setenv("MY_KEY", "a-key")
    server = fakes.FakeOpenAI()
    yield server
    server.stop()


def said(fakes, text: str, **changes) -> str:
    """A good answer for a clip of one second."""
    good = {**fakes.GOOD, "per_second": [text], "active_hand": ["left"], "intent": f"{text[:-1]} slowly."}
    return json.dumps(good | changes)


def settings(server, *more: str) -> list[str]:
    chosen = ["language.backend=gemini", f"language.model={MODEL}", f"language.base_url={server.url}", PRICES]
    return [x for s in (*chosen, "language.retry.initial_s=0.01", *more) for x in ("--set", s)]


def asked(server) -> int:
    return len(server.calls("generateContent")) + len(server.calls("chat/completions"))


def test_answers_verdicts_refusals_and_their_cost(job, fakes, gemini, recordings, tmp_path):
    """Four clips: a good answer, "no manipulation", a safety block, an unreadable answer (asked once more)."""
    gemini.script = [
        (200, fakes.gemini_response(said(fakes, "Push the cube to the left with the left hand."))),
        (200, fakes.gemini_response(said(fakes, "", is_manipulation=False, dominant_activity="locomotion", intent=""))),
        (200, fakes.gemini_response("", finish="SAFETY")),
        (200, fakes.gemini_response("I would rather talk.")),
        (200, fakes.gemini_response("I would rather talk.")),
    ]
    out = tmp_path / "out"
    ran = job.run_here(recordings, out, *settings(gemini))
    assert ran.code == 0, ran.err
    assert asked(gemini) == 5
    rows = {r.provenance["language_status"]: r for r in job.rows_of(out).values() if not r.mirrored}
    assert set(rows) == {"ok", "blocked", "bad_answer"}

    good = rows["ok"].language
    assert {t.text_source for t in good if not t.paraphrase_id} == {"gemini"}
    assert {t.model for t in good if not t.paraphrase_id} == {"fake-gemini-001"}
    assert [t.text for t in good if t.level == "instruction" and not t.paraphrase_id] == [
        "Push the cube to the left with the left hand."
    ]
    twin = next(r for r in job.rows_of(out).values() if r.parent_id == rows["ok"].episode_id)
    assert "Push the cube to the right with the right hand." in [t.text for t in twin.language]
    for status in ("blocked", "bad_answer"):
        assert {t.text_source for t in rows[status].language} == {"motion_rules"}, status

    lost = [r for r in job.reject_rows(out) if r["reason"] == "not_manipulation"]
    assert [(r["level"], r["stage"]) for r in lost] == [("clip", "annotate")]

    cost = json.loads((out / "manifest.json").read_text())["language_cost"]
    assert cost["calls"] == 5
    assert cost["by_status"] == {"ok": 4, "blocked": 1}  # an unreadable text is an "ok" of the vendor, and is paid
    assert (cost["input_tokens"], cost["output_tokens"], cost["thinking_tokens"]) == (5000, 500, 100)
    assert cost["money"] == pytest.approx(5 * 0.0032)
    html = (out / "report.html").read_text()
    assert f"5 calls to {MODEL}" in html
    assert "0.0160 USD" in html

    before = job.holds(out)
    assert job.run_here(recordings, out, *settings(gemini)).code == 0
    assert asked(gemini) == 5, "a second run asks nothing"
    assert job.holds(out) == before


def counted() -> dict[str, float]:
    """The metrics of spending as this process exports them."""
    from prometheus_client import REGISTRY

    found = {
        kind: REGISTRY.get_sample_value("unihand_tokens_total", {"kind": kind}) or 0.0
        for kind in ("input", "output", "thinking")
    }
    return found | {"usd": REGISTRY.get_sample_value("unihand_cost_usd_total", {"backend": "openai"}) or 0.0}


def test_an_openai_compatible_endpoint_is_asked_with_pictures(job, fakes, openai, one_recording, tmp_path):
    before = counted()
    openai.script = [(200, fakes.openai_response(said(fakes, "Lift the cube."))) for _ in range(2)]
    more = ["language.backend=openai", "language.api_key_env=MY_KEY", "language.send=frames", "language.fps=4"]
    assert job.run_here(one_recording, tmp_path / "out", *settings(openai, *more)).code == 0
    texts = [t for r in job.rows_of(tmp_path / "out").values() for t in r.language if not t.paraphrase_id]
    assert {t.text_source for t in texts} == {"openai_compatible"}
    assert "Lift the cube." in {t.text for t in texts}
    _, _, headers, body = openai.requests[0]
    assert {k.lower(): v for k, v in headers.items()}["authorization"] == "Bearer a-key"
    assert body.count(b"data:image/jpeg;base64,") == 3  # 0.65 s at 4 per second, first frame included
    spent = {name: value - before[name] for name, value in counted().items()}
    cost = json.loads((tmp_path / "out" / "manifest.json").read_text())["language_cost"]
    assert (spent["input"], spent["output"], spent["thinking"]) == (
        cost["input_tokens"] - cost["cached_input_tokens"],
        cost["output_tokens"],
        cost["thinking_tokens"],
    )
    assert spent["usd"] == pytest.approx(cost["money"])
    assert spent["usd"] > 0


def test_an_ended_budget_leaves_clips_to_a_later_run_that_asks_nothing_twice(
    job, fakes, gemini, one_recording, tmp_path
):
    # at most 1000 tokens of output: a call may cost 0.01; after 0.0012 for the first a second one no longer fits
    chosen = ["language.max_output_tokens=1000", f"language.prices.models={{{MODEL}: {{input: 0, output: 10}}}}"]
    gemini.script = [(200, fakes.gemini_response(said(fakes, "Lift the cube."))) for _ in range(2)]
    out = tmp_path / "out"
    first = job.run_here(one_recording, out, *settings(gemini, *chosen, "language.budget=0.011"))
    assert first.code == 0, first.err
    assert asked(gemini) == 1
    held = job.holds(out)
    assert held.summary["episodes"] == 1
    assert [r[2] for r in held.rejects] == ["budget"]
    assert "language.budget" in job.reject_rows(out)[0]["message"]

    assert job.run_here(one_recording, out, *settings(gemini, *chosen, "language.budget=0.011")).code == 0
    assert asked(gemini) == 1, "the budget counts over all runs"
    assert job.holds(out).ids == held.ids

    assert job.run_here(one_recording, out, *settings(gemini, *chosen, "language.budget=1")).code == 0
    assert asked(gemini) == 2
    more = job.holds(out)
    assert more.summary["episodes"] == 2
    assert more.rejects == []
    assert set(held.episodes) < set(more.episodes)
    assert json.loads((out / "manifest.json").read_text())["language_cost"]["money"] == pytest.approx(2 * 0.0012)
    assert not list((out / "_job").rglob("*.mp4")), "nothing waits any more"


def test_a_wrong_key_leaves_every_clip_to_a_later_run_instead_of_other_words(
    job, fakes, gemini, one_recording, tmp_path
):
    refusal = {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "X"}}
    gemini.script = [(400, refusal), (400, refusal)]
    out = tmp_path / "out"
    assert job.run_here(one_recording, out, *settings(gemini)).code == 0
    held = job.holds(out)
    assert held.episodes == []
    assert (held.summary["inputs"], held.summary["rejected"]) == (1, 1)
    assert all("API key not valid" in r["message"] for r in job.reject_rows(out) if r["level"] == "clip")
    gemini.script = [(200, fakes.gemini_response(said(fakes, "Lift the cube."))) for _ in range(2)]
    assert job.run_here(one_recording, out, *settings(gemini)).code == 0
    assert job.holds(out).summary["episodes"] == 2
    assert job.holds(out).rejects == []


def test_a_batch_is_spooled_by_the_job_answered_outside_of_it_and_written_by_the_next_run(
    job, fakes, gemini, one_recording, tmp_path, capsys
):
    from unihand_data.cli import main as unihand

    answer = fakes.gemini_response(said(fakes, "Lift the cube with the left hand."))
    gemini.batch_result = lambda rows: (
        "BATCH_STATE_SUCCEEDED",
        [{**gemini.good_row(row), "response": answer} for row in rows],
    )
    out, chosen = tmp_path / "out", settings(gemini, "language.batch=true")
    first = job.run_here(one_recording, out, *chosen)
    assert first.code == 0, first.out
    assert "2 units are left for a later run" in first.out
    assert "unihand batch" in first.out
    assert job.holds(out).summary["episodes"] == 0
    assert not gemini.batches

    def step(name: str) -> dict:
        assert unihand(["batch", str(out), name]) == 0
        return json.loads(capsys.readouterr().out)

    assert step("submit")["submitted"] == 2
    assert set(step("poll")["jobs"].values()) == {"SUCCEEDED"}
    assert step("collect")["answered"] == 2
    second = job.run_here(one_recording, out, *chosen)
    assert second.code == 0, second.out
    held = job.holds(out)
    assert (held.summary["episodes"], held.rejects) == (2, [])
    words = {t.text for r in job.rows_of(out).values() if not r.mirrored for t in r.language if not t.paraphrase_id}
    assert "Lift the cube with the left hand." in words
    cost = json.loads((out / "manifest.json").read_text())["language_cost"]
    assert (cost["calls"], cost["money"]) == (2, pytest.approx(2 * 0.0032 / 2)), "half price"
    assert asked(gemini) == 0


def test_batches_of_a_directory_without_any_are_refused(tmp_path, capsys):
    from unihand_data.cli import main as unihand

    assert unihand(["batch", str(tmp_path), "poll"]) == 2
    assert "no batches of a job" in capsys.readouterr().err
