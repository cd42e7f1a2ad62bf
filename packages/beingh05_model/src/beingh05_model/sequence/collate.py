"""Examples to the network's tokens: places, segments, positions (eq. 10) and who sees whom (eq. 9).

Packed: many examples one after the other in one row. Rows: one example a row, all of the same form. Every non-text
    segment
stands between two special tokens (paper 5.2.1): pictures between text tokens of the understanding expert, state,
action and motion between tokens of the action expert's own, so that what changes while the flow is integrated is one
suffix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beingh05_model.network.attention import Layout
from beingh05_model.network.model import DELIMITERS
from beingh05_model.network.tokens import Tokens
from beingh05_model.sequence.segments import Action, Example, Motion, Segment, State, Text, Vision, stack_pixels

#: id of the tokens that fill a row; they belong to no document
PAD = 0


@dataclass
class _Row:
    """Places and content of one row while it is filled."""

    document: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    full: list[bool] = field(default_factory=list)
    target: list[bool] = field(default_factory=list)
    position: list[int] = field(default_factory=list)
    weight: dict[int, list[int]] = field(default_factory=dict)
    at: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)

    def put(self, kind: str, place: int, value: Any = None) -> None:
        self.at.setdefault(kind, []).append(place)
        if value is not None:
            self.values.setdefault(kind, []).append(value)


def length(example: Example, delimiters: bool = True) -> int:
    """Tokens of an example in a row, special tokens of the action expert included."""
    wrapped = sum(not isinstance(s, Text | Vision) for s in example.segments) if delimiters else 0
    return sum(s.length for s in example.segments) + 2 * wrapped


def pack(
    examples: Sequence[Example], total: int | None = None, *, full_actions: bool = True, delimiters: bool = True
) -> Tokens:
    """Examples one after the other in one row, padded to ``total`` tokens.

    Args:
        full_actions: Action steps see each other in both directions (paper), else earlier ones only (release).
        delimiters: Two special tokens around state, action and motion.

    Raises:
        ValueError: the examples do not fit into ``total``.
    """
    row = _Row()
    for number, example in enumerate(examples):
        _fill(row, example, number, number, full_actions, delimiters)
    if total is not None:
        if len(row.document) > total:
            raise ValueError(f"{len(row.document)} tokens do not fit into {total}")
        missing = total - len(row.document)
        for place in range(len(row.document), total):
            row.put("text", place, PAD)
        for name, value in (("document", -1), ("segment", -1), ("full", False), ("target", False), ("position", 0)):
            getattr(row, name).extend([value] * missing)
    return _tokens([row], len(examples))


def rows(examples: Sequence[Example], *, full_actions: bool = True, delimiters: bool = True) -> Tokens:
    """One example a row. All must have the same segments of the same lengths (text padded beforehand).

    Raises:
        ValueError: the examples differ in form.
    """
    filled = []
    for number, example in enumerate(examples):
        row = _Row()
        _fill(row, example, 0, number, full_actions, delimiters)
        filled.append(row)
    if any(row.at != filled[0].at for row in filled):
        raise ValueError("the examples of a batch of rows must have the same segments of the same lengths")
    return _tokens(filled, len(examples))


def _fill(row: _Row, example: Example, document: int, sample: int, full_actions: bool, delimiters: bool) -> None:
    position = origin = 0
    for number, segment in enumerate(example.segments):
        target = _is_target(segment)
        # both targets begin at the same position, the one after the question (eq. 10)
        place_from = origin if target else position
        wrap = delimiters and not isinstance(segment, Text | Vision)
        count = segment.length + 2 * wrap
        first = len(row.document)
        row.document += [document] * count
        row.segment += [number] * count
        row.full += [isinstance(segment, Motion) or (full_actions and isinstance(segment, Action))] * count
        row.target += [target] * count
        row.position += [place_from + r for r in _relative(segment, wrap)]
        if not target:
            position += count
            origin = position
        _content(row, segment, first + wrap, sample)
        if wrap:
            start, end = DELIMITERS.index(f"{_name(segment)}_start"), DELIMITERS.index(f"{_name(segment)}_end")
            row.put("delimiter", first, start)
            row.put("delimiter", first + count - 1, end)


def _relative(segment: Segment, wrap: bool) -> list[int]:
    """Positions of a segment's tokens from its first one on, r(j) of eq. 10."""
    if not isinstance(segment, Motion) or segment.places is None:
        return list(range(segment.length + 2 * wrap))
    inner = _places(segment)
    return [0, *(p + 1 for p in inner), inner[-1] + 2] if wrap else inner


