"""``unihand retry``: what was rejected, and taking it up again with the next run."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import tyro

from unihand_data.errors import Reason
from unihand_data.shards import manifest as mf
from unihand_data.shards import parquet_files, writer
from unihand_data.shards.errors import ShardError
from unihand_data.shards.store import Store


def retry(
    directory: Annotated[str, tyro.conf.Positional],
    *,
    reason: list[str] | None = None,
    item: list[str] | None = None,
    limit: int = 20,
) -> int:
    """List what was rejected; with --reason or --item, forget it so that the next run of the job takes it again.

    Args:
        directory: the shard directory.
        reason: reasons to take again.
        item: input items (ids as listed) to take again.
        limit: items listed per reason.

    Raises:
        ShardError: a reason that does not exist, an item that was not rejected; nothing is forgotten then.
    """
    store = Store(directory)
    manifest = mf.need(store)
    unknown = set(reason or ()) - {str(r) for r in Reason}
    if unknown:
        raise ShardError(f"{sorted(unknown)[0]!r} is no reason; reasons are {', '.join(sorted(map(str, Reason)))}")
    if not reason and not item:
        _list(store, manifest, limit)
        return 0
    columns, chosen, never = ["item", "reason"], set[str](), set(item or ())
    for batch in parquet_files.batches(store, manifest.rejects, columns):
        pairs = list(zip(*(batch[c].to_pylist() for c in columns)))
        never -= {i for i, _ in pairs}
        chosen |= {i for i, r in pairs if (not reason or r in reason) and (not item or i in item)}
    if never:
        raise ShardError(
            f"{store.url}: {', '.join(sorted(never))} is no rejected item; `unihand retry {directory}` lists them"
        )
    if not chosen:
        sys.stdout.write("nothing of this was rejected\n")
        return 0
    from unihand_data.runner.ledger import Ledger

    # The ledger first: if this stops here, the next run takes the units again and states their rejects anew.
    units = Ledger(store.url, manifest.content_hash).forget(ids=item or (), reasons=[] if item else reason or ())
    dropped = writer.drop_rejects(directory, chosen, () if item else set(reason or ()))
    sys.stdout.write(f"{units} units forgotten, {dropped} rejects dropped; run the job again to take them up\n")
    return 0


def _list(store: Store, manifest: mf.Manifest, limit: int) -> None:
    """How many rejects each reason has, and the first ``limit`` of them."""
    counts: Counter[str] = Counter()
    first: dict[str, list[str]] = {}
    for batch in parquet_files.batches(store, manifest.rejects, ["reason", "item", "level", "stage", "message"]):
        for r in batch.to_pylist():
            counts[r["reason"]] += 1
            lines = first.setdefault(r["reason"], [])
            if len(lines) < limit:
                lines.append(f"  {r['item']}  {r['level']}  {r['stage']}  {r['message']}\n")
    if not counts:
        sys.stdout.write("no rejects\n")
    for name in sorted(counts):
        sys.stdout.write(f"{name}: {counts[name]}\n{''.join(first[name])}")
