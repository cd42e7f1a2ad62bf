"""Plan, budget, account and cache."""

import json
import multiprocessing
import os

import pytest

from unihand_data.config import content_hash
from unihand_data.language.backends import ClipAnswer, ClipRequest, RawAnswer, Usage
from unihand_data.language.cache import AnswerCache, request_key
from unihand_data.language.config import DEFAULT_PRICES, LanguageSettings, Price, PriceTable
from unihand_data.language.cost import cost_of, estimate_durations, estimate_hours, price_of, rounded, tokens
from unihand_data.language.paraphrase import Paraphraser
from unihand_data.language.prompts import clip_query, seconds_of
from unihand_data.language.spend import SpendLedger


def _settings(**extra):
    return LanguageSettings(**{"backend": "gemini", "model": "gemini-3.5-flash-lite", **extra})


def test_a_backend_without_a_model_is_refused():
    with pytest.raises(ValueError, match=r"language\.model"):
        LanguageSettings(backend="gemini")


def test_how_a_model_is_reached_does_not_change_content_and_what_it_is_asked_does():
    base = content_hash(_settings())
    assert content_hash(_settings(base_url="http://x", budget=5.0, batch=True, concurrency=9, cache_dir="/c")) == base
    assert content_hash(_settings(model="gemini-3.5-flash")) != base
    assert content_hash(_settings(fps=2.0)) != base


def test_thinking_is_billed_as_output_and_cached_input_at_its_own_price():
    price = Price(input=1.0, output=10.0, cached_input=0.1)
    usage = Usage(input=1_000_000, output=100_000, thinking=50_000, cached_input=400_000)
    assert cost_of(usage, price) == pytest.approx(0.6 + 0.04 + 1.0 + 0.5)
    assert cost_of(usage, price, batch=True) == pytest.approx(2.14 / 2)


def test_a_dated_version_has_its_models_price_and_a_longer_name_does_not():
    table = PriceTable()
    assert price_of("gemini-3.5-flash-001", table) == table.models["gemini-3.5-flash"]
    assert price_of("gemini-3.5-flash-lite", table).input == DEFAULT_PRICES["gemini-3.5-flash-lite"][0]
    assert price_of("gemini-3.5-flash-ultra", table) is None


def test_the_plan_of_sixteen_thousand_hours_is_of_the_published_size():
    # 57.6 M s at 265 input tokens are 15.3 G, 5.76 M chunks at 400 output tokens 2.3 G: 4.6 k + 5.8 k USD, half in a
    # batch; the prompt, sent with every chunk, comes on top
    plan = estimate_hours(16_000, _settings(batch=True))
    assert plan.calls == 5_760_000
    assert 15.3e9 < plan.input_tokens < 22e9
    assert plan.output_tokens == pytest.approx(2.3e9, rel=0.02)
    assert 5_200 < plan.money < 6_300
    assert "5760000 calls" in plan.sentence()


def test_no_backend_plans_no_calls_and_an_unknown_model_has_no_price():
    assert estimate_hours(10, LanguageSettings()).calls == 0
    assert estimate_durations([10.0], _settings(model="new")).money is None
    assert "no price" in estimate_durations([10.0], _settings(model="new")).sentence()


def test_paraphrases_by_the_model_are_planned_on_a_line_of_their_own():
    clips = [10.0, 10.0, 4.2]
    plain = estimate_durations(clips, _settings())
    both = estimate_durations(clips, _settings(paraphrase={"use_model": True, "per_text": 2}))
    annotation, wordings = both.parts
    assert plain.parts == (annotation,)
    assert (annotation.calls, wordings.calls) == (3, 3)
    # a sentence per second and one of the clip, at 20 tokens: 11 + 11 + 6, each with two wordings and one to spare
    assert wordings.output_tokens == (11 + 11 + 6) * 3 * 20
    assert both.calls == 6
    assert both.money == pytest.approx(annotation.money + wordings.money)
    assert both.input_tokens == annotation.input_tokens + wordings.input_tokens
    first, second, total, assumed = both.lines()
    assert first.startswith("annotation: 3 calls")
    assert second.startswith("paraphrases: 3 calls")
    assert total == f"together: {both.sentence()}"
    assert "tokens each" in assumed


