"""Rows of ``samples/*.parquet``, the training index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unihand_data.shards import rows as R
from unihand_data.shards import schema
from unihand_data.shards.codec.checks import check_word, flat
from unihand_data.shards.errors import RowError


def sample_to_record(row: R.SampleRow) -> dict[str, Any]:
    """A row of the training index.

    Raises:
        RowError: an unknown task or split, or not exactly one of ``episode_id`` and ``conversation_id``.
    """
    who = f"sample {row.sample_id}"
    check_word(who, "task", row.task)
    check_word(who, "split", row.split)
    if bool(row.episode_id) == bool(row.conversation_id):
        raise RowError(f"{who}: exactly one of episode_id and conversation_id must be given")
    return flat(row)


def sample_from_record(rec: Mapping[str, Any]) -> R.SampleRow:
    """The inverse of :func:`sample_to_record`; ``rec`` may hold other columns too."""
    return R.SampleRow(**{k: rec[k] for k in schema.SAMPLES.names})
