"""Left-right mirroring of words against a written table, and as an involution on any text."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unihand_data.language.mirror_words import (
    MIRROR_TEXT_VERSION,
    canonical_spelling,
    mirror_flags,
    swap_left_right,
)

_LINES = [
    line
    for line in (Path(__file__).parent / "mirror_golden.tsv").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
GOLDEN = [(a, b or a) for a, _, b in (line.partition("\t") for line in _LINES)]


def test_the_table_has_more_than_a_hundred_sentences():
    assert len(GOLDEN) > 100
    assert len({a for a, _ in GOLDEN}) == len(GOLDEN)


@pytest.mark.parametrize(("original", "mirrored"), GOLDEN, ids=[a for a, _ in GOLDEN])
def test_a_sentence_reads_as_written_in_the_table_both_ways(original, mirrored):
    assert swap_left_right(original) == mirrored
    assert swap_left_right(mirrored) == original


@pytest.mark.parametrize(
    "spelling", ["counter-clockwise", "anticlockwise", "anti-clockwise", "counter clockwise", "counter_clockwise"]
)
def test_every_spelling_of_counterclockwise_mirrors_to_clockwise(spelling):
    assert swap_left_right(f"turn it {spelling}.") == "turn it clockwise."
    assert canonical_spelling(f"turn it {spelling}.") == "turn it counterclockwise."
    assert swap_left_right(f"Turn {spelling.upper()}") == "Turn CLOCKWISE"


_VOCABULARY = """
left right Left RIGHT leftmost rightwards clockwise counterclockwise anticlockwise
counter-clockwise cw CCW hand over  is has the a to of moves turns now away all what
what's angle next it , . ? ! - / ( ) L R LH RH 左 右 左右 顺时针 逆时针  反 時計回り 시계 방향 반 왼쪽 오른손 she
nothing 3 cm lEft leftHand and or up in on before 's counter anti clock wise
"""
_WORDS = st.sampled_from(_VOCABULARY.split())


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(_WORDS, st.sampled_from([" ", "", "-", "_", ", "])), max_size=12))
def test_mirroring_twice_is_the_identity_on_canonical_text(pieces):
    text = canonical_spelling("".join(word + gap for word, gap in pieces))
    assert swap_left_right(swap_left_right(text)) == canonical_spelling(text) == text


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text_survives_mirroring_twice(text):
    assert swap_left_right(swap_left_right(text)) == canonical_spelling(text)


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("pousse la tasse à gauche", "foreign_side_word"),
        ("nach rechts drehen", "foreign_side_word"),
        ("возьми чашку левой рукой", "script"),
        ("the leftHand joint", "compound"),
        ("the lEft hand", "odd_case"),
        ("moves the cup right on the table", "ambiguous"),
    ],
)
def test_what_cannot_be_mirrored_with_certainty_is_flagged(text, flag):
    assert flag in mirror_flags(text)


def test_plain_english_is_not_flagged():
    assert mirror_flags("The left hand moves the cup to the right.") == ()
    assert mirror_flags("把杯子放到左边。") == ()


def test_the_version_is_the_one_the_mirrored_rows_record():
    assert MIRROR_TEXT_VERSION == "left-right-clockwise-v1"
