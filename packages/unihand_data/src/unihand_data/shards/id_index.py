"""Row numbers by id, for tables of millions of rows.

An id is a 128-bit number: ids of this project are its 32 hexadecimal digits, any other text is hashed to one. Numbers
in sorted numpy columns take 20 bytes a row, and an Arrow column of ids becomes numbers without a Python string.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.shards.errors import ShardError

#: ids as text; a chunked array or an array of Arrow strings, or Python strings
Ids: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[str]

_DIGITS = 32
_OWN = re.compile(r"[0-9a-f]{32}")
_NO_DIGIT = 255
_NIBBLE = np.full(256, _NO_DIGIT, np.uint8)
_NIBBLE[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def id_keys(ids: Ids) -> np.ndarray:
    """(n, 2) uint64, high and low half of every id's 128 bits; a null is the empty id."""
    if not isinstance(ids, pa.Array | pa.ChunkedArray):
        ids = pa.array(ids, pa.large_string())
    if isinstance(ids, pa.ChunkedArray):
        return np.concatenate([id_keys(chunk) for chunk in ids.chunks] or [np.zeros((0, 2), np.uint64)])
    if ids.null_count:
        ids = ids.fill_null("")
    texts = ids.cast(pa.large_string())
    out = np.zeros((len(texts), 2), np.uint64)
    long = pc.equal(pc.binary_length(texts), _DIGITS).to_numpy(zero_copy_only=False)
    digits = _NIBBLE[_bytes(texts if long.all() else texts.filter(pa.array(long)))].reshape(-1, _DIGITS)
    good = (digits != _NO_DIGIT).all(axis=1)
    at = np.flatnonzero(long)
    packed = np.ascontiguousarray(digits[good, 0::2] << 4 | digits[good, 1::2])
    out[at[good]] = packed.view(">u8").astype(np.uint64)
    other = ~long
    other[at[~good]] = True
    for i in np.flatnonzero(other).tolist():
        out[i] = _halves(texts[i].as_py())
    return out


def _halves(text: str) -> tuple[np.uint64, np.uint64]:
    """The key of one id."""
    known = _OWN.fullmatch(text)
    digits = text if known else hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return np.uint64(int(digits[:16], 16)), np.uint64(int(digits[16:], 16))


def _bytes(texts: pa.Array) -> np.ndarray:
    """The UTF-8 bytes of a large_string array, one after the other."""
    if not len(texts):
        return np.zeros(0, np.uint8)
    _, offsets, data = texts.buffers()
    edges = np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8)
    return np.frombuffer(data, np.uint8, int(edges[-1] - edges[0]), int(edges[0]))


class IdIndex:
    """id -> row number; of an id that occurs twice the first row.

    Args:
        batches: the ids in row order, a piece at a time; :meth:`of` takes them at once.
    """

    def __init__(self, batches: Iterable[Ids] = ()):
        pieces = [id_keys(ids) for ids in batches]
        keys = np.concatenate(pieces) if pieces else np.zeros((0, 2), np.uint64)
        pieces.clear()
        order = np.argsort(keys[:, 0], kind="stable")
        self._high, self._low = keys[order, 0], keys[order, 1]
        self._order = order.astype(np.uint32 if len(order) < 2**32 else np.int64)

    @classmethod
    def of(cls, ids: Ids) -> IdIndex:
        return cls([ids])

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, wanted: object) -> bool:
        return isinstance(wanted, str) and self._row(wanted) >= 0

    def find(self, wanted: str, kind: str) -> int:
        """Raises ``ShardError`` when there is no such id."""
        row = self._row(wanted)
        if row < 0:
            raise ShardError(f"{kind} {wanted} is not in this shard directory")
        return row

    def _row(self, wanted: str) -> int:
        """As :meth:`rows` of one id, without Arrow."""
        high, low = _halves(wanted)
        at = int(np.searchsorted(self._high, high))
        while at < len(self) and self._high[at] == high:
            if self._low[at] == low:
                return int(self._order[at])
            at += 1
        return -1

    def rows(self, wanted: Ids) -> np.ndarray:
        """(n,) int64 row numbers, -1 where there is no such id."""
        keys = id_keys(wanted)
        out = np.full(len(keys), -1, np.int64)
        if not len(self) or not len(keys):
            return out
        at = np.searchsorted(self._high, keys[:, 0])
        todo = np.flatnonzero(at < len(self))
        while len(todo):  # ids that share their first 64 bits lie side by side: one turn unless there are such
            same = self._high[at[todo]] == keys[todo, 0]
            todo = todo[same]
            hit = self._low[at[todo]] == keys[todo, 1]
            out[todo[hit]] = self._order[at[todo[hit]]]
            todo = todo[~hit]
            at[todo] += 1
            todo = todo[at[todo] < len(self)]
        return out

    def repeated(self) -> Iterator[tuple[int, int]]:
        """(row of the first, how often) of every id that occurs more than once, by first row."""
        if len(self) < 2:
            return
        # Within equal high halves the low ones are in row order, so they are sorted here, where that is ever needed.
        runs = np.flatnonzero(self._high[1:] == self._high[:-1])
        found: dict[tuple[int, int], list[int]] = {}
        for i in np.unique(np.concatenate([runs, runs + 1])).tolist():
            found.setdefault((int(self._high[i]), int(self._low[i])), []).append(int(self._order[i]))
        yield from sorted((min(rows), len(rows)) for rows in found.values() if len(rows) > 1)
