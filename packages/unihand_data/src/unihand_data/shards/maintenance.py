"""Keeping a directory fast after many small commits: every commit adds a fragment per table, compaction joins them."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

from unihand_data.shards import manifest as mf
from unihand_data.shards import tables
from unihand_data.shards.errors import CommitRefused
from unihand_data.shards.store import Store
from unihand_data.shards.writer import only_committer

log = logging.getLogger(__name__)

#: rows a fragment should have: episodes are tens of kilobytes each, media some megabytes (in blob files of their own)
ROWS_PER_FRAGMENT = {"episodes": 65536, "media": 16384, "conversations": 262144}


def compact(
    directory: str | os.PathLike[str],
    *,
    keep: timedelta = timedelta(days=7),
    storage_options: dict[str, Any] | None = None,
) -> dict[str, int]:
    """Join small fragments and drop untagged versions older than ``keep``. Rows, ids, tags and their content stay.

    Returns:
        table -> fragments there are now.

    Raises:
        CommitRefused: a commit is at work or did not finish.
    """
    store = Store(directory, storage_options)
    with only_committer(store):
        manifest = mf.need(store)
        if manifest.state != "committed":
            raise CommitRefused(f"{store.url}: the commit of run {manifest.run_id} did not finish; run that job again")
        out = {}
        for table, rows in ROWS_PER_FRAGMENT.items():
            dataset = tables.open_table(store, table)
            dataset.optimize.compact_files(target_rows_per_fragment=rows)
            dataset.cleanup_old_versions(older_than=keep, error_if_tagged_old_versions=False)
            dataset = tables.open_table(store, table)
            out[table] = len(dataset.get_fragments())
            manifest.tables[table] = dataset.version
        mf.write(store, manifest)
        log.info("%s: fragments %s", store.url, out)
        return out
