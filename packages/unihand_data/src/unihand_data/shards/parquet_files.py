"""The Parquet files a manifest lists, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.shards import manifest as mf
from unihand_data.shards.errors import ShardError
from unihand_data.shards.store import Store

#: rows held at once; a row of the training index is some 150 bytes
ROWS_AT_ONCE = 65536


def open_file(store: Store, name: str) -> pq.ParquetFile:
    """One listed file with its footer read. Raises ``ShardError`` naming it."""
    try:
        return pq.ParquetFile(store.path(name), filesystem=store.filesystem)
    except (OSError, pa.ArrowInvalid) as error:
        raise unreadable(store, name, error) from error


def batches(
    store: Store, files: Iterable[mf.ParquetFile], columns: Sequence[str] | None, *, rows: int = ROWS_AT_ONCE
) -> Iterator[pa.RecordBatch]:
    """Rows of the files in order; ``columns`` None are all of them, ``rows`` at most come at once.

    Raises:
        ShardError: a file cannot be read, or lacks a column; named.
    """
    for file in files:
        with open_file(store, file.name) as source:
            missing = [c for c in columns or () if c not in source.schema_arrow.names]
            if missing:
                raise ShardError(f"{store.uri(file.name)} has no column {', '.join(missing)}")
            names = None if columns is None else list(columns)
            try:
                for batch in source.iter_batches(rows, columns=names):
                    yield batch if names is None else batch.select(names)
            except (OSError, pa.ArrowInvalid) as error:
                raise unreadable(store, file.name, error) from error


def unreadable(store: Store, name: str, error: Exception) -> ShardError:
    return ShardError(f"{store.uri(name)} is listed in the manifest and cannot be read: {error}")
