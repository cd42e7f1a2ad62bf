"""The end of every pipeline: finished units become staging parts, and these a shard directory with a report."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from unihand_data.config import Settings, content_dict, content_hash
from unihand_data.errors import Reason
from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.losses import Stated, state_losses
from unihand_data.runner import paths
from unihand_data.runner.job import EXIT_OK, EXIT_REJECT_SHARE, JobResult
from unihand_data.runner.ledger import Ledger, other_hashes
from unihand_data.runner.stage import Unit
from unihand_data.shards import manifest as mf
from unihand_data.shards import staging, writer
from unihand_data.shards.catalogue import inspect
from unihand_data.shards.rows import RejectRow, StagedRows
from unihand_data.shards.store import Store

log = logging.getLogger(__name__)

#: endings of the files stages lay into ``JobArguments.media_dir`` until the commit
MEDIA_FILES = (".mp4", ".mkv", ".pack")


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


def finish(
    arguments: JobArguments,
    settings: Settings,
    result: JobResult,
    *,
    ignored: int,
    tokenizer: str,
    language_cost: dict[str, Any] | None = None,
    state: Callable[[Sequence[Ledger], str], Stated] = state_losses,
) -> int:
    """Commit what is staged, write the report, say in a few lines what happened; returns the exit code.

    Args:
        ignored: files of the input that are none of the pipeline's business.
        tokenizer: what counted the words of the samples (``tokens.counter`` of the settings).
        language_cost: what language models were asked and cost, for the manifest.
        state: stages the losses of the ledgers and counts items (a unit of rows counts them row by row).
    """
    from unihand_data.report.build import write_report

    encoded = [name for kind in MEDIA_FILES for name in paths.list_files(arguments.media_dir, kind)]
    ledgers = [Ledger(arguments.output, result.content_hash)]
    ledgers += [Ledger(arguments.output, other) for other in other_hashes(arguments.output, result.content_hash)]
    stated = state(ledgers, arguments.staging_dir)
    config: dict[str, Any] = json.loads(json.dumps(content_dict(settings), default=str))
    outcome = writer.commit(
        arguments.staging_dir,
        arguments.output,
        content_hash=content_hash(settings),
        config=config,
        inputs={**stated.inputs, "ignored": ignored} if _all_known(arguments.output, ledgers) else None,
        run_id=result.run_id,
        settled=stated.settled,
        new_version=arguments.new_version,
        clean=True,
        language_cost=language_cost,
        tokenizer=tokenizer,
    )
    # Encoded files of units that are left for later stay. Of the others, the bytes are in the media table, or belong to
    # clips that were not kept.
    for name in encoded:
        if os.path.splitext(name)[0] not in stated.later:
            paths.remove(paths.join(arguments.media_dir, name))
    log.info("committed %s", outcome["new"])
    report = write_report(arguments.output)
    summary = inspect(arguments.output)
    print(summary_lines(summary, result, report))
    if len(stated.later):
        print(f"{len(stated.later)} units are left for a later run, for example: {stated.why_later}")
    if number := result.reasons[Reason.INTERNAL]:
        print(f"{number} internal errors: see `unihand retry {arguments.output}`; --reason internal takes them up")
    if result.message:
        print(result.message)
    if result.exit_code == EXIT_OK and summary["inputs"] and not summary["written"] and not len(stated.later):
        print("nothing was written: every input item was rejected")
        return EXIT_REJECT_SHARE
    return result.exit_code


def _all_known(output: str, ledgers: list[Ledger]) -> bool:
    """Whether every content version of the directory still has its ledger; else items are counted from the rows."""
    manifest = mf.read(Store(output))
    names = {ledger.content_hash[:32] for ledger in ledgers}
    return manifest is None or all(version["content_hash"][:32] in names for version in manifest.versions)


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
