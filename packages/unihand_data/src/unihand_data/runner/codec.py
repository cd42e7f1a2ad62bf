"""Units on disk without pickle: msgpack of plain values, arrays, enums and dataclasses of this project.

A dataclass is written as its qualified name and fields. Reading builds only dataclasses and enums found in modules
under an allowed prefix (``unihand_data`` and what the caller adds), so a doctored ledger cannot run code.
"""

from __future__ import annotations

import dataclasses
import importlib
from enum import Enum
from pathlib import PurePath
from typing import Any

import msgpack
import numpy as np

from unihand_data.errors import Reject

_TAG = "\x00t"  # key that no field name can have
_MAX_NESTING = 64


def pack(value: Any) -> bytes:
    """Encode ``value``; TypeError names the place of what cannot be stored."""
    return msgpack.packb(_lower(value, "unit", 0), use_bin_type=True)


def unpack(data: bytes, *, allow: tuple[str, ...] = ()) -> Any:
    """Decode; ``allow`` adds module prefixes whose dataclasses may be built. ValueError on anything else."""
    raw = msgpack.unpackb(data, raw=False, strict_map_key=False)
    return _raise(raw, ("unihand_data", *allow))


def _lower(value: Any, where: str, depth: int) -> Any:
    if depth > _MAX_NESTING:
        raise TypeError(f"{where}: nested deeper than {_MAX_NESTING}; a unit must not hold cycles")
    if isinstance(value, Enum):
        return {_TAG: "enum", "c": _name(type(value)), "v": value.name}
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, np.generic):
        return {_TAG: "scalar", "d": value.dtype.str, "b": value.tobytes()}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"{where}: an array of objects cannot be stored; use a list")
        return {_TAG: "array", "d": value.dtype.str, "s": list(value.shape), "b": np.ascontiguousarray(value).tobytes()}
    if isinstance(value, Reject):
        covers = (value.frames, value.frames_with_hand, value.duration_s, value.figures)
        return {_TAG: "reject", "v": [str(value.reason), value.message, value.level, *covers]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: _lower(getattr(value, f.name), f"{where}.{f.name}", depth + 1) for f in dataclasses.fields(value)
        }
        return {_TAG: "data", "c": _name(type(value)), "v": fields}
    if isinstance(value, dict):
        pairs = [
            [_lower(k, f"{where} key", depth + 1), _lower(v, f"{where}[{k!r}]", depth + 1)] for k, v in value.items()
        ]
        return {_TAG: "dict", "v": pairs}
    if isinstance(value, (list, tuple, set, frozenset)):
        kind = type(value).__name__
        if kind not in ("list", "tuple", "set", "frozenset"):
            raise TypeError(f"{where}: {kind} cannot be stored; use a tuple or a dataclass")
        values = sorted(value) if isinstance(value, (set, frozenset)) else value
        items = [_lower(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(values)]
        return items if kind == "list" else {_TAG: kind, "v": items}
    if isinstance(value, PurePath):
        raise TypeError(f"{where}: store a path as str")
    raise TypeError(f"{where}: {type(value).__name__} cannot be stored; use a dataclass, arrays and plain values")


def _name(cls: type) -> str:
    if "<locals>" in cls.__qualname__ or cls.__module__ == "__main__":
        raise TypeError(
            f"{cls.__qualname__}: a class made inside a function or in the script itself cannot be found again "
            "when resuming; move it into a module"
        )
    return f"{cls.__module__}:{cls.__qualname__}"


def _class(name: str, allow: tuple[str, ...]) -> type:
    module, _, qualname = name.partition(":")
    if not any(module == prefix or module.startswith(prefix + ".") for prefix in allow):
        raise ValueError(f"{name}: not a class that may be restored (allowed: {', '.join(allow)})")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    if not isinstance(found, type) or not (dataclasses.is_dataclass(found) or issubclass(found, Enum)):
        raise ValueError(f"{name}: neither a dataclass nor an enum")
    return found


def _raise(raw: Any, allow: tuple[str, ...]) -> Any:
    if isinstance(raw, list):
        return [_raise(v, allow) for v in raw]
    if not isinstance(raw, dict):
        return raw
    kind = raw.get(_TAG)
    if kind == "dict":
        return {_raise(k, allow): _raise(v, allow) for k, v in raw["v"]}
    if kind == "array":
        return np.frombuffer(raw["b"], dtype=_dtype(raw["d"])).reshape(raw["s"]).copy()
    if kind == "scalar":
        return np.frombuffer(raw["b"], dtype=_dtype(raw["d"]))[0]
    if kind in ("tuple", "set", "frozenset"):
        values = [_raise(v, allow) for v in raw["v"]]
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](values)
    if kind == "enum":
        return _class(raw["c"], allow)[raw["v"]]  # type: ignore[index]
    if kind == "reject":
        reason, message, level, frames, with_hand, duration, *figures = raw["v"]  # once stored without figures
        return Reject(
            reason, message, level=level, frames=frames, frames_with_hand=with_hand, duration_s=duration,
            figures=figures[0] if figures else None,
        )  # fmt: skip
    if kind == "data":
        cls = _class(raw["c"], allow)
        if not dataclasses.is_dataclass(cls):
            raise ValueError(f"{raw['c']}: not a dataclass")
        value = object.__new__(cls)  # what was stored is the finished state: __post_init__ must not change it again
        known = {f.name for f in dataclasses.fields(cls)}
        if set(raw["v"]) != known:
            raise ValueError(f"{raw['c']}: stored with fields {sorted(raw['v'])}, this version has {sorted(known)}")
        for name, field_value in raw["v"].items():
            object.__setattr__(value, name, _raise(field_value, allow))
        return value
    raise ValueError(f"unknown stored kind {kind!r}")


def _dtype(text: str) -> np.dtype:
    dtype = np.dtype(text)
    if dtype.hasobject:
        raise ValueError("an array of objects is never stored")
    return dtype
