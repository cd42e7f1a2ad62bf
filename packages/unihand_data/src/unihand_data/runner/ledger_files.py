"""The files of a ledger: their columns, and reading them piece by piece. Part of :mod:`unihand_data.runner.ledger`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.runner import paths

REJECT_STRUCT = pa.struct(
    [
        ("item", pa.string()),
        ("level", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("source_uri", pa.string()),
        ("attempt", pa.int32()),
        ("frames", pa.int64()),
        ("frames_with_hand", pa.int64()),
        ("duration_s", pa.float64()),
        ("figures", pa.string()),
    ]
)
ROWS = pa.schema(
    [
        ("id", pa.string()),
        ("parent", pa.string()),
        ("item", pa.string()),
        ("uri", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("attempt", pa.int32()),
        ("outputs", pa.list_(pa.string())),  # ids of the units that were written
        ("losses", pa.list_(REJECT_STRUCT)),
        ("part", pa.string()),
        ("content_hash", pa.string()),
    ]
)
SPLITS = pa.schema([("parent", pa.string()), ("id", pa.string()), ("body", pa.large_binary())])
FORGOTTEN = pa.schema([("id", pa.string()), ("part", pa.string())])
#: order in which reject rows are stated
LOSS_ORDER = ["item", "stage", "reason", "source_uri", "message"]
_ROWS_AT_ONCE = 32_768


def open_file(url: str) -> pq.ParquetFile:
    return pq.ParquetFile(io.BytesIO(paths.read_bytes(url)) if paths.is_remote(url) else url)


def read(url: str, columns: list[str]) -> pa.Table:
    with open_file(url) as file:
        return file.read(columns=columns)


def frames(urls: Iterable[str], columns: list[str]) -> Iterator[pl.DataFrame]:
    """Rows of ``parts`` files, some ten thousand at a time."""
    of = pa.schema([ROWS.field(c) for c in columns])
    held: list[pa.RecordBatch] = []
    for url in urls:
        with open_file(url) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                held.append(batch.select(columns).cast(of))
                if sum(b.num_rows for b in held) >= _ROWS_AT_ONCE:
                    yield pl.DataFrame(pa.Table.from_batches(held))
                    held = []
    if held:
        yield pl.DataFrame(pa.Table.from_batches(held))


def losses_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The reject rows in column ``losses`` of ledger rows, one row each, with the columns of ``REJECT_STRUCT``."""
    flat = rows.select("losses").explode("losses").drop_nulls()
    if not len(flat):
        return pl.DataFrame(pa.Table.from_pylist([], schema=pa.schema(list(REJECT_STRUCT))))
    return flat.unnest("losses")


def empty(columns: Iterable[str]) -> pl.DataFrame:
    return pl.DataFrame(ROWS.empty_table().select(list(columns)))
