"""One geometry for every corpus: 0..1 in the original picture's frame, and the backbone's text form of it.

Stored are floats: a box as two corners, a point, a line of points, each ``x, y`` with x to the right and y down, 0 at
the first edge of the picture and 1 at the last, orientation applied. InternVL writes ``int(v * 1000)``, xyxy, inside
``<ref>phrase</ref><box>[[x1, y1, x2, y2], ...]</box>``; it has no token for points, so they are a plain list.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.talk import Mark

Point = tuple[float, float]
GRID = 1000
_SIDE = {"unit": 1.0, "percent": 100.0, "permille": 1000.0, "bin256": 256.0}


class GeometrySettings(Settings):
    """``overshoot``: share of a side that numbers may lie outside the picture and are clipped; beyond it the row is
    refused. ``min_area_px``: smaller boxes are refused, in square pixels. ``size_tolerance_px``: how far a published
    picture size may be from the decoded one."""

    overshoot: float = Field(default=0.01, ge=0, le=0.1)
    min_area_px: float = Field(default=4.0, ge=0)
    size_tolerance_px: float = Field(default=1.0, ge=0)


@dataclass(frozen=True)
class Placed:
    """A mark in the original frame. ``shapes``: per shape its points, all in 0..1."""

    kind: str
    shapes: list[list[Point]]
    label: str
    show_label: bool
    picture: int
    clipped: bool = False

    def stored(self, turn: int) -> list[dict[str, Any]]:
        """Entries of ``geometry`` of a conversation row: points flat (x0 y0 x1 y1 ...)."""
        return [
            {"kind": self.kind, "points": [v for p in shape for v in p], "label": self.label, "turn": turn}
            for shape in self.shapes
        ]


def place(mark: Mark, width: int, height: int, settings: GeometrySettings, where: str) -> Placed:
    """A mark in 0..1 of the picture it is about.

    Args:
        width, height: of the original picture, orientation applied.

    Raises:
        Reject: BAD_VALUE (not finite), CONTRADICTION (a published size that is not the picture's), COORD_OUT_OF_RANGE,
            BOX_INVERTED, BOX_DEGENERATE, COORD_FRAME_AMBIGUOUS (padded or not cannot be told).
    """
    if any(not math.isfinite(v) for shape in mark.shapes for p in shape for v in p):
        raise Reject(Reason.BAD_VALUE, f"{where}: {mark.kind} with a number that is not finite")
    if mark.kind == "box":
        for (x0, y0), (x1, y1) in (_two(s, where) for s in mark.shapes):
            if x1 < x0 or y1 < y0:
                raise Reject(
                    Reason.BOX_INVERTED, f"{where}: box {x0, y0, x1, y1} has its second corner before the first"
                )
    sx, sy = _sides(mark, width, height, settings, where)
    shapes = [[(x / sx, y / sy) for x, y in shape] for shape in mark.shapes]
    frame: str = mark.frame
    if frame == "detect":
        frame = _detected(shapes, width, height, settings, where)
    if frame == "square_padded":
        shapes = [[unpad(p, width, height) for p in shape] for shape in shapes]
    clipped = False
    out = []
    for shape in shapes:
        fitted = [_fit(p, settings, f"{where}: {mark.kind}") for p in shape]
        clipped |= fitted != shape
        out.append(fitted)
    if mark.kind == "box":
        for (x0, y0), (x1, y1) in (_two(s, where) for s in out):
            if (x1 - x0) * width * (y1 - y0) * height < settings.min_area_px:
                raise Reject(
                    Reason.BOX_DEGENERATE,
                    f"{where}: a box of {(x1 - x0) * width:.1f} x {(y1 - y0) * height:.1f} pixels in a picture of "
                    f"{width}x{height}",
                )
    return Placed(mark.kind, out, mark.label, mark.show_label, mark.picture, clipped)


def _two(shape: list[Point], where: str) -> tuple[Point, Point]:
    if len(shape) != 2:
        raise Reject(Reason.WRONG_TYPE, f"{where}: a box of {len(shape)} corners")
    return shape[0], shape[1]


def _sides(mark: Mark, width: int, height: int, settings: GeometrySettings, where: str) -> tuple[float, float]:
    """What of the corpus' unit a whole side is."""
    if mark.unit != "pixel":
        return _SIDE[mark.unit], _SIDE[mark.unit]
    if mark.size is None:
        if mark.size_known_by == "resized":
            raise Reject(
                Reason.COORD_FRAME_AMBIGUOUS,
                f"{where}: pixels of a picture a model resized, and its size is not given",
            )
        return float(width), float(height)
    w, h = mark.size
    if mark.size_known_by == "published" and max(abs(w - width), abs(h - height)) > settings.size_tolerance_px:
        raise Reject(
            Reason.CONTRADICTION,
            f"{where}: the corpus says the picture has {w:g}x{h:g} pixels, it has {width}x{height}",
        )
    return float(w), float(h)


def unpad(point: Point, width: int, height: int) -> Point:
    """From 0..1 of the picture padded to a square of its longer side (equally on both sides) to 0..1 of the picture."""
    x, y = point
    if width > height:
        return x, (y * width - (width - height) / 2) / height
    return (x * height - (height - width) / 2) / width, y


def pad(point: Point, width: int, height: int) -> Point:
    """The inverse of :func:`unpad`."""
    x, y = point
    if width > height:
        return x, (y * height + (width - height) / 2) / width
    return (x * width + (height - width) / 2) / height, y


def _detected(shapes: list[list[Point]], width: int, height: int, settings: GeometrySettings, where: str) -> str:
    """``original`` where a number lies in what would be padding; where none does, both frames are possible."""
    if width == height:
        return "original"
    for shape in shapes:
        for x, y in (unpad(p, width, height) for p in shape):
            if min(x, y) < -settings.overshoot or max(x, y) > 1 + settings.overshoot:
                return "original"
    raise Reject(
        Reason.COORD_FRAME_AMBIGUOUS,
        f"{where}: the numbers fit the {width}x{height} picture and its square-padded form alike",
    )


def _fit(point: Point, settings: GeometrySettings, where: str) -> Point:
    for v in point:
        if v < -settings.overshoot or v > 1 + settings.overshoot:
            raise Reject(
                Reason.COORD_OUT_OF_RANGE,
                f"{where} at {point[0]:.3f}, {point[1]:.3f} of the picture lies outside it; unit, frame or order of "
                "the numbers may be another than the corpus' YAML says",
            )
    return min(1.0, max(0.0, point[0])), min(1.0, max(0.0, point[1]))


def grid(value: float) -> int:
    """InternVL's integer of a coordinate: truncated, so that the far edge is 1000. Numbers that are an integer of the
    grid already stay it (AS-V2's 0..999), in spite of the rounding of floats."""
    return int(value * GRID + 1e-9)


def render(placed: Placed) -> str:
    """The backbone's text of a mark; labels are freed of tags and newlines."""
    shapes = [[grid(v) for p in shape for v in p] for shape in placed.shapes]
    if placed.kind == "box":
        label = f"<ref>{clean_label(placed.label)}</ref>" if placed.show_label and placed.label else ""
        return f"{label}<box>{json.dumps(shapes)}</box>"
    if placed.kind == "point":
        return json.dumps(shapes)
    lines = [json.dumps([[grid(v) for v in p] for p in shape]) for shape in placed.shapes]
    return "\n".join(lines)


def clean_label(label: str) -> str:
    return " ".join(re.sub(r"</?(?:ref|box|quad|pred)>", " ", label).split())


_BOX = re.compile(r"(?:<ref>(?P<label>[^<]*)</ref>)?<box>(?P<box>\[\[[\d,\s\[\]]*\]\])</box>")
_POINTS = re.compile(r"(?<!<box>)\[\[\d+, \d+\](?:, \[\d+, \d+\])*\]")


def parse(text: str) -> list[Placed]:
    """What :func:`render` wrote, back as marks whose numbers are the middle of their grid cell (the far edge 1).

    A list of pairs gives points: a line and points have one text form.
    """
    found: list[tuple[int, Placed]] = []
    for m in _BOX.finditer(text):
        rows = json.loads(m["box"])
        shapes = [[(_value(r[0]), _value(r[1])), (_value(r[2]), _value(r[3]))] for r in rows if len(r) == 4]
        found.append((m.start(), Placed("box", shapes, m["label"] or "", m["label"] is not None, 0)))
    for m in _POINTS.finditer(text):
        pairs = [[(_value(x), _value(y))] for x, y in json.loads(m[0])]
        found.append((m.start(), Placed("point", pairs, "", False, 0)))
    return [p for _, p in sorted(found, key=lambda f: f[0])]


def _value(cell: int) -> float:
    return min(1.0, (cell + 0.5) / GRID)
