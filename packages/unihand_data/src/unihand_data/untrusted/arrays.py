"""Foreign numbers as arrays of a checked shape.

Legend: T rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject


def numbers(value: Any, source: str) -> np.ndarray:
    """``value`` as float64 of whatever shape. Raises ``Reject``: WRONG_TYPE."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Reject(Reason.WRONG_TYPE, f"{source}: {type(value).__name__} where numbers belong") from error


def array(value: Any, shape: tuple[int | None, ...], source: str, *, finite: bool = True) -> np.ndarray:
    """``value`` as a float64 array of the given shape (None: any length).

    Raises:
        Reject: WRONG_TYPE (no numbers, another shape), BAD_VALUE (NaN or infinite with ``finite``)."""
    out = numbers(value, source)
    if out.ndim != len(shape) or any(want is not None and n != want for n, want in zip(out.shape, shape)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise Reject(Reason.WRONG_TYPE, f"{source}: shape {out.shape}, expected ({wanted})")
    if finite and not np.isfinite(out).all():
        raise Reject(Reason.BAD_VALUE, f"{source}: holds NaN or infinite numbers")
    if np.abs(out[np.isfinite(out)]).max(initial=0.0) > 1e15:
        raise Reject(Reason.BAD_VALUE, f"{source}: holds numbers above 1e15")
    return out


def rigid(value: Any, source: str, tolerance: float = 1e-2) -> tuple[np.ndarray, np.ndarray]:
    """(T, 4, 4) rigid transforms and which rows are: a rotation within ``tolerance``, last row 0 0 0 1, finite.

    Raises:
        Reject: WRONG_TYPE (shape); BAD_VALUE when no row is rigid."""
    m = array(value, (None, 4, 4), source, finite=False)
    r = m[:, :3, :3]
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(r @ r.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2), initial=0.0)
        tail = np.abs(m[:, 3] - [0, 0, 0, 1]).max(axis=1, initial=0.0)
    ok = np.isfinite(m).all(axis=(1, 2)) & (off < tolerance) & (tail < 1e-3)
    ok[ok] &= np.linalg.det(r[ok]) > 0
    if len(m) and not ok.any():
        raise Reject(Reason.BAD_VALUE, f"{source}: no row is a rigid transform (rotation and translation)")
    return m, ok
