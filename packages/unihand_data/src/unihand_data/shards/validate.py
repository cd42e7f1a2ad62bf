"""Every promise of the contract that can be checked on a finished shard directory."""

from __future__ import annotations

import os
from typing import Any


def validate(directory: str | os.PathLike[str], *, storage_options: dict[str, Any] | None = None) -> list[str]:
    """Problems found, each one sentence that names the row; empty when all is well."""
    raise NotImplementedError
