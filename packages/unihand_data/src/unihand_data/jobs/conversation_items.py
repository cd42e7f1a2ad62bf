"""Units and items of the vision-text job: a unit is a block of rows, an input item is a row (docs/contract.md, 4).

Corpora have 10 million rows. A unit per row would put each of them into the ledger, the scheduler and a staging part of
its own; a block is resumed as a whole instead, and its rows are counted by what the block's ledger entry lists: the ids
of rows that were written, and a reject for every other one.
"""

from __future__ import annotations

from collections.abc import Iterator

from unihand_data.ids import make_id
from unihand_data.jobs.items import fingerprint
from unihand_data.runner.stage import Unit
from unihand_data.sources.conversations.containers import Block
from unihand_data.sources.conversations.registry import Corpora


def list_blocks(corpora: Corpora, rows_per_block: int) -> Iterator[Unit]:
    """One unit per block of rows, ids from the corpus, the file's name, size and both ends, and the rows."""
    for corpus in corpora.corpora:
        stamps: dict[str, str] = {}
        for block in corpus.blocks(rows_per_block):
            if block.file not in stamps:
                stamps[block.file] = fingerprint(block.path)
            stamp = stamps[block.file]
            unit_id = make_id("block", corpus.spec.name, block.file, stamp, block.start, block.count)
            yield Unit(unit_id, unit_id, f"{block.path}#row={block.start}", BlockState(block, stamp))


class BlockState:
    """A block and the fingerprint of its file, of which the ids of its rows are made."""

    def __init__(self, block: Block, stamp: str):
        self.block, self.stamp = block, stamp

    def item(self, corpus: str, row: int) -> str:
        """Id of the input item that this row is; the same whatever the size of blocks."""
        return make_id("item", corpus, self.block.file, self.stamp, row)
