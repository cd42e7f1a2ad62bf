"""The demo's hand: rest skeleton, forward kinematics, finger postures in anatomical terms, joint limits.

Convention as everywhere in ``hands``: MANO's flat hand. Hand frame of a right hand: origin at the wrist joint, -x
along the fingers, +y out of the back, +z to the thumb; ``theta`` is 15 axis-angles in the order index, middle, pinky,
ring, thumb, joints from the palm outwards, all in axes parallel to the hand frame at rest. A left hand is the x-mirror:
joints ``(-x, y, z)``, theta ``(x, -y, -z)`` per joint. Metres, radians.

Legend: T frames, J = 21 keypoints in OpenPose order (wrist, thumb, index, middle, ring, pinky; palm to tip).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.hands.skeleton import rest_keypoints
from unihand_data.values.hands import FINGERS

#: MANO order with tips (16 joints, then tips index, middle, pinky, ring, thumb) -> OpenPose order of 21
TO_OPENPOSE = np.array([0, 13, 14, 15, 20, 1, 2, 3, 16, 4, 5, 6, 17, 10, 11, 12, 19, 7, 8, 9, 18])
PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14, 3, 6, 9, 12, 15])
MIRROR_THETA = np.tile([1.0, -1.0, -1.0], 15)
#: anatomical ranges (degrees) of the posture's terms; a script stays inside (asserted in the tests)
LIMITS_DEG: dict[str, tuple[float, float]] = {
    "mcp": (-20, 90), "pip": (-5, 110), "dip": (-5, 80), "spread": (-15, 25),
    "thumb_flex": (-25, 45), "thumb_abduct": (-20, 50), "thumb_twist": (-30, 60), "thumb_mcp": (-10, 60),
    "thumb_ip": (-15, 80),
    "wrist_flex": (-60, 70), "wrist_deviation": (-40, 25),
}  # fmt: skip


def rest_joints(rng: np.random.Generator | None = None, scale: float = 1.0) -> np.ndarray:
    """Right-hand rest joints (21, 3) in MANO order with tips: ``generic_v1``, every finger varied by a few per cent.

    Directions stay those of ``generic_v1``, so that theta is relative to the same flat hand.
    """
    rest = rest_keypoints("right")
    for chain in FINGERS.values():
        base, length = (1.0, 1.0) if rng is None else (1.0 + rng.normal(0, 0.012), 1.0 + rng.normal(0, 0.025))
        root = rest[chain[0]].copy()
        for k in chain:
            rest[k] = root * base + (rest[k] - root) * length
    out = np.empty((21, 3))
    out[TO_OPENPOSE] = rest
    return out * scale


def flexion_axes(rest: np.ndarray) -> np.ndarray:
    """Unit axis (15, 3) about which each right-hand joint bends towards the palm."""
    out = np.zeros((15, 3))
    for f in range(4):
        d = rest[2 + 3 * f] - rest[1 + 3 * f]
        axis = np.cross(d, [0.0, -1.0, 0.0])
        out[3 * f : 3 * f + 3] = axis / np.linalg.norm(axis)
    d = rest[15] - rest[13]
    axis = np.cross(d, [0.25, -0.72, -0.65])  # the thumb closes across the palm, towards the middle finger's base
    out[12:15] = axis / np.linalg.norm(axis)
    return out


@dataclass
class Posture:
    """Finger angles of a right hand in degrees. ``mcp``, ``pip``, ``dip`` and ``spread`` are in order index, middle,
    pinky, ring; positive bends to the palm, positive spread moves a finger to the thumb's side."""

    mcp: np.ndarray = field(default_factory=lambda: np.zeros(4))
    pip: np.ndarray = field(default_factory=lambda: np.zeros(4))
    dip: np.ndarray = field(default_factory=lambda: np.zeros(4))
    spread: np.ndarray = field(default_factory=lambda: np.zeros(4))
    thumb: np.ndarray = field(default_factory=lambda: np.zeros(5))  # flex, abduct, twist, mcp, ip

    def vector(self) -> np.ndarray:
        """(21,) degrees: mcp, pip, dip, spread, thumb."""
        return np.concatenate([self.mcp, self.pip, self.dip, self.spread, self.thumb]).astype(float)

    @staticmethod
    def of(vector: np.ndarray) -> Posture:
        v = np.asarray(vector, float)
        return Posture(v[0:4], v[4:8], v[8:12], v[12:16], v[16:21])


#: spread that makes the fan of the flat hand a resting hand's, nearly parallel fingers (index, middle, pinky, ring)
PARALLEL = np.array([0.0, 6.0, 18.0, 8.0])


def posture(mcp, pip, dip, spread=0.0, thumb=(0, 0, 0, 0, 0)) -> np.ndarray:
    """(21,) posture vector; numbers are broadcast over the four fingers, ``spread`` counts from :data:`PARALLEL`."""
    four = [np.broadcast_to(np.asarray(x, float), 4) for x in (mcp, pip, dip, PARALLEL + spread)]
    return np.concatenate([*four, np.asarray(thumb, float)])


