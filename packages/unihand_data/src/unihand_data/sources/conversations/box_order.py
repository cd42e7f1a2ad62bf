"""In which order a corpus writes the four numbers of a box, looked at over many boxes before a job begins.

Row by row only boxes near an edge contradict a wrong order (``boxes.py``), and the others would be trained on as wrong
labels. So the first boxes of a corpus are counted together under each order: under the true one next to none leaves the
picture or has its second corner before the first. Looked at are corpora whose YAML says an order (``geometry.box``) of
numbers that do not say it themselves: tuples in a text, and the form ``pixel_box``.

The verdict is of the corpus and its folder: it reads rows in the order of files, and no size of blocks changes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import Field

from unihand_data.config import Settings, SettingsError
from unihand_data.errors import DatasetRefused, Reject
from unihand_data.sources.conversations.boxes import fits
from unihand_data.sources.conversations.containers import read_block
from unihand_data.sources.conversations.forms.pointing import raw_pixel_box
from unihand_data.sources.conversations.geometry_text import tuple_boxes
from unihand_data.sources.conversations.registry import Corpora, Corpus
from unihand_data.sources.conversations.spec import BoxOrder, CorpusSpec

ORDERS: tuple[BoxOrder, ...] = ("xyxy", "xywh", "cxcywh")
Result = Literal["agrees", "not checked", "contradicted"]
_ROWS_AT_ONCE = 1024


class BoxOrderSettings(Settings):
    """How many boxes tell. Refuses or not, and never changes a row."""

    boxes: int = Field(default=2000, ge=1, description="of a corpus, the first in the order of its files")
    rows: int = Field(
        default=2_000_000,
        ge=1,
        description="rows among which they are looked for; those with boxes may come last",
    )
    contradictions: int = Field(
        default=20,
        ge=1,
        description="boxes that contradict an order before that says anything: 1 % of `boxes`; slips are fewer",
    )
    times: float = Field(
        default=10.0, gt=1, description="an order is clearly better where so many times fewer boxes contradict it"
    )
    waived: list[str] = Field(default=[], description="corpora whose order is believed, whatever the boxes say")


@dataclass(frozen=True)
class OrderVerdict:
    """``stated``: the order of the YAML. ``against``: order -> boxes of the ``boxes`` looked at that contradict it.
    ``sentence`` says it to people."""

    corpus: str
    root: str
    stated: str
    result: Result
    rows: int
    boxes: int
    against: dict[str, int]
    sentence: str

    def stored(self) -> dict[str, Any]:
        """For ``vision_text.json``."""
        return asdict(self)


def check_orders(corpora: Corpora, settings: BoxOrderSettings) -> list[OrderVerdict]:
    """A verdict of each corpus that states an order.

    Raises:
        DatasetRefused: the boxes of a corpus contradict what its YAML says. SettingsError: ``waived`` names another.
    """
    stating = [c for c in corpora.corpora if states_order(c.spec)]
    if odd := sorted(set(settings.waived) - {c.spec.name for c in stating}):
        names = ", ".join(c.spec.name for c in stating) or "none"
        raise SettingsError(f"box_order.waived: {odd[0]!r} states no order of boxes here; those that do: {names}")
    out = [verdict(corpus, settings) for corpus in stating]
    for found in out:
        if found.result == "contradicted":
            raise DatasetRefused(found.sentence)
    return out


def states_order(spec: CorpusSpec) -> bool:
    """Whether the YAML says the order of four numbers that nothing else says."""
    return spec.geometry.box != "detect" and (spec.geometry.text == "tuples" or spec.form == "pixel_box")


def verdict(corpus: Corpus, settings: BoxOrderSettings) -> OrderVerdict:
    """Over the first boxes of the corpus; rows that cannot be read have none."""
    spec = corpus.spec
    side = None if spec.form == "pixel_box" and spec.geometry.size is None else 1.0
    rows = boxes = 0
    against: dict[str, int] = dict.fromkeys(ORDERS, 0)
    if spec.name not in settings.waived:
        for found in _boxes_by_row(corpus, settings.rows):
            rows += 1
            for box in found[: settings.boxes - boxes]:
                boxes += 1
                for order in ORDERS:
                    against[order] += not fits(box, order, side)
            if boxes >= settings.boxes:
                break
    result, why = _judged(spec, rows, boxes, against, settings)
    return OrderVerdict(
        spec.name, corpus.root, spec.geometry.box, result, rows, boxes, against, f"{spec.name} in {corpus.root}: {why}"
    )


def _judged(
    spec: CorpusSpec, rows: int, boxes: int, against: dict[str, int], settings: BoxOrderSettings
) -> tuple[Result, str]:
    stated = spec.geometry.box
    if spec.name in settings.waived:
        return "not checked", f"order {stated} not checked: waived by box_order.waived"
    counts = ", ".join(f"{n} as {order}" for order, n in against.items())
    looked = f"of its first {boxes} boxes ({rows} rows) there leave the picture or have a side below zero: {counts}"

    def clear(one: str, other: str) -> bool:
        return against[other] >= settings.contradictions and against[one] * settings.times <= against[other]

    better = [order for order in ORDERS if clear(order, stated)]
    if better or (boxes >= settings.contradictions and 2 * against[stated] > boxes):
        best = min(better, key=lambda order: against[order]) if better else ""
        mend = f"write geometry.box: {best} into a copy of its YAML" if best else "correct geometry in a copy of it"
        return "contradicted", (
            f"its YAML says that boxes are {stated}, and {looked}; {mend} (--dataset my.yaml), or say "
            f"--set box_order.waived=[{spec.name}], which the report then states."
        )
    if boxes < settings.contradictions:
        return "not checked", f"order {stated} not checked: {boxes} boxes in the {rows} rows looked at, too few to tell"
    close = [order for order in ORDERS if order != stated and not clear(stated, order)]
    if close:
        return "not checked", f"order {stated} not checked: {' and '.join(close)} cannot be told from it; {looked}"
    return "agrees", f"order {stated} agrees: {looked}"


def _boxes_by_row(corpus: Corpus, most: int) -> Iterator[list[Sequence[float]]]:
    """Four numbers of each box, a list for each of the first ``most`` rows."""
    spec, left = corpus.spec, most
    for block in corpus.blocks(_ROWS_AT_ONCE):
        if left <= 0:
            return
        if block.damage is not None:
            continue
        try:
            for number, row in read_block(spec, block):
                if left <= 0:
                    return
                left -= 1
                yield [] if isinstance(row, Reject) else _boxes_of(row, spec, f"{block.file} row {number}")
        except Reject:
            continue  # the job says so of each of its rows


def _boxes_of(row: dict[str, Any], spec: CorpusSpec, where: str) -> list[Sequence[float]]:
    if spec.form != "pixel_box":
        found = [tuple_boxes(_without_instructions(text, spec)) for text in _texts(row) if tuple_boxes(text)]
        return [box for boxes in found for box in boxes]
    try:
        return [raw_pixel_box(row, spec, where)]
    except Reject:
        return []


def _without_instructions(text: str, spec: CorpusSpec) -> str:
    """An instruction may show the form by numbers."""
    for expression in spec.strip:
        text = re.sub(expression, "", text)
    return text


def _texts(value: Any) -> list[str]:
    """Every text of a row, in its order."""
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [text for inner in inside for text in _texts(inner)]
