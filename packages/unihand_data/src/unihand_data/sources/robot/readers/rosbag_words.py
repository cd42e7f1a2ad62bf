"""Sentences about a bag: a JSON file of labels beside it, or the name of its folder."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import Level, Text
from unihand_data.untrusted import tables

MAX_SENTENCE = 4000  # characters; longer is no sentence


class Segments(Settings):
    """A list of spans in the labels: keys of the text and of its two ends, which are shares (0..1) of the bag."""

    list: str = "marks"
    text: str
    start: str
    end: str
    level: Level = "subtask"


class Language(Settings):
    """What ``language:`` of a bag's data-set file may say."""

    labels: str = Field("", description="suffix of the JSON file that has the bag's own name")
    task: list[str] = Field(
        default_factory=list, description="keys of the labels; the first that is not empty is taken"
    )
    segments: Segments | None = None
    folder: str = Field("", description="regex over the folder's name; its group ``task`` is a sentence, _ a space")


def words_of(
    bag: str, folder: str, rows: np.ndarray, span: tuple[int, int], spec: Language
) -> tuple[list[Text], list[Reject]]:
    """Sentences with their rows, and a ``row`` loss for each that cannot be read.

    Args:
        bag: path of the bag. folder: name of its data set.
        rows: (T,) ns of the rows on the recorder's clock. span: first and last stamp of the recorder, ns.
    """
    out: list[Text] = []
    lost: list[Reject] = []
    path = f"{bag.removesuffix('.bag')}{spec.labels}"
    if spec.labels and Path(path).is_file():
        try:
            labels = tables.read_json(path)
            if not isinstance(labels, dict):
                raise Reject(Reason.WRONG_TYPE, f"{path}: {type(labels).__name__} where a mapping belongs")
            said = [str(labels[k]).strip() for k in spec.task if isinstance(labels.get(k), str) and labels[k].strip()]
            out += [Text(said[0].replace("_", " ")[:MAX_SENTENCE], "task")] if said else []
            if spec.segments is not None:
                _segments(labels, spec.segments, rows, span, path, out, lost)
        except Reject as reject:
            lost.append(Reject(reject.reason, reject.message, level="row"))
    if spec.folder and not any(t.level == "task" for t in out):
        at = re.fullmatch(spec.folder, PurePosixPath(folder).name)
        out += [Text(" ".join(re.split(r"[_\s]+", at["task"])).strip(), "task")] if at and at["task"] else []
    if not out and not lost:
        lost.append(Reject(Reason.NO_TEXT, f"{bag}: nothing says what is done in this episode", level="row"))
    return out, lost


def _segments(
    labels: dict[str, Any], spec: Segments, rows: np.ndarray, span: tuple[int, int], path: str,
    out: list[Text], lost: list[Reject],
) -> None:  # fmt: skip
    marks = labels.get(spec.list, [])
    if not isinstance(marks, list):
        raise Reject(Reason.WRONG_TYPE, f"{path}, {spec.list}: {type(marks).__name__} where a list belongs")
    for number, mark in enumerate(marks):
        where = f"{path}, {spec.list} {number}"
        try:
            if not isinstance(mark, dict):
                raise Reject(Reason.WRONG_TYPE, f"{where}: {type(mark).__name__} where a mapping belongs")
            first, last = (tables.number(tables.need(mark, k, where), f"{where}, {k}") for k in (spec.start, spec.end))
            text = str(tables.need(mark, spec.text, where)).strip()
            if not 0 <= first < last <= 1 + 1e-6 or len(text) > MAX_SENTENCE:
                raise Reject(
                    Reason.BAD_VALUE, f"{where}: from {first:g} to {last:g} of the bag, {len(text)} characters"
                )
            ends = span[0] + np.array([first, last]) * (span[1] - span[0])
            start, stop = (int(i) for i in np.searchsorted(rows, ends))
            if start >= stop:
                raise Reject(Reason.TOO_SHORT, f"{where}: {text[:60]!r} covers no row")
            if text:
                out.append(Text(text, spec.level, start, stop))
        except Reject as reject:
            lost.append(Reject(reject.reason, reject.message, level="row"))