RELAXED = posture([14, 17, 24, 20], [22, 26, 28, 27], [10, 13, 14, 13], [1, 0, -1, 0], (4, 8, 8, 10, 14))
OPEN = posture([5, 4, 8, 5], [8, 8, 10, 8], [4, 4, 5, 4], [4, 0, -8, -3], (-8, 6, 0, 0, 2))
PRESHAPE = posture([24, 24, 26, 24], [24, 26, 30, 28], [10, 12, 14, 12], [5, 1, -6, -2], (-6, 26, 14, 2, 6))
CLOSED = posture([72, 75, 78, 76], [88, 92, 92, 92], [50, 52, 54, 52], [0, 0, 0, 0], (30, 34, 26, 34, 38))


def theta_of(vector: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Theta (..., 45) of right-hand posture vectors (..., 21) in degrees."""
    v = np.asarray(vector, float)
    batch = v.reshape(-1, 21)
    axes = flexion_axes(rest)
    out = np.zeros((len(batch), 15, 3))
    rad = np.deg2rad(batch)
    for f in range(4):
        bend = Rotation.from_rotvec(rad[:, f, None] * axes[3 * f])
        spread = Rotation.from_rotvec(rad[:, 12 + f, None] * np.array([0.0, 1.0, 0.0]))
        out[:, 3 * f] = (spread * bend).as_rotvec()
        out[:, 3 * f + 1] = rad[:, 4 + f, None] * axes[3 * f]
        out[:, 3 * f + 2] = rad[:, 8 + f, None] * axes[3 * f]
    along = (rest[15] - rest[13]) / np.linalg.norm(rest[15] - rest[13])
    abduct = np.cross(along, [0.0, -1.0, 0.0])
    abduct /= np.linalg.norm(abduct)
    r = rad[:, 16:]
    base = Rotation.from_rotvec(r[:, 1, None] * abduct) * Rotation.from_rotvec(r[:, 2, None] * along)
    out[:, 12] = (base * Rotation.from_rotvec(r[:, 0, None] * axes[12])).as_rotvec()
    out[:, 13] = r[:, 3, None] * axes[13]
    out[:, 14] = r[:, 4, None] * axes[14]
    return out.reshape(*v.shape[:-1], 45)


def forward(rest: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint rotations (16, 3, 3) and positions (21, 3) in the hand frame of one pose ``theta (45,)``.

    ``rest`` and ``theta`` are of the same side. MANO order with tips.
    """
    local = Rotation.from_rotvec(np.asarray(theta, float).reshape(15, 3)).as_matrix()
    rot = np.tile(np.eye(3), (16, 1, 1))
    pos = np.zeros((21, 3))
    for j in range(1, 21):
        p = PARENTS[j]
        pos[j] = pos[p] + rot[p] @ (rest[j] - rest[p])
        if j < 16:
            rot[j] = rot[p] @ local[j - 1]
    return rot, pos


def keypoints(rest: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """(T, 21, 3) OpenPose keypoints in the hand frame for ``theta (T, 45)``, same side as ``rest``."""
    return np.stack([forward(rest, t)[1][TO_OPENPOSE] for t in np.atleast_2d(theta)])


def mirrored_rest(rest: np.ndarray) -> np.ndarray:
    """The rest skeleton of the other side."""
    return rest * np.array([-1.0, 1.0, 1.0])


def close_on(
    rest: np.ndarray, start: np.ndarray, end: np.ndarray, gap, radius: np.ndarray, steps: int = 90
) -> np.ndarray:
    """Posture (21,) between ``start`` and ``end`` in which every finger has closed on an object and stopped.

    ``gap(points (N, 3)) -> (N,)``: distance to the object in the right hand's frame. ``radius`` (16, 2): skin radius
    at both ends of the bone that begins at each joint. A joint stops when skin further out along its finger touches;
    the rest bends on.
    """
    now, s = start.astype(float).copy(), np.linspace(0, 1, 7)
    slots = [[f, 4 + f, 8 + f] for f in range(4)] + [[16, 19, 20]]
    free = np.ones((5, 3), bool)
    coupled = np.array([16, 17, 18])
    left = steps
    for _ in range(steps):
        if not free.any() or left == 0:
            break
        if (~free[:, 0]).sum() >= 3:  # a finger that misses the object stays beside its neighbours
            left = min(left - 1, steps // 8)
        trial = now.copy()
        for f in range(5):
            for k in range(3):
                if free[f, k]:
                    which = coupled if f == 4 and k == 0 else [slots[f][k]]
                    trial[which] += (end[which] - start[which]) / steps
        _, p = forward(rest, theta_of(trial, rest))
        for f in range(5):
            joints = [1 + 3 * f, 2 + 3 * f, 3 + 3 * f, 16 + f]
            touch = []
            for k in range(3):
                a, b = p[joints[k]], p[joints[k + 1]]
                r = radius[joints[k], 0] * (1 - s) + radius[joints[k], 1] * s
                touch.append(bool((gap(a + s[:, None] * (b - a)) < r - 0.0005).any()))
            for k in range(3):
                if any(touch[k:]):
                    free[f, k] = False
            if touch[0]:
                free[f, 0] = False
        keep = now.copy()
        for f in range(5):
            for k in range(3):
                if free[f, k]:
                    which = coupled if f == 4 and k == 0 else [slots[f][k]]
                    keep[which] = trial[which]
        now = keep
    return now
