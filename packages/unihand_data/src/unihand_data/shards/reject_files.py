"""Stored rejects by id, a batch at a time, and taking some of them out.

A reject has no id of its own: it is its content and its ordinal among equal rows, counted through all listed files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from unihand_data.ids import make_id
from unihand_data.shards import append, parquet_files, staging
from unihand_data.shards import manifest as mf
from unihand_data.shards.store import Store


def with_ids(store: Store, files: list[mf.ParquetFile]) -> Iterator[tuple[int, pa.RecordBatch, list[str]]]:
    """(position of the file, some of its rows, their ids) in order. Memory holds a batch, and 8 bytes for each row."""
    twice = _equal(store, files)
    counts: Counter[str] = Counter()
    for number, file in enumerate(files):
        for batch in parquet_files.batches(store, [file], None):
            ids = []
            keys = batch.select(list(staging.REJECT_KEY)).to_pylist()
            for record, again in zip(keys, np.isin(_hashes(batch), twice).tolist()):
                base = staging.reject_key(record)
                ids.append(make_id(base, counts[base]))
                if again:  # only rows that have an equal one are counted
                    counts[base] += 1
            yield number, batch, ids


def _equal(store: Store, files: list[mf.ParquetFile]) -> np.ndarray:
    """Hashes that more than one row has."""
    found = [_hashes(batch) for batch in parquet_files.batches(store, files, list(staging.REJECT_KEY))]
    hashes = np.concatenate(found) if found else np.zeros(0, np.uint64)
    found.clear()
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def _hashes(batch: pa.RecordBatch) -> np.ndarray:
    rows = pl.DataFrame(batch.select(list(staging.REJECT_KEY)))
    return rows.select(pl.struct(pl.all()).hash()).to_series().to_numpy()


def remove(out: Store, manifest: mf.Manifest, gone: Callable[[pa.RecordBatch, list[str]], np.ndarray]) -> int:
    """Write those files anew that hold rows which are ``gone`` (bool by row and id); returns how many went. The files
    they came from are no longer listed, and removed by whoever writes the manifest."""
    flags: list[list[np.ndarray]] = [[] for _ in manifest.rejects]
    for number, batch, ids in with_ids(out, manifest.rejects):
        flags[number].append(gone(batch, ids))
    kept: list[mf.ParquetFile] = []
    total = 0
    for file, of_file in zip(manifest.rejects, flags):
        mask = np.concatenate([*of_file, np.zeros(0, bool)])
        total += int(mask.sum())
        if not mask.any():
            kept.append(file)
        elif not mask.all():
            data = append.read_parquet(out, file.name, None).filter(pa.array(~mask))
            kept.append(append.write_parquet(out, "rejects", "reject", data))
    manifest.rejects = kept
    return total
