"""Who counts the words of samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unihand_data.config import SettingsError
from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.tokenizer import TokenSettings, claim_counter, open_counter, with_counter
from unihand_data.shards.tokens import ESTIMATE, TokenCounter, both_counters, same_counter


def word_tokenizer(folder: Path, unknown: str = "[UNK]") -> Path:
    """A tokenizer.json whose tokens are runs of letters and runs of other signs."""
    folder.mkdir(parents=True)
    model = {"type": "WordLevel", "vocab": {unknown: 0}, "unk_token": unknown}
    nothing = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    data = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model, **nothing}
    (folder / "tokenizer.json").write_text(json.dumps(data))
    return folder


def arguments(output: Path, **more: bool) -> JobArguments:
    return JobArguments(input="/in", output=str(output), plan=False, new_version=more.get("new_version", False))


@pytest.fixture(autouse=True)
def no_tokenizer_of_this_machine(monkeypatch):
    monkeypatch.delenv("UNIHAND_TOKENIZER", raising=False)


def test_a_tokenizer_counts_words_and_is_known_by_its_content(tmp_path):
    pytest.importorskip("tokenizers")
    one, same, other = (word_tokenizer(tmp_path / n, u) for n, u in (("a", "?"), ("b", "?"), ("c", "!")))
    counter = TokenCounter(one)
    assert counter.count("Take the cup, please.") == 6
    assert not counter.estimate
    assert same_counter(counter.name, TokenCounter(same).name)
    assert not same_counter(counter.name, TokenCounter(other).name)


def test_a_worker_that_counts_otherwise_than_the_driver_refuses_to_work():
    settings = with_counter(TokenSettings())
    assert settings.counter == open_counter(settings).name == ESTIMATE
    with pytest.raises(SettingsError, match=r"this machine counts with bytes/4 and the job with qwen3@abc"):
        open_counter(TokenSettings(counter="qwen3@abc"))


def test_a_directory_begun_with_one_tokenizer_is_not_continued_with_another(tmp_path):
    output = tmp_path / "out"
    claim_counter(TokenSettings(counter="qwen3@abc"), arguments(output))
    here = with_counter(TokenSettings())
    with pytest.raises(SettingsError, match=r"were counted with qwen3@abc, and this run would count with bytes/4"):
        claim_counter(here, arguments(output))
    claim_counter(here, arguments(output, new_version=True))
    claim_counter(here, arguments(output))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TokenSettings(tokenizer="/nothere"), r"tokens\.tokenizer: /nothere: no tokenizer here"),
        (TokenSettings(counter="qwen3@abc"), r"tokens\.counter: filled in by the job"),
    ],
)
def test_what_cannot_count_is_refused_before_any_work(settings, message):
    with pytest.raises(SettingsError, match=message):
        with_counter(settings)


def test_a_file_that_is_no_tokenizer_is_refused_with_its_name(tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"tokenizer\.json: not a tokenizer\.json"):
        with_counter(TokenSettings(tokenizer=str(tmp_path)))


def test_a_directory_of_which_a_part_is_estimated_is_an_estimate():
    assert both_counters("qwen3@abc", ESTIMATE) == both_counters(ESTIMATE, "qwen3@abc") == ESTIMATE
    assert both_counters("qwen3@abc", "mine@abc") == "mine@abc"
    assert both_counters("qwen3@abc", "llama@def") == "qwen3@abc and llama@def"
