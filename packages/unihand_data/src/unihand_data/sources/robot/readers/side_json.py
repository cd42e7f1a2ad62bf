"""Small files beside recordings: JSON and CSV of words and cameras, and the folders above a data set where they lie."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.untrusted.unpickle import read_bounded

MAX_BYTES = 256 << 20


def read_json(path: str) -> Any:
    """The value of a JSON file; the last few stay in memory. Raises ``Reject``: MISSING_FILE, EMPTY, UNREADABLE."""
    return _json(path, _stamp(path))


def read_csv(path: str) -> list[dict[str, str]]:
    """Rows of a CSV file by the names in its first line. Raises ``Reject``: MISSING_FILE, EMPTY, UNREADABLE."""
    return _csv(path, _stamp(path))


def folders_up(root: str, base: str) -> Iterator[str]:
    """``base`` and every folder above it up to ``root``, nearest first."""
    at = Path(base)
    while True:
        yield str(at)
        if str(at) == root.rstrip("/") or at == at.parent:
            return
        at = at.parent


def names_in(folder: str) -> list[str]:
    """Names in a folder, sorted; none where it is not there."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _stamp(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


@lru_cache(maxsize=8)
def _json(path: str, stamp: float) -> Any:
    data = read_bounded(path, MAX_BYTES)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Reject(Reason.UNREADABLE, f"{path}: not JSON ({str(error)[:120]}); fetch it again") from error


@lru_cache(maxsize=4)
def _csv(path: str, stamp: float) -> list[dict[str, str]]:
    text = read_bounded(path, MAX_BYTES).decode("utf-8-sig", "replace")
    try:
        rows = csv.DictReader(text.splitlines())
        return [{k: v for k, v in row.items() if isinstance(k, str) and isinstance(v, str)} for row in rows]
    except csv.Error as error:
        raise Reject(Reason.UNREADABLE, f"{path}: not CSV ({str(error)[:120]}); fetch it again") from error
