"""Ledgers item by item: what an input item became is spread over the parts of its units, and is judged as a whole."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator, Sequence

import polars as pl

from unihand_data.runner.ledger import Ledger

#: rows of a group; with their losses some hundred bytes each
ROWS_AT_ONCE = 200_000
LEDGER = "ledger"


def item_groups(
    ledgers: Sequence[Ledger], columns: Sequence[str], *, rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[pl.DataFrame]:
    """The rows that count of all ledgers, in groups: every row of an item, of whichever ledger, is in the same one.

    Memory holds a group of about ``rows_at_once`` rows; more than one group waits in a temporary folder on local disk.

    Args:
        columns: of the ledger's rows; ``item`` and ``ledger`` (position in ``ledgers``, int32) come with them.
    """
    wanted = sorted({*columns, "item"})
    groups = max(1, -(-sum(ledger.size() for ledger in ledgers) // rows_at_once))
    if groups == 1:
        found = list(_rows(ledgers, wanted))
        if found:
            yield pl.concat(found)
        return
    with tempfile.TemporaryDirectory(prefix="unihand_ledger_") as folder:
        for number, frame in enumerate(_rows(ledgers, wanted)):
            dealt = frame.with_columns((pl.col("item").hash() % groups).alias("_group"))
            for (group,), piece in dealt.partition_by("_group", as_dict=True, include_key=False).items():
                piece.write_ipc(os.path.join(folder, f"{group}-{number:06d}.arrow"))
        for group in range(groups):
            waiting = sorted(glob.glob(os.path.join(folder, f"{group}-*.arrow")))
            if waiting:
                yield pl.concat([pl.read_ipc(path) for path in waiting])


def _rows(ledgers: Sequence[Ledger], columns: list[str]) -> Iterator[pl.DataFrame]:
    for number, ledger in enumerate(ledgers):
        for frame in ledger.batches(columns):
            yield frame.with_columns(pl.lit(number, pl.Int32).alias(LEDGER))
