"""Action steps of a chunk from the steps of a shard: fewer, longer steps, and another frame for human wrists.

Displacements of the merged steps are composed, never scaled; absolute targets are the last one of a run; velocities are
averaged. Legend: N source steps, T chunk steps, S 200 slots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.space import GROUPS, N_SLOTS, rotations
from unihand_data.space.displacement import compose_steps

EEF = (
    ("right_eef_position", "right_eef_rotation"),
    ("left_eef_position", "left_eef_rotation"),
)
WRISTS = np.array([slot for groups in EEF for group in groups for slot in GROUPS[group].slots])


#: a clip's rate is measured: 29.97 Hz counts as 30
RATE_TOLERANCE = 0.01


class ChunkSettings(Settings):
    """How a chunk is cut.

    ``rate_hz``: the fewest whole source steps are merged that leave at most this many a second (None keeps the source's
    own rate). Displacements are composed and never divided, so a source whose rate is no multiple of it has slower
    steps (50 Hz at 20: three make a step of 60 ms), and a slower source its own: :meth:`step_s` is what a step lasts.
    ``human_frame``: human wrists in the world of the row, or in the camera at the start of the chunk; rows with known
    wrists and an unknown pose of the camera are then refused.
    """

    steps: int = Field(default=16, ge=1)
    rate_hz: float | None = Field(default=None, gt=0)
    human_frame: Literal["world", "camera"] = "world"

    def merge(self, source_hz: float) -> int:
        """Source steps that become one step of the chunk."""
        return 1 if self.rate_hz is None else max(1, math.ceil(source_hz / (self.rate_hz * (1 + RATE_TOLERANCE))))

    def step_s(self, source_hz: float) -> float:
        """Seconds of one step of the chunk."""
        return self.merge(source_hz) / source_hz

    def on_rate(self, source_hz: float) -> bool:
        """Whether the steps of such a source last 1 / ``rate_hz``; always without a rate."""
        wanted = self.rate_hz
        return wanted is None or abs(1 / (self.step_s(source_hz) * wanted) - 1) <= RATE_TOLERANCE

    def source_steps(self, source_hz: float) -> int:
        """Source steps of a chunk of a source with so many a second; more for a faster one."""
        return self.steps * self.merge(source_hz)

    def frame(self, domain: str, pose: np.ndarray | None, who: str) -> Frame | None:
        """Axes that wrists of a window are given in; None is the world of the row, which robots always keep.

        Args:
            pose: [4, 4] camera to world at the start of the chunk. who: names the row.
        """
        return None if self.human_frame == "world" or domain != "human" else Frame(pose, who)


@dataclass
class Chunk:
    """[T, S] values, zero where the mask is False, and the mask."""

    values: np.ndarray
    mask: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """bool [T]: steps with at least one known slot; the others lie outside the episode."""
        return np.asarray(self.mask.any(axis=1))


def merge_steps(values: np.ndarray, mask: np.ndarray, merge: int) -> Chunk:
    """[N, S] source steps to [N / merge, S].

    A merged displacement holds only if all its steps do; an absolute target holds if its last step does; a mean
    velocity only if all do.

    Raises:
        ValueError: N is not a multiple of ``merge``.
    """
    if len(values) % merge:
        raise ValueError(f"{len(values)} steps cannot be merged {merge} at a time")
    if merge == 1:
        return Chunk(values.astype(np.float32), mask)
    edges = np.arange(0, len(values) + 1, merge)
    out = values[merge - 1 :: merge].astype(np.float32)
    on = mask[merge - 1 :: merge].copy()
    runs = np.asarray(mask.reshape(-1, merge, N_SLOTS).all(axis=1))
    velocity = GROUPS["base_velocity"].slice
    out[:, velocity] = values.reshape(-1, merge, N_SLOTS)[..., velocity].mean(1)
    on[:, velocity] = runs[:, velocity]
    for position, rotation in EEF:
        p, r = GROUPS[position].slice, GROUPS[rotation].slice
        has_r = bool(mask[:, r].any())
        whole = np.asarray(mask[:, p].all(axis=1))
        if has_r:
            whole = whole & np.asarray(mask[:, r].all(axis=1))
        steps = compose_steps(values[:, p], values[:, r] * has_r, whole, edges)
        out[:, p], on[:, p] = steps.pos, steps.mask[:, None]
        out[:, r], on[:, r] = steps.rot, steps.mask[:, None] & has_r
    return Chunk(np.where(on, out, 0).astype(np.float32), on)


def in_camera(values: np.ndarray, camera_to_world: np.ndarray) -> np.ndarray:
    """EEF displacements [..., S] of the world in the axes of a camera; other slots unchanged.

    Args:
        camera_to_world: [3, 3] rotation of the camera (OpenCV axes) in the world.
    """
    out = values.copy()
    for position, rotation in EEF:
        for group in (position, rotation):
            cut = GROUPS[group].slice
            out[..., cut] = values[..., cut] @ camera_to_world
    return out


def state_in_camera(values: np.ndarray, camera_to_world: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """EEF poses of a state [S] of the world in a camera: p' = R^T (p - c), R' = R^T R; other slots unchanged."""
    out = values.copy()
    for position, rotation in EEF:
        p, r = GROUPS[position].slice, GROUPS[rotation].slice
        out[p] = (values[p] - centre) @ camera_to_world
        matrix = camera_to_world.T @ rotations.exp(values[r].astype(np.float64))
        out[r] = rotations.log(matrix)
    return out


@dataclass
class Frame:
    """A camera that wrists are given in. ``pose``: [4, 4] camera to world, OpenCV axes; None: nobody knows it."""

    pose: np.ndarray | None
    who: str

    def steps(self, chunk: Chunk) -> Chunk:
        """A chunk of the world in the camera.

        Raises:
            ValueError: the chunk has known wrists and the camera's pose is unknown.
        """
        if not chunk.mask[:, WRISTS].any():
            return chunk
        turned = in_camera(chunk.values, self._known()[:3, :3])
        return Chunk(np.where(chunk.mask, turned, 0).astype(np.float32), chunk.mask)

    def state(self, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """A state [S] of the world in the camera. Raises as :meth:`steps`."""
        if not mask[WRISTS].any():
            return values
        pose = self._known()
        return np.where(mask, state_in_camera(values, pose[:3, :3], pose[:3, 3]), 0).astype(np.float32)

    def _known(self) -> np.ndarray:
        if self.pose is None:
            raise ValueError(
                f"{self.who} has wrists and no camera pose at its start, which human_frame: camera needs; leave its "
                "source out of the recipe or set human_frame to world"
            )
        return self.pose
