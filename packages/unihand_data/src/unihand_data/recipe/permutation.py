"""Random permutations of 0 .. n - 1 that are computed at any point and never stored.

A Feistel network over the rectangle a x b >= n (a = ceil(sqrt(n)), b = ceil(n / a)) mixes row and column in turn; each
round adds a hash of one to the other, modulo its size, which is invertible whatever the hash is. A result outside
0 .. n - 1 is permuted again until it falls inside (cycle walking); fewer than one value in sqrt(n) needs that.

Sources: Black and Rogaway, "Ciphers with arbitrary finite domains" (CT-RSA 2002), for both ideas; the round hash is the
finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import hashlib

import numpy as np

ROUNDS = 6
U64 = np.ndarray  # uint64, any shape
_ROUND_KEYS = np.arange(1, ROUNDS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def mix(x: U64) -> U64:
    """SplitMix64's finaliser: a bijection of 64-bit words whose output bits each depend on every input bit."""
    x = np.asarray(x, np.uint64).reshape(np.shape(x) or (1,))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def key_of(*parts: object) -> int:
    """A 64-bit key from names and numbers, the same on every machine."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def unit(x: U64) -> np.ndarray:
    """64-bit words as float64 in [0, 1): their upper 53 bits."""
    return (np.asarray(x, np.uint64) >> np.uint64(11)) * 2.0**-53


def permute(index: np.ndarray, n: np.ndarray, key: U64) -> np.ndarray:
    """Where ``index`` goes in the permutation of 0 .. n - 1 that ``key`` names. All three broadcast.

    Raises:
        IndexError: an index outside 0 .. n - 1.
    """
    index, n, key = np.broadcast_arrays(np.asarray(index, np.int64), np.asarray(n, np.int64), np.asarray(key, "u8"))
    shape = index.shape
    index, n, key = index.reshape(-1), n.reshape(-1), key.reshape(-1)
    if len(index) and (index.min() < 0 or bool((index >= n).any())):
        raise IndexError("an index lies outside its permutation")
    rows, columns = _rectangle(n)
    out = _rounds(index.astype(np.uint64), rows, columns, key)
    while len(outside := np.flatnonzero(out >= n.astype(np.uint64))):
        out[outside] = _rounds(out[outside], rows[outside], columns[outside], key[outside])
    return out.astype(np.int64).reshape(shape)


def _rectangle(n: np.ndarray) -> tuple[U64, U64]:
    """The sides a, b of the smallest near-square with a * b >= n."""
    rows = np.maximum(np.ceil(np.sqrt(n.astype(np.float64))).astype(np.int64), 1)
    columns = np.maximum(-(-n // rows), 1)
    return rows.astype(np.uint64), columns.astype(np.uint64)


def _rounds(x: U64, rows: U64, columns: U64, key: U64) -> U64:
    left, right = x // columns, x % columns
    for number in range(ROUNDS):
        round_key = mix(key + _ROUND_KEYS[number])
        if number % 2:
            right = (right + mix(round_key ^ left) % columns) % columns
        else:
            left = (left + mix(round_key ^ right) % rows) % rows
    return left * columns + right
