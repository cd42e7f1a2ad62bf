"""What only shows once all rows are there: licences of shared pictures, duplicates, and the split of connected rows.

Works on the keys of rows (``conversation_account.KEYS``), never on the rows; staging parts are written anew where a row
of theirs goes or changes its split.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.curate.conversations.duplicates import find_duplicates
from unihand_data.curate.conversations.splits import Assigned, SplitSettings, assign
from unihand_data.errors import Reason
from unihand_data.jobs.conversation_config import VisionTextSettings
from unihand_data.jobs.conversation_keys import KEYS, keys_dir
from unihand_data.runner import paths
from unihand_data.runner.ledger import Ledger, other_hashes
from unihand_data.shards import tables
from unihand_data.shards.store import Store
from unihand_data.shards.weed import leave_out, set_splits

_LOST = ["item", "conversation_id", "uri", "source", "of_uri", "of_source", "reason", "message"]


@dataclass
class Weeded:
    """``keys``: of the rows that the ledger says are written; ``lost``: those of them that are not kept, with
    ``reason`` and ``message``; ``groups``: how splits came out."""

    keys: pl.DataFrame
    lost: pl.DataFrame
    groups: dict[str, Any] = field(default_factory=dict)


def weed(output: str, content_hash: str, staging_dir: str, settings: VisionTextSettings) -> Weeded:
    """Find what is not to be kept over everything this directory holds or is about to, take it out of the staging
    parts, and give the rest its splits."""
    found = read_keys(output, content_hash)
    stored = _stored_splits(output)
    found = found.join(stored, on="conversation_id", how="left", maintain_order="left")
    found = found.with_columns(pl.col("stored_split").is_not_null().alias("stored"))
    lost = _licence_excluded(found)
    lost = pl.concat([lost, _duplicates(_without(found, lost), settings)])
    rows = _without(found, lost)
    assigned = _assigned(output, content_hash, rows, stored, settings.splits)
    rows = rows.with_columns(pl.Series("final", assigned.split[: len(rows)], dtype=pl.String))
    torn = rows.filter((pl.col("final") == "") & ~pl.col("stored"))
    lost = pl.concat([lost, _torn(torn)])
    kept = _without(rows, lost)
    gone = set(lost["conversation_id"]) - set(kept["conversation_id"])
    if gone:
        needed = set(kept["media"].explode().drop_nulls())
        orphans = set(found.filter(pl.col("conversation_id").is_in(list(gone)))["media"].explode().drop_nulls())
        leave_out(staging_dir, conversations=gone, media=orphans - needed)
    fresh = kept.filter(~pl.col("stored"))
    set_splits(staging_dir, dict(zip(fresh["conversation_id"], fresh["final"])))
    by_split = {s: int(n) for s, n in kept["final"].value_counts().sort("final").iter_rows()}
    groups = {
        "rows": by_split, "groups": assigned.groups, "largest_group": assigned.largest,
        "groups_too_large_to_hold_out": assigned.too_large,
    }  # fmt: skip
    return Weeded(found, lost.sort("item"), groups)


def read_keys(output: str, content_hash: str) -> pl.DataFrame:
    """Keys of every row the ledger holds as written; a part of a worker that was killed before its ledger entry is none
    of them, it is written again."""
    folder = keys_dir(output, content_hash)
    parts = [
        pl.DataFrame(pq.read_table(io.BytesIO(paths.read_bytes(paths.join(folder, name))), schema=KEYS))
        for name in paths.list_files(folder, ".parquet")
    ]
    if not parts:
        return pl.DataFrame(KEYS.empty_table())
    written = [f["outputs"].explode() for f in Ledger(output, content_hash).batches(["outputs"])]
    known = pl.concat(written).drop_nulls().unique() if written else pl.Series("outputs", [], dtype=pl.String)
    return (
        pl.concat(parts).unique("item", keep="first", maintain_order=True).filter(pl.col("item").is_in(known.implode()))
    )


def _stored_splits(output: str) -> pl.DataFrame:
    """``conversation_id, stored_split`` of the rows that are in the table."""
    store = Store(output)
    names = ["conversation_id", "split"]
    parts: list[pl.DataFrame] = [pl.DataFrame(schema=dict.fromkeys(names, pl.String))]
    if store.exists("conversations.lance/_versions"):
        dataset = tables.open_table(store, "conversations")
        parts += [pl.DataFrame(pa.Table.from_batches([b])) for b in tables.batches(dataset, names)]
    return pl.concat(parts).rename({"split": "stored_split"})


def _without(rows: pl.DataFrame, lost: pl.DataFrame) -> pl.DataFrame:
    return rows.join(lost.select("item"), on="item", how="anti", maintain_order="left")


def _licence_excluded(found: pl.DataFrame) -> pl.DataFrame:
    """Rows of barred corpora, and rows of others that show a picture of such a row: the strictest licence a picture is
    known under holds for it, whichever corpus was read first."""
    barred = found.filter(pl.col("barred") != "")
    own = barred.with_columns(
        pl.lit("").alias("of_uri"), pl.lit("").alias("of_source"), pl.format("{}: {}", "uri", "barred").alias("message")
    )
    pictures = (
        barred.select(pl.col("looks").alias("look"), pl.col("uri").alias("of_uri"), pl.col("source").alias("of_source"),
                      pl.col("barred").alias("why"))
        .explode("look").drop_nulls("look").sort("of_uri").unique("look", keep="first", maintain_order=True)
    )  # fmt: skip
    shown = found.filter((pl.col("barred") == "") & ~pl.col("stored")).explode("looks").join(
        pictures, left_on="looks", right_on="look", how="inner"
    )  # fmt: skip
    shown = shown.sort("item", "of_uri").unique("item", keep="first", maintain_order=True)
    shown = shown.with_columns(pl.format("{}: shows a picture of {}, and {}", "uri", "of_uri", "why").alias("message"))
    both = [f.with_columns(pl.lit(Reason.LICENCE_EXCLUDED.value).alias("reason")).select(_LOST) for f in (own, shown)]
    return pl.concat(both)


def _duplicates(rows: pl.DataFrame, settings: VisionTextSettings) -> pl.DataFrame:
    lost = find_duplicates(rows, settings.duplicates)
    exact = pl.when(pl.col("reason") == Reason.DUPLICATE.value).then(pl.lit("picture and questions"))
    same = exact.otherwise(pl.lit("words about a picture that looks the same"))
    message = pl.format("{}: the same {} as {} of {}", "uri", same, "of_uri", "of_source")
    return lost.with_columns(message.alias("message")).select(_LOST)


def _torn(rows: pl.DataFrame) -> pl.DataFrame:
    message = pl.format(
        "{}: its pictures belong to training rows and to held-out rows that are stored already; read its corpus in one "
        "run with theirs",
        "uri",
    )
    empty = [pl.lit("").alias("of_uri"), pl.lit("").alias("of_source")]
    reason = pl.lit(Reason.SPLIT_CONFLICT.value).alias("reason")
    return rows.with_columns(*empty, reason, message.alias("message")).select(_LOST)


def _assigned(
    output: str, content_hash: str, rows: pl.DataFrame, stored: pl.DataFrame, settings: SplitSettings
) -> Assigned:
    """Splits of ``rows``, in their order, with the stored rows of other versions of the settings as fixed points."""
    names = ["looks", "group", "stored_split"]
    looks = pl.col("looks").list.concat("whole_looks").list.unique(maintain_order=True).alias("looks")
    parts = [rows.with_columns(looks).select(names)]
    mine = rows["conversation_id"].implode()
    for other in other_hashes(output, content_hash):
        older = read_keys(output, other).filter(~pl.col("conversation_id").is_in(mine))
        older = older.join(stored, on="conversation_id", how="inner", maintain_order="left")
        parts.append(older.with_columns(looks).select(names))
    return assign(pl.concat(parts), settings)
