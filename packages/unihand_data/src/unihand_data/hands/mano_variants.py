"""From the ways data sets write a hand to the canonical one of ``hands/track.py``.

Canonical: theta = 15 joints x axis-angle (45 numbers, rad), MANO order index, middle, pinky, ring, thumb, relative to
the *flat* hand, in the model of the hand's own side; the wrist joint's position and rotation in the camera.

Legend: T frames, K coefficients, J joints. Nothing here needs torch; what needs numbers of the licensed MANO files
(components, mean, the wrist joint's rest place) reads the user's file through the allow-list unpickler.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.values.hands import HandTrack, Side

#: reflection at the hand's own y-z plane: axis-angle (x, y, z) -> (x, -y, -z)
MIRROR_ROTVEC = np.array([1.0, -1.0, -1.0])

# keypoint orders --------------------------------------------------------------------------------------------

#: FPHA: wrist, the five knuckles (thumb .. pinky), then PIP, DIP, TIP of each finger
FPHA_TO_21 = np.array([0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20])
#: Aria: five tips, wrist, two of the thumb, three of each finger, palm. It has no thumb CMC (-1: NaN)
ARIA_TO_21 = np.array([5, -1, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4])
#: names of the ARKit hand skeleton in our order; the four metacarpals are left out
ARKIT_21 = (
    "Hand",
    *(f"Thumb{p}" for p in ("Knuckle", "IntermediateBase", "IntermediateTip", "Tip")),
    *(
        f"{finger}Finger{p}"
        for finger in ("Index", "Middle", "Ring", "Little")
        for p in ("Knuckle", "IntermediateBase", "IntermediateTip", "Tip")
    ),
)


def reorder_keypoints(points: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(T, J, 3) in a data set's order -> (T, 21, 3); entries of ``order`` below 0 become NaN."""
    out = np.asarray(points, float)[:, np.maximum(order, 0)]
    out[:, order < 0] = np.nan
    return out


# rotations --------------------------------------------------------------------------------------------------


def from_matrices(matrices: np.ndarray, source: str = "hand pose") -> np.ndarray:
    """(..., 3, 3) rotation matrices -> (..., 3) axis-angle.

    Raises:
        Reject: WRONG_TYPE (shape), BAD_VALUE (NaN, not orthonormal within 1e-2, a reflection)."""
    m = np.asarray(matrices, float)
    if m.shape[-2:] != (3, 3):
        raise Reject(Reason.WRONG_TYPE, f"{source}: shape {m.shape}, expected (..., 3, 3) rotation matrices")
    flat = m.reshape(-1, 3, 3)
    off = np.abs(flat @ flat.transpose(0, 2, 1) - np.eye(3)).max(initial=0.0) if np.isfinite(flat).all() else np.inf
    if off > 1e-2 or (len(flat) and np.linalg.det(flat).min() < 0):
        raise Reject(Reason.BAD_VALUE, f"{source}: not rotation matrices (off by {off:.3g}, or a reflection)")
    return Rotation.from_matrix(flat).as_rotvec().reshape(*m.shape[:-2], 3)


def from_quaternions(quat: np.ndarray, order: Literal["wxyz", "xyzw"], source: str = "hand pose") -> np.ndarray:
    """(..., 4) unit quaternions -> (..., 3) axis-angle.

    Raises:
        Reject: WRONG_TYPE, BAD_VALUE (NaN, norm off 1 by more than 1e-2)."""
    q = np.asarray(quat, float)
    if q.shape[-1:] != (4,):
        raise Reject(Reason.WRONG_TYPE, f"{source}: shape {q.shape}, expected (..., 4) quaternions")
    flat = q.reshape(-1, 4)
    if not np.isfinite(flat).all() or np.abs(np.linalg.norm(flat, axis=1) - 1).max(initial=0.0) > 1e-2:
        raise Reject(Reason.BAD_VALUE, f"{source}: not unit quaternions")
    if order == "wxyz":
        flat = flat[:, [1, 2, 3, 0]]
    return Rotation.from_quat(flat).as_rotvec().reshape(*q.shape[:-1], 3)


def own_side(theta: np.ndarray) -> np.ndarray:
    """A left hand written in the right model -> its own model (and back): y and z of every joint negated.

    Accepts (T, 45), (T, 15, 3) or (T, 3); axis-angle only."""
    t = np.asarray(theta, float)
    return (t.reshape(*t.shape[:-1], -1, 3) * MIRROR_ROTVEC).reshape(t.shape)


def split_root(pose: np.ndarray, source: str = "hand pose") -> tuple[np.ndarray, np.ndarray]:
    """(T, 3 + K) -> wrist rotation (T, 3) and the rest (T, K)."""
    p = np.asarray(pose, float)
    if p.ndim != 2 or p.shape[1] < 4:
        raise Reject(Reason.WRONG_TYPE, f"{source}: shape {p.shape}, expected (T, 3 + coefficients)")
    return p[:, :3], p[:, 3:]


# what needs the user's MANO files ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ManoNumbers:
    """The few numbers of a MANO file the conversions need.

    Attributes:
        components: (45, 45) rows of ``hands_components``. mean: (45,) ``hands_mean``.
        wrist_rest: (3,) J0 of the mean shape. wrist_shape: (3, 10) its change per beta.
    """

    components: np.ndarray
    mean: np.ndarray
    wrist_rest: np.ndarray
    wrist_shape: np.ndarray

    def wrist(self, beta: np.ndarray) -> np.ndarray:
        """(..., 10) betas -> (..., 3): J0, the wrist joint of the unposed hand (m)."""
        return self.wrist_rest + np.asarray(beta, float) @ self.wrist_shape.T


