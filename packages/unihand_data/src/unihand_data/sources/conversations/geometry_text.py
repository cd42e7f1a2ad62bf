"""Geometry inside a corpus' texts, taken out as numbers: the five ways the published sets write it.

``unit_box``    ``[0.12, 0.30, 0.55, 0.71]``, 0..1 with at least one decimal point (LLaVA region rows)
``tuples``      ``[(0.461, 0.527), ...]``: pairs are points, quadruples boxes (RoboPoint, RefSpatial)
``ref_box``     ``<ref>phrase</ref><box>[[x1, y1, x2, y2], ...]</box>`` (AS-V2; ints of 1000)
``pixel_json``  fenced JSON of ``bbox_2d``, ``point_2d`` and ``label`` (Qwen2.5-VL), or lines ``x1,y1,x2,y2 name``
``traces``      ``[[x, y], ...]`` of ints below 256 (MolmoAct)

A corpus may hold several of them, of rows it took from others. Numbers that are none of these stay text, unless they
announce themselves as geometry (:func:`refuse_unread`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.boxes import corners
from unihand_data.sources.conversations.spec import GeometrySpec, TextGeometry
from unihand_data.sources.conversations.talk import Mark, MarkKind

Part = str | Mark
_N = r"-?\d+(?:\.\d+)?"
_UNIT = r"-?(?:\d?\.\d+|[01](?:\.\d+)?)"
_UNIT_BOX = re.compile(rf"\[\s*({_UNIT})\s*,\s*({_UNIT})\s*,\s*({_UNIT})\s*,\s*({_UNIT})\s*\]")
_TUPLE = rf"\(\s*{_N}(?:\s*,\s*{_N}){{1,3}}\s*\)"
_QUADRUPLE = re.compile(rf"\(\s*{_N}(?:\s*,\s*{_N}){{3}}\s*\)")
_TUPLES = re.compile(rf"\[\s*{_TUPLE}(?:\s*,\s*{_TUPLE})*\s*\]|(?<![\w(]){_TUPLE}(?!\w)")
_REF_BOX = re.compile(r"(?:<ref>(?P<label>.*?)</ref>\s*)?<box>(?P<box>.*?)</box>", re.S)
_TAGS = re.compile(r"</?(?:pred|ref|box)>")
_FENCE = re.compile(r"```(?:json)?\s*(?P<json>[\[{].*?[\]}])\s*```", re.S)
_PIXEL_LINE = re.compile(rf"^(?P<box>{_N}\s*,\s*{_N}\s*,\s*{_N}\s*,\s*{_N})[ \t]+(?P<label>[^\d\s].*?)[ \t]*$", re.M)
_TRACE = re.compile(r"\[\s*\[\s*\d+\s*,\s*\d+\s*\](?:\s*,\s*\[\s*\d+\s*,\s*\d+\s*\])*\s*\]")
_NUMBER = re.compile(_N)


def take_out(text: str, spec: GeometrySpec, where: str) -> list[Part]:
    """The text as parts, its geometry as marks in the corpus' own numbers.

    Raises:
        Reject: geometry that is announced (a ``<box>``, a fenced ``bbox_2d``) and cannot be read (BAD_VALUE); tuples of
            an odd length, boxes and points in one list (COORD_FRAME_AMBIGUOUS).
    """
    finder = _FINDERS.get(spec.text)
    return finder(text, spec, where) if finder and text else [text] if text else []


#: what announces a position in some form: tags and keys of grounding models, and four shares of a picture in brackets
_ANNOUNCED = re.compile(
    r"</?box>|<\|box_(?:start|end)\|>|<quad>|\"?(?:bbox_2d|point_2d)\"?\s*:|<points?\s+x\d?=|<loc_?\d{1,4}>"
    r"|\[\s*(?:0?\.\d+|1\.0+|0|1)(?:\s*,\s*(?:0?\.\d+|1\.0+|0|1)){3}\s*\]"
)


def refuse_unread(parts: list[Part], where: str) -> None:
    """Positions that the corpus' YAML does not describe must not be trained on in a frame nobody knows.

    Raises:
        Reject: COORD_FRAME_AMBIGUOUS.
    """
    for part in parts:
        if not isinstance(part, str):
            continue
        for found in _ANNOUNCED.finditer(part):
            if not found[0].startswith("[") or "." in found[0]:
                raise Reject(
                    Reason.COORD_FRAME_AMBIGUOUS,
                    f"{where}: {part[found.start() : found.start() + 40]!r} is a position, and the corpus' YAML does "
                    "not say in which form and frame (geometry.text)",
                )


def _split(
    text: str, pattern: re.Pattern[str], make: Callable[[re.Match[str]], Part | list[Part] | None]
) -> list[Part]:
    out: list[Part] = []
    at = 0
    for found in pattern.finditer(text):
        mark = make(found)
        if mark is None:
            continue
        if found.start() > at:
            out.append(text[at : found.start()])
        out.extend(mark if isinstance(mark, list) else [mark])
        at = found.end()
    if at < len(text):
        out.append(text[at:])
    return out


def _unit_boxes(text: str, spec: GeometrySpec, where: str) -> list[Part]:
    def make(found: re.Match[str]) -> Part | None:
        if "." not in found[0]:  # a list of four small integers is no box
            return None
        x0, y0, x1, y1 = map(float, found.groups())
        return Mark("box", [[(x0, y0), (x1, y1)]], "unit", spec.frame)

    return _split(text, _UNIT_BOX, make)


def _tuples(text: str, spec: GeometrySpec, where: str) -> list[Part]:
    def make(found: re.Match[str]) -> Part | None:
        rows = _rows_of(found[0])
        widths = {len(r) for r in rows}
        if not rows:
            return None
        if widths == {2}:
            return Mark("point", [[(r[0], r[1])] for r in rows], "unit", spec.frame)
        if widths == {4}:
            return Mark("box", corners(rows, spec.box, where), "unit", spec.frame)
        raise Reject(
            Reason.COORD_FRAME_AMBIGUOUS,
            f"{where}: tuples of {sorted(widths)} numbers in {found[0][:60]!r} are neither points nor boxes",
        )

    return _split(text, _TUPLES, make)


def _rows_of(found: str) -> list[tuple[float, ...]]:
    """The numbers of tuples that stand together; none of a plain tuple of integers in prose."""
    rows = [tuple(map(float, _NUMBER.findall(t))) for t in re.findall(_TUPLE, found)]
    return [] if "." not in found and any(v > 1 for r in rows for v in r) else rows


def tuple_boxes(text: str) -> list[tuple[float, ...]]:
    """Four numbers of each box that a text of the form ``tuples`` holds, as they stand there, in order."""
    if _QUADRUPLE.search(text) is None:  # most texts: cheaper than to take them apart
        return []
    lists = [_rows_of(found[0]) for found in _TUPLES.finditer(text)]
    return [row for rows in lists if {len(r) for r in rows} == {4} for row in rows]


def _ref_boxes(text: str, spec: GeometrySpec, where: str) -> list[Part]:
    def make(found: re.Match[str]) -> Part | list[Part] | None:
        rows = _numbers(found["box"], 4, where)
        label = _TAGS.sub("", found["label"] or "").strip()
        shapes = [[(r[0], r[1]), (r[2], r[3])] for r in rows]
        return Mark("box", shapes, "permille", spec.frame, label=label, show_label=found["label"] is not None)

    parts = _split(text, _REF_BOX, make)
    out: list[Part] = []
    for part in parts:
        if isinstance(part, str):
            if "<box>" in part or "</box>" in part:
                raise Reject(Reason.BAD_VALUE, f"{where}: a <box> that is not closed: {part[:60]!r}")
            part = _TAGS.sub("", part)  # <pred> is no token of the backbone
        if part != "":
            out.append(part)
    return out


def _numbers(text: str, width: int, where: str) -> list[list[float]]:
    try:
        rows = json.loads(text.strip())
    except (ValueError, RecursionError) as error:
        raise Reject(Reason.BAD_VALUE, f"{where}: {text[:60]!r} is no list of numbers") from error
    if isinstance(rows, list) and rows and not isinstance(rows[0], list):
        rows = [rows]
    good = isinstance(rows, list) and bool(rows)
    good = good and all(isinstance(r, list) and len(r) == width for r in rows)
    if not good or not all(isinstance(v, int | float) and not isinstance(v, bool) for r in rows for v in r):
        raise Reject(Reason.BAD_VALUE, f"{where}: {text[:60]!r} is no list of {width} numbers each")
    return [[float(v) for v in r] for r in rows]


def _pixel_json(text: str, spec: GeometrySpec, where: str) -> list[Part]:
    def fenced(found: re.Match[str]) -> Part | list[Part] | None:
        try:
            data = json.loads(found["json"])
        except (ValueError, RecursionError):
            if "bbox_2d" in found["json"] or "point_2d" in found["json"]:
                raise Reject(Reason.BAD_VALUE, f"{where}: fenced geometry is no JSON: {found['json'][:60]!r}") from None
            return None
        items = data if isinstance(data, list) else [data]
        if not items or not all(isinstance(i, dict) and ("bbox_2d" in i or "point_2d" in i) for i in items):
            return None
        out: list[Part] = []
        for item in items:
            if out:
                out.append("\n")
            out.append(_pixel_mark(item, spec, where))
        return out

    def line(found: re.Match[str]) -> Part:
        x0, y0, x1, y1 = map(float, _NUMBER.findall(found["box"]))
        return _mark("box", [[(x0, y0), (x1, y1)]], spec, found["label"])

    out: list[Part] = []
    for part in _split(text, _FENCE, fenced):
        out.extend(_split(part, _PIXEL_LINE, line) if isinstance(part, str) else [part])
    return out


def _pixel_mark(item: dict[str, Any], spec: GeometrySpec, where: str) -> Mark:
    label = item.get("label", "")
    if not isinstance(label, str):
        raise Reject(Reason.WRONG_TYPE, f"{where}: label is {type(label).__name__} where text belongs")
    key, width = ("bbox_2d", 4) if "bbox_2d" in item else ("point_2d", 2)
    (row,) = _numbers(json.dumps(item[key]), width, where)[:1]
    if width == 2:
        return _mark("point", [[(row[0], row[1])]], spec, label)
    return _mark("box", [[(row[0], row[1]), (row[2], row[3])]], spec, label)


def _mark(kind: MarkKind, shapes: list[list[tuple[float, float]]], spec: GeometrySpec, label: str) -> Mark:
    unit = "pixel" if spec.unit == "detect_percent" else spec.unit
    return Mark(kind, shapes, unit, spec.frame, label=label, show_label=bool(label), size_known_by="resized")


def _traces(text: str, spec: GeometrySpec, where: str) -> list[Part]:
    def make(found: re.Match[str]) -> Part:
        rows = _numbers(found[0], 2, where)
        return Mark("polyline", [[(r[0], r[1]) for r in rows]], "bin256", spec.frame)

    return _split(text, _TRACE, make)


_FINDERS: dict[TextGeometry, Callable[[str, GeometrySpec, str], list[Part]]] = {
    "unit_box": _unit_boxes,
    "tuples": _tuples,
    "ref_box": _ref_boxes,
    "pixel_json": _pixel_json,
    "traces": _traces,
}
