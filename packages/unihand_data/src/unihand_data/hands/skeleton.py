"""``generic_v1``: a 21-joint hand skeleton for people without MANO's licensed files.

Legend: T frames, J = 21 keypoints (order of :mod:`unihand_data.values.hands`), 15 joints in MANO order (index, middle,
pinky, ring, thumb; three each, from the palm to the tip).

Frame of the right hand (that of MANO's right template): origin at the wrist joint; the flat fingers point along -x, the
back of the hand faces +y (the palm -y), the thumb is on the +z side. Bending a finger is a positive turn about +z. The
left hand is the right one mirrored by ``diag(-1, 1, 1)``: fingers along +x, back +y, thumb +z.

As in MANO every joint's rest frame is parallel to the hand frame, so ``theta = 0`` is the flat hand and a joint's
axis-angle is expressed in the frame of its parent. Lengths are those of an adult hand of 185 mm (wrist to middle
finger tip), rounded to millimetres; the splay of the resting fingers follows MANO's flat hand to a few degrees, so
theta of one model means nearly the same posture in the other.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.values.hands import FINGERS, Side

#: MANO's order of fingers in theta
THETA_FINGERS: tuple[str, ...] = ("index", "middle", "pinky", "ring", "thumb")
#: metres from the wrist to the tip of the flat middle finger at ``hand_scale`` 1
NOMINAL_HAND_LENGTH = 0.185
MIRROR_X = np.array([-1.0, 1.0, 1.0])  # on positions
MIRROR_ROTVEC = np.array([1.0, -1.0, -1.0])  # on axis-angles, for the same mirror

# Per finger: first joint from the wrist (mm), angle of the resting finger towards the thumb about +y (degrees),
# segment lengths (mm) to the next joints and the tip.
_FINGERS_MM: dict[str, tuple[tuple[float, float, float], float, tuple[float, float, float]]] = {
    "index": ((-91, -2, 25), 4, (42, 25, 23)),
    "middle": ((-90, 0, 3), -8, (45, 28, 23)),
    "ring": ((-84, -1, -17), -14, (42, 27, 22)),
    "pinky": ((-75, -5, -34), -32, (33, 21, 20)),
    "thumb": ((-24, -12, 24), 45, (43, 32, 28)),
}
#: how far the thumb's nail is turned from the back of the hand to the radial side in the flat hand
_THUMB_ROLL_DEG = 50.0


def _finger_frame(name: str) -> np.ndarray:
    """(3, 3) columns (d, f, n) of the right hand: along the resting finger, flexion axis, dorsal normal; f = n x d."""
    splay = np.radians(_FINGERS_MM[name][1])
    d = np.array([-np.cos(splay), 0.0, np.sin(splay)])
    n = np.array([0.0, 1.0, 0.0])
    if name == "thumb":
        d = np.array([-np.cos(splay), -0.12, np.sin(splay)])
        d /= np.linalg.norm(d)
        outward = np.cross(d, np.cross(np.array([-1.0, 0.0, 0.0]), d))
        outward = -outward / np.linalg.norm(outward)
        up = n - d * (n @ d)
        up /= np.linalg.norm(up)
        outward -= up * (outward @ up)
        outward /= np.linalg.norm(outward)
        roll = np.radians(_THUMB_ROLL_DEG)
        n = np.cos(roll) * up + np.sin(roll) * outward
    return np.stack([d, np.cross(n, d), n], axis=1)


#: right-hand finger frames, columns (d, f, n)
FINGER_FRAMES: dict[str, np.ndarray] = {name: _finger_frame(name) for name in FINGERS}


def _rest_right() -> np.ndarray:
    rest = np.zeros((21, 3))
    for name, chain in FINGERS.items():
        base, _, lengths = _FINGERS_MM[name]
        p = np.array(base, float)
        rest[chain[0]] = p
        for k, length in zip(chain[1:], lengths):
            p = p + FINGER_FRAMES[name][:, 0] * length
            rest[k] = p
    return rest * 1e-3


_REST_RIGHT = _rest_right()


def rest_keypoints(side: Side, hand_scale: float = 1.0) -> np.ndarray:
    """(21, 3) m: the flat hand in its own frame."""
    rest = _REST_RIGHT * hand_scale
    return rest if side == "right" else rest * MIRROR_X


def forward(
    theta: np.ndarray,
    wrist_pos: np.ndarray,
    wrist_rot: np.ndarray,
    side: Side,
    hand_scale: float = 1.0,
    rest: np.ndarray | None = None,
) -> np.ndarray:
    """Keypoints of posed hands.

    Args:
        theta: (T, 45) rad, axis-angle per joint in MANO order, relative to the flat hand.
        wrist_pos: (T, 3) m; wrist_rot: (T, 3) axis-angle, hand to the frame of the result (usually the camera).
        hand_scale: size over the nominal size.
        rest: (21, 3) m, another flat hand of the same topology *of this side* instead of ``generic_v1``'s; then
            ``hand_scale`` multiplies it.

    Returns: (T, 21, 3) m. Frames with NaN give NaN.
    """
    theta = np.asarray(theta, float).reshape(-1, 15, 3)
    frames = len(theta)
    wrist_pos = np.asarray(wrist_pos, float).reshape(frames, 3)
    bones = rest_keypoints(side, hand_scale) if rest is None else np.asarray(rest, float) * hand_scale
    ok = np.isfinite(theta).all((1, 2)) & np.isfinite(wrist_pos).all(1) & np.isfinite(wrist_rot).all(1)
    out = np.full((frames, 21, 3), np.nan)
    if not ok.any():
        return out
    turn = Rotation.from_rotvec(theta[ok].reshape(-1, 3)).as_matrix().reshape(-1, 15, 3, 3)
    wrist = Rotation.from_rotvec(np.asarray(wrist_rot, float)[ok]).as_matrix()
    points = np.empty((int(ok.sum()), 21, 3))
    points[:, 0] = wrist_pos[ok]
    for i, name in enumerate(THETA_FINGERS):
        rotation, parent = wrist, 0
        for k, joint in enumerate(FINGERS[name]):
            points[:, joint] = points[:, parent] + rotation @ (bones[joint] - bones[parent])
            if k < 3:
                rotation = rotation @ turn[:, 3 * i + k]
            parent = joint
    out[ok] = points
    return out


def mirror_theta(theta: np.ndarray) -> np.ndarray:
    """(T, 45): the same posture for the other hand (x, -y, -z per joint)."""
    theta = np.asarray(theta, float)
    return (theta.reshape(*theta.shape[:-1], 15, 3) * MIRROR_ROTVEC).reshape(theta.shape)
