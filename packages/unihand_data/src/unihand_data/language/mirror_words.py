"""Left-right mirroring of words: what a sentence says once its picture is flipped.

``swap_left_right`` exchanges left and right (and leftmost, leftward, left-handed, LH/RH, "L hand"), clockwise and
counterclockwise, and 左/右, 顺时针/逆时针, 왼/오른 ...; it leaves alone the "left" of leaving and remaining and the
"right" of correctness and emphasis.

Why it is an involution by construction: whether a word is swapped is decided (:mod:`mirror_context`) on a *neutral*
token list in which both words of a pair are the same token, so the decision is the same before and after the swap. The
price: a rule that protects "left over" protects "right over" in the same context too.

Only one spelling can answer to "clockwise". ``canonical_spelling`` writes every counter-/anti-clockwise spelling as
``counterclockwise``; text is canonicalised where it enters a row, and there twice is the identity:
``swap(swap(s)) == canonical_spelling(s)``.

Text in another language than English: Chinese, Japanese and Korean side words are swapped; any other script, and the
side words of a few Latin-script languages, are left untouched and reported by :func:`mirror_flags`, so that the caller
can leave such a row without a mirrored twin instead of writing a wrong one.
"""

from __future__ import annotations

import re
import unicodedata

from unihand_data.language.mirror_context import Token, is_ambiguous, is_direction

#: changes when any sentence could come out differently; stored with every mirrored row
MIRROR_TEXT_VERSION = "left-right-clockwise-v1"

