"""Sentences of an RLDS episode, each with its steps: byte strings per step, or code points padded with zeros.

Legend: T steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import Level, Text

MAX_SENTENCE = 4000  # characters; longer is no sentence


class Language(Settings):
    """What ``language:`` of an RLDS data-set file may say."""

    columns: dict[str, Level] = Field(
        default={"language_instruction": "task"}, description="text features of the steps"
    )
    code_points: dict[str, Level] = Field(
        default_factory=dict, description="integer features that spell a sentence, one code point per column"
    )
    episode: dict[str, Level] = Field(default_factory=dict, description="text features of the episode")
    skip: list[str] = Field(default_factory=list, description="regexes of sentences that say nothing")
    separator: str = Field(default="", description="regex between parts of one string; each part is a sentence")
    parts: list[Level | None] = Field(default_factory=list, description="level of each part, null: left out")
    task: str = Field(default="", description="the sentence of every episode, where the files have none")


def words_of(
    texts: dict[str, list[bytes]], numbers: dict[str, np.ndarray], steps: int, spec: Language, where: str
) -> tuple[list[Text], list[Reject]]:
    """Sentences in order of level and start; a string that cannot be read costs one ``row`` loss."""
    out: list[Text] = []
    lost: list[Reject] = []
    for name, level in spec.columns.items():
        if name in texts:
            _add(out, lost, texts[name], level, steps, spec, f"{where}: {name}")
    for name, level in spec.code_points.items():
        if name in numbers:
            _add(out, lost, [_spelled(row) for row in numbers[name]], level, steps, spec, f"{where}: {name}")
    for name, level in spec.episode.items():
        if name in texts:
            _add(out, lost, texts[name][:1] * steps, level, steps, spec, f"{where}: {name}")
    if spec.task and not any(t.level == "task" for t in out):
        out.append(Text(spec.task, "task", 0, steps))
    if not out and not lost:
        lost.append(Reject(Reason.NO_TEXT, f"{where}: the data set says no sentence about this episode", level="row"))
    order = {"task": 0, "subtask": 1, "step": 2}
    return sorted(out, key=lambda t: (order[t.level], t.start)), lost


def _add(
    out: list[Text], lost: list[Reject], values: Sequence[bytes], level: Level, steps: int, spec: Language, where: str
) -> None:
    if len(values) != steps:
        message = f"{where}: {len(values)} strings for {steps} steps; correct the wrong one"
        lost.append(Reject(Reason.CONTRADICTION, message, level="row"))
        return
    for value, start, stop in _runs(values):
        try:
            text = value.decode("utf-8").strip()
        except UnicodeDecodeError:
            lost.append(Reject(Reason.WRONG_TYPE, f"{where}: step {start} is no UTF-8 text", level="row"))
            continue
        if len(text) > MAX_SENTENCE:
            lost.append(Reject(Reason.OVERLENGTH, f"{where}: step {start} has {len(text)} characters", level="row"))
            continue
        for part, rank in _parts(text, level, spec):
            if part and not any(re.fullmatch(s, part) for s in spec.skip):
                out.append(Text(part, rank, start, stop))


def _parts(text: str, level: Level, spec: Language) -> list[tuple[str, Level]]:
    """A string's sentences with their levels; one that has other parts than declared is one sentence of ``level``."""
    if not spec.separator:
        return [(text, level)]
    found = [part.strip() for part in re.split(spec.separator, text)]
    if not spec.parts:
        return [(part, level) for part in found]
    if len(found) != len(spec.parts):
        return [(text, level)]
    return [(part, rank) for part, rank in zip(found, spec.parts) if rank is not None]


def _runs(values: Sequence[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """``(value, first, stop)`` of every run of equal strings."""
    start = 0
    for t in range(1, len(values) + 1):
        if t == len(values) or values[t] != values[start]:
            yield values[start], start, t
            start = t


def _spelled(row: np.ndarray) -> bytes:
    """Code points up to the first zero; what is no character cannot be decoded, and is told as that."""
    points = [int(p) for p in row]
    points = points[: points.index(0)] if 0 in points else points
    if any(not 0 < p < 0x110000 or 0xD800 <= p < 0xE000 for p in points):
        return b"\xff"
    return "".join(map(chr, points)).encode("utf-8")
