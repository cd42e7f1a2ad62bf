"""The hand's anatomical degrees of freedom, their limits, and points with their derivative.

Everything here is about a right hand; callers mirror a left one. Legend: T frames, D = 27 degrees of freedom: 3 wrist
translation (m), 3 wrist rotation (increments, world axes), 21 finger angles (rad).

A finger bends (flexion about ``f``), spreads (abduction about the dorsal normal ``n``) and, at the root of the thumb,
rolls (about ``d``): see :data:`unihand_data.hands.skeleton.FINGER_FRAMES`. The middle and end joints of the four
fingers are hinges. So a fitted theta has no twist that keypoints could not have shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.hands.skeleton import FINGER_FRAMES, THETA_FINGERS
from unihand_data.values.hands import FINGERS


@dataclass(frozen=True)
class Dof:
    """One finger angle: theta joint (0..14), axis in the hand frame, limits and resting value in radians."""

    joint: int
    axis: tuple[float, float, float]
    low: float
    high: float
    rest: float
    spread: float  # how far from the resting value a hand usually is (rad); weight of the prior


# (kind, low, high, rest, spread) in degrees for each joint; kinds: n abduction, f flexion, d roll. Ranges of motion of
# the adult hand as given in clinical goniometry tables, widened by some degrees for skeletons that are not this hand's.
_MCP = (("n", -25, 25, 0, 10), ("f", -35, 100, 25, 40))
_PIP = (("f", -10, 115, 30, 40),)
_DIP = (("f", -20, 90, 15, 25),)
_LIMITS = {
    "index": (_MCP, _PIP, _DIP),
    "middle": (_MCP, _PIP, _DIP),
    "ring": (_MCP, _PIP, _DIP),
    "pinky": ((("n", -30, 40, 0, 12), ("f", -35, 100, 25, 40)), _PIP, _DIP),
    "thumb": (
        (("n", -45, 45, 0, 25), ("f", -30, 60, 10, 30), ("d", -50, 50, 0, 20)),
        (("f", -25, 75, 10, 25),),
        (("f", -25, 90, 10, 30),),
    ),
}


def _dofs() -> tuple[Dof, ...]:
    out = []
    for i, name in enumerate(THETA_FINGERS):
        frame = FINGER_FRAMES[name]
        for k, joint in enumerate(_LIMITS[name]):
            for kind, low, high, rest, spread in joint:
                x, y, z = frame[:, "dfn".index(kind)]
                degrees = np.radians([low, high, rest, spread])
                out.append(Dof(3 * i + k, (float(x), float(y), float(z)), *map(float, degrees)))
    return tuple(out)


DOFS = _dofs()
N_ANGLES = len(DOFS)
LOW = np.array([d.low for d in DOFS])
HIGH = np.array([d.high for d in DOFS])
REST = np.array([d.rest for d in DOFS])
SPREAD = np.array([d.spread for d in DOFS])
_AXES = np.array([d.axis for d in DOFS])
_OF_JOINT = [[a for a, d in enumerate(DOFS) if d.joint == j] for j in range(15)]


def to_theta(angles: np.ndarray) -> np.ndarray:
    """(T, 21) rad to (T, 45) axis-angle of a right hand."""
    angles = np.atleast_2d(angles)
    theta = np.zeros((len(angles), 15, 3))
    for j, members in enumerate(_OF_JOINT):
        turn = Rotation.identity(len(angles))
        for a in members:
            turn = turn * Rotation.from_rotvec(angles[:, a, None] * _AXES[a])
        theta[:, j] = turn.as_rotvec()
    return theta.reshape(len(angles), 45)


def _turn(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations about one fixed axis (Rodrigues)."""
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    s, c = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + s * k + (1 - c) * (k @ k)


def points_and_jacobian(
    position: np.ndarray, rotation: np.ndarray, angles: np.ndarray, rest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posed keypoints and their derivative.

    Args:
        position: (T, 3) wrist, m. rotation: (T, 3, 3) hand to world. angles: (T, 21) rad.
        rest: (21, 3) flat right hand.

    Returns: points (T, 21, 3); jacobian (T, 21, 3, 27) with respect to wrist translation, a left-multiplied wrist
    rotation increment, and the angles.
    """
    frames = len(position)
    points = np.empty((frames, 21, 3))
    jacobian = np.zeros((frames, 21, 3, 6 + N_ANGLES))
    points[:, 0] = position
    jacobian[:, :, np.arange(3), np.arange(3)] = 1.0
    for i, name in enumerate(THETA_FINGERS):
        chain = FINGERS[name]
        turn, parent = rotation, 0
        for k, joint in enumerate(chain):
            points[:, joint] = points[:, parent] + turn @ (rest[joint] - rest[parent])
            parent = joint
            if k == 3:
                break
            for a in _OF_JOINT[3 * i + k]:
                # the axis in the world, before this angle turns it; later joints of the chain move about it
                jacobian[:, chain[k] + 1 : chain[3] + 1, :, 6 + a] = (turn @ _AXES[a])[:, None, :]
                turn = turn @ _turn(_AXES[a], angles[:, a])
        for k in range(3):
            for a in _OF_JOINT[3 * i + k]:
                later = slice(chain[k] + 1, chain[3] + 1)
                arm = points[:, later] - points[:, chain[k], None]
                jacobian[:, later, :, 6 + a] = np.cross(jacobian[:, later, :, 6 + a], arm)
    arm = points - position[:, None]
    for c in range(3):
        axis = np.zeros(3)
        axis[c] = 1.0
        jacobian[:, :, :, 3 + c] = np.cross(axis, arm)
    return points, jacobian


def initial_angles(points: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(T, 21) starting angles read off the bone directions of observed points (T, 21, 3) of right hands."""
    angles = np.tile(REST, (len(points), 1))
    for i, name in enumerate(THETA_FINGERS):
        d, f, n = FINGER_FRAMES[name].T
        chain = FINGERS[name]
        bones = np.einsum("tji,tkj->tki", rotation, np.diff(points[:, chain], axis=1))
        bones /= np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-9)
        along, side, down = bones[:, 0] @ d, bones[:, 0] @ f, -bones[:, 0] @ n
        flex = np.arctan2(down, along)
        spread = np.arctan2(side, np.maximum(np.hypot(along, down), 1e-9))
        bend = [np.arccos(np.clip((bones[:, k] * bones[:, k + 1]).sum(-1), -1, 1)) for k in (0, 1)]
        for k, members in enumerate(_OF_JOINT[3 * i : 3 * i + 3]):
            for a in members:
                kind = int(np.argmax([abs(_AXES[a] @ d), abs(_AXES[a] @ f), abs(_AXES[a] @ n)]))
                if kind == 1:
                    angles[:, a] = flex if k == 0 else bend[k - 1]
                elif kind == 2:
                    angles[:, a] = spread
    return np.clip(angles, LOW, HIGH)
