"""Foreign Parquet files: numbers as arrays, short text, encoded pictures; every damage a ``Reject``.

Runs inside the worker of ``isolated.py``, since a damaged file can take the native library down.

Legend: T rows, n numbers per row of one column.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject

MAX_ROWS = 50_000_000
MAX_BYTES = 3 << 30  # of what one call hands over, unpacked
_KEEP_BYTES = 256 << 20
#: row groups of the file read last: neighbouring episodes of one large row group are not decoded anew for each
_last: tuple[tuple[Any, ...], Any] | None = None


def read_rows(
    path: str,
    columns: list[str] | None = None,
    where: tuple[str, int] | None = None,
    rows: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Columns of a file, all rows or some.

    Args:
        columns: names that are wanted; absent ones are left out. None: every column.
        where: ``(integer column, value)``: only rows that have it; row groups without it are not read.
        rows: ``(first, stop)``, instead of ``where``.

    Returns:
        ``rows`` T; ``numbers`` name -> (T,) or (T, n), integers as int64, NaN where null; ``text`` name -> list of str,
        None or list of str; ``blobs`` name -> ``{"bytes": uint8, "ends": (T,) int64, "paths": list}`` of binary columns
        and of pictures (struct of bytes and path); ``other`` names of columns of further types.

    Raises:
        Reject: MISSING_FILE, EMPTY, UNREADABLE, WRONG_TYPE (rows of one column differ in length), UNSAFE_CONTENT.
    """
    import pyarrow as pa

    try:
        if os.path.getsize(path) == 0:
            raise Reject(Reason.EMPTY, f"{path}: the file is empty; fetch it again")
        table = _select(path, columns, where, rows)
        if table.nbytes > MAX_BYTES:
            raise Reject(Reason.UNSAFE_CONTENT, f"{path}: {table.nbytes} bytes of one episode, over the limit")
        return _convert(table, path)
    except Reject:
        raise
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError,
            RuntimeError, AttributeError) as error:  # fmt: skip
        text = " ".join(str(error).split())[:160]
        raise Reject(Reason.UNREADABLE, f"{path}: not readable as parquet ({text}); fetch it again") from error


def _select(path: str, columns: list[str] | None, where: Any, rows: Any) -> Any:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows > MAX_ROWS or file.metadata.num_columns > 20_000:
            raise Reject(Reason.UNSAFE_CONTENT, f"{path}: announces {file.metadata.num_rows} rows")
        have = [f.name for f in file.schema_arrow]
        wanted = have if columns is None else [n for n in columns if n in have]
        if where is None and rows is None:
            return file.read(wanted)
        groups, first = _groups(file, where, rows)
        if where is not None and where[0] not in wanted:
            wanted.append(where[0])
        table = _read_groups(path, file, groups, wanted)
    if where is not None:
        return table.filter(pc.equal(table[where[0]], where[1]))
    return table.slice(rows[0] - first, rows[1] - rows[0])


def _groups(file: Any, where: Any, rows: Any) -> tuple[list[int], int]:
    """Row groups that may hold the rows, and the file's row number of the first of them."""
    meta = file.metadata
    at = {meta.row_group(0).column(c).path_in_schema: c for c in range(meta.num_columns)} if meta.num_row_groups else {}
    chosen, first, start = list[int](), 0, 0
    for g in range(meta.num_row_groups):
        stop = start + meta.row_group(g).num_rows
        if where is not None:
            figures = meta.row_group(g).column(at[where[0]]).statistics
            hit = figures is None or not figures.has_min_max or figures.min <= where[1] <= figures.max
        else:
            hit = start < rows[1] and stop > rows[0]
        if hit:
            first = first if chosen else start
            chosen.append(g)
        start = stop
    return chosen, first


def _read_groups(path: str, file: Any, groups: list[int], columns: list[str]) -> Any:
    global _last
    stat = os.stat(path)
    key = (path, stat.st_mtime_ns, stat.st_size, tuple(groups), tuple(columns))
    if _last is not None and _last[0] == key:
        return _last[1]
    table = file.read_row_groups(groups, columns)
    _last = (key, table) if table.nbytes < _KEEP_BYTES else None
    return table


def _convert(table: Any, path: str) -> dict[str, Any]:
    import pyarrow as pa

    numbers: dict[str, np.ndarray] = {}
    text: dict[str, list[Any]] = {}
    blobs: dict[str, dict[str, Any]] = {}
    other: list[str] = []
    t = pa.types
    for name, column in zip(table.column_names, table.columns):
        if t.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        kind, depth = column.type, 0
        while t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
            kind, depth = kind.value_type, depth + 1
        if t.is_integer(kind) or t.is_floating(kind) or t.is_boolean(kind):
            numbers[name] = _numbers(column, depth, f"{path}, column {name}")
        elif (t.is_string(kind) or t.is_large_string(kind)) and depth <= 1:
            text[name] = column.to_pylist()
        elif depth == 0 and (t.is_binary(kind) or t.is_large_binary(kind)):
            blobs[name] = _blobs(column.to_pylist(), [None] * len(column))
        elif depth == 0 and t.is_struct(kind) and {"bytes", "path"} <= {f.name for f in kind}:
            cells = column.to_pylist()
            blobs[name] = _blobs([c and c["bytes"] for c in cells], [c and c["path"] for c in cells])
        else:
            other.append(name)
    return {"rows": table.num_rows, "numbers": numbers, "text": text, "blobs": blobs, "other": other}


def _numbers(column: Any, depth: int, where: str) -> np.ndarray:
    """(T,) or (T, n); lists of lists are laid out flat, a row that is null (or an empty list) is NaN."""
    import pyarrow as pa

    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):  # of no chunks at all
        array = pa.array([], column.type)
    rows, present, width = len(array), np.ones(len(array), bool), 1
    for level in range(depth):
        lengths = _lengths(array)
        if level == 0:
            present = lengths > 0
            lengths = lengths[present]
        if len(set(lengths.tolist())) > 1:
            a, b = sorted(set(lengths.tolist()))[:2]
            raise Reject(Reason.WRONG_TYPE, f"{where}: rows of {a} and of {b} numbers in one column; fetch it again")
        width *= int(lengths[0]) if len(lengths) else 0
        array = array.flatten()
    flat = array.to_numpy(zero_copy_only=False)
    if flat.dtype == object:  # booleans with nulls
        flat = np.array([np.nan if v is None else float(v) for v in flat])
    flat = flat.astype(np.int64 if flat.dtype.kind in "iub" and flat.dtype != np.uint64 else np.float64)
    if depth == 0:
        return flat
    if present.all():
        return flat.reshape(rows, width)
    out = np.full((rows, width), np.nan)
    out[present] = flat.reshape(int(present.sum()), width)
    return out


def _lengths(array: Any) -> np.ndarray:
    """(T,) int64, 0 where null."""
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False), np.int64)


def _blobs(cells: list[Any], paths: list[Any]) -> dict[str, Any]:
    data = [c or b"" for c in cells]
    joined = np.frombuffer(b"".join(data), np.uint8)
    return {"bytes": joined, "ends": np.cumsum([len(d) for d in data], dtype=np.int64), "paths": paths}
