"""A pickled pandas table (pandas 1.3 to 2.x) as rows, without pandas.

Such a pickle rebuilds a block manager: blocks of columns that share a type, the places of their columns, and two axes.
The stand-ins keep these parts; :func:`read_frame` puts them together. Tables with extension types (dates with zones,
the Arrow strings of pandas 3, categories) are refused as unsupported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.untrusted.pickle_standins import Array, _Call, _Frozen
from unihand_data.untrusted.unpickle import DEFAULT_LIMITS, read_bounded, safe_loads

MAX_ROWS = 5_000_000


class _Name(metaclass=_Frozen):
    """A class of pandas that is only an argument."""

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("never called by a table's pickle")


class Block(metaclass=_Frozen):
    """Values (columns, rows) and the places of the columns."""

    __slots__ = ("places", "values")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Any, places: Any, ndim: Any = 2):
        self.values, self.places = values, places

    def finish(self, plain: Any) -> Any:
        values, places = plain(self.values), plain(self.places)
        if not isinstance(values, np.ndarray) or values.ndim != 2:
            raise ValueError("a table block that is no two-dimensional array")
        if isinstance(places, Slice):
            places = np.arange(*places.bounds)
        return values, np.asarray(places, dtype=int)


class Slice(metaclass=_Frozen):
    __slots__ = ("bounds",)

    def __init__(self, *bounds: Any):
        if len(bounds) != 3 or any(type(b) is not int or abs(b) > 100_000 for b in bounds) or bounds[2] <= 0:
            raise ValueError("a column slice that is no (start, stop, step)")
        self.bounds = bounds


class Manager(metaclass=_Frozen):
    __slots__ = ("axes", "blocks")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, blocks: Any = (), axes: Any = ()):
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a table of a pandas older than 1.3")


class Frame(metaclass=_Frozen):
    __slots__ = ("manager",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.manager: Any = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not isinstance(state.get("_mgr"), Manager):
            raise ValueError("a table without block manager")
        self.manager = state["_mgr"]

    def finish(self, plain: Any) -> Any:
        blocks, axes = self.manager.blocks, self.manager.axes
        if not isinstance(blocks, tuple | list) or not isinstance(axes, tuple | list) or len(axes) != 2:
            raise ValueError("a table without blocks and two axes")
        names = plain(axes[0])
        columns: dict[str, np.ndarray] = {}
        for block in blocks:
            if not isinstance(block, Block):
                raise ValueError("a table with an extension type")
            values, places = block.finish(plain)
            if len(places) != len(values):
                raise ValueError("a table block whose places do not fit its columns")
            for place, column in zip(places, values):
                columns[str(names[int(place)])] = column
        return columns


def _new_index(kind: Any, data: Any) -> Any:
    if not isinstance(data, dict):
        raise ValueError("an index without data")
    values = data.get("data")
    return values if isinstance(values, Array | np.ndarray | list) else []  # a range of row numbers is not needed


_TABLE: dict[tuple[str, str], Any] = {
    ("pandas.core.frame", "DataFrame"): Frame,
    ("pandas.core.internals.managers", "BlockManager"): Manager,
    ("pandas._libs.internals", "_unpickle_block"): Block,
    ("pandas.core.indexes.base", "_new_Index"): _Call(_new_index),
    ("pandas.core.indexes.base", "Index"): _Name,
    ("pandas.core.indexes.range", "RangeIndex"): _Name,
    ("builtins", "slice"): Slice,
    ("__builtin__", "slice"): Slice,
}


def read_frame(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a pickled table.

    Raises:
        Reject: those of ``safe_load``; WRONG_TYPE if it is no table."""
    source = str(path)
    columns = safe_loads(read_bounded(path, DEFAULT_LIMITS.max_bytes), source, extra=_TABLE)
    if not isinstance(columns, dict) or not columns or not all(isinstance(c, np.ndarray) for c in columns.values()):
        raise Reject(Reason.WRONG_TYPE, f"{source}: holds a {type(columns).__name__}, not a table")
    rows = len(next(iter(columns.values())))
    if rows > MAX_ROWS or any(len(c) != rows for c in columns.values()):
        raise Reject(Reason.WRONG_TYPE, f"{source}: columns of different lengths, or more than {MAX_ROWS} rows")
    lists = {name: column.tolist() for name, column in columns.items()}
    return [dict(zip(lists, values)) for values in zip(*lists.values())]
