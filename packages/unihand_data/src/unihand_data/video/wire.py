"""Messages between a process and its killable worker: a msgpack header, then the raw bytes of its numpy arrays.

One message is ``<uint64 header length><header><array 0 bytes><array 1 bytes>...``, little endian. In the header an
array is the msgpack extension 1 with ``[dtype, shape, nbytes]``; arrays follow in the order in which they appear. No
pickle: the worker reads foreign files, and a worker taken over by one must not be able to run code in its parent. For
the same reason only plain numeric, bool and fixed-width text dtypes pass.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

_ARRAY = 1
_LENGTH = struct.Struct("<Q")
_MAX_HEADER = 1 << 28
_KINDS = frozenset("biufcSU")
#: what one message may carry in arrays; a decoder answers thumbnails and numbers, never a film
MAX_ARRAY_BYTES = 1 << 32


class WireError(Exception):
    """The other side sent something that is no message of this protocol."""


@dataclass
class Channel:
    """One end of a stream socket that speaks messages. ``deadline`` (``time.monotonic`` seconds) bounds every call
    that is given one; ``TimeoutError`` is raised when it passes, ``EOFError`` when the other side is gone."""

    sock: socket.socket

    def send(self, message: Mapping[str, Any], deadline: float | None = None) -> None:
        header, arrays = _pack(message)
        try:
            self._arm(deadline)
            self.sock.sendall(_LENGTH.pack(len(header)) + header)
            for a in arrays:
                self._arm(deadline)
                self.sock.sendall(a.data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EOFError("the other side closed the channel") from error

    def receive(self, deadline: float | None = None) -> dict[str, Any]:
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        if length > _MAX_HEADER:
            raise WireError(f"a header of {length} bytes")
        arrays: list[np.ndarray] = []
        try:
            message = msgpack.unpackb(
                self._read(length, deadline),
                ext_hook=lambda code, data: _announce(code, data, arrays),
                strict_map_key=False,
                raw=False,
            )
        except (ValueError, msgpack.exceptions.UnpackException) as error:
            raise WireError(f"an unreadable header: {error}") from error
        if not isinstance(message, dict):
            raise WireError(f"a {type(message).__name__} where a message is a mapping")
        for a in arrays:
            if a.nbytes:
                self._read_into(a.reshape(-1).view(np.uint8).data, deadline)
        return message

    def close(self) -> None:
        self.sock.close()

    def _arm(self, deadline: float | None) -> None:
        if deadline is None:
            self.sock.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline passed")
        self.sock.settimeout(left)

    def _read(self, n: int, deadline: float | None) -> bytearray:
        out = bytearray(n)
        if n:
            self._read_into(memoryview(out), deadline)
        return out

    def _read_into(self, view: memoryview, deadline: float | None) -> None:
        while view:
            self._arm(deadline)
            try:
                n = self.sock.recv_into(view, min(len(view), 1 << 20))
            except ConnectionResetError as error:
                raise EOFError("the other side closed the channel") from error
            if n == 0:
                raise EOFError("the other side closed the channel")
            view = view[n:]


def _pack(message: Mapping[str, Any]) -> tuple[bytes, list[np.ndarray]]:
    arrays: list[np.ndarray] = []

    def default(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in _KINDS:
                raise TypeError(f"arrays of dtype {value.dtype} do not cross the process boundary")
            a = np.ascontiguousarray(value)
            if a.dtype.byteorder == ">":
                a = a.astype(a.dtype.newbyteorder("<"))
            # memoryview cannot cast text and empty arrays: send the same bytes as uint8
            arrays.append(a.reshape(-1).view(np.uint8) if a.nbytes else np.empty(0, np.uint8))
            return msgpack.ExtType(_ARRAY, msgpack.packb([a.dtype.str, list(value.shape), a.nbytes]))
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, tuple):
            return list(value)
        raise TypeError(f"a {type(value).__name__} does not cross the process boundary: send plain values and arrays")

    return msgpack.packb(dict(message), default=default, use_bin_type=True), [a for a in arrays if a.nbytes]


def _announce(code: int, data: bytes, arrays: list[np.ndarray]) -> np.ndarray:
    """Allocate the array the header announces; its bytes follow after the header."""
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code}")
    text, shape, nbytes = msgpack.unpackb(data)
    dtype = np.dtype(text)
    if dtype.kind not in _KINDS or any(not isinstance(s, int) or s < 0 for s in shape):
        raise ValueError(f"array of dtype {text} and shape {shape}")
    if math.prod(shape) * dtype.itemsize != nbytes or nbytes + sum(a.nbytes for a in arrays) > MAX_ARRAY_BYTES:
        raise ValueError(f"array of shape {shape} and {nbytes} bytes")
    a = np.empty(shape, dtype)
    arrays.append(a)
    return a
