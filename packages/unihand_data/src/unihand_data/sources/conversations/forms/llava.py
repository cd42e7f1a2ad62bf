"""Rows of the LLaVA kind, and those that differ from it in a key or two.

``llava``: ``{id, image | images | video, conversations}`` (LLaVA-v1.5, -OneVision, -Video, RoboPoint, RefSpatial,
AS-V2, ShareRobot planning, the Qwen finetune format). ``finevision``: ``{images, texts [{user, assistant}]}``, ratings.
``eo``: the same with Arrow images, LeRobot references and action tokens. ``molmoact``: a visual trace in an answer.
"""

from __future__ import annotations

import re
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.forms.common import column, listed, talk, text, turn, turns_of
from unihand_data.sources.conversations.pictures import Finder
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.conversations.talk import IMAGE, Talk, Turn
from unihand_data.untrusted.tables import need

_ACTION_TOKENS = re.compile(r"<vla>|<\|?(?:action|state)[_|>]|<\|(?:action|state)_(?:start|end|pad)\|>", re.I)
_DEPTH = re.compile(r"[^.\n]*<DEPTH_START>.*?<DEPTH_END>\s*\.?\s*", re.S)
_ACTION_SENTENCE = re.compile(
    r"(?:Based on|Along with|According to) (?:these|this|the)[^.]*\baction\b.*\Z", re.S | re.I
)


def llava(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """A row of the LLaVA kind. A row without picture and video is text alone, as ShareGPT's rows are."""
    found = talk(spec, row.get("id", ""), turns_of(need(row, "conversations", where), spec, where))
    images = row.get("image", row.get("images"))
    if images is not None and row.get("video") is not None:
        raise Reject(Reason.UNSUPPORTED, f"{where}: has both image and video; give it as two rows")
    if images is not None:
        values = images if isinstance(images, list) else [images]
        if not values:
            raise Reject(Reason.MISSING_FILE, f"{where}: its list of images is empty")
        found.pictures = [finder.embedded(v, where) for v in values]
    elif row.get("video") is not None:
        videos = row["video"] if isinstance(row["video"], list) else [row["video"]]
        if len(videos) != 1:
            raise Reject(Reason.UNSUPPORTED, f"{where}: {len(videos)} videos in one row")
        found.film = finder.film(videos[0], where)
        if row.get("frame") is not None:
            frames = listed(row["frame"], where, "frame")
            if not frames or not all(isinstance(f, int) and not isinstance(f, bool) and f >= 0 for f in frames):
                raise Reject(Reason.BAD_VALUE, f"{where}: frame is no list of frame numbers")
            found.film.frames = frames
    return found


def finevision(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """FineVision: no placeholder in the texts; one per picture goes before the first question. Turns below a rating of
    ``min_rating`` are left out one by one; a rating that is missing (None) says nothing and leaves the turn."""
    images = row.get("images")
    pairs = listed(need(row, "texts", where), where, "texts")
    turns: list[Turn] = []
    losses: list[Reject] = []
    for i, pair in enumerate(pairs):
        at = f"{where}, turn {i}"
        low = _low_rating(row, spec, i)
        if low:
            losses.append(Reject(Reason.LOW_RATING, f"{at}: {low}", level="clip"))
            continue
        question = text(need(pair, "user", at), at, "user")
        answer = text(need(pair, "assistant", at), at, "assistant")
        turns += [turn("user", question.replace(IMAGE, "").strip(), spec, at), turn("assistant", answer, spec, at)]
    if not turns:
        if losses:
            raise Reject(Reason.LOW_RATING, f"{where}: every turn is rated too low, the first: {losses[0].message}")
        raise Reject(Reason.EMPTY, f"{where}: no turns")
    found = talk(spec, row.get("source", ""), turns)
    found.losses = losses
    found.pictures = [finder.embedded(v, where) for v in (listed(images, where, "images") if images else [])]
    if found.pictures:
        turns[0].parts = [f"{IMAGE}\n" * len(found.pictures), *turns[0].parts]
        found.fixes.append("placeholder_prepended")
    return found


def _low_rating(row: dict[str, Any], spec: CorpusSpec, i: int) -> str:
    for name, least in spec.min_rating.items():
        ratings = row.get(f"{name}_ratings")
        rating = ratings[i] if isinstance(ratings, list) and i < len(ratings) else None
        if isinstance(rating, int | float) and rating < least:
            return f"{name} is rated {rating}, below {least}"
    return ""


def eo(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """EO-Data1.5M: question-answer rows with their pictures in the row. Rows that hold action or state tokens belong to
    the robot branch, rows whose pictures are frames of a LeRobot set need that set; both are said, neither is bent."""
    conversations = need(row, "conversations", where)
    if _ACTION_TOKENS.search(str(conversations)):
        raise Reject(Reason.UNSUPPORTED, f"{where}: holds action or state tokens, which are no text of a conversation")
    if row.get("lerobot"):
        raise Reject(
            Reason.MISSING_FILE,
            f"{where}: its pictures are frames of {str(row['lerobot'])[:80]!r}, which is not part of this corpus",
        )
    return llava({k: v for k, v in row.items() if v is not None}, spec, finder, where)


def molmoact(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """MolmoAct: a question, and an answer that may hold depth tokens, a visual trace (ints of 256) and a robot action.
    The backbone has no depth tokens, and an action is no text: those sentences go; a row without a trace then is
    refused.
    """
    value = need(need(row, "conversations", where), "value", f"{where}: conversations")
    pair = listed(value, where, "conversations.value")
    if len(pair) < 2:
        raise Reject(
            Reason.EMPTY, f"{where}: conversations.value has {len(pair)} entries, a question and an answer belong"
        )
    question, answer = (text(v, where, "conversations.value") for v in pair[:2])
    kept = _ACTION_SENTENCE.sub("", _DEPTH.sub("", answer)).strip()
    turns = [turn("user", question, spec, where), turn("assistant", kept, spec, where)]
    if not turns[1].marks:
        raise Reject(Reason.UNSUPPORTED, f"{where}: the answer is depth or action tokens alone, no trace")
    found = talk(spec, row.get("id", ""), turns)
    if kept != answer.strip():
        found.fixes.append("depth_and_action_left_out")
    names = [n for n in (column(spec, "image"), "primary", "secondary", "wrist") if row.get(n) is not None]
    if not names:
        raise Reject(Reason.MISSING_FILE, f"{where}: no picture (image, primary, secondary, wrist)")
    found.pictures = [finder.embedded(row[n], where) for n in names]
    if IMAGE not in turns[0].plain:
        turns[0].parts = [f"{IMAGE}\n" * len(names), *turns[0].parts]
        found.fixes.append("placeholder_prepended")
    return found
