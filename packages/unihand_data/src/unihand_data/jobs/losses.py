"""What the end of a run states about every input item: its losses as staged reject rows, and the item counts.

An item may be known to several ledgers, one for each content version that wrote into the directory (``--new-version``).
It is one input all the same, and written if any version wrote a row of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from unihand_data.errors import Reason
from unihand_data.runner import ledger_files
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.ledger_items import LEDGER, item_groups
from unihand_data.runner.parcel import DEFERRED, DEFERRED_REASONS, WRITTEN
from unihand_data.shards import staging
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.rows import RejectRow

#: ledger rows judged at once; their losses become one staging part per ledger
ROWS_AT_ONCE = 100_000
_COLUMNS = ["id", "uri", "status", "part", "losses"]


@dataclass
class Stated:
    """Attributes:

    inputs: items by outcome (inputs, written, rejected), all versions together.
    settled: items whose staged rejects are all there is to say about them.
    later: units left for a later run; ``why_later`` is one of their messages.
    """

    inputs: Counter[str] = field(default_factory=Counter)
    settled: IdIndex = field(default_factory=IdIndex)
    later: IdIndex = field(default_factory=IdIndex)
    why_later: str = ""


@dataclass
class Verdict:
    """About the items of one group: reject rows of each ledger, items that are settled, and those of them written."""

    rejects: list[list[RejectRow]]
    settled: list[str]
    written: int


def state_losses(ledgers: Sequence[Ledger], staging_dir: str, *, rows_at_once: int = ROWS_AT_ONCE) -> Stated:
    """Stage every loss the ledgers know, with one row of level ``item`` for each item that left nothing behind, and
    count items by docs/contract.md, section 4. Memory holds ``rows_at_once`` ledger rows and 20 bytes an item.

    Args:
        ledgers: of the newest content version first.
    """
    out = Stated()
    later: list[pl.Series] = []

    def settled() -> Iterator[list[str]]:
        for group in item_groups(ledgers, _COLUMNS, rows_at_once=rows_at_once):
            verdict = judge(group, ledgers)
            for rows in verdict.rejects:  # of each ledger apart: an equal row of two versions is one loss
                if rows:
                    staging.write_part(staging_dir, rejects=rows)
                    out.why_later = out.why_later or next((r.message for r in rows if r.reason in DEFERRED_REASONS), "")
            out.inputs.update(inputs=len(verdict.settled), written=verdict.written)
            later.append(group.filter(pl.col("status") == DEFERRED)["id"])
            yield verdict.settled

    out.settled = IdIndex(settled())
    out.inputs["rejected"] = out.inputs["inputs"] - out.inputs["written"]
    out.later = IdIndex(ids.to_arrow() for ids in later)
    return out


def judge(group: pl.DataFrame, ledgers: Sequence[Ledger]) -> Verdict:
    """The verdict on items all of whose ledger rows are in ``group`` (:func:`item_groups`).

    An item whose clips are still to be done (the job ended early) is neither written nor rejected yet.
    """
    first = group.sort(pl.col("status") != WRITTEN, "uri", "part")
    items = first.group_by("item", maintain_order=True).agg(
        (pl.col("status") == WRITTEN).any().alias("written"),
        (pl.col("status") == DEFERRED).any().alias("pending"),
        pl.col("uri").first(),
    )
    rejects = _losses(group, len(ledgers))
    said: set[str] = set()
    reasons: dict[str, Counter[str]] = {}
    for row in (row for rows in rejects for row in rows):
        if row.level == "item":
            said.add(row.item)
        reasons.setdefault(row.item, Counter())[row.reason] += 1
    silent = items.filter(~pl.col("written") & ~pl.col("pending") & ~pl.col("item").is_in(list(said)))["item"]
    items = items.filter(~pl.col("item").is_in(list(_unfinished(group, silent.to_list(), ledgers))))
    for item, written, pending, uri in items.iter_rows():
        if written or item in said:
            continue
        kinds = reasons.get(item)
        if kinds:
            reason = kinds.most_common(1)[0][0]
            message = f"{uri}: none of its clips was kept ({', '.join(f'{n} {r}' for r, n in kinds.most_common(4))})"
        elif pending:
            reason, message = Reason.BUDGET.value, f"{uri}: left for a later run"
        else:  # its clips are another item's clips
            reason, message = Reason.DUPLICATE.value, f"{uri}: the same content as another item of this input"
        rejects[0].append(RejectRow(item, "item", "finish", reason, message, uri))
    return Verdict(rejects, items["item"].to_list(), int(items["written"].sum()))


def _losses(group: pl.DataFrame, ledgers: int) -> list[list[RejectRow]]:
    """Reject rows by ledger. That one version rejected a whole item is no loss where another version wrote it."""
    out: list[list[RejectRow]] = []
    wrote = [set(_of(group, n).filter(pl.col("status") == WRITTEN)["item"]) for n in range(ledgers)]
    for number in range(ledgers):
        others = set().union(*(items for n, items in enumerate(wrote) if n != number)) - wrote[number]
        flat = ledger_files.losses_of(_of(group, number)).sort(ledger_files.LOSS_ORDER)
        rows = (RejectRow(**record) for record in flat.iter_rows(named=True))
        out.append([row for row in rows if not (row.level == "item" and row.item in others)])
    return out


def _unfinished(group: pl.DataFrame, items: list[str], ledgers: Sequence[Ledger]) -> set[str]:
    """Those of ``items`` that have work left in a ledger that knows them."""
    left: set[str] = set()
    for number, ledger in enumerate(ledgers if items else ()):
        known = _of(group, number).filter(pl.col("item").is_in(items))["item"].unique().to_list()
        left |= set(known) - ledger.lookup(known).complete if known else set()
    return left


def _of(group: pl.DataFrame, ledger: int) -> pl.DataFrame:
    return group.filter(pl.col(LEDGER) == ledger)
