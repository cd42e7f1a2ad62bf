"""Words the data set brings: narrations with their own spans become language rows of a clip.

A narration keeps its own words and span (clipped to the clip); nothing is invented. Only markup is taken off, in the
forms data sets publish: Ego4D's ``#C C picks a cup`` (the camera wearer), ``#O`` (someone else: no row, since it is not
the motion of these hands, and counted), ``#unsure``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from unihand_data.language.mirror_words import canonical_spelling
from unihand_data.shards.rows import LanguageRow
from unihand_data.values.recording import Narration

CHAIN_ID = "narration_chain-v1"
#: a narration without length (a time stamp) covers the time to the next one, at most this long
POINT_S = 2.0
#: of several instructions at most this many make up a clip's intent
CHAIN_MAX = 6

_TAG = re.compile(r"^\s*#\s*(?P<who>[A-Za-z]+)\s*")
_WEARER = re.compile(r"^C\s+(?=[a-z])")
_UNSURE = re.compile(r"#\s*unsure\b", re.IGNORECASE)
_LEFT = re.compile(r"\bleft[\s-]+(?:hand|arm|palm|thumb|index|fingers?|wrist)\b", re.IGNORECASE)
_RIGHT = re.compile(r"\bright[\s-]+(?:hand|arm|palm|thumb|index|fingers?|wrist)\b", re.IGNORECASE)
_BOTH = re.compile(r"\b(?:both|two)\s+(?:of\s+\w+\s+)?hands?\b", re.IGNORECASE)


@dataclass
class NarrationRows:
    """``other_person``: narrations about somebody else; ``empty``: those of which no words were left."""

    rows: list[LanguageRow] = field(default_factory=list)
    other_person: int = 0
    empty: int = 0


def narration_rows(
    narrations: Sequence[Narration], duration_s: float, *, text_source: str = "narration", model: str = ""
) -> NarrationRows:
    """Rows of one clip.

    Args:
        narrations: on the clip's clock (first frame = 0); spans may reach over the clip's ends.
        duration_s: length of the clip.
        text_source: ``narration`` for people's running commentary, ``dataset`` for task names and labels.

    Instructions keep their spans. A clip without an ``intent`` or ``task`` narration gets an intent row that chains its
    instructions in their order (``template_id`` ``narration_chain-v1``).
    """
    out = NarrationRows()
    ordered = sorted(narrations, key=lambda n: (n.t0, n.t1))
    for index, narration in enumerate(ordered):
        text, wearer = clean_narration(narration.text)
        if not wearer:
            out.other_person += 1
            continue
        if not text:
            out.empty += 1
            continue
        t0, t1 = _span(narration, ordered[index + 1 :], duration_s)
        if t1 <= t0:
            continue  # belongs to a neighbouring clip
        hand = narration.hand if narration.hand != "none" else hand_in_words(text)
        out.rows.append(LanguageRow(narration.level, t0, t1, text, hand, text_source, model))
    levels = {row.level for row in out.rows}
    if "instruction" in levels and not levels & {"intent", "task"}:
        out.rows.append(_chain([r for r in out.rows if r.level == "instruction"], duration_s, text_source, model))
    return out


def clean_narration(text: str) -> tuple[str, bool]:
    """(words without the data set's markup, whether they are about the camera wearer)."""
    tag = _TAG.match(text)
    who = tag.group("who").lower() if tag else ""
    if tag and who in ("c", "o", "cc", "oo"):
        text = text[tag.end() :]
    text = _UNSURE.sub("", text)
    text = _WEARER.sub("The camera wearer ", text.strip())
    text = canonical_spelling(re.sub(r"\s+", " ", text).strip(" ,;"))
    return text, who not in ("o", "oo")


def hand_in_words(text: str) -> str:
    """``left`` | ``right`` | ``both`` | ``none``: which hand a sentence names."""
    left, right = bool(_LEFT.search(text)), bool(_RIGHT.search(text))
    if _BOTH.search(text) or (left and right):
        return "both"
    return "left" if left else "right" if right else "none"


def _span(narration: Narration, later: Sequence[Narration], duration_s: float) -> tuple[float, float]:
    t0, t1 = narration.t0, narration.t1
    if t1 <= t0:
        following = next((n.t0 for n in later if n.t0 > t0), t0 + POINT_S)
        t1 = min(following, t0 + POINT_S)
    return max(t0, 0.0), min(t1, duration_s)


def _chain(rows: list[LanguageRow], duration_s: float, source: str, model: str) -> LanguageRow:
    texts: list[str] = []
    for row in rows:
        if not texts or texts[-1].lower() != row.text.lower():
            texts.append(row.text)
    if len(texts) == 1:
        text = texts[0]
    else:
        said = [t.rstrip(".") for t in texts[:CHAIN_MAX]]
        text = ", then ".join([said[0], *(_lower_start(t) for t in said[1:])]) + "."
    hands = {r.hand for r in rows if r.hand != "none"}
    hand = "both" if len(hands) > 1 else next(iter(hands), "none")
    return LanguageRow("intent", 0.0, duration_s, text, hand, source, model, CHAIN_ID)


def _lower_start(text: str) -> str:
    """``The cup`` -> ``the cup``; names and abbreviations (``USB``, ``I``) stay."""
    first = text.split(" ", 1)[0]
    return text[0].lower() + text[1:] if first.istitle() and len(first) > 1 else text
