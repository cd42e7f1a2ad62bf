"""What the hands did over a window, measured: displacement, path, closure, wrist turning, distance of the wrists.

Legend: T frames, 3 axes of the world (x forward, y left, z up; docs/contract.md, section 2), metres, radians, seconds.

Everything here commutes with the left-right mirror in exact arithmetic: mirrored input gives the same figures with the
y components negated and the sides exchanged, bit for bit, because only sums, norms and sign flips are used. The words
chosen from them therefore mirror too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from unihand_data.language.config import MotionRulesSettings
from unihand_data.language.motion_trust import FIST_FLEXION, HandTrust, Limits, limits

_FINGER_JOINTS = 12  # of MANO's 15; the thumb comes last


@dataclass
class HandMotion:
    """One hand over a clip. Invalid frames may hold NaN.

    Attributes:
        pos: (T, 3) m, wrist in the world.
        valid: (T,) bool.
        closure: (T,) 0 open .. 1 fist, or None.
        rot: (T, 3) axis-angle, hand to world, or None.
        trust: how far it is to be believed; an exact recording by default.
    """

    pos: np.ndarray
    valid: np.ndarray
    closure: np.ndarray | None = None
    rot: np.ndarray | None = None
    trust: HandTrust = field(default_factory=HandTrust)


@dataclass(frozen=True)
class HandFigures:
    """One hand over one window, in the wearer's axes at the window's start. ``turn``: rotation vector (rad);
    ``limits``: what a change must exceed to be stated."""

    move: tuple[float, float, float]
    path: float
    closure_change: float
    closure_range: float
    turn: tuple[float, float, float]
    mean_pos: tuple[float, float, float]
    limits: Limits

    @property
    def distance(self) -> float:
        return float(np.sqrt(self.move[0] ** 2 + self.move[1] ** 2 + self.move[2] ** 2))


@dataclass(frozen=True)
class WindowFigures:
    """A window of the clip. A hand that was not seen for long or well enough is None; ``gap_change`` (m) needs both."""

    t0: float
    t1: float
    left: HandFigures | None
    right: HandFigures | None
    gap_change: float | None


def closure_from_theta(theta: np.ndarray) -> np.ndarray:
    """(T, 45) MANO hand pose relative to the flat hand -> (T,) finger closure, 0 open .. 1 fist.

    The mean rotation angle of the twelve finger joints (thumb left out) over :data:`FIST_FLEXION`. An angle has no
    side, so a mirrored hand has the same closure.
    """
    theta = np.asarray(theta, float).reshape(len(theta), 15, 3)
    angles = np.sqrt((theta[:, :_FINGER_JOINTS] ** 2).sum(axis=2))
    return np.clip(angles.mean(axis=1) / FIST_FLEXION, 0.0, 1.0)


def heading_of_camera(pose: np.ndarray) -> np.ndarray:
    """(T, 4, 4) camera-to-world (OpenCV axes, gravity world) -> (T,) yaw in rad, 0 = world x, left positive.

    The horizontal part of (view axis + picture's up) points forward for a level camera and for one that looks down.
    """
    forward = pose[:, :3, 2] - pose[:, :3, 1]
    return np.arctan2(forward[:, 1], forward[:, 0])


def camera_to_wearer_axes(p: np.ndarray) -> np.ndarray:
    """(..., 3) in OpenCV camera axes (x right, y down, z forward) -> wearer's axes (x forward, y left, z up).

    For clips without camera motion (``world: camera``); a camera that looks down is not levelled.
    """
    return np.stack([p[..., 2], -p[..., 0], -p[..., 1]], axis=-1)


def windows(t: np.ndarray, settings: MotionRulesSettings, length: float = 1.0) -> list[tuple[float, float]]:
    """Consecutive windows of ``length`` seconds from ``t[0]``; a short rest belongs to the last one."""
    start, end = float(t[0]), float(t[-1]) + (float(np.median(np.diff(t))) if len(t) > 1 else 0.0)
    edges = [start + k * length for k in range(int(np.floor((end - start) / length + 1e-6)) + 1)]
    if end - edges[-1] >= settings.min_window_s or len(edges) == 1:
        edges.append(end)
    else:
        edges[-1] = end
    return list(itertools.pairwise(edges))


def measure(
    t: np.ndarray,
    left: HandMotion | None,
    right: HandMotion | None,
    window: tuple[float, float],
    settings: MotionRulesSettings,
    heading: np.ndarray | None = None,
) -> WindowFigures:
    """Figures of one window ``[t0, t1)``.

    Args:
        t: (T,) s. heading: (T,) rad from :func:`heading_of_camera`; None takes the world's axes as the wearer's.
    """
    inside = (t >= window[0] - 1e-9) & (t < window[1] - 1e-9)
    # the first frame of the next window closes this one, so that windows add up to the clip
    following = int(np.searchsorted(t, window[1] - 1e-9))
    if following < len(t):
        inside[following] = True
    yaw = float(heading[int(np.argmax(inside))]) if heading is not None and inside.any() else 0.0
    figures = {
        side: _hand(hand, inside, yaw, settings) if hand is not None else None
        for side, hand in (("left", left), ("right", right))
    }
    gap = None
    if figures["left"] is not None and figures["right"] is not None:
        assert left is not None
        assert right is not None
        both = inside & left.valid & right.valid
        if both.sum() >= 2:
            distance = np.sqrt(((left.pos[both] - right.pos[both]) ** 2).sum(axis=1))
            gap = float(distance[-1] - distance[0])
    return WindowFigures(window[0], window[1], figures["left"], figures["right"], gap)


def _hand(hand: HandMotion, inside: np.ndarray, yaw: float, settings: MotionRulesSettings) -> HandFigures | None:
    seen = inside & hand.valid & np.isfinite(hand.pos).all(axis=1)
    if seen.sum() < 2 or seen.sum() < settings.min_valid * inside.sum():
        return None
    support = limits(hand.trust, seen, inside, settings)
    if support is None:
        return None
    pos = _to_wearer(hand.pos[seen], yaw)
    steps = np.diff(_smoothed(pos), axis=0)
    move = pos[-1] - pos[0]
    closure = hand.closure[seen] if hand.closure is not None else np.zeros(int(seen.sum()))
    closure = closure[np.isfinite(closure)]
    turn = np.zeros(3)
    if hand.rot is not None and np.isfinite(hand.rot[seen]).all():
        rot = hand.rot[seen]
        turn = _to_wearer(_turned(rot[0], rot[-1])[None], yaw)[0]
    return HandFigures(
        (float(move[0]), float(move[1]), float(move[2])),
        float(np.sqrt((steps**2).sum(axis=1)).sum()),
        float(closure[-1] - closure[0]) if len(closure) else 0.0,
        float(closure.max() - closure.min()) if len(closure) else 0.0,
        (float(turn[0]), float(turn[1]), float(turn[2])),
        (float(pos[:, 0].mean()), float(pos[:, 1].mean()), float(pos[:, 2].mean())),
        support,
    )


def _to_wearer(v: np.ndarray, yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.stack([c * v[:, 0] + s * v[:, 1], c * v[:, 1] - s * v[:, 0], v[:, 2]], axis=1)


def _smoothed(p: np.ndarray) -> np.ndarray:
    """Mean of five frames: jitter of the estimate must not add up to a path."""
    if len(p) < 5:
        return p
    total = np.cumsum(np.vstack([np.zeros((1, 3)), p]), axis=0)
    return (total[5:] - total[:-5]) / 5.0


def _turned(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation vector in the world that turns orientation ``a`` into ``b``: log(B A^T).

    Written with quaternions componentwise, so that mirrored input (R' = M_y R M_x) gives (-x, y, -z) to rounding.
    """
    wa, va = _quaternion(a)
    wb, vb = _quaternion(b)
    w = wb * wa + vb @ va
    v = -wb * va + wa * vb - np.cross(vb, va)
    norm = float(np.sqrt((v**2).sum()))
    if norm < 1e-12:
        return np.zeros(3)
    if w < 0:
        w, v = -w, -v
    return v * (2.0 * np.arctan2(norm, w) / norm)


def _quaternion(rotvec: np.ndarray) -> tuple[float, np.ndarray]:
    angle = float(np.sqrt((rotvec**2).sum()))
    k = np.sinc(angle / (2 * np.pi)) / 2.0
    return float(np.cos(angle / 2.0)), k * rotvec
