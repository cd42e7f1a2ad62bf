"""Rotations over scipy, with the conventions spelled out in every name and NaN carried through.

A *rotvec* is the axis-angle vector (rad); :func:`log` returns it with an angle of at most pi. Quaternion functions take
the component order as an argument without a default, Euler functions the sequence and the frame: no source agrees with
the next one on these. rot6d is the first two *columns* of the matrix, column after column.

Rows that hold a NaN give NaN; an infinite value or a matrix that is no rotation is refused.

Legend: ``...`` any leading axes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject

QuatOrder = Literal["wxyz", "xyzw"]
EulerFrame = Literal["intrinsic", "extrinsic"]

#: largest entry of |R R^T - 1| that still counts as a rotation (float32 poses of data sets reach 1e-5)
ORTHOGONAL_ATOL = 1e-3


def _rows(x: np.ndarray, tail: tuple[int, ...], out_tail: tuple[int, ...], fn: Callable) -> np.ndarray:
    """Apply ``fn`` (N, *tail) -> (N, *out_tail) to the finite rows of (..., *tail); NaN rows give NaN."""
    x = np.asarray(x, np.float64)
    if x.shape[len(x.shape) - len(tail) :] != tail:
        raise Reject(Reason.WRONG_TYPE, f"a rotation array of shape {x.shape} should end in {tail}")
    if np.isinf(x).any():
        raise Reject(Reason.BAD_VALUE, "a rotation array holds an infinite value")
    lead = x.shape[: x.ndim - len(tail)]
    flat = x.reshape(-1, *tail)
    good = ~np.isnan(flat).reshape(len(flat), -1).any(axis=1)
    out = np.full((len(flat), *out_tail), np.nan)
    if good.any():
        out[good] = fn(flat[good])
    return out.reshape(*lead, *out_tail)


def _checked_matrix(m: np.ndarray) -> Rotation:
    error = np.abs(m @ np.swapaxes(m, -1, -2) - np.eye(3)).max(axis=(-1, -2))
    bad = (error > ORTHOGONAL_ATOL) | (np.linalg.det(m) <= 0)
    if bad.any():
        worst = int(np.argmax(bad))
        raise Reject(
            Reason.BAD_VALUE,
            f"row {worst} is no rotation: |R R^T - 1| up to {error[worst]:.3g}, det {np.linalg.det(m[worst]):.3g}",
        )
    return Rotation.from_matrix(m)


def _checked_quat(q: np.ndarray) -> Rotation:
    if bool(np.any(np.linalg.norm(q, axis=-1) < 1e-6)):
        raise Reject(Reason.BAD_VALUE, "a quaternion of length zero is not a rotation")
    return Rotation.from_quat(q)


def exp(rotvec: np.ndarray) -> np.ndarray:
    """Rotvec (..., 3) to matrix (..., 3, 3)."""
    return _rows(rotvec, (3,), (3, 3), lambda v: Rotation.from_rotvec(v).as_matrix())


def log(matrix: np.ndarray) -> np.ndarray:
    """Matrix (..., 3, 3) to rotvec (..., 3), angle in [0, pi]. At exactly pi the sign of the axis is arbitrary.

    scipy goes through the quaternion, whose largest component is taken first, so there is no loss near 0 or pi.

    Raises:
        Reject: ``bad_value`` when a matrix is further than 1e-3 from a rotation.
    """
    return _rows(matrix, (3, 3), (3,), lambda m: _checked_matrix(m).as_rotvec())


def canonical(rotvec: np.ndarray) -> np.ndarray:
    """The same rotations with angles in [0, pi]."""
    return _rows(rotvec, (3,), (3,), lambda v: Rotation.from_rotvec(v).as_rotvec())


def quat_to_rotvec(quat: np.ndarray, order: QuatOrder) -> np.ndarray:
    """Quaternion (..., 4) in the given component order, of any length, to rotvec (..., 3)."""
    return _rows(quat, (4,), (3,), lambda q: _checked_quat(_reorder(q, order, "xyzw")).as_rotvec())


def rotvec_to_quat(rotvec: np.ndarray, order: QuatOrder) -> np.ndarray:
    """Rotvec (..., 3) to unit quaternion (..., 4) in the given order, real part not negative."""
    return _rows(rotvec, (3,), (4,), lambda v: _reorder(Rotation.from_rotvec(v).as_quat(canonical=True), "xyzw", order))


def quat_to_matrix(quat: np.ndarray, order: QuatOrder) -> np.ndarray:
    """Quaternion (..., 4) to matrix (..., 3, 3)."""
    return _rows(quat, (4,), (3, 3), lambda q: _checked_quat(_reorder(q, order, "xyzw")).as_matrix())


def matrix_to_quat(matrix: np.ndarray, order: QuatOrder) -> np.ndarray:
    """Matrix (..., 3, 3) to unit quaternion (..., 4), real part not negative."""
    return _rows(matrix, (3, 3), (4,), lambda m: _reorder(_checked_matrix(m).as_quat(canonical=True), "xyzw", order))


def _reorder(q: np.ndarray, source: QuatOrder, target: QuatOrder) -> np.ndarray:
    for order in (source, target):
        if order not in ("wxyz", "xyzw"):
            raise ValueError(f"quaternion order is 'wxyz' or 'xyzw', not {order!r}")
    if source == target:
        return q
    return np.roll(q, -1 if source == "wxyz" else 1, axis=-1)


def _euler_sequence(sequence: str, frame: EulerFrame) -> str:
    if len(sequence) != 3 or set(sequence.lower()) - set("xyz") or frame not in ("intrinsic", "extrinsic"):
        raise ValueError(
            f"Euler angles need three of x, y, z and a frame (intrinsic|extrinsic): {sequence!r}, {frame!r}"
        )
    return sequence.upper() if frame == "intrinsic" else sequence.lower()


def euler_to_rotvec(angles: np.ndarray, sequence: str, frame: EulerFrame) -> np.ndarray:
    """Euler angles (..., 3) rad, given in the order of ``sequence``, to rotvec. ``rpy`` is ``xyz``, ``extrinsic``."""
    seq = _euler_sequence(sequence, frame)
    return _rows(angles, (3,), (3,), lambda a: Rotation.from_euler(seq, a).as_rotvec())


def rotvec_to_euler(rotvec: np.ndarray, sequence: str, frame: EulerFrame) -> np.ndarray:
    """Rotvec (..., 3) to Euler angles (..., 3) rad; at gimbal lock scipy sets the third angle to zero."""
    seq = _euler_sequence(sequence, frame)
    with warnings.catch_warnings():  # gimbal lock is said above; the argument that silences it is newer than scipy 1.11
        warnings.filterwarnings("ignore", message="Gimbal lock")
        return _rows(rotvec, (3,), (3,), lambda v: Rotation.from_rotvec(v).as_euler(seq))


def rotvec_to_rot6d(rotvec: np.ndarray) -> np.ndarray:
    """Rotvec (..., 3) to rot6d (..., 6): first column, then second column of the matrix."""
    m = exp(rotvec)
    return np.concatenate([m[..., :, 0], m[..., :, 1]], axis=-1)


def rot6d_to_rotvec(rot6d: np.ndarray) -> np.ndarray:
    """rot6d (..., 6), not necessarily orthonormal, to rotvec (..., 3) by Gram-Schmidt."""

    def convert(x: np.ndarray) -> np.ndarray:
        a, b = x[:, :3], x[:, 3:]
        if bool(np.any(np.linalg.norm(np.cross(a, b), axis=-1) < 1e-6)):
            raise Reject(Reason.BAD_VALUE, "a rot6d with parallel or zero columns is not a rotation")
        c1 = a / np.linalg.norm(a, axis=-1, keepdims=True)
        c2 = b - (c1 * b).sum(-1, keepdims=True) * c1
        c2 /= np.linalg.norm(c2, axis=-1, keepdims=True)
        return Rotation.from_matrix(np.stack([c1, c2, np.cross(c1, c2)], axis=-1)).as_rotvec()

    return _rows(rot6d, (6,), (3,), convert)


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Rotvec of exp(second) exp(first), both (..., 3), broadcast; composed as quaternions, so tiny angles survive."""
    pair = np.concatenate(np.broadcast_arrays(np.asarray(second, float), np.asarray(first, float)), axis=-1)
    return _rows(
        pair, (6,), (3,), lambda v: (Rotation.from_rotvec(v[:, :3]) * Rotation.from_rotvec(v[:, 3:])).as_rotvec()
    )


