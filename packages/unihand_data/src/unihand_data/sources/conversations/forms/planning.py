"""Rows about what a robot does: RoboVQA's task texts, instruction tables, and plain question-answer records.

RoboVQA keeps several questions about one sequence of frames in one text: blocks that begin with ``<task:name:kind>``,
an optional situation, ``Q:``, ``A:`` and the answer inside ``<PRED>`` tags (the reference reader of google-deepmind's
robovqa repository splits at the same tags).
"""

from __future__ import annotations

import re
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.forms.common import column, listed, talk, text
from unihand_data.sources.conversations.pictures import Finder
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.conversations.talk import IMAGE, Picture, Talk, Turn
from unihand_data.untrusted.tables import need, text_of

_BLOCK = re.compile(r"<task:(?P<name>[^>\s]+)>(?P<body>.*?)(?=<task:|\Z)", re.S)
_ANSWER = re.compile(r"(?<![A-Za-z])A:|<PRED(?::[A-Z:]+)?>")
_TAG = re.compile(r"</?PRED(?::[A-Z:]+)?>|</?task[^>]*>")


def robovqa(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """One record: its frames in order, and every block of its text as a question and an answer."""
    texts = row.get("texts")
    value = _first(texts)
    if not isinstance(value, bytes):
        raise Reject(Reason.MISSING_FIELD, f"{where}: no feature list 'texts' with a text in it")
    try:
        whole = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Reject(Reason.ENCODING, f"{where}: texts is no UTF-8 ({error.reason})") from error
    turns: list[Turn] = []
    for found in _BLOCK.finditer(whole):
        turns += _block(found["body"], f"{where}, {found['name']}")
    if not turns:
        raise Reject(Reason.EMPTY, f"{where}: no <task:...> block in {whole[:60]!r}")
    frames = [_first([step]) for step in row.get("images") or []]
    if not frames or not all(isinstance(f, bytes) for f in frames):
        raise Reject(Reason.MISSING_FIELD, f"{where}: no feature list 'images' with a JPEG per step")
    lines = "".join(f"Frame-{i + 1}: {IMAGE}\n" for i in range(len(frames)))
    turns[0].parts = [lines, *turns[0].parts]
    out = talk(spec, _key(row), turns)
    out.pictures = [Picture(f"frame {i}", data=bytes(f)) for i, f in enumerate(frames) if isinstance(f, bytes)]
    return out


def _block(body: str, where: str) -> list[Turn]:
    cut = _ANSWER.search(body)
    if cut is None:
        raise Reject(Reason.MISSING_FIELD, f"{where}: a block without an answer (A: or <PRED>)")
    question = _TAG.sub("", body[: cut.start()])
    question = re.sub(r"(?<![A-Za-z])Q:\s*", "", question).strip()
    answer = _TAG.sub("", body[cut.end() :]).strip().removeprefix("A:").strip()
    if not question or not answer:
        raise Reject(Reason.TURN_EMPTY_TEXT, f"{where}: an empty {'question' if not question else 'answer'}")
    return [Turn("user", [question]), Turn("assistant", [answer])]


def _first(steps: Any) -> Any:
    """The first value of the first step of a feature list."""
    if not isinstance(steps, list) or not steps:
        return None
    step = steps[0]
    return step[0] if isinstance(step, list) and step else step if isinstance(step, bytes) else None


def _key(row: dict[str, Any]) -> str:
    for name in ("unique_id", "video_filename", "id"):
        value = _first(row.get(name)) or _first([row.get(name)])
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
    return ""


def instruction(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """A question and an answer in two columns, a picture in a third."""
    question = text(need(row, column(spec, "question"), where), where, "the question")
    answer = text(need(row, column(spec, "answer"), where), where, "the answer")
    out = talk(
        spec, row.get(column(spec, "id"), ""), [Turn("user", [f"{IMAGE}\n{question}"]), Turn("assistant", [answer])]
    )
    out.pictures = [finder.embedded(need(row, column(spec, "image"), where), where)]
    return out


def steps(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """An episode's summary and its steps in order, as a planning question without a picture: the frames that the steps
    name lie in another data set. The YAML's template asks."""
    found = row.get("response", row)
    label = text_of(need(found, "task_summary", where), where)
    entries = listed(need(found, "steps", where), where, "steps")
    if not entries:
        raise Reject(Reason.EMPTY, f"{where}: no steps")
    lines = [text_of(need(s, "step_description", f"{where}: step {i}"), where) for i, s in enumerate(entries)]
    answer = "\n".join(f"{i + 1}. {line}" for i, line in enumerate(lines))
    key = row.get("id", "")
    return talk(spec, key, [Turn("user", [spec.question.format(label=label.rstrip("."))]), Turn("assistant", [answer])])
