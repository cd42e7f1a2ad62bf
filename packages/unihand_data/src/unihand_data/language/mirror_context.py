"""Whether a "left" or "right" is a direction, decided on tokens that do not tell the two apart.

Every rule sees the same neutral token for both words; see :mod:`mirror_words` for why. The rules are an ordered list:
what is certain first (a body part follows; a fixed phrase), then what precedes the word, then what follows it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Token:
    """A word, number or punctuation mark with its span; ``neutral`` is what the rules may look at."""

    text: str
    neutral: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        return self.neutral[0].isalnum() or self.neutral[0] == "<" or len(self.neutral) > 1


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PART = _set(
    "hand hands handed hander handedly handside arm arms wrist wrists finger fingers thumb thumbs palm palms fist "
    "fists  index middle ring pinky forearm elbow shoulder foot feet leg legs knee eye ear cheek glove gloves "
    "sleeve side sides  edge edges corner corners end half row column border margin wall turn lane button drawer "
    "door burner shelf pocket  gripper grippers knuckle knuckles fingertip fingertips shoe sock hip heel toe"
)
_CORRECT = _set(  # "the right amount": what is correct, not where it is
    "angle angles angled triangle triangles amount amounts way time moment place spot order size tool temperature "
    "answer  thing things track fit height length tension pressure consistency speed shape word words choice kind "
    "type  combination person setting mix balance mood mindset idea"
)
_DETERMINER = _set("the a an this that these those his her my your their our its it him them me us each every another")
_BEFORE_NOUN = _set(
    "the a an this that these those his her my your their our its each every another other opposite same whole  far "
    "upper lower top bottom front rear center centre near outer inner middle extreme hard slight slightly further "
    "farther only user wearer first second third"
)
_PREPOSITION = _set("to from toward towards on at in with by using of via into onto for facing")
_HAVE = _set("has have had having 've hasn't haven't")
_BE = _set("is are was were be been being remains remain remained 're gets get got am")
_ADVERB = _set("just already since now never recently finally also still ever not only")
_PRONOUN = _set("i he she they we who it c o someone somebody everyone everybody people man woman person lady boy girl")
_SHORT_BE_SUBJECT = _set("what that it there he she who here nothing everything anything something one all this")
_QUANTITY = _set(
    "nothing anything something everything none much little few any some enough many bit lot still remaining more "
    "time  half most one two three four five six seven eight nine ten what whatever all rest"
)
_UNIT = _set(
    "cm mm m km inch inches meter meters metre metres centimeter centimeters centimetre centimetres millimeter "
    "millimeters degree degrees deg step steps foot feet px pixels"
)
_MOTION_STEMS = _set(
    "mov shift slid go goes going turn rotat swing swung tilt lean steer veer travel head step look sweep swept "
    "drift  bend bent twist curv roll glanc point proceed walk driv push pull drag bring carr nudg slip pan tap "
    "reach  translat displac sway wav flick spin"
)
_NOT_MOTION = _set("good gone point points head heads hand pan pans rolls")  # read as nouns more often
_ALWAYS_EMPHASIS = _set("now here there then beside alongside alone afterwards along unattended untouched")
_MAYBE_EMPHASIS = _set(
    "in on at into onto above below under underneath beneath behind before after against beyond down up off out "
    "back  over inside across where when as by outside near between until around upon amid open empty closed idle "
    "overs"
)
_VERDICT = _set("exactly just quite perfectly feels feel seems seem sounds")
_HANDISH = _set("hand hands side direction arm handedness dominant button turn")
_DISCOURSE = _set("so now okay ok let i we well then guys")
_CLAUSE_END = frozenset(".,;:!?)]")


def is_direction(tokens: list[Token], i: int) -> bool:
    """Whether token ``i`` (a neutral side word) names a side and is to be swapped."""
    return _decide(tokens, i)[0]


def is_ambiguous(tokens: list[Token], i: int) -> bool:
    """Whether the decision could well have been the other one."""
    return _decide(tokens, i)[1]


def _decide(tokens: list[Token], i: int) -> tuple[bool, bool]:
    """(direction, ambiguous)."""
    before, after = _words(tokens, i, -1), _words(tokens, i, +1)
    p1, n1, n2 = (*before, "")[0], (*after, "", "")[0], (*after, "", "")[1]
    mark_before, mark_after = _mark(tokens, i - 1), _mark(tokens, i + 1)
    moving = any(_is_motion(w) for w in before[:6])

    if (n1, n2) in (("side", "up"), ("of", "way")):
        return False, False
    if n1 in _PART:
        return True, False
    if n1 in _CORRECT:
        return False, False
    if (n1, n2) == ("next", "to") or n1 in _ALWAYS_EMPHASIS:
        return False, False
    if n1 == "away":
        direction = moving and n2 == "from"
        return direction, direction
    if mark_after == "?" and ((mark_before == "," and not _is_place(_before_mark(tokens, i))) or _is_tag(p1, before)):
        return False, False
    if (
        not before
        and not mark_before
        and ((mark_after == "," and _after_mark(tokens, i) in _DISCOURSE) or mark_after == "!")
    ):
        return False, False
    if p1 == "all" or (p1 in _VERDICT and not n1):
        return False, False
    if p1 == "to" and n1 in _DETERMINER:
        return False, False  # to right the cup
    if n1 == "over" and p1 in _BEFORE_NOUN and n2 not in _DETERMINER | {"to"} and not moving:
        return False, False  # the left over rice
    if _is_motion(p1) or p1 in _BEFORE_NOUN or p1 in _PREPOSITION or p1 in _UNIT:
        return True, False
    return _by_subject(before, after, moving)


def _by_subject(before: list[str], after: list[str], moving: bool) -> tuple[bool, bool]:
    """What is left of the decision: verbs of leaving and remaining, emphasis, else a direction."""
    p1, p2, n1 = (*before, "", "")[0], (*before, "", "")[1], (*after, "")[0]
    if p1 == "'s":
        return (False, False) if p2 in _SHORT_BE_SUBJECT else (True, False)
    if p1 in _HAVE or (p1 in _ADVERB and p2 in _HAVE):
        return False, False
    if p1 in _BE or (p1 in _ADVERB and p2 in _BE):
        if n1 == "of":
            return not any(w in _QUANTITY for w in before[1:5]), False
        if n1 in ("", "and", "or", "but") and any(w in _HANDISH for w in before[1:5]):
            return True, True
        return False, False
    if n1 == "of":
        return not any(w in _QUANTITY for w in before[:1]), False
    if p1 in _PRONOUN and not moving:
        return False, False
    if (p1 in _QUANTITY or p1.isdigit()) and not moving:
        return False, True
    if n1 in _DETERMINER and not moving:
        return False, False  # left the room; right the cup
    if n1 in _MAYBE_EMPHASIS:
        return moving, True
    return True, False


def _is_motion(word: str) -> bool:
    return word not in _NOT_MOTION and any(
        word == s or (word.startswith(s) and len(word) - len(s) <= 4 and len(s) > 2) for s in _MOTION_STEMS
    )


def _is_place(word: str) -> bool:
    return word in ("<left>", "up", "down", "forward", "back", "backward", "straight")


def _is_tag(p1: str, before: list[str]) -> bool:
    """ "..., the lid goes here right?": a question mark after a word that cannot lead up to a side."""
    return bool(before) and not (
        p1 in _BEFORE_NOUN or p1 in _PREPOSITION or p1 in ("or", "and", "go") or _is_motion(p1) or p1 in _UNIT
    )


def _words(tokens: list[Token], i: int, step: int) -> list[str]:
    """Up to seven words on one side, nearest first, within the clause; hyphens and underscores are seen through."""
    out: list[str] = []
    j = i + step
    while 0 <= j < len(tokens) and len(out) < 7:
        token = tokens[j]
        if token.is_word:
            out.append(token.neutral)
        elif token.neutral not in "-_/\"“”'’*":
            break
        j += step
    return out


def _mark(tokens: list[Token], j: int) -> str:
    return tokens[j].neutral if 0 <= j < len(tokens) and tokens[j].neutral in _CLAUSE_END else ""


def _before_mark(tokens: list[Token], i: int) -> str:
    return tokens[i - 2].neutral if i >= 2 else ""


def _after_mark(tokens: list[Token], i: int) -> str:
    return tokens[i + 2].neutral if i + 2 < len(tokens) else ""
