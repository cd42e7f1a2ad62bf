"""Sentences and labels of a LeRobot episode, each with its steps.

Levels: ``task`` from ``task_index`` (or the episode table, where the column is missing), ``subtask`` and ``step`` from
``subtask_index``, ``action_config`` of the episode table, annotation columns that point into a table, or columns of
text. Which annotation columns point where is said by ``language:`` of the data-set file (:class:`Language`).

Legend: T steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import Level, Text
from unihand_data.sources.robot.readers.lerobot_tables import Entry, sentences


class Pointer(Settings):
    """A column of integers into a table of sentences."""

    level: Level = "task"
    table: str = Field(default="meta/tasks", description="below the set, without .jsonl or .parquet")


class Language(Settings):
    """What ``language:`` of a LeRobot data-set file may say."""

    pointers: dict[str, Pointer] = Field(default_factory=dict)
    columns: dict[str, Level] = Field(default_factory=dict, description="columns of text, one sentence per step")
    skip: list[str] = Field(default_factory=list, description="regexes of sentences that say nothing (pseudo-tasks)")
    separator: str = Field(default="", description="between the languages of one sentence")
    keep: Literal["first", "last"] = Field(default="last", description="which side of the separator")
    validity: dict[str, str] = Field(default_factory=dict, description="pointer column -> its label of a good step")


_ALWAYS = {"task_index": Pointer(), "subtask_index": Pointer(level="subtask", table="meta/subtasks")}


@dataclass
class Words:
    """Texts in order of level and start; ``invalid``: spans of steps that the data set itself calls void."""

    texts: list[Text] = field(default_factory=list)
    losses: list[Reject] = field(default_factory=list)
    invalid: list[tuple[int, int]] = field(default_factory=list)


def words_of(
    base: str, entry: Entry, numbers: dict[str, np.ndarray], text: dict[str, list[Any]], steps: int, spec: Language
) -> Words:
    """Everything the set says about an episode. A sentence that cannot be read costs one loss, never the episode."""
    out, where = Words(), f"{base}, episode {entry.index}"
    pointers = {n: p for n, p in {**_ALWAYS, **spec.pointers}.items() if n in numbers}
    for column, pointer in pointers.items():
        _pointed(out, base, entry, column, pointer, numbers[column], spec, where)
    if "task_index" not in numbers and not any(p.level == "task" for p in pointers.values()):
        for sentence in entry.tasks:
            _add(out, sentence, "task", 0, steps, steps, spec)
    for column, level in spec.columns.items():
        for value, start, stop in _runs(np.array(text.get(column, []), dtype=object)):
            if isinstance(value, str):
                _add(out, value, level, start, stop, steps, spec)
    for number, segment in enumerate(entry.segments):
        _segment(out, segment, f"{where}: action_config[{number}]", steps, spec)
    for column, label in spec.validity.items():
        if column in numbers:
            labels = sentences(base)
            for value, start, stop in _runs(numbers[column].ravel()):
                if not np.isfinite(value) or labels.get(int(value)) != label:
                    out.invalid.append((start, stop))
    order = {"task": 0, "subtask": 1, "step": 2}
    out.texts.sort(key=lambda t: (order[t.level], t.start))
    return out


def _pointed(
    out: Words, base: str, entry: Entry, column: str, pointer: Pointer, values: np.ndarray, spec: Language, where: str
) -> None:
    table = sentences(base, pointer.table)
    steps = len(values)
    if not table:
        if column in spec.pointers or column == "task_index":
            out.losses.append(_loss(Reason.MISSING_FILE, f"{where}: {pointer.table} is missing, {column} says nothing"))
        if column == "task_index":
            for sentence in entry.tasks:
                _add(out, sentence, "task", 0, steps, steps, spec)
        return
    unknown: set[int] = set()
    for lane in values.reshape(steps, -1).T:
        for value, start, stop in _runs(lane):
            if not np.isfinite(value) or value < 0:  # no sentence there
                continue
            found = table.get(int(value))
            if found is None:
                unknown.add(int(value))
            elif column == "task_index" and entry.tasks and found not in entry.tasks:
                out.losses.append(
                    _loss(
                        Reason.CONTRADICTION,
                        f"{where}: task_index {int(value)} is {found[:80]!r}, the episode table says "
                        f"{entry.tasks[0][:80]!r}; correct one of them",
                    )
                )
            else:
                _add(out, found, pointer.level, start, stop, steps, spec)
    if unknown:
        numbers = ", ".join(map(str, sorted(unknown)[:5]))
        out.losses.append(
            _loss(Reason.CONTRADICTION, f"{where}: {column} points to {numbers}, which {pointer.table} does not have")
        )


def _segment(out: Words, segment: dict[str, Any], where: str, steps: int, spec: Language) -> None:
    start, stop, text = segment.get("start_frame"), segment.get("end_frame"), segment.get("action_text")
    good = isinstance(start, int) and isinstance(stop, int) and isinstance(text, str) and 0 <= start < stop <= steps
    if good:
        _add(out, str(text), "subtask", int(start or 0), int(stop or 0), steps, spec)
    else:
        out.losses.append(
            _loss(
                Reason.BAD_VALUE,
                f"{where}: {str(text)[:60]!r} over frames {str(start)[:12]} .. {str(stop)[:12]} of {steps}; correct it",
            )
        )


def _add(out: Words, sentence: str, level: Level, start: int, stop: int, steps: int, spec: Language) -> None:
    if spec.separator and spec.separator in sentence:
        parts = [p for p in sentence.split(spec.separator) if p.strip()]
        sentence = (parts or [""])[0 if spec.keep == "first" else -1]
    sentence = " ".join(sentence.split())
    if not sentence or any(re.fullmatch(p, sentence) for p in spec.skip):
        return
    found = Text(sentence, level, start, None if stop == steps else stop)
    if found not in out.texts:
        out.texts.append(found)


def _runs(values: np.ndarray) -> Iterator[tuple[Any, int, int]]:
    """(value, first, stop) of every stretch of equal values in (T,)."""
    if not len(values):
        return
    cuts = np.flatnonzero(values[1:] != values[:-1]) + 1
    for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), len(values)]):
        yield values[start], start, stop


def _loss(reason: Reason, message: str) -> Reject:
    return Reject(reason, message, level="row")


def success_of(entry: Entry, numbers: dict[str, np.ndarray], column: str) -> bool | None:
    """The episode table's word, else whether the named column (or ``next.success``) is ever set; None where nothing
    says it."""
    if entry.success is not None:
        return entry.success
    values = numbers.get(column or "next.success")
    if values is None or not len(values) or not np.isfinite(np.asarray(values, float)).any():
        return None
    return bool(np.nanmax(np.asarray(values, float)) > 0.5)
