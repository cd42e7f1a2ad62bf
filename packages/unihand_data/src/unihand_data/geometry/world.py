"""The world frame of a row (docs/contract.md, 2): right-handed, metres, z up, x forward, y left, origin first camera.

Raw poses come in whatever world the camera estimate has; ``raw_to_world`` takes them to the row's world and is stored.
"""

from __future__ import annotations

import numpy as np

from unihand_data.values.camera import CameraTrack, World


def level_world(
    camera: CameraTrack, up: np.ndarray | None = None, label: World | None = None
) -> tuple[np.ndarray, World]:
    """The rigid transform from the camera track's raw world to the row's world, and what its up axis is.

    Args:
        camera: trajectory; its first valid pose sets the origin and the forward direction.
        up: (3,) up direction in the raw world where something measured it (the table's normal); the raw world's z when
            ``camera.world`` is ``gravity``, else the first camera's own up.
        label: name of ``up`` when it is given.

    Returns:
        (4, 4) float64 rigid transform, and ``gravity`` | ``table`` | ``camera``.
    """
    first = camera.pose[int(np.argmax(camera.valid))] if camera.valid.any() else np.eye(4)
    rotation, origin = first[:3, :3], first[:3, 3]
    world: World
    if up is not None:
        world = label or "table"
    elif camera.world == "gravity":
        up, world = np.array([0.0, 0.0, 1.0]), "gravity"
    else:
        up, world = -rotation[:, 1], "camera"
    z = up / np.linalg.norm(up)
    forward = rotation[:, 2] - z * (rotation[:, 2] @ z)
    if np.linalg.norm(forward) < 0.05:  # looking straight along the vertical: the picture's up is forward then
        forward = -rotation[:, 1] - z * (-rotation[:, 1] @ z)
    x = forward / np.linalg.norm(forward)
    basis = np.stack([x, np.cross(z, x), z])
    out = np.eye(4)
    out[:3, :3] = basis
    out[:3, 3] = -basis @ origin
    return out, world


def camera_moves(camera: CameraTrack, *, travel_m: float = 0.02, angle_deg: float = 2.0) -> bool:
    """Whether the track leaves its first pose by more than a hand's breadth of noise."""
    poses = camera.pose[camera.valid]
    if len(poses) < 2:
        return False
    shift = np.linalg.norm(poses[:, :3, 3] - poses[0, :3, 3], axis=1).max()
    cosine = (np.einsum("tij,ij->t", poses[:, :3, :3], poses[0, :3, :3]) - 1.0) / 2.0
    angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).max()
    return bool(shift > travel_m or angle > angle_deg)
