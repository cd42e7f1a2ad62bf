"""Ids derive from content: the same input and the same content settings give the same ids on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK = 1 << 22


def make_id(*parts: object) -> str:
    """128-bit hex id of the parts, order-sensitive and unambiguous (each part is length-prefixed)."""
    h = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()


def hash_bytes(data: bytes) -> str:
    """Content id of bytes (blake2b-128)."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def hash_file(path: str | Path) -> str:
    """Content id of a local file, read in pieces."""
    h = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as f:
        while piece := f.read(_CHUNK):
            h.update(piece)
    return h.hexdigest()


def split_of(recording_id: str, *, val: float = 0.02, test: float = 0.02) -> str:
    """``train`` | ``val`` | ``test`` by hash of the recording: twins and clips of one recording stay together."""
    u = int.from_bytes(hashlib.blake2b(recording_id.encode(), digest_size=8).digest(), "little") / 2**64
    return "val" if u < val else "test" if u < val + test else "train"