def _places(motion: Motion) -> list[int]:
    """Place of each token among those of a chunk."""
    return list(range(motion.length)) if motion.places is None else [int(p) for p in motion.places]


def _is_target(segment: Segment) -> bool:
    return isinstance(segment, Motion) or (isinstance(segment, Action) and segment.target)


def _name(segment: Segment) -> str:
    return type(segment).__name__.lower()


def _content(row: _Row, segment: Segment, first: int, sample: int) -> None:
    places = range(first, first + segment.length)
    if isinstance(segment, Text):
        for place, token in zip(places, segment.ids, strict=True):
            row.put("text", place, token)
        if segment.answer:  # the token before predicts the first one
            for place, token in zip(places, segment.ids, strict=True):
                row.put("label", place - 1, token)
        if segment.instruction:
            row.weight.setdefault(sample, []).extend(places)
    elif isinstance(segment, Vision):
        for place in places:
            row.put("image", place)
        row.put("pixels", first, segment.pixels)
    elif isinstance(segment, State):
        row.put("state", first, (segment.values, segment.slots, sample))
    elif isinstance(segment, Action):
        for step, place in enumerate(places):
            row.put("action", place, (segment, step, sample))
    else:
        for place, token, masked, own in zip(places, segment.ids, segment.masked, _places(segment), strict=True):
            row.put("motion", place, (int(token), bool(masked), sample, own))


def _tokens(filled: list[_Row], samples: int) -> Tokens:
    first, size = filled[0], len(filled[0].document)

    def grid(name: str, dtype: torch.dtype) -> Tensor:
        return torch.tensor([getattr(row, name) for row in filled], dtype=dtype)

    def at(kind: str) -> Tensor:
        return torch.tensor(first.at.get(kind, []), dtype=torch.long)

    def column(kind: str, take: Any, dtype: torch.dtype, *tail: int) -> Tensor:
        values = [[take(v) for v in row.values.get(kind, [])] for row in filled]
        if not values[0]:
            return torch.zeros(len(filled), 0, *tail, dtype=dtype)
        return torch.from_numpy(np.asarray(values)).to(dtype)

    def steps(take: Any, dtype: torch.dtype, *tail: int) -> Tensor:
        return column("action", take, dtype, *tail)

    long, real = torch.long, torch.float32
    slots = 200
    weight = torch.zeros(samples, len(filled), size)
    for number, row in enumerate(filled):
        for sample, places in row.weight.items():
            weight[sample, number, places] = 1.0 / len(places)
    pictures = [stack_pixels(row.values.get("pixels", [])) for row in filled]
    return Tokens(
        layout=Layout(grid("document", long), grid("segment", long), grid("full", torch.bool),
                      grid("target", torch.bool), grid("position", long)),
        text_ids=column("text", int, long), text_at=at("text"),
        pixels=torch.stack(pictures), image_at=at("image"),
        delimiter_ids=column("delimiter", int, long), delimiter_at=at("delimiter"),
        state=column("state", lambda v: v[0], real, slots), state_slots=column("state", lambda v: v[1], torch.bool,
        slots), state_sample=column("state", lambda v: v[2], long), state_at=at("state"),
        action=steps(lambda v: v[0].values[v[1]], real, slots),
        action_slots=steps(lambda v: v[0].slots, torch.bool, slots),
        action_cells=steps(lambda v: v[0].cells[v[1]], torch.bool, slots),
        action_sample=steps(lambda v: v[2], long),
        action_real=steps(lambda v: v[0].real[v[1]], torch.bool),
        action_target=steps(lambda v: v[0].target, torch.bool),
        time=steps(lambda v: v[0].time[v[1]], real), noise=steps(lambda v: v[0].noise[v[1]], real, slots),
        action_at=at("action"),
        motion_ids=column("motion", lambda v: v[0], long), motion_masked=column("motion", lambda v: v[1], torch.bool),
        motion_place=column("motion", lambda v: v[3], long),
        motion_sample=column("motion", lambda v: v[2], long), motion_at=at("motion"),
        label_at=at("label"), label_ids=column("label", int, long),
        text_weight=weight, samples=samples,
    )  # fmt: skip
