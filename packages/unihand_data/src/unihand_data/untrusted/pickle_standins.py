"""What stands in for the classes a foreign pickle names.

Not even numpy's own rebuild code runs on foreign state: a crafted dtype state can make numpy read raw bytes as object
pointers. Each stand-in keeps the state it is given, and :func:`finish` turns it into a plain numpy array after checks.
Names that are not in :data:`ALLOWED` are refused by the unpickler.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable
from typing import Any

import numpy as np


class _Frozen(type):
    """A class no pickle can change (BUILD sets attributes on whatever lies on the stack)."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError("a stand-in class cannot be changed")


class _Call:
    """A function the pickle may call and not change."""

    __slots__ = ("_f",)
    _f: Callable[..., Any]

    def __init__(self, f: Callable[..., Any]):
        object.__setattr__(self, "_f", f)

    def __call__(self, *args: Any) -> Any:
        return self._f(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError("an allowed function cannot be changed")

    def __setstate__(self, state: Any) -> None:
        raise TypeError("an allowed function has no state")


class NdarrayName(metaclass=_Frozen):
    """The name ``numpy.ndarray``, only ever an argument."""

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("numpy.ndarray is never called by a data pickle")


class ListName(metaclass=_Frozen):
    """The name ``list``, only ever the argument of a ``defaultdict``."""

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("list is never called by a data pickle")


class Dtype(metaclass=_Frozen):
    """A dtype: its short code, then its byte order from the state. Structured dtypes are refused."""

    __slots__ = ("code", "order")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, code: Any, align: Any = False, copy: Any = False):
        if not isinstance(code, str) or len(code) > 24 or np.dtype(code).fields:
            raise ValueError("a dtype that is no short code")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("a dtype state of unknown form")
        if state[2] is not None or state[3] or state[4]:
            raise ValueError("a structured dtype")
        self.order = state[1]

    def real(self) -> np.dtype:
        dtype = np.dtype(self.code)
        return dtype if self.order in ("|", "=") else dtype.newbyteorder(self.order)  # type: ignore[arg-type]


def _real_dtype(value: Any) -> np.dtype:
    if not isinstance(value, Dtype):
        raise ValueError("something else where a dtype belongs")
    return value.real()


def _checked_shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("an array shape that is no tuple of sizes")
    return shape


class Array(metaclass=_Frozen):
    """An array being rebuilt: ``_reconstruct`` makes it empty, the state fills it."""

    __slots__ = ("dtype", "fortran", "items", "raw", "shape")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: Any, *_: Any):
        if name is not NdarrayName:
            raise ValueError("a subclass of numpy.ndarray")
        self.shape: tuple[int, ...] = (0,)
        self.dtype, self.fortran = np.dtype("u1"), False
        self.raw: bytes | None = b""
        self.items: list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("an array state of unknown form")
        shape, dtype, fortran, data = state[-4:]
        self.shape, self.dtype, self.fortran = _checked_shape(shape), _real_dtype(dtype), bool(fortran)
        count = math.prod(self.shape)
        if self.dtype.hasobject:
            if not isinstance(data, list) or len(data) != count:
                raise ValueError("an object array whose list does not fit its shape")
            self.raw, self.items = None, data
            return
        if isinstance(data, str):
            data = data.encode("latin1")
        if not isinstance(data, bytes | bytearray) or len(data) != count * self.dtype.itemsize:
            raise ValueError("truncated array: its bytes do not fit its shape")
        self.raw = bytes(data)

    def plain(self) -> np.ndarray:
        """The array without object items."""
        order = "F" if self.fortran else "C"
        return np.frombuffer(self.raw or b"", self.dtype).reshape(self.shape, order=order).copy()  # type: ignore[call-overload]


