"""What happens in a clip: smooth scripted motion of two hands, an object and a head, by seed.

Design frame: z up, x forward, y left, table top at z = 0, metres. Everything about a left hand is written down as a
right hand's and mirrored in y, so both hands obey the same limits. All motion is minimum-jerk between key poses plus
a slow tremor; a grasped object is rigid in the hand.

Legend: T frames, K key poses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.demo import hand_model as hm

Activity = Literal["pick", "walk"]
MIRROR_Y = np.diag([1.0, -1.0, 1.0])
MIRROR_X = np.diag([-1.0, 1.0, 1.0])


@dataclass
class ObjectSpec:
    """A thing on the table. ``size``: box half extents, or radius and half height of a can."""

    name: str
    shape: Literal["box", "can"]
    size: np.ndarray
    rgb: np.ndarray

    @property
    def half_height(self) -> float:
        return float(self.size[2] if self.shape == "box" else self.size[1])

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (..., 3) in the object's frame (origin at its centre, z up)."""
        if self.shape == "box":
            q = np.abs(points) - self.size
        else:
            q = np.stack(
                [np.linalg.norm(points[..., :2], axis=-1) - self.size[0], np.abs(points[..., 2]) - self.size[1]], -1
            )
        return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0)


@dataclass
class HandScript:
    """One hand over a clip, in its own side's convention, design frame."""

    rest: np.ndarray  # (21, 3) MANO order with tips, own side
    pos: np.ndarray  # (T, 3) wrist
    rot: np.ndarray  # (T, 3, 3) hand to design frame
    posture: np.ndarray  # (T, 21) degrees, see hand_model (right-hand terms)
    theta: np.ndarray  # (T, 45) own side
    forearm: np.ndarray  # (T, 3, 3) forearm to design frame
    wrist_deg: np.ndarray  # (T, 2) flexion, deviation towards the thumb


@dataclass
class Script:
    """A whole clip. ``hands`` right then left; ``objects`` with poses (N, T, 4, 4); ``camera`` (T, 4, 4) OpenCV to
    design."""

    fps: float
    hands: dict[str, HandScript]
    objects: list[ObjectSpec]
    object_pose: np.ndarray
    held_by: np.ndarray  # (N, T) int8: 0 nobody, 1 right, 2 left
    camera: np.ndarray
    events: list[tuple[float, float, str]] = field(default_factory=list)
    instructions: list[tuple[float, float, str, str]] = field(default_factory=list)  # t0, t1, text, hand
    intent: str = ""
    activity: Activity = "pick"


def minimum_jerk(u: np.ndarray) -> np.ndarray:
    """Blend 0..1 with zero velocity and acceleration at both ends (Flash and Hogan 1985)."""
    u = np.clip(u, 0.0, 1.0)
    return u**3 * (10.0 - 15.0 * u + 6.0 * u**2)


def through(times, values, t: np.ndarray) -> np.ndarray:
    """(T, D) minimum-jerk moves between key values (K, D) at increasing ``times``; equal neighbours are a hold."""
    times, values = np.asarray(times, float), np.asarray(values, float)
    k = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
    b = minimum_jerk((t - times[k]) / (times[k + 1] - times[k]))
    return values[k] + b[:, None] * (values[k + 1] - values[k])


def tremor(rng: np.random.Generator, t: np.ndarray, amplitude: float, dims: int = 3, top_hz: float = 2.0) -> np.ndarray:
    """(T, dims) slow smooth wandering, about ``amplitude`` RMS."""
    f = rng.uniform(0.15, top_hz, (5, dims))
    phase = rng.uniform(0, 2 * np.pi, (5, dims))
    weight = 1.0 / (0.3 + f)
    weight /= np.sqrt((weight**2).sum(0) / 2)
    return amplitude * (weight * np.sin(2 * np.pi * f * t[:, None, None] + phase)).sum(1)


def aim(elbow: np.ndarray, wrist: np.ndarray, roll: float, flex: float, deviation: float) -> tuple[Rotation, Rotation]:
    """Forearm and hand rotation of a right arm: ``roll`` 0 palm down, 90 thumb up; ``flex`` towards the palm,
    ``deviation`` towards the thumb. Degrees."""
    along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    z = np.cross([0.0, 0.0, 1.0], along)
    z /= np.linalg.norm(z)
    base = np.stack([-along, np.cross(z, -along), z], 1)
    forearm = Rotation.from_matrix(base) * Rotation.from_rotvec(np.deg2rad([roll, 0.0, 0.0]))
    bend = Rotation.from_rotvec(np.deg2rad([0.0, deviation, 0.0])) * Rotation.from_rotvec(np.deg2rad([0.0, 0.0, flex]))
    return forearm, forearm * bend


