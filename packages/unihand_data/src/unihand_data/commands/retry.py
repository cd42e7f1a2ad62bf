"""``unihand retry``: what was rejected, and taking it up again with the next run."""

from __future__ import annotations

import sys
from typing import Annotated

import tyro

from unihand_data.errors import Reason
from unihand_data.shards import append, writer
from unihand_data.shards import manifest as mf
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
    """
    store = Store(directory)
    manifest = mf.need(store)
    unknown = set(reason or ()) - {str(r) for r in Reason}
    if unknown:
        raise ShardError(f"{sorted(unknown)[0]!r} is no reason; reasons are {', '.join(sorted(map(str, Reason)))}")
    rows = [r for f in manifest.rejects for r in append.read_parquet(store, f.name, None).to_pylist()]
    chosen = [r for r in rows if (not reason or r["reason"] in reason) and (not item or r["item"] in item)]
    if not reason and not item:
        for name in sorted({r["reason"] for r in rows}):
            mine = [r for r in rows if r["reason"] == name]
            sys.stdout.write(f"{name}: {len(mine)}\n")
            for r in mine[:limit]:
                sys.stdout.write(f"  {r['item']}  {r['level']}  {r['stage']}  {r['message']}\n")
        return 0
    if not chosen:
        sys.stdout.write("nothing of this was rejected\n")
        return 0
    from unihand_data.runner.ledger import Ledger

    # The ledger first: if this stops here, the next run takes the units again and states their rejects anew.
    units = Ledger(store.url, manifest.content_hash).forget(ids=item or (), reasons=[] if item else reason or ())
    dropped = writer.drop_rejects(directory, {r["item"] for r in chosen}, () if item else set(reason or ()))
    sys.stdout.write(f"{units} units forgotten, {dropped} rejects dropped; run the job again to take them up\n")
    return 0
