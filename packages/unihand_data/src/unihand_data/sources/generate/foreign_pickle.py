"""Writing pickles that name classes of libraries which need not be installed (tensors, chumpy, sparse, tables)."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE = {"<f4": "FloatStorage", "<f8": "DoubleStorage", "<i8": "LongStorage"}


@dataclass(frozen=True)
class Name:
    """A global of the pickle: module and name, nothing imported."""

    module: str
    name: str

    def __call__(self, *_: Any) -> None:
        raise TypeError("only a name")


@dataclass
class Call:
    """``function(*args)`` when read, then ``state`` is set if given."""

    function: Name
    args: tuple[Any, ...]
    state: Any = None


class _Writer(pickle._Pickler):  # type: ignore[name-defined]
    write: Any

    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, Name):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
            return None
        if isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)
            return None
        return pickle._Pickler.save(self, obj, save_persistent_id)  # type: ignore[attr-defined]


class _StorageWriter(_Writer):
    def persistent_id(self, obj: Any) -> Any:
        return obj.reference if isinstance(obj, _Storage) else None


@dataclass
class _Storage:
    reference: tuple[Any, ...]


def dumps(value: Any) -> bytes:
    """A pickle (protocol 2) of plain data, arrays, :class:`Name` and :class:`Call`."""
    out = io.BytesIO()
    _Writer(out, 2).dump(value)
    return out.getvalue()


def dump(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dumps(value))
    return path


def save_object_npy(path: Path, value: Any) -> Path:
    """An object ``.npy`` that holds one object, as data sets publish dictionaries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = np.empty((), dtype=object)
    holder[()] = value
    np.save(path, holder, allow_pickle=True)
    return path


def tensor(value: np.ndarray) -> Call:
    """A CPU tensor as it lies inside a plain pickle: its storage as the bytes of a small save file."""
    array = np.ascontiguousarray(value)
    kind = array.dtype.newbyteorder("<").str
    reference = ("storage", Name("torch", _STORAGE[kind]), "0", "cpu", array.size, None)
    out = io.BytesIO()
    for part in (_TORCH_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
        _Writer(out, 2).dump(part)
    _StorageWriter(out, 2).dump(_Storage(reference))
    _Writer(out, 2).dump(["0"])
    out.write(array.size.to_bytes(8, "little") + array.tobytes())
    strides = tuple(s // array.itemsize for s in array.strides)
    storage = Call(Name("torch.storage", "_load_from_bytes"), (out.getvalue(),))
    return Call(
        Name("torch._utils", "_rebuild_tensor_v2"),
        (storage, 0, array.shape, strides, False, Call(Name("collections", "OrderedDict"), ())),
    )


def chumpy_array(value: np.ndarray) -> Call:
    """A chumpy array as the MANO files hold it."""
    return Call(
        Name("copy_reg", "_reconstructor"), (Name("chumpy.ch", "Ch"), Name("__builtin__", "object"), None), {"x": value}
    )


def sparse_matrix(dense: np.ndarray) -> Call:
    """A scipy csc matrix as the MANO files hold it."""
    columns = [np.flatnonzero(dense[:, j]) for j in range(dense.shape[1])]
    state = {
        "_shape": dense.shape,
        "format": "csc",
        "data": np.concatenate([dense[rows, j] for j, rows in enumerate(columns)]),
        "indices": np.concatenate(columns).astype(np.int32),
        "indptr": np.concatenate([[0], np.cumsum([len(c) for c in columns])]).astype(np.int32),
        "maxprint": 50,
    }
    return Call(
        Name("copy_reg", "_reconstructor"),
        (Name("scipy.sparse.csc", "csc_matrix"), Name("__builtin__", "object"), None),
        state,
    )


def table(columns: dict[str, list[Any]]) -> Call:
    """A pandas 1.3 .. 2.x table: one block per column."""
    blocks = []
    for i, values in enumerate(columns.values()):
        block = np.empty((1, len(values)), dtype=object)
        block[0] = values if not isinstance(values[0], list) else [None] * len(values)
        if isinstance(values[0], list):
            for j, v in enumerate(values):
                block[0, j] = v
        if all(isinstance(v, float) for v in values):
            block = block.astype(float)
        places = Call(Name("builtins", "slice"), (i, i + 1, 1))
        blocks.append(Call(Name("pandas._libs.internals", "_unpickle_block"), (block, places, 2)))
    names = np.empty(len(columns), dtype=object)
    names[:] = list(columns)
    new_index = Name("pandas.core.indexes.base", "_new_Index")
    rows = len(next(iter(columns.values())))
    axes = [
        Call(new_index, (Name("pandas.core.indexes.base", "Index"), {"data": names, "name": None})),
        Call(
            new_index,
            (Name("pandas.core.indexes.range", "RangeIndex"), {"name": None, "start": 0, "stop": rows, "step": 1}),
        ),
    ]
    manager = Call(Name("pandas.core.internals.managers", "BlockManager"), (tuple(blocks), axes))
    state = {"_mgr": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}, "_flags": {}}
    return Call(Name("pandas.core.frame", "DataFrame"), (), state)
