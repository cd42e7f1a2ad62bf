"""Checks of a conversation before anything is decoded. They refuse, or make one of the few changes that cannot change
the meaning, and name it: nothing is ever filled in.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from pydantic import Field

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.talk import IMAGE, VIDEO, Talk, Turn


class TextSettings(Settings):
    """``max_repetition``: share of repeated 10-grams of words in an answer. ``max_tokens``: text and visual tokens of a
    row at 224 px; the official packer takes 8704."""

    max_repetition: float = Field(default=0.4, ge=0, le=1)
    max_tokens: int = Field(default=8192, ge=16)
    max_images: int = Field(default=64, ge=1)


_BOM = "\ufeff"
#: tokens of chat templates and of the backbone's own markup; inside a text they would act as the template
_TEMPLATE = re.compile(
    r"<\|(?:im_start|im_end|endoftext|vision_start|vision_end|eot_id|begin_of_text|start_header_id|end_header_id)\|>"
    r"|<IMG_CONTEXT>|</?img>|\[/?INST\]|<<SYS>>|</s>(?=\s*(?:USER|ASSISTANT|$))"
)
#: UTF-8 read as Latin-1 or cp1252, once or twice; the replacement character
_MOJIBAKE = re.compile(
    "\u00c3[\u0080-\u00bf\u0192\u201a]|\u00e2\u20ac[\u0098-\u00bf\u2122\u0153\u009d\u201c]|\u00c2[\u00a0-\u00bf](?=\\w)|\ufffd"
)
_N = 10


def check(talk: Talk, settings: TextSettings, where: str) -> None:
    """Roles, order, texts and placeholders of a talk; fixes go into ``talk.fixes``.

    Raises:
        Reject: ROLE_ORDER, TURN_EMPTY_TEXT, ENCODING, PLACEHOLDER_MISSING, PLACEHOLDER_EXTRA, PLACEHOLDER_IN_ANSWER,
            REPETITION, OVERLENGTH.
    """
    turns = [t for t in talk.turns if t.role != "system"]
    if len(turns) != len(talk.turns) and talk.turns[0].role != "system":
        raise Reject(Reason.ROLE_ORDER, f"{where}: a system turn that is not the first")
    expected = ["user", "assistant"] * (len(turns) // 2 + 1)
    if [t.role for t in turns] != expected[: len(turns)] or len(turns) % 2 or not turns:
        roles = ", ".join(t.role for t in turns[:6])
        raise Reject(Reason.ROLE_ORDER, f"{where}: turns are {roles or 'none'}; question and answer must alternate")
    for i, turn in enumerate(talk.turns):
        _text(turn, f"{where}, turn {i}", talk)
    if len(talk.pictures) > settings.max_images:
        raise Reject(
            Reason.OVERLENGTH, f"{where}: {len(talk.pictures)} pictures, over text.max_images = {settings.max_images}"
        )
    _placeholders(talk, turns, where)
    for i, turn in enumerate(talk.turns):
        if turn.role == "assistant" and (share := repetition(turn.plain)) > settings.max_repetition:
            raise Reject(Reason.REPETITION, f"{where}, turn {i}: {share:.0%} of its word 10-grams are repeated")


def _text(turn: Turn, where: str, talk: Talk) -> None:
    for k, part in enumerate(turn.parts):
        if isinstance(part, str) and _BOM in part:
            turn.parts[k] = part.replace(_BOM, "")
            talk.fixes.append("byte_order_mark")
        elif isinstance(part, str) and "\r" in part:
            turn.parts[k] = part.replace("\r\n", "\n").replace("\r", "\n")
            talk.fixes.append("line_ends")
    text = turn.plain
    if not text.replace(IMAGE, "").replace(VIDEO, "").strip() and not turn.marks:
        raise Reject(Reason.TURN_EMPTY_TEXT, f"{where}: no text")
    for mark in turn.marks:
        text += mark.label
    if found := _TEMPLATE.search(text):
        raise Reject(Reason.ENCODING, f"{where}: holds {found[0]!r}, which would act as part of the chat template")
    if found := _MOJIBAKE.search(text):
        raise Reject(Reason.ENCODING, f"{where}: text was decoded wrongly somewhere ({found[0]!r})")
    if bad := next((c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"), None):
        raise Reject(Reason.ENCODING, f"{where}: holds the control character U+{ord(bad):04X}")


def _placeholders(talk: Talk, turns: list[Turn], where: str) -> None:
    """One ``<image>`` per picture in the questions, or one ``<video>``."""
    for i, turn in enumerate(talk.turns):
        if turn.role == "assistant" and (IMAGE in turn.plain or VIDEO in turn.plain):
            raise Reject(Reason.PLACEHOLDER_IN_ANSWER, f"{where}, turn {i}: a placeholder inside an answer")
    if talk.film is not None:
        # LLaVA-Video writes <image> where the video stands
        for turn in turns:
            turn.parts = [p.replace(IMAGE, VIDEO) if isinstance(p, str) else p for p in turn.parts]
    token, wanted = (VIDEO, 1) if talk.film is not None else (IMAGE, len(talk.pictures))
    other = IMAGE if talk.film is not None else VIDEO
    found = sum(t.plain.count(token) for t in talk.turns)
    if any(other in t.plain for t in talk.turns):
        raise Reject(Reason.PLACEHOLDER_EXTRA, f"{where}: a {other} and no such medium in the row")
    if found > wanted:
        raise Reject(Reason.PLACEHOLDER_EXTRA, f"{where}: {found} {token} for {wanted} of them")
    if found == 0 and wanted == 1:
        turns[0].parts = [f"{token}\n", *turns[0].parts]
        talk.fixes.append("placeholder_prepended")
    elif found < wanted:
        raise Reject(Reason.PLACEHOLDER_MISSING, f"{where}: {found} {token} for {wanted} of them")
    elif wanted == 1 and token in turns[0].plain and not turns[0].plain.lstrip().startswith(token):
        _to_front(turns[0], token, talk)


def _to_front(turn: Turn, token: str, talk: Talk) -> None:
    """A placeholder at the end of the first question goes to its front (LLaVA-v1.5 and Qwen write it there); one in the
    middle of the sentence is part of it and stays."""
    last = turn.parts[-1]
    if not isinstance(last, str) or not last.rstrip().endswith(token):
        return
    turn.parts[-1] = last.rstrip()[: -len(token)].rstrip()
    turn.parts = [f"{token}\n", *(p for p in turn.parts if p != "")]
    talk.fixes.append("placeholder_moved_to_front")


def repetition(text: str) -> float:
    """Share of word 10-grams that occurred before in the text; 0 for texts of fewer than twenty words."""
    words = text.split()
    if len(words) < 2 * _N:
        return 0.0
    grams = Counter(tuple(words[i : i + _N]) for i in range(len(words) - _N + 1))
    total = sum(grams.values())
    return (total - len(grams)) / total
