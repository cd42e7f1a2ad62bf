import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.geometry.world import camera_moves, level_world
from unihand_data.values.camera import CameraTrack

# OpenCV camera axes in a z-up, x-forward, y-left world, for a camera that looks along x and level
LEVEL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def one(rotation, position=(0.0, 0.0, 0.0), **kwargs):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, position
    return CameraTrack(np.stack([pose, pose]), np.ones(2, bool), **kwargs)


def test_an_unknown_world_is_levelled_by_the_first_camera():
    transform, world = level_world(one(np.eye(3)))
    assert world == "camera"
    np.testing.assert_allclose(transform[:3, :3], LEVEL, atol=1e-12)
    np.testing.assert_allclose(transform[:3, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-12)  # forward
    np.testing.assert_allclose(transform[:3, :3] @ [0, 1, 0], [0, 0, -1], atol=1e-12)  # down


@pytest.mark.parametrize("yaw", [0.0, 40.0, 130.0, -100.0])
@pytest.mark.parametrize("pitch", [0.0, 50.0, -20.0])
def test_a_gravity_world_keeps_its_up_and_faces_where_the_first_camera_faces(yaw, pitch):
    rotation = Rotation.from_euler("ZY", [yaw, pitch], degrees=True).as_matrix() @ LEVEL
    transform, world = level_world(one(rotation, (3.0, -2.0, 1.5), world="gravity"))
    assert world == "gravity"
    np.testing.assert_allclose(transform[:3, :3] @ [0, 0, 1], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(transform @ [3.0, -2.0, 1.5, 1.0], [0, 0, 0, 1], atol=1e-12)
    forward = transform[:3, :3] @ rotation[:, 2]
    assert forward[1] == pytest.approx(0.0, abs=1e-12)
    assert forward[0] > 0
    assert np.linalg.det(transform[:3, :3]) == pytest.approx(1.0)


def test_a_camera_that_looks_straight_down_takes_the_pictures_up_as_forward():
    down = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    transform, _ = level_world(one(down, world="gravity"))
    np.testing.assert_allclose(transform[:3, :3] @ -down[:, 1], [1, 0, 0], atol=1e-9)


def test_a_camera_moves_when_it_turns_or_travels_and_noise_does_not_count():
    still = one(np.eye(3))
    assert not camera_moves(still)
    turned = still.pose.copy()
    turned[1, :3, :3] = Rotation.from_rotvec([0, np.radians(5), 0]).as_matrix()
    assert camera_moves(CameraTrack(turned, np.ones(2, bool)))
    shifted = still.pose.copy()
    shifted[1, 0, 3] = 0.05
    assert camera_moves(CameraTrack(shifted, np.ones(2, bool)))
