"""One row of a corpus in the one form that curation works on: turns, pictures, and geometry as numbers.

A turn's text is a list of parts, plain strings and :class:`Mark`\\ s. A mark holds the numbers exactly as the corpus
wrote them, with their unit and frame; they become 0..1 of the original picture once the picture's size is known
(``curate/conversations/geometry.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from unihand_data.errors import Reject

MarkKind = Literal["box", "point", "polyline", "poly"]
#: what the numbers count: pixels of a picture, the whole side as 1, 100, 1000 or 256
CoordUnit = Literal["pixel", "unit", "percent", "permille", "bin256"]
#: the picture as published, the picture padded to a square (longer side), or unknown until the data tell
Frame = Literal["original", "square_padded", "detect"]
Role = Literal["system", "user", "assistant"]

IMAGE, VIDEO = "<image>", "<video>"


@dataclass
class Mark:
    """Shapes of one kind that stand together in a text.

    Attributes:
        shapes: per shape its points ``[(x, y), ...]``: a box has two corners (smaller first), a point one.
        label: the phrase they answer to, empty where the text around says it.
        show_label: write ``<ref>label</ref>`` before the shapes.
        picture: which of the row's pictures, from 0.
        size: width and height the numbers are about, where the corpus publishes them (pixels).
        size_known_by: ``published`` (must agree with the picture) or ``resized`` (a model's own input size).
    """

    kind: MarkKind
    shapes: list[list[tuple[float, float]]]
    unit: CoordUnit
    frame: Frame = "original"
    label: str = ""
    show_label: bool = False
    picture: int = 0
    size: tuple[float, float] | None = None
    size_known_by: Literal["published", "resized"] = "published"


@dataclass
class Turn:
    role: Role
    parts: list[str | Mark]

    @property
    def marks(self) -> list[Mark]:
        return [p for p in self.parts if isinstance(p, Mark)]

    @property
    def plain(self) -> str:
        """The text without its geometry."""
        return "".join(p for p in self.parts if isinstance(p, str))


@dataclass
class Picture:
    """A picture a row refers to: a file, a member ``archive!name``, or bytes that came with the row."""

    name: str
    path: str = ""
    data: bytes | None = None
    sha256: str = ""
    coco_id: int | None = None


@dataclass
class Film:
    """A video a row refers to. ``frames`` are numbers in presentation order where the corpus gives them."""

    name: str
    path: str
    frames: list[int] | None = None
    start_s: float = 0.0
    duration_s: float | None = None


@dataclass
class Talk:
    """One conversation on its way.

    Attributes:
        source: name of the corpus (or configuration) it came from.
        key: what names the row inside its corpus, for people.
        losses: parts of the row that were left out for a reason (a turn below a rating); the row goes on.
        fixes: names of the safe changes that were made, for counting.
    """

    source: str
    pillar: str
    key: str
    turns: list[Turn]
    pictures: list[Picture] = field(default_factory=list)
    film: Film | None = None
    losses: list[Reject] = field(default_factory=list)
    fixes: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
