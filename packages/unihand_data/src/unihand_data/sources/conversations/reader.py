"""A block of rows as talks: container, form and finder of one corpus put together."""

from __future__ import annotations

from collections.abc import Iterator

from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.containers import Block, read_block
from unihand_data.sources.conversations.forms import llava, planning, pointing
from unihand_data.sources.conversations.forms.common import Form
from unihand_data.sources.conversations.pictures import Finder
from unihand_data.sources.conversations.registry import load_corpus
from unihand_data.sources.conversations.talk import Talk

FORMS: dict[str, Form] = {
    "llava": llava.llava,
    "finevision": llava.finevision,
    "eo": llava.eo,
    "molmoact": llava.molmoact,
    "refer": pointing.refer,
    "pixel_box": pointing.pixel_box,
    "affordance": pointing.affordance,
    "trajectory": pointing.trajectory,
    "waypoints": pointing.waypoints,
    "points": pointing.points,
    "robovqa": planning.robovqa,
    "instruction": planning.instruction,
    "steps": planning.steps,
}


class BlockReader:
    """Reads blocks of any corpus; keeps one finder per corpus (its index of archives)."""

    def __init__(self) -> None:
        self._finders: dict[tuple[str, str], Finder] = {}

    def read(self, block: Block) -> Iterator[tuple[int, Talk | Reject]]:
        """``(row number, talk or why there is none)`` for every row.

        Raises:
            Reject: the block cannot be read at all.
        """
        spec = load_corpus(block.corpus)
        finder = self._finders.setdefault((block.corpus, block.root), Finder(spec, block.root))
        form = FORMS[spec.form]
        for number, row in read_block(spec, block):
            if isinstance(row, Reject):
                yield number, row
                continue
            where = f"{block.file} row {number}"
            try:
                yield number, form(row, spec, finder, where)
            except Reject as reject:
                yield number, reject
            except (KeyError, AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
                # A type nobody foresaw. The row is named and lost; the corpus goes on.
                kind = f"{type(error).__name__}: {str(error)[:120]}"
                yield number, Reject(Reason.WRONG_TYPE, f"{where}: not of the form {spec.form} ({kind})")
