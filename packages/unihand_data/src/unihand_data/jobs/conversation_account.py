"""Rows of vision-text corpora, counted: the sink that keeps their keys, the losses, and the summary of a job.

Beside every staging part lies a part of keys (``<output>/_job/<content hash>/keys``): what each written row is known
by. They stay, so that the duplicates of rows of earlier runs are found, and a second run states the same.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.curate.conversations.rows import Keys
from unihand_data.ids import make_id
from unihand_data.jobs.conversation_keys import KEYS
from unihand_data.jobs.conversation_stages import TalkRows
from unihand_data.jobs.conversation_weed import Weeded
from unihand_data.jobs.losses import Stated
from unihand_data.runner import ledger_files, paths
from unihand_data.runner.job import EXIT_REJECT_SHARE, JobResult
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.stage import Unit
from unihand_data.shards import staging
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.rows import RejectRow
from unihand_data.shards.tokens import VISUAL_TOKENS
from unihand_data.sources.conversations.box_order import OrderVerdict

SUMMARY = "vision_text.json"
_REJECTS_PER_PART = 50_000


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


class RowAccount:
    """States losses row by row for :func:`unihand_data.jobs.finish.finish`: a written row is an id among a block's
    outputs that was kept at the end, a rejected one a loss of level ``item`` or one that was weeded out."""

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
        weeded = self.weeded.lost
        self._stage(_reject_frame(weeded, pl.col("uri"), pl.col("message"), "weed"), staging_dir)
        wrote = _unique(written)
        wrote = wrote.filter(~wrote.is_in(weeded["item"].implode()))
        silent = _silent(pl.concat(refused), wrote) if refused else weeded.clear()
        self._stage(silent, staging_dir)
        lost = _unique([*(f["item"] for f in refused), weeded["item"]])
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


def summary(weeded: Weeded, held_out: dict[str, Any], orders: Sequence[OrderVerdict] = ()) -> dict[str, Any]:
    """Per corpus: licence rules, rows, tokens at both sizes, fixes; which corpus' rows were found in which other; how
    rows came to their splits, what was held out, and whether boxes have the order that their corpus' YAML says."""
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
    twice = weeded.lost.filter(pl.col("reason").str.starts_with("duplicate"))
    pairs = twice.group_by("source", "of_source", "reason").len().sort("source", "of_source", "reason")
    return {
        "by_source": by_source, "duplicates": pairs.to_dicts(), "splits": weeded.groups,
        "shared_pictures": shared_pictures(rows), "held_out": held_out,
        "box_order": [order.stored() for order in orders],
    }  # fmt: skip


def shared_pictures(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Stored pictures that rows of several corpora show: ``{sources, pictures}``. Each row keeps its own licence."""
    shown = rows.select("source", pl.col("media").alias("picture")).explode("picture").drop_nulls("picture").unique()
    by_picture = shown.group_by("picture").agg(pl.col("source").sort()).filter(pl.col("source").list.len() > 1)
    names = by_picture.select(pl.col("source").list.join(" ").alias("names"))
    counted = names.group_by("names").len().sort("names")
    return [{"sources": names.split(" "), "pictures": count} for names, count in counted.iter_rows()]


def write_summary(output: str, found: dict[str, Any], content_hash: str) -> None:
    """Into ``vision_text.json``. What earlier runs into the directory held out, or did not, stays named, and so do
    their verdicts on corpora that this one did not read."""
    path = paths.join(output, SUMMARY)
    stored: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        stored = json.loads(paths.read_bytes(path))
    before = stored.get("held_out_by_version", {})
    fresh = {(v["corpus"], v["root"]) for v in found["box_order"]}
    orders = [v for v in stored.get("box_order", []) if (v["corpus"], v["root"]) not in fresh] + found["box_order"]
    uses = [use for use in before.get(content_hash, []) if use != found["held_out"]]
    found = {**found, "held_out_by_version": {**before, content_hash: [*uses, found["held_out"]]}}
    found["box_order"] = sorted(orders, key=lambda v: (v["corpus"], v["root"]))
    paths.write_atomic(path, json.dumps(found, indent=2, sort_keys=True).encode())
