"""Words the paraphrase check must know apart: verbs and function words may change, what is left are objects.

A small closed vocabulary instead of a tagger: what it does not know counts as an object noun and is protected, so a gap
costs a paraphrase and never a meaning.
"""

from __future__ import annotations

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: base forms of what hands do; the inflected forms are made by rule below
VERBS = _set(
    "add adjust align apply arrange assemble attach beat begin bend bring brush button carry catch chop clean "
    "clear clip  close collect connect continue cover crack cut deliver detach disassemble disconnect dip "
    "dispense do drag drain drop  dry empty extend fasten feed fetch fill finish fix flip fold gather get give go "
    "grab grasp grind grip hand hang  hold insert inspect join keep knead lay lean leave lift load lock loosen "
    "lower maintain make manipulate mix move  open operate pack peel perform pick place plug point position pour "
    "prepare press proceed pull push put raise reach  release remain remove replace rest retract retrieve return "
    "rinse roll rotate rub scoop scrape screw scrub seal  secure separate set sew shake shift shut slice slide "
    "spin split spray spread sprinkle squeeze stack start stay  stir stop store straighten stretch swap sweep "
    "swing switch take tap tear throw tidy tie tighten tilt touch transfer  travel turn twist unbutton unfold "
    "unlock unpack unplug unscrew untie unwrap use wait wash wave wear weigh wind wipe  wrap zip carry execute "
    "complete accomplish set ensure try want need see shows show happen begin end"
)
_IRREGULAR = _set(
    "held took taken put gave given brought caught hung kept laid left let made went gone got gotten set shook "
    "shaken  slid spun split spread stuck swept swung tore torn threw thrown wore worn wound bent began begun cut "
    "chose did done  drew drawn fed ground rose seen sewn shown shut stood tied wove lying tying"
)
FUNCTION = _set(
    "a an the this that these those it its they them their his her your you my one some any all each every both "
    "and or  but then while as so because if when after before during until once next now please be is are was "
    "were been being  am do does did has have had having will would can could should shall may might must to of "
    "in on onto into at by  for from with without within about around over under above below between through "
    "across along against near toward  towards off out up down back away inside outside top there here where what "
    "which who how not no only just also  again together apart slowly gently carefully quickly firmly lightly "
    "smoothly steadily securely by using via same  own other another more less most very until per than upon time "
    "moment step task goal action motion movement  way order place hand hands side camera wearer person user "
    "let's go ahead i'd like us we i meanwhile keep whole  following aim job instruction instructions direction "
    "here's is's 's s t"
)

_NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_NUMBERS = {word: str(value) for value, word in enumerate(_NUMBER_WORDS)} | {
    "once": "1x",
    "twice": "2x",
    "thrice": "3x",
    "half": "1/2",
    "dozen": "12",
    "pair": "2p",
    "single": "1",
}

#: words whose change changes the motion; opposites must not be exchanged, and none may come or go
DIRECTIONS = _set(
    "left right leftmost rightmost leftward leftwards rightward rightwards up down upward upwards downward "
    "downwards  forward forwards backward backwards back inward inwards outward outwards above below under over "
    "top bottom front  behind inside outside horizontally vertically sideways diagonally upper lower in out into "
    "onto off away toward  towards together apart"
)
#: of these, a paraphrase may drop or add some freely: they are as often grammar as direction
SOFT_DIRECTIONS = _set("in out into onto off away toward towards over under top back up down inside")
TURNS = _set("clockwise counterclockwise cw ccw")
HANDS = _set("left right both two-handed bimanual bimanually left-handed right-handed")
OPPOSITES = tuple(
    tuple(pair.split("/"))
    for pair in (
        "open/close", "open/shut", "lift/lower", "push/pull", "insert/remove", "attach/detach", "tighten/loosen",
        "lock/unlock", "fold/unfold", "screw/unscrew", "plug/unplug", "pick/place", "fill/empty", "pack/unpack",
        "tie/untie",
    )
)  # fmt: skip

_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*(?:'[a-z]+)?|\d+(?:[.,/]\d+)*")


def tokens(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return _WORD.findall(text.lower().replace("’", "'"))


def number(token: str) -> str | None:
    """The number a token says, in one spelling; None for other words."""
    if token[0].isdigit():
        return token.replace(",", ".")
    return _NUMBERS.get(token)


def verb_stem(word: str) -> str | None:
    """The base form of a known verb, else None."""
    if word in VERBS or word in _IRREGULAR:
        return word
    for ending in ("ies", "es", "s", "ied", "ed", "d", "ing"):
        if not word.endswith(ending) or len(word) - len(ending) < 2:
            continue
        root = word[: -len(ending)]
        doubled = root[:-1] if len(root) > 2 and root[-1] == root[-2] else root
        for candidate in (root, f"{root}e", f"{root}y", doubled):
            if candidate in VERBS:
                return candidate
    return None


def singular(word: str) -> str:
    """One spelling for a noun's singular and plural (good enough to compare, not to print)."""
    for ending, instead in (("ies", "y"), ("ves", "f"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + instead
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word
