"""Rows of vision-text corpora, counted and freed of duplicates: the sink that keeps their keys, and the end of a job.

Beside every staging part lies a part of keys (``<output>/_job/<content hash>/keys``): what each written row is known
by. They stay, so that the duplicates of rows of earlier runs are found, and a second run states the same.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.curate.conversations.duplicates import DuplicateSettings, find_duplicates
from unihand_data.curate.conversations.rows import Keys
from unihand_data.ids import make_id
from unihand_data.jobs.conversation_stages import TalkRows
from unihand_data.jobs.losses import Stated
from unihand_data.runner import ledger_files, paths
from unihand_data.runner.job import EXIT_REJECT_SHARE, JobResult
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.stage import Unit
from unihand_data.shards import staging, tables
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.rows import RejectRow
from unihand_data.shards.store import Store
from unihand_data.shards.tokens import VISUAL_TOKENS
from unihand_data.shards.weed import leave_out

KEYS = pa.schema(
    [
        ("item", pa.string()),
        ("conversation_id", pa.string()),
        ("source", pa.string()),
        ("uri", pa.string()),
        ("rank", pa.int32()),
        ("exact", pa.string()),
        ("said", pa.string()),
        ("looks", pa.list_(pa.string())),
        ("media", pa.list_(pa.string())),
        ("fixes", pa.list_(pa.string())),
        ("tokens_text", pa.int32()),
        ("tokens_answer", pa.int32()),
        ("images", pa.int32()),
    ]
)
SUMMARY = "vision_text.json"
_REJECTS_PER_PART = 50_000


def keys_dir(output: str, content_hash: str) -> str:
    return paths.join(output, "_job", content_hash[:32], "keys")


class TalkSink:
    """Writes finished rows into a staging part, and their keys beside it; runs in workers."""

    def __init__(self, staging_dir: str, keys_folder: str):
        self.staging_dir, self.keys_folder = staging_dir, keys_folder

    def __call__(self, units: list[Unit], losses: list[RejectRow]) -> None:
        bodies: list[TalkRows] = [unit.body for unit in units]
        found: list[Keys] = [body.keys for body in bodies if body.keys is not None]
        if not found:
            return
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([asdict(k) for k in found], schema=KEYS), buffer, compression="zstd")
        name = make_id("keys", *sorted(k.item for k in found))
        paths.write_atomic(paths.join(self.keys_folder, f"{name}.parquet"), buffer.getvalue())
        # Equal rows of one corpus have one id; a part holds it once, and the keys tell that there were several.
        first = {row.conversation_id: body for body in reversed(bodies) for row in body.conversations}
        staging.write_part(
            self.staging_dir,
            media=list({m.media_id: m for body in first.values() for m in body.media}.values()),
            samples=[s for body in first.values() for s in body.samples],
            conversations=[c for body in first.values() for c in body.conversations],
        )


def measure(unit: Unit) -> dict[str, float]:
    """Figures of a finished row for the metrics."""
    rows: TalkRows = unit.body
    return {
        "conversations": float(len(rows.conversations)),
        "tokens_text": float(sum(r.tokens_text for r in rows.conversations)),
        "tokens_supervised": float(sum(r.tokens_answer for r in rows.conversations)),
    }


@dataclass
class Weeded:
    """``keys``: of the rows that the ledger says are written; ``lost``: those of them that are another row again."""

    keys: pl.DataFrame
    lost: pl.DataFrame


def weed(output: str, content_hash: str, staging_dir: str, settings: DuplicateSettings) -> Weeded:
    """Find duplicates over everything this directory holds or is about to, and take them out of the staging parts."""
    found = read_keys(output, content_hash)
    stored = _stored(output)
    rows = stored.rows(found["conversation_id"].to_arrow().cast(pa.string())).tolist() if len(found) else []
    found = found.with_columns(pl.Series("stored", [r >= 0 for r in rows], dtype=pl.Boolean))
    lost = find_duplicates(found, settings)
    kept = found.join(lost.select("item"), on="item", how="anti")
    gone = set(lost["conversation_id"]) - set(kept["conversation_id"])
    if gone:
        needed = set(kept["media"].explode().drop_nulls())
        orphans = set(found.filter(pl.col("conversation_id").is_in(list(gone)))["media"].explode().drop_nulls())
        leave_out(staging_dir, conversations=gone, media=orphans - needed)
    return Weeded(found, lost)


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


def _stored(output: str) -> IdIndex:
    store = Store(output)
    if not store.exists("conversations.lance/_versions"):
        return IdIndex()
    return tables.id_index(tables.open_table(store, "conversations"), "conversation_id")


class RowAccount:
    """States losses row by row for :func:`unihand_data.jobs.finish.finish`: a written row is an id among a block's
    outputs that is no duplicate, a rejected one a loss of level ``item`` or a duplicate."""

    def __init__(self, weeded: Weeded, max_reject_share: float | None = None, result: JobResult | None = None):
        self.weeded, self.max_reject_share, self.result = weeded, max_reject_share, result

    def __call__(self, ledgers: Sequence[Ledger], staging_dir: str) -> Stated:
        out = Stated()
        written: list[pl.Series] = []
        refused: list[pl.DataFrame] = []
        for ledger in ledgers:
            for frame in ledger.batches(["id", "uri", "part", "status", "outputs", "losses"]):
                written.append(frame["outputs"].explode().drop_nulls())
                flat = ledger_files.losses_of(frame)
                refused.append(flat.select("item", "level", "reason", "source_uri"))
                self._stage(flat, staging_dir)
        duplicates = self.weeded.lost
        self._stage(_duplicate_rejects(duplicates), staging_dir)
        wrote = _unique(written)
        wrote = wrote.filter(~wrote.is_in(duplicates["item"].implode()))
        silent = _silent(pl.concat(refused), wrote) if refused else duplicates.clear()
        self._stage(silent, staging_dir)
        lost = _unique([*(f["item"] for f in refused), duplicates["item"]])
        lost = lost.filter(~lost.is_in(wrote.implode()))
        out.inputs.update(inputs=len(wrote) + len(lost), written=len(wrote), rejected=len(lost))
        out.settled = IdIndex([wrote.to_arrow().cast(pa.string()), lost.to_arrow().cast(pa.string())])
        self._judge(out)
        return out

    def _judge(self, out: Stated) -> None:
        """The runner sees blocks, which end well if one row of them does; the share of rows is judged here."""
        share = out.inputs["rejected"] / out.inputs["inputs"] if out.inputs["inputs"] else 0.0
        if self.result is None or self.max_reject_share is None or share <= self.max_reject_share:
            return
        self.result.exit_code = EXIT_REJECT_SHARE
        self.result.message = (
            f"{share:.0%} of {out.inputs['inputs']} rows were rejected, more than max_reject_share = "
            f"{self.max_reject_share:.0%}; what is good is committed: look at the rejects"
        )

    def _stage(self, flat: pl.DataFrame, staging_dir: str) -> None:
        for piece in flat.iter_slices(_REJECTS_PER_PART):
            rows = [RejectRow(**record) for record in piece.iter_rows(named=True)]
            if rows:
                staging.write_part(staging_dir, rejects=rows)


def _silent(losses: pl.DataFrame, wrote: pl.Series) -> pl.DataFrame:
    """A row of level ``item`` for items that lost parts, were not written, and of which nothing else says so."""
    items = losses.group_by("item").agg(
        (pl.col("level") == "item").any().alias("said"), pl.col("reason").first(), pl.col("source_uri").first()
    )
    items = items.filter(~pl.col("said") & ~pl.col("item").is_in(wrote.implode()))
    message = pl.format("{}: nothing of it was left", "source_uri")
    return _reject_frame(items, pl.col("source_uri"), message, "finish")


def _reject_frame(items: pl.DataFrame, uri: pl.Expr, message: pl.Expr, stage: str) -> pl.DataFrame:
    """Rows of :class:`RejectRow`, level ``item``, from ``item`` and ``reason``."""
    return items.select(
        "item", pl.lit("item").alias("level"), pl.lit(stage).alias("stage"), "reason", message.alias("message"),
        uri.alias("source_uri"), pl.lit(1).alias("attempt"), pl.lit(0).alias("frames"),
        pl.lit(0).alias("frames_with_hand"), pl.lit(0.0).alias("duration_s"),
    )  # fmt: skip


def _unique(series: list[pl.Series]) -> pl.Series:
    parts = [s.cast(pl.String).alias("item") for s in series if len(s)]
    return pl.concat(parts).unique() if parts else pl.Series("item", [], dtype=pl.String)


def _duplicate_rejects(lost: pl.DataFrame) -> pl.DataFrame:
    message = pl.format("{}: the same {} as {} of {}", "uri", pl.when(pl.col("reason") == "duplicate").then(
        pl.lit("picture and questions")).otherwise(pl.lit("words about a picture that looks the same")),
        "of_uri", "of_source")  # fmt: skip
    return _reject_frame(lost, pl.col("uri"), message, "weed")


def summary(weeded: Weeded) -> dict[str, Any]:
    """Per corpus: rows, tokens at both sizes, fixes; and which corpus' rows were found in which other."""
    rows = weeded.keys.join(weeded.lost.select("item"), on="item", how="anti")
    by_source = {}
    for (source,), part in sorted(rows.group_by("source"), key=lambda g: str(g[0])):
        fixes = part["fixes"].explode().drop_nulls().value_counts().sort("fixes")
        images = int(part["images"].sum())
        by_source[str(source)] = {
            "rows": len(part),
            "images": images,
            "tokens_text": int(part["tokens_text"].sum()),
            "tokens_supervised": int(part["tokens_answer"].sum()),
            "tokens_visual": {str(px): images * n for px, n in VISUAL_TOKENS.items()},
            "fixes": dict(zip(fixes["fixes"].to_list(), fixes["count"].to_list())),
        }
    pairs = weeded.lost.group_by("source", "of_source", "reason").len().sort("source", "of_source", "reason")
    return {"by_source": by_source, "duplicates": pairs.to_dicts()}


def write_summary(output: str, found: dict[str, Any]) -> None:
    paths.write_atomic(paths.join(output, SUMMARY), json.dumps(found, indent=2, sort_keys=True).encode())