@pytest.mark.parametrize("off", [{"enabled": False}, {"use_model": False}, {"per_text": 0}])
def test_paraphrases_that_no_model_is_asked_for_are_not_planned(off):
    plan = estimate_durations([10.0], _settings(paraphrase={"use_model": True, **off}))
    assert [part.what for part in plan.parts] == ["annotation"]


def test_a_group_of_twenty_sentences_is_one_call_of_the_paraphraser_and_of_the_plan():
    class Asked:
        def ask(self, query, call_key, duration_s=0.0):
            self.calls = getattr(self, "calls", 0) + 1
            return RawAnswer("error"), 0.0

    settings, asker = _settings(paraphrase={"use_model": True}), Asked()
    Paraphraser(settings, asker, AnswerCache()).paraphrase([f"Take {n} cups." for n in range(11)])
    assert asker.calls == estimate_durations([10.0], settings).parts[1].calls


def test_small_sums_are_not_shown_as_none():
    assert [rounded(v) for v in (0, 0.0000123456, 0.04567, 1.5, 56.789, 5943.21, 1234567.0)] == [
        "0", "0.0000123", "0.0457", "1.50", "56.8", "5,940", "1,230,000",
    ]  # fmt: skip
    assert [tokens(n) for n in (0, 730, 9_999, 12_345, 4_560_000, 15.3e9)] == [
        "0", "730", "9,999", "12.3 k", "4.56 M", "15.3 G",
    ]  # fmt: skip
    plan = estimate_durations([0.7], _settings())
    assert "0.00" not in plan.sentence().replace("0.000", "")
    assert f"{plan.input_tokens:,} input" in plan.sentence()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"paraphrase": {"use_model": True}}, "use_model"),
        ({"send": "frames"}, "language.send"),
        ({"backend": "openai"}, "Gemini batches"),
    ],
)
def test_what_a_batch_cannot_ask_is_refused_instead_of_left_out(more, words):
    _settings(**{**more, "batch": False})
    with pytest.raises(ValueError, match=words):
        _settings(**{**more, "batch": True})
    _settings(batch=True, paraphrase={"use_model": True, "enabled": False})


@pytest.mark.parametrize(
    ("duration", "edges"), [(2.0, [0, 1, 2]), (2.3, [0, 1, 2.3]), (2.7, [0, 1, 2, 2.7]), (0.4, [0, 0.4])]
)
def test_seconds_cover_the_clip(duration, edges):
    assert seconds_of(duration) == tuple(zip(edges, edges[1:]))  # noqa: RUF007


def test_the_budget_is_never_passed_and_settling_frees_what_was_not_needed(tmp_path):
    ledger = SpendLedger(tmp_path / "s.jsonl", limit=1.0)
    assert ledger.reserve("a", 0.6)
    assert not ledger.reserve("b", 0.6)
    ledger.settle("a", cost=0.1, usage=Usage(10, 5, 2, 0), model="m", status="ok")
    assert ledger.reserve("b", 0.6)
    account = ledger.account()
    assert (account.calls, account.spent, account.reserved) == (1, 0.1, 0.6)
    assert account.usage == Usage(10, 5, 2, 0)


def test_settling_twice_counts_once(tmp_path):
    ledger = SpendLedger(tmp_path / "s.jsonl")
    for _ in range(2):
        ledger.settle("a", cost=0.1, usage=Usage(), model="m", status="ok")
    assert ledger.account().spent == pytest.approx(0.1)


def test_a_torn_line_costs_only_itself(tmp_path):
    path = tmp_path / "s.jsonl"
    SpendLedger(path).settle("a", cost=0.1, usage=Usage(), model="m", status="ok")
    with open(path, "a") as file:
        file.write('{"settle": "b", "co')
    SpendLedger(path).settle("c", cost=0.2, usage=Usage(), model="m", status="ok")
    account = SpendLedger(path).account()
    assert account.spent == pytest.approx(0.3)
    assert account.damaged_lines == 1


