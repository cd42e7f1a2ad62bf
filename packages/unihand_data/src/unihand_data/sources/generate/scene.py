"""A simulated scene: two hands that move over a table before a camera that moves with the head.

World: z up, metres. The camera looks down at the table from about 0.5 m. ``lab`` scenes have a calm camera and a plain
table, ``wild`` ones a swaying camera and a busy background; both come from the seed alone.

Legend: T frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.hands.skeleton import forward
from unihand_data.values.hands import Side

Family = Literal["lab", "wild"]
#: names of things a scene may speak of
THINGS = ("cup", "plate", "spoon", "box", "towel", "bottle", "knife", "bowl")
VERBS = ("take", "put down", "wash", "open", "close", "turn", "pour", "wipe")


@dataclass
class Hand:
    """One simulated hand: wrist in the world, theta relative to the flat hand of its own side."""

    pos: np.ndarray  # (T, 3)
    rot: np.ndarray  # (T, 3) axis-angle, hand to world
    theta: np.ndarray  # (T, 45)
    beta: np.ndarray  # (10,)
    keypoints: np.ndarray  # (T, 21, 3) world


@dataclass
class Scene:
    """Everything a generator writes down."""

    seed: int
    family: Family
    fps: float
    times: np.ndarray  # (T,) s
    width: int
    height: int
    focal: float
    camera: np.ndarray  # (T, 4, 4) camera-to-world, OpenCV axes
    hands: dict[Side, Hand] = field(default_factory=dict)
    verb: str = "take"
    thing: str = "cup"

    @property
    def K(self) -> np.ndarray:
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1.0]])

    @property
    def world_to_camera(self) -> np.ndarray:
        return np.linalg.inv(self.camera)

    @property
    def text(self) -> str:
        return f"{self.verb} {self.thing}"

    def in_camera(self, points: np.ndarray) -> np.ndarray:
        """(T, J, 3) world -> camera."""
        homogeneous = np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=-1)
        return np.einsum("tij,tkj->tki", self.world_to_camera, homogeneous)[..., :3]


def make_scene(
    seed: int, *, frames: int = 16, fps: float = 30.0, width: int = 128, height: int = 96, family: Family | None = None
) -> Scene:
    """A scene from a seed; even seeds are ``lab``, odd ones ``wild`` unless ``family`` says otherwise."""
    rng = np.random.default_rng(seed)
    kind: Family = family or ("lab" if seed % 2 == 0 else "wild")
    t = np.arange(frames) / fps
    sway = 0.005 if kind == "lab" else 0.04
    eye = np.array([0.0, 0.0, 0.55]) + sway * np.stack([np.sin(2 * t + p) for p in rng.uniform(0, 6, 3)], axis=1)
    target = np.array([0.35, 0.0, 0.05]) + sway * np.stack([np.cos(1.5 * t + p) for p in rng.uniform(0, 6, 3)], axis=1)
    scene = Scene(seed, kind, fps, t, width, height, 0.8 * width, _look_at(eye, target))
    scene.verb, scene.thing = str(rng.choice(VERBS)), str(rng.choice(THINGS))
    for side, y in (("left", 0.12), ("right", -0.12)):
        scene.hands[side] = _hand(side, y, t, rng)  # type: ignore[index, arg-type]
    return scene


def _look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    forward_axis = target - eye
    forward_axis /= np.linalg.norm(forward_axis, axis=1, keepdims=True)
    right = np.cross(forward_axis, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    pose = np.tile(np.eye(4), (len(eye), 1, 1))
    pose[:, :3, 0], pose[:, :3, 1], pose[:, :3, 2] = right, np.cross(forward_axis, right), forward_axis
    pose[:, :3, 3] = eye
    return pose


def _hand(side: Side, y: float, t: np.ndarray, rng: np.random.Generator) -> Hand:
    phase, reach = rng.uniform(0, 6, 3), rng.uniform(0.03, 0.08, 3)
    pos = np.array([0.33, y, 0.1]) + reach * np.stack([np.sin(3 * t + p) for p in phase], axis=1)
    # fingers away from the body: -x of the right hand's frame (+x of the left one's) points along world x
    base = Rotation.from_euler("z", 180 if side == "right" else 0, degrees=True)
    wobble = Rotation.from_rotvec(0.3 * np.stack([np.sin(2 * t + p) for p in phase[::-1]], axis=1))
    rot = (wobble * base).as_rotvec()
    curl = 0.5 + 0.4 * np.sin(4 * t + phase[0])
    theta = np.zeros((len(t), 15, 3))
    theta[:, :12, 2] = curl[:, None] * rng.uniform(0.6, 1.2, 12)  # bending is a turn about +z of the right hand
    theta[:, 12:, 1] = 0.3 * curl[:, None]
    theta[:, :, 0] = 0.05 * rng.normal(size=15)
    if side == "left":
        theta *= [1, -1, -1]
    flat = theta.reshape(len(t), 45)
    return Hand(pos, rot, flat, 0.3 * rng.normal(size=10), forward(flat, pos, rot, side))
