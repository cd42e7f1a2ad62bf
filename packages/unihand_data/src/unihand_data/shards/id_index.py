"""Row numbers by id, for tables of millions of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unihand_data.shards.errors import ShardError


class IdIndex:
    """id -> row number, in sorted bytes: a fifth of the memory of a dict of strings."""

    def __init__(self, ids: Sequence[str]):
        raw = np.array([i.encode() for i in ids], dtype=bytes) if ids else np.zeros(0, "S1")
        self._order = np.argsort(raw, kind="stable")
        self._sorted = raw[self._order]

    def ids(self) -> list[str]:
        out = np.empty_like(self._sorted)
        out[self._order] = self._sorted
        return [i.decode() for i in out]

    def __contains__(self, wanted: str) -> bool:
        at = int(np.searchsorted(self._sorted, wanted.encode()))
        return at < len(self._sorted) and bool(self._sorted[at] == wanted.encode())

    def find(self, wanted: str, kind: str) -> int:
        at = int(np.searchsorted(self._sorted, wanted.encode()))
        if wanted not in self:
            raise ShardError(f"{kind} {wanted} is not in this shard directory")
        return int(self._order[at])
