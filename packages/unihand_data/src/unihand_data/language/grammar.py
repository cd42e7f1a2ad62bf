"""The template grammar: rewordings without a model.

Two moves, in an order fixed by the text's hash: exchange the leading verb of an imperative for one that says the same
of any object ("take" for "pick up"), and set the sentence into a frame ("The next step is to ..."). Statements ("The
left hand moves up") get frames for statements. No noun, hand, direction or number is touched; every wording is still
checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from unihand_data.language.lexicon import VERBS

GRAMMAR_VERSION = "grammar-v1"

#: what a leading verb may be replaced by, whatever its object ("turn" is not here: a page is not rotated)
_SYNONYMS: dict[str, tuple[str, ...]] = {
    "pick up": ("take",),
    "take hold of": ("grasp", "grab"),
    "grab": ("grasp", "take hold of"),
    "grasp": ("grip", "take hold of"),
    "put": ("place",),
    "place": ("put",),
    "close": ("shut",),
    "shut": ("close",),
    "collect": ("gather",),
    "gather": ("collect",),
    "lift": ("raise",),
    "raise": ("lift",),
    "fetch": ("get",),
}
_PARTICLES = ("on", "off", "up", "down", "out", "away", "in", "over", "back", "to", "together")
_IMPERATIVE_FRAMES = (
    "Please {low}.",
    "The next step is to {low}.",
    "Your task: {low}.",
    "Now {low}.",
    "Go ahead and {low}.",
    "You should {low}.",
    "{cap}, please.",
    "Here is what to do: {low}.",
)
_STATEMENT_FRAMES = (
    "In this moment, {low}.",
    "What happens here: {low}.",
    "You can see that {low}.",
    "During this motion, {low}.",
    "In this step, {low}.",
    "Here {low}.",
)


def variants(text: str) -> Iterator[tuple[str, str]]:
    """(template id, wording) of a sentence, in an order fixed by the text.

    Text that is not one plain sentence (several, a question, no Latin letters) has none.
    """
    core = text.strip().rstrip(".").strip()
    if not core or any(mark in core for mark in ".?!\n;") or not core[0].isascii() or not core[0].isalpha():
        return
    imperative = core.split()[0].lower() in VERBS
    frames = _IMPERATIVE_FRAMES if imperative else _STATEMENT_FRAMES
    shift = _hash(text)
    wordings: list[tuple[str, str]] = []
    for number, other in enumerate(_exchanged(core) if imperative else []):
        wordings.append((f"{GRAMMAR_VERSION}/verb-{number:02d}", f"{_cap(other)}."))
    kind = "imp" if imperative else "sta"
    for number, frame in enumerate(frames):
        wordings.append((f"{GRAMMAR_VERSION}/{kind}-{number:02d}", frame.format(low=_low(core), cap=_cap(core))))
    yield from (wordings[(i + shift) % len(wordings)] for i in range(len(wordings)))


def _exchanged(core: str) -> list[str]:
    lower = core.lower()
    for verb, others in _SYNONYMS.items():
        if lower.startswith(f"{verb} "):
            rest = core[len(verb) :]
            # "put on the gloves", "lift off": a particle binds to its verb
            return [] if rest.split()[0].lower() in _PARTICLES else [other + rest for other in others]
    return []


def _low(core: str) -> str:
    first = core.split(" ", 1)[0]
    return core[0].lower() + core[1:] if first.istitle() and len(first) > 1 else core


def _cap(core: str) -> str:
    return core[0].upper() + core[1:]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{GRAMMAR_VERSION}:{text}".encode(), digest_size=4).digest(), "little")
