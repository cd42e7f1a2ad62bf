"""Blocks of rows: how each container is cut into them without reading the rows, and how a block's rows are read.

A block is some hundred neighbouring rows of one file. Listing costs one pass over the heads (JSON: over the text), so
that a job of 10 million rows has some ten thousand units and each of them opens its file at the right byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations import json_rows, refer
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.tfrecord import parse_sequence_example, read_records_at, record_offsets
from unihand_data.untrusted.tables import read_csv

#: a row as it was read, or why it was not
Raw = dict[str, Any] | Reject


@dataclass(frozen=True)
class Block:
    """Rows ``start .. start + count`` of ``file``.

    Attributes:
        corpus: name of its YAML. ``root``: the corpus' folder. ``file``: relative to it, with ``/``.
        offset, size: bytes it spans in a text file or TFRecord; ``group``: row group of a parquet file.
        damage: reason and message of what stopped the listing here; such a block has no rows.
    """

    corpus: str
    root: str
    file: str
    start: int
    count: int
    offset: int = 0
    size: int = 0
    group: int = -1
    damage: tuple[str, str] | None = None

    @property
    def path(self) -> str:
        return os.path.join(self.root, self.file)


def blocks(spec: CorpusSpec, root: str, file: str, rows: int) -> Iterator[Block]:
    """The blocks of one file, at most ``rows`` rows each. A file that is damaged somewhere gives the blocks before, and
    one block with ``damage``."""
    first = Block(spec.name, root, file, 0, 0)
    done = 0
    try:
        for block in _LISTERS[spec.container](first, spec, rows):
            done = block.start + block.count
            yield block
    except Reject as reject:
        yield replace(first, start=done, damage=(str(reject.reason), reject.message))


def read_block(spec: CorpusSpec, block: Block) -> Iterator[tuple[int, Raw]]:
    """``(row number in the file, row)`` for every row of the block, in order.

    Raises:
        Reject: the block cannot be read at all.
    """
    if block.damage is not None:
        raise Reject(Reason(block.damage[0]), block.damage[1])
    yield from _READERS[spec.container](block, spec)


# text ---------------------------------------------------------------------------------------------------------------


def _from_offsets(
    offsets: Callable[[str], Iterator[tuple[int, int]]],
) -> Callable[[Block, CorpusSpec, int], Iterator[Block]]:
    def listed(first: Block, spec: CorpusSpec, rows: int) -> Iterator[Block]:
        start = count = offset = end = 0
        damage: Reject | None = None
        try:
            for at, length in offsets(first.path):
                if count == rows:
                    yield replace(first, start=start, count=count, offset=offset, size=end - offset)
                    start, count = start + count, 0
                if count == 0:
                    offset = at
                count, end = count + 1, at + length
        except Reject as reject:
            damage = reject
        if count:
            yield replace(first, start=start, count=count, offset=offset, size=end - offset)
        if damage is not None:
            raise damage

    return listed


def _read_text(
    find: Callable[[str], list[tuple[int, int]]],
) -> Callable[[Block, CorpusSpec], Iterator[tuple[int, Raw]]]:
    def read(block: Block, spec: CorpusSpec) -> Iterator[tuple[int, Raw]]:
        try:
            with open(block.path, "rb") as stream:
                stream.seek(block.offset)
                data = stream.read(block.size)
                if len(data) != block.size:
                    raise Reject(Reason.TRUNCATED, f"{block.path}: became shorter since it was listed")
                for number, (at, length) in enumerate(find(data.decode("latin-1"))):
                    try:
                        row = json_rows.read_element(stream, block.offset + at, length, block.path)
                        yield block.start + number, _mapping(row, block, number)
                    except Reject as reject:
                        yield block.start + number, reject
        except OSError as error:
            raise Reject(Reason.MISSING_FILE, f"{block.path}: cannot be read ({error.strerror}); fetch it") from error

    return read


def _elements_of(text: str) -> list[tuple[int, int]]:
    """Elements of a piece of a JSON list, the brackets outside."""
    import json

    decoder, out, at = json.JSONDecoder(), [], 0
    while at < len(text):
        try:
            _, end = decoder.raw_decode(text, at)
        except ValueError as error:
            raise Reject(Reason.UNREADABLE, "the file changed since it was listed; run again") from error
        out.append((at, end - at))
        while end < len(text) and text[end] in " \t\r\n,":
            end += 1
        at = end
    return out


def _lines_of(text: str) -> list[tuple[int, int]]:
    out, at = [], 0
    for line in text.splitlines(keepends=True) if "\x85" not in text and "\x0c" not in text else _split(text):
        if line.strip(" \t\r\n\u00ef\u00bb\u00bf"):
            out.append((at, len(line)))
        at += len(line)
    return out


def _split(text: str) -> list[str]:
    """Lines at newlines alone: ``splitlines`` of latin-1 text also breaks inside UTF-8 characters (0x85)."""
    return [line + "\n" for line in text.split("\n")]


def _mapping(row: Any, block: Block, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        kind = type(row).__name__
        raise Reject(
            Reason.WRONG_TYPE, f"{block.path}: row {block.start + number} is {kind} where a mapping with keys belongs"
        )
    return row


# parquet ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _parquet(path: str, _stamp: int) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, memory_map=False)
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Reject(Reason.UNREADABLE, f"{path}: no readable parquet ({str(error)[:160]}); fetch it again") from error


def open_parquet(path: str) -> Any:
    """A ``pyarrow.parquet.ParquetFile``. Raises ``Reject``: MISSING_FILE, UNREADABLE."""
    try:
        return _parquet(path, os.stat(path).st_mtime_ns)
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error


def _list_parquet(first: Block, spec: CorpusSpec, rows: int) -> Iterator[Block]:
    """Blocks inside row groups: a group is the least that parquet can read."""
    meta, start = open_parquet(first.path).metadata, 0
    if meta.num_rows == 0:
        raise Reject(Reason.EMPTY, f"{first.path}: has no rows")
    for group in range(meta.num_row_groups):
        left = meta.row_group(group).num_rows
        while left > 0:
            count = min(rows, left)
            yield replace(first, start=start, count=count, group=group)
            start, left = start + count, left - count


def _read_parquet(block: Block, spec: CorpusSpec) -> Iterator[tuple[int, Raw]]:
    import pyarrow as pa

    file = open_parquet(block.path)
    before = sum(file.metadata.row_group(g).num_rows for g in range(block.group))
    skip, number = block.start - before, block.start
    try:
        for batch in file.iter_batches(batch_size=min(256, max(1, block.count)), row_groups=[block.group]):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            piece = batch.slice(skip, block.start + block.count - number)
            skip = 0
            for row in piece.to_pylist():
                yield number, row
                number += 1
            if number >= block.start + block.count:
                return
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise Reject(
            Reason.UNREADABLE,
            f"{block.path}: rows from {number} on cannot be read ({str(error)[:160]}); fetch it again",
        ) from error


# the others ---------------------------------------------------------------------------------------------------------


def _read_tfrecord(block: Block, spec: CorpusSpec) -> Iterator[tuple[int, Raw]]:
    end = block.offset + block.size
    for number, (offset, data) in enumerate(read_records_at(block.path, block.offset)):
        if offset >= end:
            return
        try:
            example = parse_sequence_example(data, f"{block.path}: record at byte {offset}")
            yield block.start + number, {**example.context, **example.feature_lists}
        except Reject as reject:
            yield block.start + number, reject


def _list_count(count: Callable[[str, CorpusSpec], int]) -> Callable[[Block, CorpusSpec, int], Iterator[Block]]:
    def listed(first: Block, spec: CorpusSpec, rows: int) -> Iterator[Block]:
        total = count(first.path, spec)
        if total == 0:
            raise Reject(Reason.EMPTY, f"{first.path}: has no rows")
        for start in range(0, total, rows):
            yield replace(first, start=start, count=min(rows, total - start))

    return listed


@lru_cache(maxsize=2)
def _csv(path: str, _stamp: int) -> list[dict[str, str]]:
    return read_csv(path)


def _read_csv(block: Block, spec: CorpusSpec) -> Iterator[tuple[int, Raw]]:
    rows: list[dict[str, str]] = _csv(block.path, os.stat(block.path).st_mtime_ns)
    yield from list(enumerate(rows))[block.start : block.start + block.count]


def _read_refer(block: Block, spec: CorpusSpec) -> Iterator[tuple[int, Raw]]:
    yield from enumerate(refer.rows(block.path, block.start, block.count), block.start)


def _whole_file(block: Block, spec: CorpusSpec) -> Iterator[tuple[int, Raw]]:
    from unihand_data.untrusted.tables import read_json

    try:
        yield block.start, _mapping(read_json(block.path), block, 0)
    except Reject as reject:
        yield block.start, reject


_LISTERS: dict[str, Callable[[Block, CorpusSpec, int], Iterator[Block]]] = {
    "json": _from_offsets(json_rows.json_elements),
    "jsonl": _from_offsets(json_rows.json_lines),
    "tfrecord": _from_offsets(lambda path: ((at, length + 16) for at, length in record_offsets(path))),
    "parquet": _list_parquet,
    "refer_pickle": _list_count(lambda path, spec: refer.count(path)),
    "csv": _list_count(lambda path, spec: len(_csv(path, os.stat(path).st_mtime_ns))),
    "json_files": lambda first, spec, rows: iter([replace(first, count=1)]),
}
_READERS: dict[str, Callable[[Block, CorpusSpec], Iterator[tuple[int, Raw]]]] = {
    "json": _read_text(_elements_of),
    "jsonl": _read_text(_lines_of),
    "tfrecord": _read_tfrecord,
    "parquet": _read_parquet,
    "refer_pickle": _read_refer,
    "csv": _read_csv,
    "json_files": _whole_file,
}


def first_row(spec: CorpusSpec, root: str) -> dict[str, Any] | None:
    """The first row of the corpus' first file, for recognising it by its keys; None where none can be read. Reads the
    head of the file only."""
    from unihand_data.sources.listing import list_files, matching

    for file in matching(list_files(root), spec.files)[:3]:
        try:
            block = next(blocks(spec, root, file, 1), None)
            if block is None or block.damage is not None:
                continue
            for _, row in read_block(spec, block):
                if isinstance(row, dict):
                    return row
        except Reject:
            continue
    return None


__all__ = ["Block", "Raw", "blocks", "first_row", "open_parquet", "read_block"]