#: pairs of whole words; both map to one neutral token for the context rules
_PAIRS: tuple[tuple[str, str], ...] = (
    ("left", "right"),
    ("leftmost", "rightmost"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("lefthand", "righthand"),
    ("lefthanded", "righthanded"),
    ("lefty", "righty"),
    ("clockwise", "counterclockwise"),
    ("cw", "ccw"),
)
_OTHER = dict(_PAIRS) | {b: a for a, b in _PAIRS}
_NEUTRAL = {w: f"<{a}>" for a, b in _PAIRS for w in (a, b)}
SIDE = "<left>"

_LETTER = r"[^\W\d_]"
_COUNTERCLOCKWISE = re.compile(rf"(?<!{_LETTER})(?:(?:counter|anti)[-\s_]*)+clock[-_]?wise(?!{_LETTER})", re.IGNORECASE)
_CLOCK_WISE = re.compile(rf"(?<!{_LETTER})clock[-_]wise(?!{_LETTER})", re.IGNORECASE)
_TOKEN = re.compile(rf"['’][A-Za-z]+(?!{_LETTER})|{_LETTER}+|\d+(?:[.,]\d+)*|[^\w\s]|_")

# L and R alone are swapped only where nothing else can be meant: before a body part, in brackets of their own, as LH/RH
# (not the relative humidity "RH 40").
_ABBREVIATION = re.compile(
    r"(?<![\w'’.])(?:"
    r"(?P<hand>[LR])(?=[ \-_](?:hand|arm|wrist|thumb|index|middle|ring|pinky|finger|palm|fist|side|foot|leg|elbow)s?\b)"
    r"|(?<=[(\[])(?P<bracket>[LR])(?=[)\]])"
    r"|(?P<h>[LR])H(?![\w])(?!\s*[:=]?\s*\d)"
    r")"
)

# runs of two and more (左右: "about", "both sides") mean the same mirrored
_HAN_SIDE = re.compile(r"(?<!座)[左右]+")
_HAN_TURN = re.compile(r"(?<![顺順逆])[顺順逆](?=[时時]针|[时時]針)")
_JA_TURN = re.compile(r"(?<!反)(反?)(?=時計回り|時計まわり)")
_KO_SIDE = re.compile(r"(?<![오왼])(왼|오른)(?=쪽|손|팔)")
_KO_TURN = re.compile(r"(?<!반)(반?)(?=시계\s?방향)")

_FOREIGN = re.compile(
    r"\b(?:links|rechts|linke[nrs]?|rechte[nrs]?|gauche|droite|izquierd[ao]s?|derech[ao]s?|sinistr[ao]|destr[ao]|"
    r"esquerd[ao]s?|direit[ao]s?|uhrzeigersinn)\b",
    re.IGNORECASE,
)


def canonical_spelling(text: str) -> str:
    """``text`` with every spelling of counter-clockwise written ``counterclockwise`` and ``clock-wise`` in one word."""
    text = _COUNTERCLOCKWISE.sub(lambda m: _cased("counterclockwise", m.group(0)), text)
    return _CLOCK_WISE.sub(lambda m: _cased("clockwise", m.group(0)), text)


def swap_left_right(text: str) -> str:
    """The sentence as it reads of the mirrored picture. Case and punctuation are kept.

    ``swap_left_right(swap_left_right(s)) == canonical_spelling(s)`` for every string.
    """
    text = canonical_spelling(text)
    out, position = [], 0
    tokens = _tokens(text)
    for i, token in enumerate(tokens):
        if not _swappable(token) or (token.neutral == SIDE and not is_direction(tokens, i)):
            continue
        out.append(text[position : token.start])
        out.append(_cased(_OTHER[token.text.lower()], token.text))
        position = token.end
    out.append(text[position:])
    return _swap_other_scripts(_ABBREVIATION.sub(_swap_letter, "".join(out)))


def mirror_flags(text: str) -> tuple[str, ...]:
    """Why a swapped sentence may not be trusted; empty for plain English.

    ``ambiguous``: a side word read as a direction where the other reading is possible too. ``foreign_side_word``: a
    side word of another Latin-script language, left untouched. ``script``: letters of a script without rules here.
    ``odd_case``: a side word in mixed case, left untouched. ``compound``: a side word inside a longer identifier.
    """
    flags = []
    tokens = _tokens(canonical_spelling(text))
    if any(t.neutral == SIDE and is_ambiguous(tokens, i) for i, t in enumerate(tokens)):
        flags.append("ambiguous")
    if _FOREIGN.search(text):
        flags.append("foreign_side_word")
    if any(c.isalpha() and not _known_script(c) for c in text):
        flags.append("script")
    if any(t.text.lower() in _OTHER and not _swappable(t) for t in tokens):
        flags.append("odd_case")
    if re.search(r"(?:left|right)(?=[A-Z][a-z])|[a-z](?:Left|Right)(?![a-z])", text):
        flags.append("compound")
    return tuple(flags)


def _tokens(text: str) -> list[Token]:
    return [
        Token(m.group(0), _neutral(m.group(0)), m.start(), m.end())
        for m in _TOKEN.finditer(text)
    ]  # fmt: skip


def _neutral(word: str) -> str:
    lower = word.lower().replace("’", "'")
    return _NEUTRAL.get(lower, lower) if _regular_case(word) else lower


def _swappable(token: Token) -> bool:
    return token.text.lower() in _OTHER and _regular_case(token.text)


def _regular_case(word: str) -> bool:
    return word in (word.lower(), word.upper(), word.capitalize())


def _cased(word: str, like: str) -> str:
    letters = [c for c in like if c.isalpha()]
    if len(letters) > 1 and all(c.isupper() for c in letters):
        return word.upper()
    return word.capitalize() if letters[0].isupper() else word


def _swap_letter(match: re.Match[str]) -> str:
    return match.group(0).translate(str.maketrans("LR", "RL"))


def _swap_other_scripts(text: str) -> str:
    if text.isascii():
        return text
    flip = str.maketrans("左右", "右左")
    text = _HAN_SIDE.sub(lambda m: m.group(0).translate(flip) if len(m.group(0)) == 1 else m.group(0), text)
    # simplified and traditional clockwise differ, counterclockwise does not: the following character tells which
    text = _HAN_TURN.sub(lambda m: "逆" if m.group(0) != "逆" else ("顺" if text[m.end()] == "时" else "順"), text)
    text = _JA_TURN.sub(lambda m: "" if m.group(1) else "反", text)
    text = _KO_SIDE.sub(lambda m: "오른" if m.group(1) == "왼" else "왼", text)
    return _KO_TURN.sub(lambda m: "" if m.group(1) else "반", text)


def _known_script(char: str) -> bool:
    name = unicodedata.name(char, "")
    return name.startswith(("LATIN", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "FULLWIDTH LATIN", "MICRO", "MASCULINE",
                            "FEMININE", "MODIFIER"))  # fmt: skip
