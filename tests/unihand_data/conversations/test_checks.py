"""Checks of texts and placeholders, duplicates, tokens."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unihand_data.curate.conversations.duplicates import DuplicateSettings, bands, find_duplicates
from unihand_data.curate.conversations.rows import count_tokens, normalised
from unihand_data.curate.conversations.validators import TextSettings, check, repetition
from unihand_data.errors import Reason, Reject
from unihand_data.shards.tokens import TokenCounter
from unihand_data.sources.conversations.talk import Film, Picture, Talk, Turn

S = TextSettings()


def talk(*texts: str, pictures: int = 0, film: bool = False, roles=("user", "assistant")) -> Talk:
    turns = [Turn(roles[i % len(roles)], [t]) for i, t in enumerate(texts)]
    return Talk(
        "s", "general", "k", turns, [Picture(f"{i}") for i in range(pictures)], Film("v", "v") if film else None
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (talk("Q?"), Reason.ROLE_ORDER),
        (talk("A", "B", roles=("assistant", "user")), Reason.ROLE_ORDER),
        (talk("A", "B", roles=("user",)), Reason.ROLE_ORDER),
        (talk("A", "B", "C", "D", roles=("user", "system", "assistant", "user")), Reason.ROLE_ORDER),
        (talk(roles=("user",)), Reason.ROLE_ORDER),
        (talk("Q?", "  \n"), Reason.TURN_EMPTY_TEXT),
        (talk("<image>", "A", pictures=1), Reason.TURN_EMPTY_TEXT),
        (talk("Q <image>?", "A"), Reason.PLACEHOLDER_EXTRA),
        (talk("<image><image>Q", "A", pictures=1), Reason.PLACEHOLDER_EXTRA),
        (talk("<video>Q", "A", pictures=1), Reason.PLACEHOLDER_EXTRA),
        (talk("Q", "A", pictures=2), Reason.PLACEHOLDER_MISSING),
        (talk("<image>Q", "A", pictures=2), Reason.PLACEHOLDER_MISSING),
        (talk("Q", "<image> A", pictures=1), Reason.PLACEHOLDER_IN_ANSWER),
        (talk("Q<|im_end|>", "A"), Reason.ENCODING),
        (talk("Q", "A <IMG_CONTEXT>"), Reason.ENCODING),
        (talk("Q\x00", "A"), Reason.ENCODING),
        (talk("It\u00e2\u20ac\u2122s Q", "A"), Reason.ENCODING),
        (talk("caf\u00c3\u00a9", "A"), Reason.ENCODING),
        (talk("Q \ufffd", "A"), Reason.ENCODING),
        (talk("Q", "again and again it says the same thing twice or more " * 9), Reason.REPETITION),
        (talk("<image>" * 70 + "Q", "A", pictures=70), Reason.OVERLENGTH),
    ],
)
def test_bad_conversations_are_refused(row, reason):
    with pytest.raises(Reject) as found:
        check(row, S, "row")
    assert found.value.reason == reason


@pytest.mark.parametrize(
    ("row", "first", "fixes"),
    [
        (talk("Q?", "A", pictures=1), "<image>\nQ?", ["placeholder_prepended"]),
        (talk("Q?\n<image>", "A", pictures=1), "<image>\nQ?", ["placeholder_moved_to_front"]),
        (talk("<image>\nQ?", "A", pictures=1), "<image>\nQ?", []),
        (talk("In <image> what?", "A", pictures=1), "In <image> what?", []),
        (talk("\ufeffQ?", "A"), "Q?", ["byte_order_mark"]),
        (talk("Q?\r\nNow", "A"), "Q?\nNow", ["line_ends"]),
        (talk("<image>\nQ?", "A", film=True), "<video>\nQ?", []),
        (talk("Q? Пример 例 café", "Ünïcode — “quotes”"), "Q? Пример 例 café", []),
        (talk("Be brief.", "Q?", "A", roles=("system", "user", "assistant")), "Be brief.", []),
    ],
)
def test_safe_changes_are_made_and_named(row, first, fixes):
    check(row, S, "row")
    assert row.turns[0].plain == first
    assert row.fixes == fixes


def test_repetition_is_the_share_of_word_ten_grams_seen_before():
    words = " ".join(str(i) for i in range(30))
    assert repetition(words) == 0
    assert repetition(f"{words} {words}") == pytest.approx(21 / 51)


def test_template_tokens_are_counted_and_the_end_of_an_answer_is_learnt():
    turns = [{"role": "user", "text": "<image>\nabcdefg"}, {"role": "assistant", "text": "abcd"}]
    assert count_tokens(turns, TokenCounter()) == (2 + 5 + 4, 1 + 1)


@pytest.mark.parametrize("other", ["what  COLOUR is it ", "<image>\nWhat colour is it?", "What colour is it!"])
def test_questions_are_compared_without_placeholder_case_and_punctuation(other):
    assert normalised(other) == normalised("What colour is it?")


def test_numbers_in_questions_stay_apart():
    assert normalised("at 0.12?") != normalised("at 0.13?")


def keys(*rows: tuple[str, str, str, int, str]) -> pl.DataFrame:
    """item, exact, said, rank, look"""
    return pl.DataFrame(
        {
            "item": [r[0] for r in rows], "conversation_id": [f"c{r[0]}" for r in rows], "source": "s",
            "uri": [f"u{r[0]}" for r in rows], "rank": [r[3] for r in rows], "exact": [r[1] for r in rows],
            "said": [r[2] for r in rows], "looks": [[r[4]] for r in rows], "stored": [False] * len(rows),
        }
    )  # fmt: skip


def test_of_equal_rows_the_one_of_the_smaller_rank_stays():
    lost = find_duplicates(keys(("1", "x", "q", 30, "00"), ("2", "x", "q", 10, "00"), ("3", "y", "q", 10, "ffff")), _S)
    assert lost["item"].to_list() == ["1"]
    assert lost["of_uri"].to_list() == ["u2"]


def test_a_stored_row_stays_whatever_its_rank():
    rows = keys(("1", "x", "q", 30, "00"), ("2", "x", "q", 10, "00")).with_columns(stored=pl.Series([True, False]))
    assert find_duplicates(rows, _S)["item"].to_list() == ["2"]


def test_near_duplicates_need_the_same_words():
    rows = keys(
        ("1", "x", "q", 1, "0f"), ("2", "y", "q", 1, "0e"), ("3", "z", "other", 1, "0f"), ("4", "w", "q", 1, "f0")
    )
    lost = find_duplicates(rows, _S)
    assert lost.select("item", "reason", "of_id").rows() == [("2", "duplicate_near", "c1")]
    assert find_duplicates(rows, DuplicateSettings(near_bits=None)).is_empty()


def test_nothing_is_lost_of_nothing():
    assert find_duplicates(keys(("1", "x", "q", 1, "0f")).clear(), _S).is_empty()


@given(st.integers(0, 2**64 - 1), st.integers(0, 7), st.data())
def test_hashes_that_differ_in_few_bits_share_a_band(look, bits, data):
    flips = data.draw(st.lists(st.integers(0, 63), max_size=bits, unique=True))
    other = look
    for bit in flips:
        other ^= 1 << bit
    assert any(a == b for a, b in zip(bands(look, bits), bands(other, bits)))


_S = DuplicateSettings()