def inverse(rotvec: np.ndarray) -> np.ndarray:
    """Rotvec of the inverse rotation."""
    return -np.asarray(rotvec, np.float64)


def rotate(rotvec: np.ndarray, points: np.ndarray) -> np.ndarray:
    """exp(rotvec) applied to points (..., 3)."""
    return np.einsum("...ij,...j->...i", exp(rotvec), np.asarray(points, np.float64))


def geodesic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle (...) in [0, pi] rad between the rotations of two rotvecs (..., 3)."""
    return np.linalg.norm(compose(a, inverse(b)), axis=-1)


def align_hemisphere(quat: np.ndarray) -> np.ndarray:
    """Quaternions (T, 4) with signs flipped so that neighbours in time lie on one hemisphere (both orders).

    Row 0 keeps its sign; NaN rows stay and the next valid row is aligned to the last valid one.
    """
    out = np.array(quat, np.float64)
    last = None
    for i in range(len(out)):
        if np.isnan(out[i]).any():
            continue
        if last is not None and float(out[i] @ last) < 0:
            out[i] = -out[i]
        last = out[i]
    return out


def slerp(times: np.ndarray, rotvec: np.ndarray, new_times: np.ndarray) -> np.ndarray:
    """Rotvecs (T, 3) at ``times`` (T,), along the shortest arc at ``new_times`` (N,), never extrapolated."""
    t, new = np.asarray(times, float), np.asarray(new_times, float)
    if len(t) < 2 or (new.size and (new.min() < t[0] or new.max() > t[-1])):
        raise ValueError("slerp needs two or more times and never extrapolates")
    i = np.clip(np.searchsorted(t, new, side="right") - 1, 0, len(t) - 2)
    fraction = ((new - t[i]) / (t[i + 1] - t[i]))[:, None]
    r = np.asarray(rotvec, float)
    step = compose(r[i + 1], inverse(r[i]))
    return compose(step * fraction, r[i])
