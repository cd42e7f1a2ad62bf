"""Four numbers of a box as two corners, in the order a corpus writes them.

A declared order is checked against the numbers; ``detect`` takes the one order that every box of the text fits. What
contradicts the declaration, or fits several orders, is refused: a box in a wrong order looks like a box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.spec import BoxOrder

Corners = list[tuple[float, float]]
#: of a side: how far outside the picture rounded numbers may put a corner
SLACK = 0.01

_CORNERS: dict[str, Callable[[float, float, float, float], Corners]] = {
    "xyxy": lambda a, b, c, d: [(a, b), (c, d)],
    "xywh": lambda a, b, c, d: [(a, b), (a + c, b + d)],
    "cxcywh": lambda a, b, c, d: [(a - c / 2, b - d / 2), (a + c / 2, b + d / 2)],
}


def corners(rows: Sequence[Sequence[float]], order: BoxOrder, where: str, side: float | None = 1.0) -> list[Corners]:
    """Per box its first and second corner, in the corpus' unit.

    Args:
        rows: four numbers each. ``side``: what a whole side of the picture is in that unit; None where only the
            picture tells (pixels), then nothing can be said about what lies outside.

    Raises:
        Reject: BOX_INVERTED (declared as two corners, the second before the first), COORD_FRAME_AMBIGUOUS (a centre and
            sides that leave the picture, or sides below zero; under ``detect`` no order or several that fit).
    """
    if order == "detect":
        return _detected(rows, where, side)
    out = [_CORNERS[order](*row) for row in rows]
    for row, box in zip(rows, out):
        if order == "xyxy" and not _forward(box):
            raise Reject(Reason.BOX_INVERTED, f"{where}: box {tuple(row)} has its second corner before the first")
        if order != "xyxy" and not _forward(box):
            raise Reject(Reason.COORD_FRAME_AMBIGUOUS, f"{where}: box {tuple(row)} has a side below zero: no {order}")
        if order == "cxcywh" and side is not None and not _inside(box, side):
            raise Reject(
                Reason.COORD_FRAME_AMBIGUOUS,
                f"{where}: box {tuple(row)} leaves the picture if its first two numbers are its centre, as the corpus' "
                "YAML says (geometry.box)",
            )
    return out


def fits(row: Sequence[float], order: BoxOrder, side: float | None = 1.0) -> bool:
    """Whether four numbers in this order are a box of the picture: no second corner before the first, no side below
    zero, nothing outside. ``side`` as for :func:`corners`; where it is None only the picture's first edges tell, to a
    pixel."""
    box = _CORNERS[order](*row)
    return _forward(box) and (_inside(box, side) if side is not None else all(v >= -1 for c in box for v in c))


def _detected(rows: Sequence[Sequence[float]], where: str, side: float | None) -> list[Corners]:
    fits: dict[str, list[Corners]] = {}
    for order, make in _CORNERS.items():
        boxes = [make(*row) for row in rows]
        if all(_proper(box) and (side is None or _inside(box, side)) for box in boxes):
            fits[order] = boxes
    if len(fits) == 1:
        return next(iter(fits.values()))
    say = f"may be any of {', '.join(fits)}" if fits else "fits no order of its numbers"
    raise Reject(
        Reason.COORD_FRAME_AMBIGUOUS, f"{where}: box {tuple(rows[0])} {say}; the corpus' YAML has to say (geometry.box)"
    )


def _forward(box: Corners) -> bool:
    return box[1][0] >= box[0][0] and box[1][1] >= box[0][1]


def _proper(box: Corners) -> bool:
    return box[1][0] > box[0][0] and box[1][1] > box[0][1]


def _inside(box: Corners, side: float) -> bool:
    return all(-SLACK * side <= v <= (1 + SLACK) * side for corner in box for v in corner)
