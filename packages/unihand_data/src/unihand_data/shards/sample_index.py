"""The training index by sample number, without loading it.

Samples are numbered 0 .. n - 1 through the files of the manifest, in order. Files are only ever added, so a number
means the same sample in every later commit: a training order may be a permutation of numbers.

A file is read a *row group* at a time. Neighbouring numbers share one, so what asks for many samples should ask for
them at once (:meth:`SampleIndex.take`) or go group by group (:meth:`SampleIndex.groups`): shuffling groups, and rows
within a few of them, reads every byte once, while a lone random number costs the decoding of its whole group.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.shards import codec, parquet_files, schema
from unihand_data.shards import manifest as mf
from unihand_data.shards.errors import ShardError
from unihand_data.shards.id_index import id_keys
from unihand_data.shards.rows import SampleRow
from unihand_data.shards.store import Store

#: files kept open, and decoded row groups (some megabytes each) kept in memory
OPEN_FILES = 16
GROUPS_KEPT = 8


@dataclass(frozen=True)
class SampleGroup:
    """Samples ``first .. first + rows - 1``: one row group of one file."""

    file: int
    group: int
    first: int
    rows: int


class SampleIndex:
    """Samples by number. Not for several threads at once; pickles as its address and opens anew.

    Args:
        files: the manifest's, or the first of them where a tag pins an earlier state.

    Raises:
        ShardError: (of every method) a file cannot be read or has other rows than the manifest says.
    """

    def __init__(self, store: Store, files: Sequence[mf.ParquetFile]):
        self._store, self._files = store, list(files)
        self._starts = np.concatenate([[0], np.cumsum([f.rows for f in self._files], dtype=np.int64)]).astype(np.int64)
        self._open: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._edges: dict[int, np.ndarray] = {}  # file -> first row of each of its groups, and the file's rows
        self._kept: OrderedDict[tuple[int, int, tuple[str, ...]], pa.Table] = OrderedDict()
        self._by_id: np.ndarray | None = None

    def __reduce__(self) -> Any:
        return SampleIndex, (self._store, self._files)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def groups(self) -> Iterator[SampleGroup]:
        """All row groups in order; reads the files' footers on the way."""
        for file in range(len(self._files)):
            edges = self._edges_of(file)
            for group, (a, b) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist())):
                yield SampleGroup(file, group, int(self._starts[file]) + a, b - a)

    def locate(self, number: int) -> SampleGroup:
        """The row group that holds a sample. Raises ``IndexError`` outside 0 .. n - 1."""
        self._check(np.asarray([number]))
        file = int(np.searchsorted(self._starts, number, side="right")) - 1
        edges = self._edges_of(file)
        group = int(np.searchsorted(edges, number - self._starts[file], side="right")) - 1
        return SampleGroup(file, group, int(self._starts[file] + edges[group]), int(edges[group + 1] - edges[group]))

    def read(self, group: SampleGroup, columns: Sequence[str] | None = None) -> pa.Table:
        """The samples of one row group, in the columns asked for (schema ``SAMPLES``; None are all)."""
        return self._decode(group.file, group.group, _names(columns))

    def take(self, numbers: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> pa.Table:
        """Samples by number, in the order asked for, repeats included. Every row group is decoded once.

        Raises:
            IndexError: a number outside 0 .. n - 1.
        """
        asked, names = np.asarray(numbers, np.int64), _names(columns)
        self._check(asked)
        order = np.argsort(asked, kind="stable")
        ahead, pieces, at = asked[order], [], 0
        while at < len(ahead):
            group = self.locate(int(ahead[at]))
            end = int(np.searchsorted(ahead, group.first + group.rows))
            local = pa.array(ahead[at:end] - group.first)
            pieces.append(self._decode(group.file, group.group, names).take(local))
            at = end
        if not pieces:
            return _schema(names).empty_table()
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_tables(pieces).combine_chunks().take(pa.array(back))

    def rows(self, numbers: Sequence[int] | np.ndarray) -> list[SampleRow]:
        """As :meth:`take`, as rows for :meth:`ShardReader.windows`."""
        return [codec.sample_from_record(record) for record in self.take(numbers).to_pylist()]

    def row(self, number: int) -> SampleRow:
        """One sample by number."""
        return self.rows([number])[0]

    def batches(
        self,
        columns: Sequence[str] | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        rows: int = parquet_files.ROWS_AT_ONCE,
    ) -> Iterator[pa.RecordBatch]:
        """Samples ``start .. stop - 1`` in order, at most ``rows`` at a time and never across two row groups. Nothing
        is kept, and row groups before ``start`` are not read."""
        stop = len(self) if stop is None else min(stop, len(self))
        names = _names(columns)
        while start < stop:
            group = self.locate(start)
            end = min(stop, group.first + group.rows)
            table = self._decode(group.file, group.group, names, keep=False).slice(start - group.first, end - start)
            yield from table.combine_chunks().to_batches(max_chunksize=rows)
            start = end

    def numbers(self, sample_ids: Sequence[str]) -> list[int]:
        """Numbers of samples by id. The first call reads the id column once and keeps 8 bytes a sample; what holds
        numbers needs neither.

        Raises:
            ShardError: no such sample.
        """
        if self._by_id is None:
            self._by_id = self._index_ids()
        mask = self._row_mask()
        low = id_keys(sample_ids)[:, 0] & ~mask
        first, last = np.searchsorted(self._by_id, low), np.searchsorted(self._by_id, low | mask, side="right")
        candidates = [(self._by_id[a:b] & mask).astype(np.int64) for a, b in zip(first, last)]
        flat = np.concatenate(candidates) if candidates else np.zeros(0, np.int64)
        ids = iter(self.take(flat, ["sample_id"])["sample_id"].to_pylist())
        out = []
        for wanted, found in zip(sample_ids, candidates):
            hits = [n for n, i in zip(found.tolist(), [next(ids) for _ in found]) if i == wanted]
            if not hits:
                raise ShardError(f"sample {wanted} is not in this shard directory")
            out.append(hits[0])
        return out

    def _row_mask(self) -> np.uint64:
        return np.uint64((1 << max(1, (len(self) - 1).bit_length())) - 1) if len(self) else np.uint64(1)

    def _index_ids(self) -> np.ndarray:
        """(n,) uint64, sorted: the first bits of the id, and the number in the bits that it needs. Ids that share those
        first bits are told apart by reading them."""
        out, at, mask = np.empty(len(self), np.uint64), 0, self._row_mask()
        for batch in self.batches(["sample_id"]):
            end = at + batch.num_rows
            out[at:end] = id_keys(batch["sample_id"])[:, 0] & ~mask | np.arange(at, end, dtype=np.uint64)
            at = end
        out.sort()
        return out

    def _check(self, numbers: np.ndarray) -> None:
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(self)):
            bad = int(numbers.min()) if numbers.min() < 0 else int(numbers.max())
            raise IndexError(f"sample number {bad} of {self._store.url}: there are {len(self)}, counted from 0")

    def _file(self, number: int) -> pq.ParquetFile:
        if number not in self._open:
            self._open[number] = parquet_files.open_file(self._store, self._files[number].name)
            while len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(number)
        return self._open[number]

    def _edges_of(self, file: int) -> np.ndarray:
        if file not in self._edges:
            footer = self._file(file).metadata
            if footer.num_rows != self._files[file].rows:
                raise ShardError(
                    f"{self._store.uri(self._files[file].name)} has {footer.num_rows} rows, the manifest says "
                    f"{self._files[file].rows}"
                )
            rows = [footer.row_group(g).num_rows for g in range(footer.num_row_groups)]
            self._edges[file] = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)]).astype(np.int64)
        return self._edges[file]

    def _decode(self, file: int, group: int, names: tuple[str, ...], *, keep: bool = True) -> pa.Table:
        key = (file, group, names)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        try:
            table = self._file(file).read_row_group(group, columns=list(names)).select(list(names))
        except (OSError, pa.ArrowInvalid) as error:
            raise parquet_files.unreadable(self._store, self._files[file].name, error) from error
        if keep:
            self._kept[key] = table
            while len(self._kept) > GROUPS_KEPT:
                self._kept.popitem(last=False)
        return table


def _names(columns: Sequence[str] | None) -> tuple[str, ...]:
    unknown = set(columns or ()) - set(schema.SAMPLES.names)
    if unknown:
        raise KeyError(f"the training index has no column {sorted(unknown)[0]!r}; it has {schema.SAMPLES.names}")
    return tuple(schema.SAMPLES.names if columns is None else columns)


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([schema.SAMPLES.field(n) for n in names])
