"""Checks of a row's fields. Each names the row and the field, and raises ``RowError``."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from unihand_data.shards.errors import RowError
from unihand_data.space.slots import check_slots

WORDS: dict[str, frozenset[str]] = {
    "domain": frozenset({"human", "robot"}),
    "origin": frozenset({"real", "sim"}),
    "setting": frozenset({"lab", "wild"}),
    "split": frozenset({"train", "val", "test"}),
    "world": frozenset({"gravity", "table", "base", "camera"}),
    "text_source": frozenset({"dataset", "narration", "gemini", "openai_compatible", "motion_rules", "human"}),
    "side": frozenset({"left", "right"}),
    "hand_model": frozenset({"mano", "generic_v1"}),
    "media kind": frozenset({"video", "depth", "image"}),
    "task": frozenset({"motion_generation", "motion_continuation", "motion_description", "vision_text"}),
    "pillar": frozenset({"general", "grounding", "planning"}),
    "level": frozenset({"item", "clip", "row"}),
}


def flat(row: Any) -> dict[str, Any]:
    """The fields of a row as they are, by name."""
    return {f.name: getattr(row, f.name) for f in fields(row)}


def array(values: Any, dtype: Any) -> np.ndarray:
    """A copy as ``dtype``: rows own their arrays, Arrow's views are read-only."""
    return np.array(values, dtype=dtype)


def check_word(who: str, name: str, value: str) -> None:
    """``value`` is one of ``WORDS[name]``."""
    if value not in WORDS[name]:
        raise RowError(f"{who}: {name} is {value!r}, not one of {', '.join(sorted(WORDS[name]))}")


def check_string(who: str, name: str, value: Any) -> str:
    """Text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise RowError(f"{who}: {name} must be text, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"{who}: {name} is not valid Unicode: {error}") from error
    return value


def check_number(who: str, name: str, value: Any) -> float:
    """Any number; NaN is one."""
    if not isinstance(value, (int, float, np.floating, np.integer, np.bool_)):
        raise RowError(f"{who}: {name} must be a number, not {type(value).__name__}")
    return float(value)


def check_vector(who: str, name: str, value: Any, dtype: Any) -> np.ndarray:
    """(n,) as ``dtype``."""
    try:
        out = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise RowError(f"{who}: {name} cannot be read as {np.dtype(dtype)}: {error}") from error
    if out.ndim != 1:
        raise RowError(f"{who}: {name} must have one axis, its shape is {out.shape}")
    return out


def check_matrix(who: str, name: str, value: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """``value`` has exactly ``shape`` and numbers (booleans, for a mask); flattened row-major."""
    raw = np.asarray(value)
    if raw.shape != shape:
        raise RowError(f"{who}: {name} must have shape {shape}, its shape is {raw.shape}")
    if dtype is np.bool_ and raw.dtype != np.bool_:
        raise RowError(f"{who}: {name} must be boolean, not {raw.dtype}")
    if dtype is not np.bool_ and raw.dtype.kind not in "fiu":
        raise RowError(f"{who}: {name} must be numeric, not {raw.dtype}")
    return np.ascontiguousarray(raw, dtype=dtype).ravel()


def check_row_slots(who: str, name: str, value: Any) -> np.ndarray:
    """(S,) int16 slots of the space, strictly increasing."""
    try:
        return check_slots(check_vector(who, name, value, np.int16)).astype(np.int16)
    except ValueError as error:
        raise RowError(f"{who}: {name}: {error}") from error


def json_text(who: str, name: str, value: Any) -> str:
    """``value`` as JSON with sorted keys; NaN and types of Python's own are refused."""
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise RowError(f"{who}: {name} must be plain JSON values: {error}") from error
