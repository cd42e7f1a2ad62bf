"""One shard directory as the recipe reads it: columns only, in batches, at the tag of its last commit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.shards import manifest as mf
from unihand_data.shards import parquet_files, tables
from unihand_data.shards.errors import ShardError
from unihand_data.shards.store import Store


class ShardDir:
    """See the module.

    Raises:
        ShardError: no shard directory, or its last commit did not finish.
    """

    def __init__(self, path: str | os.PathLike[str], storage_options: dict[str, Any] | None = None):
        self.store = Store(path, storage_options)
        self.manifest = mf.need(self.store)
        if self.manifest.state != "committed" or not self.manifest.tags:
            raise ShardError(f"{self.store.url}: the last commit did not finish; run its job again first")
        self.tag = self.manifest.tags[-1]

    @property
    def identity(self) -> dict[str, Any]:
        """What pins the content: a tag never moves. The place is not part of it."""
        return {"tag": self.tag.name, "content_hash": self.manifest.content_hash, "state": dict(self.tag.state)}

    def rows(
        self, table: str, columns: Sequence[str], where: str | None = None, batch: int = 8192
    ) -> Iterator[pa.RecordBatch]:
        """Batches of ``episodes`` or ``conversations`` in row order."""
        yield from tables.batches(self._table(table), columns, where=where, rows=batch)

    def has(self, table: str, column: str) -> bool:
        """Whether the table has this column; directories of older versions lack later ones."""
        return column in self._table(table).schema.names

    def take(self, table: str, rows: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """A few rows by number."""
        return tables.take(self._table(table), rows, columns).to_pylist()

    def samples(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of the training index in its order."""
        files = self.manifest.samples[: self.tag.state["samples"]]
        yield from parquet_files.batches(self.store, files, columns)

    def _table(self, name: str) -> Any:
        return tables.open_table(self.store, name, version=self.tag.name)


def check_ids(ids: pa.Array, what: str) -> None:
    """Ids of the contract are 32 hexadecimal digits; the recipe's index holds them as 16 bytes.

    Raises:
        ShardError: another one; ``what`` names file and column.
    """
    good = pc.match_substring_regex(ids, "^[0-9a-f]{32}$").fill_null(False)
    if not pc.all(good).as_py() and len(ids):
        odd = ids.filter(pc.invert(good))[0].as_py()
        raise ShardError(f"{what} {odd!r} is not an id of the contract (32 hexadecimal digits, ids.make_id)")