def mano_numbers(mano_dir: str | None, side: Side, purpose: str) -> ManoNumbers:
    """The user's ``MANO_RIGHT.pkl`` or ``MANO_LEFT.pkl``.

    Raises:
        Reject: MISSING_FILE naming the file and what it is needed for; UNSAFE_CONTENT and the like from reading."""
    name = f"MANO_{side.upper()}.pkl"
    folder = mano_dir or os.environ.get("UNIHAND_MANO_DIR")
    if not folder:
        raise Reject(
            Reason.MISSING_FILE,
            f"{purpose} needs {name} (licensed, from mano.is.tue.mpg.de); name its folder with UNIHAND_MANO_DIR",
        )
    path = Path(folder) / name
    if not path.is_file():
        raise Reject(Reason.MISSING_FILE, f"{path}: not there; {purpose} needs it (from mano.is.tue.mpg.de)")
    return _mano_numbers(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _mano_numbers(path: str, _mtime: int) -> ManoNumbers:
    from unihand_data.untrusted.unpickle import safe_load

    data = safe_load(path)
    try:
        components = np.asarray(data["hands_components"], float)
        mean = np.asarray(data["hands_mean"], float).reshape(-1)
        regressor = np.asarray(data["J_regressor"], float)[0]
        template = np.asarray(data["v_template"], float)
        shapes = np.asarray(data["shapedirs"], float)[:, :, :10]
        rest, change = regressor @ template, np.einsum("v,vck->ck", regressor, shapes)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Reject(Reason.MISSING_FIELD, f"{path}: not a MANO hand model ({error!r}); fetch it again") from error
    if components.shape != (45, 45) or mean.shape != (45,) or rest.shape != (3,) or change.shape != (3, 10):
        raise Reject(Reason.WRONG_TYPE, f"{path}: not a MANO hand model (components {components.shape})")
    return ManoNumbers(components, mean, rest, change)


def from_pca(coefficients: np.ndarray, mano: ManoNumbers, *, mean: Literal["flat", "model"]) -> np.ndarray:
    """(T, K) coefficients of the first K components -> (T, 45), relative to the flat hand.

    theta = coefficients @ components[:K] (+ hands_mean where the data set's zero is the mean hand)."""
    c = np.asarray(coefficients, float)
    if c.ndim != 2 or not 1 <= c.shape[1] <= 45:
        raise Reject(Reason.WRONG_TYPE, f"PCA hand pose: shape {c.shape}, expected (T, 1..45)")
    theta = c @ mano.components[: c.shape[1]]
    return theta + mano.mean if mean == "model" else theta


def wrist_from_transl(transl: np.ndarray, beta: np.ndarray, mano: ManoNumbers) -> np.ndarray:
    """MANO's ``transl`` (T, 3) -> the wrist joint: transl + J0(beta). The root turns about J0: no rotation enters."""
    return np.asarray(transl, float) + mano.wrist(beta)


# tracks -----------------------------------------------------------------------------------------------------


def to_camera(position: np.ndarray, rotvec: np.ndarray, world_to_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wrist poses in the world -> in the camera of that moment. (T, 3), (T, 3), (T, 4, 4) -> (T, 3), (T, 3)."""
    r, t = world_to_camera[:, :3, :3], world_to_camera[:, :3, 3]
    turned = Rotation.from_matrix(r) * Rotation.from_rotvec(rotvec)
    return np.einsum("tij,tj->ti", r, position) + t, turned.as_rotvec()


def points_to_camera(points: np.ndarray, world_to_camera: np.ndarray) -> np.ndarray:
    """(T, J, 3) world -> camera."""
    return np.einsum("tij,tkj->tki", world_to_camera[:, :3, :3], points) + world_to_camera[:, None, :3, 3]


def mano_track(
    side: Side,
    wrist_pos: np.ndarray,
    wrist_rot: np.ndarray,
    theta: np.ndarray,
    beta: np.ndarray,
    valid: np.ndarray,
    *,
    keypoints: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    estimator: str = "annotated",
) -> HandTrack:
    """A canonical MANO track. ``keypoints`` None means the caller poses a skeleton if it needs them.

    Rows that hold a NaN lose their validity; rows that are not valid are NaN."""
    frames = len(valid)
    track = HandTrack.empty(side, frames, hand_model="mano", estimator=estimator)
    ok = np.asarray(valid, bool) & np.isfinite(np.concatenate([wrist_pos, wrist_rot, theta], axis=1)).all(1)
    track.wrist_pos[ok], track.wrist_rot[ok], track.theta[ok] = wrist_pos[ok], wrist_rot[ok], theta[ok]
    track.beta = np.asarray(beta, float)
    if keypoints is not None:
        track.keypoints[ok] = keypoints[ok]
    track.confidence = np.where(ok, 1.0 if confidence is None else confidence, 0.0)
    track.valid = ok
    return track


def keypoint_track(
    side: Side, keypoints: np.ndarray, valid: np.ndarray, *, confidence: np.ndarray | None = None
) -> HandTrack:
    """A track that has keypoints only, (T, 21, 3) m in the camera: theta and the wrist's rotation are NaN and
    ``figures['needs_fit']`` is 1 until ``hands/annotated.py`` fits them. Single keypoints may be NaN."""
    track = HandTrack.empty(side, len(valid), estimator="annotated")
    ok = np.asarray(valid, bool) & np.isfinite(keypoints[:, 0]).all(1)
    track.keypoints[ok] = keypoints[ok]
    track.wrist_pos[ok] = keypoints[ok, 0]
    track.confidence = np.where(ok, 1.0 if confidence is None else confidence, 0.0)
    track.valid = ok
    track.figures["needs_fit"] = 1.0
    return track
