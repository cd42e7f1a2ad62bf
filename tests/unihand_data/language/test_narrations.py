"""Narrations of data sets as language rows."""

import pytest

from unihand_data.language.narrations import clean_narration, hand_in_words, narration_rows
from unihand_data.values.recording import Narration


def test_a_narration_keeps_its_words_and_its_span_inside_the_clip():
    rows = narration_rows([Narration(-1.0, 3.0, "Cut the onion"), Narration(3.0, 99.0, "Stir the pan")], 8.0).rows
    spans = [(r.level, r.t0, r.t1, r.text) for r in rows]
    assert spans[:2] == [("instruction", 0.0, 3.0, "Cut the onion"), ("instruction", 3.0, 8.0, "Stir the pan")]
    assert spans[2] == ("intent", 0.0, 8.0, "Cut the onion, then stir the pan.")
    assert {r.text_source for r in rows} == {"narration"}
    assert rows[2].template_id == "narration_chain-v1"


def test_a_time_stamp_covers_the_time_to_the_next_one_and_at_most_two_seconds():
    rows = narration_rows([Narration(1.0, 1.0, "take cup"), Narration(1.5, 1.5, "fill cup")], 10.0).rows
    assert [(r.t0, r.t1) for r in rows[:2]] == [(1.0, 1.5), (1.5, 3.5)]


def test_a_data_set_that_states_an_intent_gets_no_chained_one():
    rows = narration_rows([Narration(0, 2, "take cup"), Narration(0, 9, "make tea", level="intent")], 9.0).rows
    assert [(r.level, r.text) for r in rows if r.level == "intent"] == [("intent", "make tea")]


def test_what_somebody_else_does_is_no_row_and_is_counted():
    out = narration_rows([Narration(0, 1, "#O man X walks"), Narration(1, 2, "#C C picks a cup")], 2.0)
    assert out.other_person == 1
    assert [r.text for r in out.rows] == ["The camera wearer picks a cup"] * 2


def test_narrations_outside_the_clip_and_without_words_make_no_rows():
    out = narration_rows([Narration(20, 21, "later"), Narration(0, 1, " #unsure ")], 10.0)
    assert out.rows == []
    assert out.empty == 1


@pytest.mark.parametrize(
    ("text", "clean", "wearer"),
    [
        ("#C C  lifts the #unsure.", "The camera wearer lifts the .", True),
        ("#c C washes hands", "The camera wearer washes hands", True),
        ("#O A lady X talks", "A lady X talks", False),
        ("C-clamp is tightened", "C-clamp is tightened", True),
        ("turn knob anti-clockwise", "turn knob counterclockwise", True),
        ("put the #3 screw", "put the #3 screw", True),
    ],
)
def test_markup_is_taken_off_and_words_are_kept(text, clean, wearer):
    assert clean_narration(text) == (clean, wearer)


@pytest.mark.parametrize(
    ("text", "hand"),
    [
        ("picks a cup with the left hand", "left"),
        ("moves the Right-hand fingers", "right"),
        ("holds it with both hands", "both"),
        ("left hand holds, right hand cuts", "both"),
        ("puts it on the left side", "none"),
        ("opens the lid", "none"),
    ],
)
def test_the_hand_is_the_one_the_words_name(text, hand):
    assert hand_in_words(text) == hand