def _spend(path, worker, granted):
    ledger = SpendLedger(path, limit=1.0)
    for i in range(20):
        if ledger.reserve(f"{worker}:{i}", 0.05):
            ledger.settle(f"{worker}:{i}", cost=0.05, usage=Usage(1), model="m", status="ok")
            with granted.get_lock():
                granted.value += 1


def test_several_processes_share_one_budget(tmp_path):
    context = multiprocessing.get_context("fork")
    granted = context.Value("i", 0)
    workers = [context.Process(target=_spend, args=(tmp_path / "s.jsonl", w, granted)) for w in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(60)
    account = SpendLedger(tmp_path / "s.jsonl", limit=1.0).account()
    assert account.calls == granted.value
    assert account.spent <= 1.0 + 1e-9
    assert granted.value >= 19  # 20 up to floating point


def test_answers_are_shared_between_caches_of_one_directory(tmp_path):
    first, second = AnswerCache(tmp_path), AnswerCache(tmp_path)
    answer = ClipAnswer("c", "ok", per_second=["Größe"], active_hand=["left"], usage=Usage(3, 2, 1))
    first.put("k", answer.to_json())
    assert ClipAnswer.from_json(second.get("k")) == answer
    second.put("k2", {"x": 1})
    assert first.get("k2") == {"x": 1}
    assert len(list(tmp_path.glob("answers-*.jsonl"))) == 2


def test_damaged_lines_are_counted_and_the_rest_is_kept(tmp_path):
    cache = AnswerCache(tmp_path)
    for i in range(5):
        cache.put(f"k{i}", {"value": i})
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"value": 1', b'"value": 7')  # flipped: only the checksum tells
    lines[2] = b"\x00\xff garbage\n"
    path.write_bytes(b"".join(lines[:4]) + lines[4][:-10])  # and a torn last line
    again = AnswerCache(tmp_path)
    assert [again.get(f"k{i}") for i in range(5)] == [{"value": 0}, None, None, {"value": 3}, None]
    assert again.damaged_lines == 2
    again.put("k1", {"value": 1})
    assert AnswerCache(tmp_path).get("k1") == {"value": 1}


def _write(directory, worker):
    cache = AnswerCache(directory)
    for i in range(50):
        cache.put(f"{worker}-{i}", {"text": "x" * 500})


def test_several_writers_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(tmp_path, w)) for w in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(60)
    assert len(AnswerCache(tmp_path)) == 150


def test_a_fork_writes_a_file_of_its_own(tmp_path):
    cache = AnswerCache(tmp_path)
    cache.put("a", 1)
    pid = os.fork()
    if pid == 0:
        cache.put("b", 2)
        os._exit(0)
    os.waitpid(pid, 0)
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert cache.get("b") == 2


def test_the_key_hangs_on_what_is_asked_and_not_on_the_clips_name():
    request = ClipRequest("a", "h", ((0.0, 1.0),), "/x.mp4", context=("c",))
    key = request_key(request, _settings())
    assert request_key(ClipRequest("b", "h", ((0.0, 1.0),), "/y.mp4", context=("c",)), _settings()) == key
    assert request_key(ClipRequest("a", "h2", ((0.0, 1.0),), "/x.mp4", context=("c",)), _settings()) != key
    assert request_key(request, _settings(fps=2.0)) != key
    assert request_key(request, _settings(base_url="http://elsewhere")) == key


def test_prompts_of_another_version_are_refused():
    with pytest.raises(ValueError, match="prompt_version"):
        clip_query(ClipRequest("a", "h", ((0.0, 1.0),)), _settings(prompt_version="annotate-v0"))


def test_the_plan_is_json():
    json.dumps(estimate_hours(1, _settings()).to_json())
