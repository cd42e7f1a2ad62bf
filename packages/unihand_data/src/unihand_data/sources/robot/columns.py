"""The identity of an episode's numbers, alike for every container."""

from __future__ import annotations

import numpy as np

from unihand_data.ids import make_id


def content_id_of_columns(columns: dict[str, np.ndarray], timestamps: np.ndarray | None) -> str:
    """blake2b-128 hex over all columns in name order, and the timestamps.

    Each column counts with its name, its shape (T, n) and its float64 bytes, so that float32 and float64 copies of one
    episode agree; -0.0 counts as 0.0 and every NaN alike. Pictures and text are not part of it.
    """
    parts: list[object] = ["columns"]
    for name in sorted(columns):
        x = columns[name]
        parts += [name, x.shape, _bytes(x)]
    parts += ["no clock"] if timestamps is None else ["clock", _bytes(timestamps)]
    return make_id(*parts)


def _bytes(x: np.ndarray) -> bytes:
    values = np.asarray(x, "<f8") + 0.0
    values[np.isnan(values)] = np.nan
    return values.tobytes()
