"""What the end of a run says of every input item."""

from __future__ import annotations

from types import SimpleNamespace

import polars as pl
import pyarrow as pa

from unihand_data.jobs.finish import reject_rows


class StubLedger:
    """Rows of a ledger as :func:`reject_rows` asks for them; ``complete`` are the items with nothing left to do."""

    def __init__(self, units: list[tuple[str, str, str]], complete: set[str]):
        self.units, self.complete = units, complete

    def rows(self, columns):
        made = [
            {"id": unit, "parent": item, "item": item, "uri": f"/in/{item}.mp4", "status": status, "reason": ""}
            for unit, item, status in self.units
        ]
        return pl.DataFrame(made).select(columns)

    def rejects(self):
        return pa.Table.from_pylist([])

    def lookup(self, ids):
        return SimpleNamespace(complete=self.complete & set(ids))


def test_an_item_whose_clips_are_another_items_is_a_duplicate_and_one_that_is_not_done_is_nothing_yet():
    ledger = StubLedger(
        [
            ("kept", "kept", "split"),
            ("kept-0", "kept", "written"),
            ("copy", "copy", "split"),  # its only clip is kept-0
            ("cut off", "cut off", "split"),  # the job ended before its clips
        ],
        complete={"kept", "copy"},
    )
    rows, items, counts = reject_rows(ledger)
    assert [(row.item, row.level, row.reason) for row in rows] == [("copy", "item", "duplicate")]
    assert set(items) == {"kept", "copy"}
    assert counts == {"inputs": 2, "written": 1, "rejected": 1}


def test_an_item_that_waits_for_words_is_left_for_a_later_run():
    ledger = StubLedger([("slow", "slow", "split"), ("slow-0", "slow", "deferred")], complete=set())
    rows, _, counts = reject_rows(ledger)
    assert [(row.item, row.reason) for row in rows] == [("slow", "budget")]
    assert counts == {"inputs": 1, "written": 0, "rejected": 1}