@dataclass
class Keys:
    """Key poses of one (right-handed) arm: time, wrist, (roll, flex, deviation), posture."""

    t: list[float] = field(default_factory=list)
    wrist: list[np.ndarray] = field(default_factory=list)
    angles: list[np.ndarray] = field(default_factory=list)
    posture: list[np.ndarray] = field(default_factory=list)

    def add(self, t, wrist, angles, posture) -> None:
        self.t.append(float(t))
        self.wrist.append(np.asarray(wrist, float))
        self.angles.append(np.asarray(angles, float))
        self.posture.append(np.asarray(posture, float))


def play(
    keys: Keys, rest: np.ndarray, t: np.ndarray, rng: np.random.Generator, side: str, *, elbow: np.ndarray | None = None
) -> HandScript:
    """Trajectories from key poses. ``rest`` is the right-hand rest skeleton; the result is in ``side``'s convention.
    ``elbow``: another resting place of the (right) elbow."""
    from unihand_data.demo.grasp import ELBOW, ELBOW_FOLLOWS

    wrist = through(keys.t, keys.wrist, t) + tremor(rng, t, 0.0006)
    angles = through(keys.t, keys.angles, t) + tremor(rng, t, 0.4)
    # fingers lead and lag the wrist a little, as they do in people
    lag = rng.uniform(-0.04, 0.04, 21)
    post = np.stack([through(keys.t, np.array(keys.posture)[:, i : i + 1], t - lag[i])[:, 0] for i in range(21)], 1)
    post += tremor(rng, t, 0.4, 21)
    el = (ELBOW if elbow is None else elbow) + ELBOW_FOLLOWS * (wrist - np.array(keys.wrist[0]))
    pairs = [aim(e, w, *a) for e, w, a in zip(el, wrist, angles)]
    forearm = np.stack([f.as_matrix() for f, _ in pairs])
    rot = np.stack([h.as_matrix() for _, h in pairs])
    theta = hm.theta_of(post, rest)
    if side == "left":
        wrist = wrist @ MIRROR_Y
        rot, forearm = MIRROR_Y @ rot @ MIRROR_X, MIRROR_Y @ forearm @ MIRROR_X
        theta, rest = theta * hm.MIRROR_THETA, hm.mirrored_rest(rest)
    return HandScript(rest, wrist, rot, post, theta, forearm, angles[:, 1:])


def look(eye: np.ndarray, target: np.ndarray, roll: float) -> np.ndarray:
    """(4, 4) OpenCV camera pose (x right, y down, z forward) at ``eye`` looking at ``target``; ``roll`` radians."""
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    r = np.stack([x, np.cross(z, x), z], 1) @ Rotation.from_rotvec([0, 0, roll]).as_matrix()
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = r, eye
    return out


def head_motion(
    t: np.ndarray, focus: np.ndarray, rng: np.random.Generator, *, moving: bool, walking: bool
) -> np.ndarray:
    """(T, 4, 4) a head that follows ``focus (T, 3)`` loosely; ``walking`` adds steps and progress along x."""
    eye = np.array([rng.uniform(-0.13, -0.09), rng.uniform(-0.015, 0.015), rng.uniform(0.44, 0.49)])
    if not moving:
        return np.repeat(look(eye, np.array([0.225, 0.0, 0.01]), 0.0)[None], len(t), 0)
    kernel = np.hanning(61)
    pad = np.concatenate([np.repeat(focus[:1], 30, 0), focus, np.repeat(focus[-1:], 30, 0)])
    slow = np.stack([np.convolve(pad[:, i], kernel / kernel.sum(), "valid") for i in range(3)], 1)
    target = (
        np.array([0.225, 0.0, 0.01]) + 0.30 * (slow - np.array([0.22, 0.0, 0.03])) + tremor(rng, t, 0.004, top_hz=0.8)
    )
    at = eye + 0.14 * (slow - slow[0]) + tremor(rng, t, 0.006, top_hz=0.5)
    if walking:
        step = 2 * np.pi * 1.8 * t
        travel = np.stack([0.9 * t, 0.02 * np.sin(step / 2), 0.018 * np.sin(step)], 1)
        at, target = at + travel, target + travel + np.array([0.35, 0, 0])
    roll = tremor(rng, t, 0.015, 1, top_hz=0.5)[:, 0]
    return np.stack([look(e, g, r) for e, g, r in zip(at, target, roll)])
