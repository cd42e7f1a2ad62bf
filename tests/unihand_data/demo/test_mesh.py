"""The skin: closed, outward, on its implicit surface, around the joints."""

import numpy as np
import pytest

from unihand_data.demo import hand_model as hm
from unihand_data.demo import mesh as m


@pytest.fixture(scope="module")
def skin():
    return m.build_hand_mesh(hm.rest_joints(), step=0.004)


def _bones(rest, theta):
    rot, pos = np.tile(np.eye(3), (17, 1, 1)), np.zeros((17, 3))
    rot[:16], joints = hm.forward(rest, theta)
    pos[:16] = joints[:16] - np.einsum("bij,bj->bi", rot[:16], rest[:16])
    return rot, pos


def test_surface_nets_find_a_sphere():
    step, radius = 0.05, 0.6
    axis = np.arange(-0.9, 0.9, step)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    v, f = m.surface_nets(np.linalg.norm(grid, axis=-1) - radius, np.full(3, -0.9), step)
    assert np.abs(np.linalg.norm(v, axis=1) - radius).max() < 0.2 * step
    volume = np.einsum("fi,fi->f", v[f[:, 0]], np.cross(v[f[:, 1]], v[f[:, 2]])).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)  # positive: faces look outwards


def test_the_skin_is_closed(skin):
    f = skin.weld[skin.faces]
    edges = np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), axis=1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert set(count) <= {2, 4}  # four where two sheets of the net meet in an edge


def test_posed_vertices_lie_on_the_posed_implicit_surface(skin):
    rot, pos = _bones(skin.joints, hm.theta_of(hm.PRESHAPE, skin.joints))
    v, n = skin.posed(rot, pos)
    prims = skin.prims.posed(rot, pos)
    off = np.concatenate([np.abs(m.field(prims, v[skin.group == g], g)) for g in range(-1, 5)])
    assert np.quantile(off, 0.99) < 0.001
    assert np.allclose(np.linalg.norm(n, axis=1), 1, atol=1e-6)


def test_joints_are_inside_the_skin(skin):
    theta = hm.theta_of(hm.PRESHAPE, skin.joints)
    rot, pos = _bones(skin.joints, theta)
    joints = hm.forward(skin.joints, theta)[1]
    assert (m.field(skin.prims.posed(rot, pos), joints[:21]) < 0).all()


def test_vertices_of_a_seam_move_together(skin):
    v, n = skin.posed(*_bones(skin.joints, hm.theta_of(hm.CLOSED, skin.joints)))
    assert np.abs(v - v[skin.weld]).max() < 1e-9
    assert np.allclose(n, n[skin.weld])


def test_texture_charts_stay_inside_their_halves(skin):
    assert (skin.uv >= 0).all()
    assert (skin.uv <= 1).all()
