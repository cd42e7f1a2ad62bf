"""Rows of ``rejects/*.parquet``."""

from __future__ import annotations

from typing import Any

from unihand_data.errors import Reason
from unihand_data.shards import rows as R
from unihand_data.shards.codec.checks import check_word, flat
from unihand_data.shards.errors import RowError


def reject_to_record(row: R.RejectRow) -> dict[str, Any]:
    """A row of the rejects; ``reason`` as text.

    Raises:
        RowError: an unknown level, or a reason outside :class:`unihand_data.errors.Reason`.
    """
    who = f"reject of {row.item}"
    check_word(who, "level", row.level)
    if str(row.reason) not in {str(r) for r in Reason}:
        raise RowError(f"{who}: reason {row.reason!r} is not one of unihand_data.errors.Reason")
    return flat(row) | {"reason": str(row.reason)}
