"""Rows of ``media.lance``, without their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unihand_data.shards import rows as R
from unihand_data.shards import schema
from unihand_data.shards.codec.checks import array, check_vector, check_word, flat
from unihand_data.shards.errors import RowError


def media_to_record(row: R.MediaRow) -> dict[str, Any]:
    """Everything of a media row but its bytes and path (``MEDIA_INFO``).

    Raises:
        RowError: no id, an unknown kind, or not one increasing time (s) in ``pts`` for each stored frame of a video.
    """
    who = f"media {row.media_id}"
    check_word(who, "media kind", row.kind)
    if not row.media_id:
        raise RowError("media: media_id is empty; it is the content hash of the bytes")
    record = flat(row)
    record.pop("data"), record.pop("path")
    if row.pts is not None:
        record["pts"] = check_vector(who, "pts", row.pts, np.float64)
        if len(row.pts) != row.frames or np.any(np.diff(record["pts"]) <= 0):
            raise RowError(f"{who}: pts must be {row.frames} strictly increasing times, one per stored frame")
    elif row.kind != "image":
        raise RowError(f"{who}: pts is missing; a {row.kind} carries the presentation time of every stored frame")
    return record


def media_from_record(rec: Mapping[str, Any]) -> R.MediaRow:
    """The row without bytes; ``pts`` (frames,) float64 s, or None of an image."""
    pts = rec["pts"]
    return R.MediaRow(
        **{k: rec[k] for k in schema.MEDIA_INFO.names if k != "pts"},
        pts=None if pts is None else array(pts, np.float64),
    )
