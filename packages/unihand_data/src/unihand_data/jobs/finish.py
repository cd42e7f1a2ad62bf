"""The end of every pipeline: finished units become staging parts, and these a shard directory with a report."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import Any

import polars as pl

from unihand_data.config import Settings, content_dict, content_hash
from unihand_data.errors import Reason
from unihand_data.jobs.arguments import JobArguments
from unihand_data.runner import paths
from unihand_data.runner.job import JobResult
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.parcel import DEFERRED
from unihand_data.runner.stage import Unit
from unihand_data.shards import staging, writer
from unihand_data.shards.catalogue import inspect
from unihand_data.shards.rows import RejectRow, StagedRows

log = logging.getLogger(__name__)

#: endings of the files stages lay into ``JobArguments.media_dir`` until the commit
MEDIA_FILES = (".mp4", ".mkv")


class ShardSink:
    """Writes what the last stage made into a staging part; runs in workers. Losses are not staged here: the ledger
    holds each once, and :func:`finish` states them all."""

    def __init__(self, staging_dir: str):
        self.staging_dir = staging_dir

    def __call__(self, units: list[Unit], losses: list[RejectRow]) -> None:
        rows: list[StagedRows] = [unit.body for unit in units]
        staging.write_part(
            self.staging_dir,
            [episode for r in rows for episode in r.episodes],
            [media for r in rows for media in r.media],
            [sample for r in rows for sample in r.samples],
            conversations=[conversation for r in rows for conversation in r.conversations],
        )


def measure(unit: Unit) -> dict[str, float]:
    """Figures of a finished unit for metrics: unmirrored frames and encoded bytes."""
    rows: StagedRows = unit.body
    return {
        "frames": float(sum(row.frames for row in rows.episodes if not row.mirrored)),
        "bytes": float(sum(paths.size(media.path) if media.path else len(media.data or b"") for media in rows.media)),
    }


def reject_rows(ledger: Ledger) -> tuple[list[RejectRow], list[str], dict[str, int]]:
    """Every loss the ledger knows, with one row of level ``item`` for each item that left nothing behind, and the
    item counts of docs/contract.md, section 4: an item is written if a row of it was, else rejected. An item whose
    clips are still to be done (the job ended early) is neither yet.

    Returns:
        all reject rows, the items that are settled, and the counts.
    """
    rows = [RejectRow(**record) for record in ledger.rejects().to_pylist()]
    units = ledger.rows(["id", "parent", "item", "uri", "status", "reason"])
    done = units.group_by("item").agg(
        (pl.col("status") == "written").any().alias("written"), pl.col("uri").first(), pl.len().alias("units")
    )
    said = {row.item for row in rows if row.level == "item"}
    clip_reasons: dict[str, Counter[str]] = {}
    for row in rows:
        clip_reasons.setdefault(row.item, Counter())[row.reason] += 1
    pending = units.filter(pl.col("status") == "deferred")["item"].unique().to_list()
    silent = done.filter(~pl.col("written") & ~pl.col("item").is_in([*said, *pending]))["item"].to_list()
    unfinished = set(silent) - ledger.lookup(silent).complete
    done = done.filter(~pl.col("item").is_in(list(unfinished)))
    for item, written, uri, _ in done.iter_rows():
        if written or item in said:
            continue
        reasons = clip_reasons.get(item)
        if reasons:
            reason = reasons.most_common(1)[0][0]
            message = f"{uri}: none of its clips was kept ({', '.join(f'{n} {r}' for r, n in reasons.most_common(4))})"
        elif item in pending:
            reason, message = Reason.BUDGET.value, f"{uri}: left for a later run"
        else:  # its clips are another item's clips
            reason, message = Reason.DUPLICATE.value, f"{uri}: the same content as another item of this input"
        rows.append(RejectRow(item, "item", "finish", reason, message, uri))
    written = int(done["written"].sum())
    return rows, done["item"].to_list(), {"inputs": len(done), "written": written, "rejected": len(done) - written}


def finish(
    arguments: JobArguments,
    settings: Settings,
    result: JobResult,
    *,
    ignored: int,
    language_cost: dict[str, Any] | None = None,
) -> int:
    """Commit what is staged, write the report, say in a few lines what happened; returns the exit code.

    Args:
        ignored: files of the input that are none of the pipeline's business.
        language_cost: what language models were asked and cost, for the manifest.
    """
    from unihand_data.report.build import write_report

    encoded = [name for kind in MEDIA_FILES for name in paths.list_files(arguments.media_dir, kind)]
    ledger = Ledger(arguments.output, result.content_hash)
    rejects, items, inputs = reject_rows(ledger)
    if rejects:
        staging.write_part(arguments.staging_dir, rejects=rejects)
    config: dict[str, Any] = json.loads(json.dumps(content_dict(settings), default=str))
    outcome = writer.commit(
        arguments.staging_dir,
        arguments.output,
        content_hash=content_hash(settings),
        config=config,
        inputs={**inputs, "ignored": ignored},
        run_id=result.run_id,
        settled=items,
        new_version=arguments.new_version,
        clean=True,
        language_cost=language_cost,
    )
    later = ledger.rows(["id", "status"]).filter(pl.col("status") == DEFERRED)["id"].to_list()
    # Of the others, the bytes are in the media table, or belong to clips that were not kept.
    for name in set(encoded) - {f"{clip_id}{kind}" for clip_id in later for kind in MEDIA_FILES}:
        paths.remove(paths.join(arguments.media_dir, name))
    log.info("committed %s", outcome["new"])
    report = write_report(arguments.output)
    summary = inspect(arguments.output)
    print(summary_lines(summary, result, report))
    if later:
        why = next(row.message for row in rejects if row.reason == Reason.BUDGET.value)
        print(f"{len(later)} clips are left for a later run, for example: {why}")
    if result.message:
        print(result.message)
    return result.exit_code


def summary_lines(summary: dict[str, Any], result: JobResult, report: str) -> str:
    ratio = summary["hands"]["frames_with_hand_ratio"]
    hands = "" if ratio is None else f", a hand in {ratio:.0%} of the frames"
    talks = f", {summary['conversations']} conversations" if summary["conversations"] else ""
    tasks = ", ".join(f"{count} {task}" for task, count in sorted(summary["samples"]["by_task"].items()))
    return "\n".join(
        [
            f"{summary['inputs']} input items: {summary['written']} written, {summary['rejected']} rejected, "
            f"{summary['ignored']} files ignored; this run took {result.seconds:.1f} s and skipped {result.skipped}",
            f"{summary['episodes']} episodes and {summary['mirrored']['episodes']} mirror twins, {summary['frames']} "
            f"frames, {summary['hours'] * 3600:.1f} s{hands}{talks}",
            f"samples: {tasks or 'none'}",
            f"look at {report}",
        ]
    )