class Plain(metaclass=_Frozen):
    """A chumpy array or scipy matrix: state only."""

    __slots__ = ("state",)

    def __init__(self, *_: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Chumpy(Plain):
    __slots__ = ()


class Sparse(Plain):
    __slots__ = ()


def _scalar(dtype: Any, data: Any = None) -> Any:
    real = _real_dtype(dtype)
    raw = data.encode("latin1") if isinstance(data, str) else data
    if real.hasobject or not isinstance(raw, bytes) or len(raw) != real.itemsize:
        raise ValueError("a scalar whose bytes do not fit its type")
    return np.frombuffer(raw, real, count=1)[0]


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    real = _real_dtype(dtype)
    shape = _checked_shape(shape)
    if real.hasobject or not isinstance(data, bytes | bytearray) or len(data) != math.prod(shape) * real.itemsize:
        raise ValueError("truncated array: its bytes do not fit its shape")
    return np.frombuffer(data, real).reshape(shape, order="F" if order == "F" else "C").copy()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("an encode call that is not latin-1 bytes")
    return text.encode("latin1")


def _default_dict(factory: Any = None) -> dict[Any, Any]:
    """A plain dict: what is missing stays missing."""
    if factory not in (None, ListName):
        raise ValueError("a defaultdict of something else than lists")
    return {}


def _empty_bytes(*args: Any) -> bytes:
    if args:
        raise ValueError("bytes(...) with arguments")
    return b""


def _reconstructor(cls: Any, base: Any, state: Any) -> Any:
    """``copy_reg._reconstructor`` of protocol 0 and 1, for stand-ins alone."""
    if cls not in (Chumpy, Sparse):
        raise ValueError("a class outside the allow-list")
    return cls()


STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "ByteStorage": "|u1", "CharStorage": "|i1", "BoolStorage": "|b1",
}  # fmt: skip


class StorageType(metaclass=_Frozen):
    """The name of a torch storage class, only ever an argument."""

    __slots__ = ("dtype",)

    def __init__(self, name: str):
        object.__setattr__(self, "dtype", np.dtype(STORAGES[name]))

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError("a storage type cannot be changed")

    def __setstate__(self, state: Any) -> None:
        raise TypeError("a storage type has no state")


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """``torch._utils._rebuild_tensor_v2`` as a numpy array; never reaches behind its storage."""
    if not isinstance(storage, np.ndarray):
        raise ValueError("a tensor without storage")
    size, stride, offset = tuple(map(int, size)), tuple(map(int, stride)), int(offset)
    if len(size) != len(stride) or len(size) > 8 or min((*size, *stride, offset), default=0) < 0:
        raise ValueError("a tensor with an impossible shape")
    if not all(size):
        return np.zeros(size, storage.dtype)
    if offset + sum((n - 1) * s for n, s in zip(size, stride)) >= storage.size:
        raise ValueError("a tensor that reaches behind its storage")
    if math.prod(size) > max(4 * storage.size, 1 << 16):
        raise ValueError("a tensor expanded to many times its storage")
    byte_strides = tuple(s * storage.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, byte_strides, writeable=False).copy()


def _make_allowed() -> dict[tuple[str, str], Any]:
    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): NdarrayName,
        ("numpy", "dtype"): Dtype,
        ("_codecs", "encode"): _Call(_encode),
        ("__builtin__", "bytes"): _Call(_empty_bytes),
        ("builtins", "bytes"): _Call(_empty_bytes),
        **{(m, t.__name__): _Call(t) for m in ("builtins", "__builtin__") for t in (set, frozenset)},
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("collections", "defaultdict"): _Call(_default_dict),
        ("__builtin__", "list"): ListName,
        ("builtins", "list"): ListName,
        ("copy_reg", "_reconstructor"): _Call(_reconstructor),
        ("copyreg", "_reconstructor"): _Call(_reconstructor),
        ("__builtin__", "object"): NdarrayName,
        ("builtins", "object"): NdarrayName,
        ("torch._utils", "_rebuild_tensor_v2"): _Call(rebuild_tensor),
        ("torch._utils", "_rebuild_tensor"): _Call(rebuild_tensor),
        ("chumpy.ch", "Ch"): Chumpy,
        ("chumpy.reordering", "Select"): Chumpy,
    }
    for core in ("numpy.core", "numpy._core"):
        table[(f"{core}.multiarray", "_reconstruct")] = Array
        table[(f"{core}.multiarray", "scalar")] = _Call(_scalar)
        table[(f"{core}.numeric", "_frombuffer")] = _Call(_frombuffer)
    for kind in ("csc", "csr"):
        for module in (f"scipy.sparse.{kind}", f"scipy.sparse._{kind}"):
            table[(module, f"{kind}_matrix")] = Sparse
    for name in STORAGES:
        table[("torch", name)] = StorageType(name)
    return table


