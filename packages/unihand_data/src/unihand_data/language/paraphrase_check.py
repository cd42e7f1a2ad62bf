"""Whether a paraphrase still says the same motion: protected words compared class by class.

Classes: which hand, left and right and other directions, clockwise-ness, numbers, object nouns, and verbs that have an
opposite. A paraphrase that loses or invents one of them is refused with the class; word order and wording are free.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from unihand_data.language.lexicon import (
    DIRECTIONS,
    FUNCTION,
    HANDS,
    OPPOSITES,
    SOFT_DIRECTIONS,
    TURNS,
    number,
    singular,
    tokens,
    verb_stem,
)
from unihand_data.language.mirror_words import canonical_spelling

#: a paraphrase longer than this many times its text (and ten words) tells something of its own
MAX_GROWTH = 2.5

_ARTICLES = frozenset(("the", "a", "an", "its", "their", "his", "her", "your"))
_PREPOSITIONS = frozenset(
    (
        "in",
        "on",
        "into",
        "onto",
        "at",
        "by",
        "for",
        "from",
        "with",
        "of",
        "off",
        "out",
        "under",
        "over",
        "behind",
        "near",
    )
)
_SOFT_OPPOSITES = {
    "in": "out", "into": "out", "out": "in", "onto": "off", "off": "onto", "up": "down", "down": "up",
    "over": "under", "under": "over", "away": "toward", "toward": "away", "towards": "away",
}  # fmt: skip


def refused(text: str, paraphrase: str, objects: Sequence[str] = ()) -> str | None:
    """Why ``paraphrase`` may not stand for ``text`` (the protected class and the words), or None when it may.

    Args:
        objects: object nouns known from elsewhere (an annotation), protected where the text names them.
    """
    before, after = tokens(canonical_spelling(text)), tokens(canonical_spelling(paraphrase))
    if not after:
        return "empty"
    if len(after) > MAX_GROWTH * len(before) + 10:
        return "length: much longer than the text"
    for name, words in (("hand", HANDS), ("turn", TURNS), ("direction", DIRECTIONS - SOFT_DIRECTIONS - HANDS)):
        difference = _difference(_sided(before, words), _sided(after, words))
        if difference:
            return f"{name}: {difference}"
    if soft := {w for w in (set(after) ^ set(before)) & SOFT_DIRECTIONS if _flips(w, before, after)}:
        return f"direction: {', '.join(sorted(soft))}"
    difference = _difference(_numbers(before), _numbers(after))
    if difference:
        return f"number: {difference}"
    for a, b in OPPOSITES:
        old, new = _verbs(before), _verbs(after)
        if (a in old and a not in new and b in new) or (b in old and b not in new and a in new):
            return f"verb: {a}/{b} exchanged"
    nouns_before, nouns_after = _nouns(before, objects), _nouns(after, objects)
    if lost := nouns_before - nouns_after - {verb_stem(w) or w for w in after}:
        return f"object: {', '.join(sorted(lost))} lost"
    # a new verb may stand after a noun too ("on the table, grab ..."): only new words that are no verbs are inventions
    new_nouns = {w for w in nouns_after - nouns_before - set(before) if verb_stem(w) is None}
    if new_nouns:
        return f"object: {', '.join(sorted(new_nouns))} invented"
    return None


def normalised(text: str) -> str:
    """What two paraphrases are compared by: words alone, lower case."""
    return re.sub(r"\W+", " ", text.lower()).strip()


def _sided(words: list[str], kept: frozenset[str]) -> Counter[str]:
    parts = [p for w in words for p in (w.split("-") if w not in kept else [w])]
    return Counter(w for w in parts if w in kept)


def _difference(before: Counter[str], after: Counter[str]) -> str:
    lost, new = before - after, after - before
    parts = [f"{', '.join(sorted(lost))} lost"] if lost else []
    return "; ".join(parts + ([f"{', '.join(sorted(new))} invented"] if new else []))


def _flips(word: str, before: list[str], after: list[str]) -> bool:
    """A soft direction may come and go, unless its opposite stands on the other side (into / out, up / down)."""
    opposite = _SOFT_OPPOSITES.get(word)
    return opposite is not None and (
        (word in before and opposite in after and opposite not in before)
        or (word in after and opposite in before and opposite not in after)
    )


def _numbers(words: list[str]) -> Counter[str]:
    # "one" alone is as often a pronoun ("the red one"): it counts when the other side writes the figure too
    return Counter(n for w in words if (n := number(w)) is not None and w != "one" and w != "1")


def _verbs(words: list[str]) -> set[str]:
    return {stem for w in words if (stem := verb_stem(w)) is not None}


def _nouns(words: list[str], objects: Sequence[str]) -> set[str]:
    known = {singular(t) for o in objects for t in tokens(o)}
    out = set()
    for index, word in enumerate(words):
        base = singular(word)
        if base in known:
            out.add(base)
            continue
        if word in FUNCTION or word in DIRECTIONS or word in TURNS or word in HANDS or number(word) is not None:
            continue
        if word.endswith("ly") and len(word) > 4:
            continue
        stem = verb_stem(word)
        if stem is not None and not _noun_place(words, index, word == stem or word.endswith("ing")):
            continue
        out.add(base)
    return out


def _noun_place(words: list[str], index: int, plain: bool) -> bool:
    """Whether a word that can be a verb stands where an object does.

    After an article ("the drill"), or, in its base or ing-form (``plain``), after a preposition, a verb or a noun
    ("take tap", "put foil in wrap", "wash chopping board").
    """
    if index == 0:
        return False
    before = words[index - 1]
    if before in _ARTICLES:
        return True
    return plain and (before in _PREPOSITIONS or before not in FUNCTION | DIRECTIONS)
