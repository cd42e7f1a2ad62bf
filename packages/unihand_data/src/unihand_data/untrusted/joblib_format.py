"""joblib's array files (HaWoR's ``world_space_res.pth`` is one: tensors and an array), through the allow-list.

joblib writes a pickle in which each array is a small wrapper object; the raw numbers follow in the stream right behind
the operation that fills the wrapper in, after one byte that says how much padding comes first.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np

from unihand_data.untrusted.pickle_standins import Dtype, NdarrayName, _checked_shape, _Frozen, finish
from unihand_data.untrusted.unpickle import SafeUnpickler, tensor_names

_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")


def looks_like_joblib(data: bytes) -> bool:
    """The first array may come late: HaWoR writes four tensors before it."""
    return b"NumpyArrayWrapper" in data


class _Wrapper(metaclass=_Frozen):
    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _JoblibUnpickler(SafeUnpickler):
    def __init__(self, data: bytes, source: str):
        super().__init__(io.BytesIO(data), source, {_WRAPPER: _Wrapper, **tensor_names(source)})
        self.size = len(data)

    def load_build(self) -> None:
        pickle._Unpickler.load_build(self)  # type: ignore[attr-defined]
        if isinstance(self.stack[-1], _Wrapper):
            self.stack[-1] = self._read_array(self.stack[-1].state)

    def _read_array(self, state: Any) -> np.ndarray:
        if not isinstance(state, dict) or state.get("subclass") is not NdarrayName:
            raise ValueError("an array wrapper of another class than numpy.ndarray")
        dtype = state["dtype"]
        if not isinstance(dtype, Dtype):
            raise ValueError("an array wrapper without dtype")
        real, shape = dtype.real(), _checked_shape(state["shape"])
        if real.hasobject:  # the object pickle follows in the stream
            return SafeUnpickler(self.stream, self.source).load()
        if state.get("numpy_array_alignment_bytes") is not None:
            self.stream.read(self.stream.read(1)[0])
        count = math.prod(shape) * real.itemsize
        raw = self.stream.read(min(count, self.size + 1))
        if len(raw) != count:
            raise EOFError("array data")
        return np.frombuffer(raw, real).reshape(shape, order="F" if state.get("order") == "F" else "C").copy()


_dispatch: dict[int, Any] = {**SafeUnpickler.dispatch, pickle.BUILD[0]: _JoblibUnpickler.load_build}
_JoblibUnpickler.dispatch = _dispatch


def safe_loads_joblib(data: bytes, source: str) -> Any:
    """The object of an uncompressed joblib file (zlib-compressed ones are unpacked by the caller).

    Raises:
        Reject: UNSAFE_CONTENT; damage surfaces as the errors ``unpickle.guarded`` turns into ``Reject``."""
    return finish(_JoblibUnpickler(data, source).load())
