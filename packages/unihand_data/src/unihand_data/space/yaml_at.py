"""A place in a YAML file: checks values there and words the error that names file and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class EmbodimentError(ValueError):
    """An embodiment file that does not fit. The message is ``file: field: what is wrong and what would be right``."""


class At:
    """Where we are in the file. ``at / key`` goes one step down; every check returns the value it accepts."""

    def __init__(self, path: Path, field: str = ""):
        self.path, self.field = path, field

    def __truediv__(self, key: object) -> At:
        return At(self.path, f"{self.field}.{key}" if self.field else str(key))

    def fail(self, message: str) -> EmbodimentError:
        return EmbodimentError(f"{self.path.name}: {self.field or 'file'}: {message}")

    def keys(self, data: Any, allowed: set[str], required: set[str]) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise self.fail(f"a mapping is expected, not {type(data).__name__}")
        if unknown := sorted(set(map(str, data)) - allowed):
            raise self.fail(f"unknown keys {unknown}; known: {sorted(allowed)}")
        if missing := sorted(required - set(data)):
            raise self.fail(f"missing keys {missing} (null is allowed where a value is unknown)")
        return data

    def choice(self, value: Any, allowed: tuple[Any, ...]) -> Any:
        if value not in allowed:
            raise self.fail(f"{value!r} is not one of {list(allowed)}")
        return value

    def number(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise self.fail(f"a finite number is expected, not {value!r}")
        return float(value)

    def numbers(self, value: Any, n: int) -> tuple[float, ...]:
        """One number for all, or a list of n."""
        values = value if isinstance(value, list) else [value] * n
        if len(values) != n:
            raise self.fail(f"{n} numbers are expected, not {len(values)}")
        return tuple(self.number(v) for v in values)

    def pair(self, value: Any) -> tuple[float, float]:
        if not isinstance(value, list) or len(value) != 2:
            raise self.fail(f"[lower, upper] is expected, not {value!r}")
        low, high = self.number(value[0]), self.number(value[1])
        if low >= high:
            raise self.fail(f"the lower limit {low} is not below the upper {high}")
        return low, high
