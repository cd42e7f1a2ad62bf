"""CRC32C (Castagnoli, RFC 3720 appendix B.4) in numpy, plain and masked as TFRecord files store it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_MASK_DELTA = 0xA282EAD8


def masked_crc32c(data: bytes) -> int:
    """CRC32C (Castagnoli), rotated right by 15 and shifted, as record files store it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(0x82F63B78), crc >> 1).astype(np.uint32)
    return crc


@lru_cache(maxsize=64)
def _shift_tables(count: int) -> np.ndarray:
    """(4, 256) uint32: what ``count`` zero bytes do to a state, by byte of the state; linear over GF(2)."""
    table = _table()
    state = (np.uint32(1) << np.arange(32, dtype=np.uint32)).astype(np.uint32)  # images of the 32 single bits
    columns = _power(table, state, count)
    out = np.zeros((4, 256), np.uint32)
    for byte in range(4):
        for bit in range(8):
            has = (np.arange(256) >> bit) & 1
            out[byte] ^= np.where(has, columns[8 * byte + bit], np.uint32(0)).astype(np.uint32)
    return out


def _power(table: np.ndarray, identity: np.ndarray, count: int) -> np.ndarray:
    """Images of the 32 single bits after ``count`` zero bytes, by repeated squaring of the 32x32 matrix."""

    def apply(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
        bits = (values[:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
        return np.bitwise_xor.reduce(np.where(bits.astype(bool), matrix[None, :], np.uint32(0)), axis=1)

    step = (table[(identity & 0xFF).astype(int)] ^ (identity >> np.uint32(8))).astype(np.uint32)
    out = identity
    while count:
        if count & 1:
            out = apply(step, out)
        step = apply(step, step)
        count >>= 1
    return out


_LANES = 4096


def crc32c(data: bytes) -> int:
    """CRC32C of bytes. Long data are cut into lanes that numpy steps side by side; their states are joined after."""
    crc = 0xFFFFFFFF
    view = np.frombuffer(data, np.uint8)
    lane = len(view) // _LANES
    if lane >= 16:
        block = view[: lane * _LANES].reshape(_LANES, lane)
        table = _table()
        states = np.zeros(_LANES, np.uint32)
        states[0] = crc
        for column in np.ascontiguousarray(block.T):
            states = table[(states ^ column) & 0xFF] ^ (states >> np.uint32(8))
        while len(states) > 1:  # 4096 is a power of two: neighbours join until one is left
            shift = _shift_tables(lane)
            left, right = states[0::2], states[1::2]
            moved = shift[0][left & 0xFF] ^ shift[1][(left >> 8) & 0xFF] ^ shift[2][(left >> 16) & 0xFF]
            states = moved ^ shift[3][left >> 24] ^ right
            lane *= 2
        crc = int(states[0])
        view = view[lane:]
    plain = _plain_table()
    for byte in view.tobytes():
        crc = plain[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@lru_cache(maxsize=1)
def _plain_table() -> list[int]:
    return [int(x) for x in _table()]