ALLOWED: dict[tuple[str, str], Any] = _make_allowed()


def finish(value: Any) -> Any:
    """Replace stand-ins everywhere in ``value``; shared and circular references are kept, depth is limited."""
    return _finish(value, {}, 0)


def _finish(value: Any, seen: dict[int, tuple[Any, Any]], depth: int) -> Any:
    if depth > 200:
        raise ValueError("containers nested more than 200 deep")
    if value is None or isinstance(value, str | bytes | int | float | np.generic | np.ndarray):
        return value
    if id(value) in seen:
        return seen[id(value)][1]
    if isinstance(value, list):
        seen[id(value)] = (value, value)
        value[:] = [_finish(v, seen, depth + 1) for v in value]
        return value
    if isinstance(value, dict):
        seen[id(value)] = (value, value)
        for key in list(value):
            value[key] = _finish(value[key], seen, depth + 1)
        return value
    if isinstance(value, tuple):
        done: Any = tuple(_finish(v, seen, depth + 1) for v in value)
    elif isinstance(value, Array):
        done = _finish_array(value, seen, depth)
    elif isinstance(value, Dtype):
        done = value.real()
    elif isinstance(value, Chumpy):
        done = _finish_chumpy(_finish(value.state, seen, depth + 1))
    elif isinstance(value, Sparse):
        done = _finish_sparse(_finish(value.state, seen, depth + 1))
    elif hasattr(type(value), "finish"):  # stand-ins of one format (tables)
        done = value.finish(lambda v: _finish(v, seen, depth + 1))
    elif type(value).__name__ == "Slice" or isinstance(value, bool | complex | set | frozenset | bytearray):
        done = value
    else:
        raise ValueError(f"a bare {type(value).__name__} where data belongs")
    seen[id(value)] = (value, done)  # keeps ``value`` alive, so that its id stays its own
    return done


def _finish_array(array: Array, seen: dict[int, tuple[Any, Any]], depth: int) -> np.ndarray:
    if array.items is None:
        return array.plain()
    out = np.empty(len(array.items), dtype=object)
    for i, item in enumerate(array.items):
        out[i] = _finish(item, seen, depth + 1)
    return out.reshape(array.shape, order="F" if array.fortran else "C")


def _finish_chumpy(state: Any) -> np.ndarray:
    if isinstance(state, dict) and "x" in state:
        return np.asarray(state["x"], dtype=float)
    if isinstance(state, dict) and "a" in state and "idxs" in state:  # entries picked from another array
        picked = np.asarray(state["a"], dtype=float).ravel()[np.asarray(state["idxs"], dtype=int)]
        shape = state.get("preferred_shape")
        return picked.reshape(shape) if shape is not None else picked
    raise ValueError("a chumpy array of neither the plain nor the selected kind")


def _finish_sparse(state: Any) -> np.ndarray:
    if not isinstance(state, dict):
        raise ValueError("a sparse matrix without state")
    shape = _checked_shape(tuple(int(n) for n in state["_shape" if "_shape" in state else "shape"]))
    data, indices, indptr = (np.asarray(state[k]) for k in ("data", "indices", "indptr"))
    if len(shape) != 2 or math.prod(shape) > 10_000_000:
        raise ValueError("a sparse matrix of impossible size")
    by_row = len(indptr) == shape[0] + 1 and state.get("format", "csr") == "csr"
    outer = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    dense = np.zeros(shape)
    np.add.at(dense, (outer, indices) if by_row else (indices, outer), data)
    return dense
