"""Where a hand must be so that it touches things and does not pass through them.

All functions speak of a right hand in the design frame of :mod:`unihand_data.demo.script`; metres, postures in degrees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.demo import hand_model as hm
from unihand_data.demo.mesh import FOREARM, hand_primitives
from unihand_data.demo.script import ObjectSpec, aim

Gap = Callable[[np.ndarray], np.ndarray]  # distance (N,) of points (N, 3) to a thing
ELBOW = np.array([-0.12, -0.27, 0.11])  # right elbow of a hand at rest
ELBOW_FOLLOWS = 0.55  # of the wrist's way


def elbow_for(wrist: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Elbow when the wrist has gone from ``start`` to ``wrist``."""
    return ELBOW + ELBOW_FOLLOWS * (wrist - start)


def table(points: np.ndarray) -> np.ndarray:
    """Height above the mat on the table."""
    return points[:, 2] - 0.0015


def skin_radius(rest: np.ndarray) -> np.ndarray:
    """(16, 2) skin radius at both ends of the bone that begins at each joint (zeros for the palm)."""
    prims = hand_primitives(rest)
    out = np.zeros((16, 2))
    for i in range(len(prims.ra)):
        b = prims.bone[i]
        if b and prims.group[i] >= 0 and not out[b].any():
            out[b] = prims.ra[i], prims.rb[i]
    return out


def skin_points(rest: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ball centres (N, 3) in the hand frame and radii (N,) that fill a right hand's skin, forearm left out."""
    rot, pos = hm.forward(rest, theta)
    turn, shift = np.tile(np.eye(3), (17, 1, 1)), np.zeros((17, 3))
    turn[:16], shift[:16] = rot, pos[:16] - np.einsum("bij,bj->bi", rot, rest[:16])
    prims = hand_primitives(rest).posed(turn, shift)
    s = np.linspace(0, 1, 7)[:, None]
    use = prims.bone != FOREARM
    points = prims.a[use] + s[..., None] * (prims.b[use] - prims.a[use])
    radius = prims.ra[use] + s * (prims.rb[use] - prims.ra[use])
    return points.reshape(-1, 3), radius.reshape(-1)


def skin_gap(rest: np.ndarray, posture: np.ndarray, hand: Rotation, wrist: np.ndarray, gap: Gap) -> float:
    """Smallest distance (m) of the hand's skin to a thing; negative when it is inside."""
    points, radius = skin_points(rest, hm.theta_of(posture, rest))
    return float((gap(hand.apply(points) + wrist) - radius).min())


def settled(
    rest: np.ndarray, posture: np.ndarray, wrist: np.ndarray, start: np.ndarray | None, angles, gap: Gap
) -> np.ndarray:
    """``wrist`` raised or lowered until the hand just touches. ``start`` None: the elbow stays where it is."""
    wrist = wrist.copy()
    for _ in range(12):
        elbow = ELBOW if start is None else elbow_for(wrist, start)
        wrist[2] -= skin_gap(rest, posture, aim(elbow, wrist, *angles)[1], wrist, gap)
    return wrist


def wrist_at(point: np.ndarray, grip: np.ndarray, angles, start: np.ndarray) -> tuple[np.ndarray, Rotation]:
    """Wrist that brings the hand-frame point ``grip`` to ``point``; the forearm's direction depends on it, so
    iterate."""
    wrist = point + np.array([-0.1, -0.03, 0.04])
    for _ in range(30):
        hand = aim(elbow_for(wrist, start), wrist, *angles)[1]
        wrist = point - hand.apply(grip)
    return wrist, hand


def angles_for(wrist: np.ndarray, hand: Rotation, start: np.ndarray) -> np.ndarray:
    """(roll, flexion, deviation) degrees that give the hand this rotation at this wrist; the inverse of ``aim``."""
    forearm = aim(elbow_for(wrist, start), wrist, 0.0, 0.0, 0.0)[0]
    roll, deviation, flexion = (forearm.inv() * hand).as_euler("XYZ", degrees=True)
    return np.array([roll, flexion, deviation])


@dataclass
class Grip:
    """How a hand holds a thing: the hand-frame point that meets the thing's centre, wrist and hand there, fingers."""

    point: np.ndarray
    wrist: np.ndarray
    hand: Rotation
    angles: np.ndarray
    open: np.ndarray
    closed: np.ndarray

    def moved(self, here: np.ndarray, to: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wrist and angles with the thing carried from ``here`` to ``to`` upright, turned with the forearm's
        heading."""
        wrist, turned = self.wrist + to - here, self.hand
        for _ in range(10):
            a, b = (w - elbow_for(w, start) for w in (self.wrist, wrist))
            heading = np.arctan2(b[1], b[0]) - np.arctan2(a[1], a[0])
            turned = Rotation.from_rotvec([0, 0, heading]) * self.hand
            wrist = to - turned.apply(self.point)
        return wrist, angles_for(wrist, turned, start)


def find_grip(rest: np.ndarray, thing: ObjectSpec, at: np.ndarray, angles: np.ndarray, start: np.ndarray) -> Grip:
    """The lowest and closest grip in which the open hand touches neither thing nor table, fingers then closed until
    they touch.

    Where none is free, the one with the least overlap is taken.
    """
    scale = float(np.linalg.norm(rest[4])) / 0.09
    radius = skin_radius(rest)

    def to_thing(points: np.ndarray) -> np.ndarray:
        return thing.distance(points - at)

    best: tuple[float, np.ndarray, np.ndarray, Rotation, np.ndarray] | None = None
    for lift in np.arange(0.0, thing.half_height + 0.001, 0.005):
        for depth in np.arange(0.046, 0.076, 0.004):
            centre = np.array([-0.108, -depth, 0.032]) * scale
            wrist, hand = wrist_at(at + np.array([0, 0, lift]), centre, angles, start)
            free = min(skin_gap(rest, hm.PRESHAPE, hand, wrist, g) for g in (to_thing, table))
            if best is not None and free <= best[0]:
                continue
            closed = hm.close_on(
                rest, hm.PRESHAPE, hm.CLOSED,
                lambda p, h=hand, w=wrist: np.minimum(to_thing(h.apply(p) + w), table(h.apply(p) + w)), radius,
            )  # fmt: skip
            free = min(
                free, skin_gap(rest, closed, hand, wrist, to_thing) + 0.002, skin_gap(rest, closed, hand, wrist, table)
            )
            if best is None or free > best[0]:
                best = free, centre, wrist, hand, closed
        if best is not None and best[0] >= -0.001:
            break
    assert best is not None
    _, _, wrist, hand, closed = best
    return Grip(hand.inv().apply(at - wrist), wrist, hand, np.asarray(angles, float), hm.PRESHAPE, closed)
