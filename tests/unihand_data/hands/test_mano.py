"""MANO through smplx, on a generated file in MANO's format (no licensed numbers)."""

from __future__ import annotations

import os
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.sparse
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.hands import mano, skeleton
from unihand_data.values.hands import FINGERS

_PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
_ROOT = np.array([0.095, 0.006, 0.006])  # MANO's wrist joint is not at the origin of its template


def _numbers(side: str, *, faulty_left: bool = False) -> dict:
    """A hand of 778 points around the generic skeleton's 16 joints; rigid skinning, random shapes."""
    rng = np.random.default_rng(0)
    rest = skeleton.rest_keypoints("right")
    joints = np.array([rest[0], *(rest[FINGERS[n][k]] for n in skeleton.THETA_FINGERS for k in range(3))]) + _ROOT
    owner = np.arange(778) % 16
    template = joints[owner] + rng.normal(0, 0.004, (778, 3))
    for vertex, (finger, chain) in zip((744, 320, 443, 554, 671), FINGERS.items()):
        owner[vertex] = 3 * skeleton.THETA_FINGERS.index(finger) + 3
        template[vertex] = rest[chain[3]] + _ROOT
    regressor = np.zeros((16, 778))
    for j in range(16):  # the mean of a joint's points, moved onto the joint by one more point
        members = np.flatnonzero(owner == j)
        members = members[~np.isin(members, (744, 320, 443, 554, 671))]
        template[members] += joints[j] - template[members].mean(0)
        regressor[j, members] = 1 / len(members)
    shapes = rng.normal(0, 0.002, (778, 3, 10))
    mirror = np.array([-1.0, 1, 1])
    if side == "left":
        template = template * mirror
        shapes = shapes * (1.0 if faulty_left else mirror[None, :, None])
    weights = np.zeros((778, 16))
    weights[np.arange(778), owner] = 1.0
    return {
        "v_template": template,
        "shapedirs": shapes,
        "posedirs": np.zeros((778, 3, 135)),
        "J_regressor": scipy.sparse.csc_matrix(regressor),
        "weights": weights,
        "kintree_table": np.stack([np.where(_PARENTS < 0, 2**32 - 1, _PARENTS), np.arange(16)]).astype(np.uint32),
        "f": rng.integers(0, 778, (1538, 3)).astype(np.uint32),
        "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_mean": rng.normal(0, 0.2, 45),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


@pytest.fixture
def chumpy(monkeypatch):
    """A module by chumpy's name, so that a file can be written whose arrays are chumpy's."""
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x):
            self.x = x

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", package)
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


@pytest.fixture
def folder(tmp_path, chumpy):
    def make(*sides, faulty_left=True):
        for side in sides:
            data = _numbers(side, faulty_left=faulty_left)
            data["shapedirs"] = chumpy(data["shapedirs"])
            (tmp_path / f"MANO_{side.upper()}.pkl").write_bytes(pickle.dumps(data, protocol=2))
        return tmp_path

    return make


def _lbs(data, theta, rot, transl, beta):
    """Linear blend skinning with rigid weights, written out: joints (16, 3) and vertices (778, 3)."""
    shaped = data["v_template"] + data["shapedirs"] @ beta
    joints = data["J_regressor"] @ shaped
    turns = [Rotation.from_rotvec(v).as_matrix() for v in np.concatenate([rot[None], theta.reshape(15, 3)])]
    world, places = [turns[0]], [joints[0]]
    for j in range(1, 16):
        p = _PARENTS[j]
        places.append(places[p] + world[p] @ (joints[j] - joints[p]))
        world.append(world[p] @ turns[j])
    owner = data["weights"].argmax(1)
    vertices = np.array([world[o] @ (v - joints[o]) + places[o] for v, o in zip(shaped, owner)])
    return np.array(places) + transl, vertices + transl


def test_without_a_folder_there_is_no_mano_and_no_error(monkeypatch):
    monkeypatch.delenv(mano.ENV, raising=False)
    assert mano.load_mano("right") is None


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_wrist_is_where_it_was_put_and_the_rest_follows_the_skinning_formula(folder, side):
    hand = mano.load_mano(side, str(folder("right", "left")))
    rng = np.random.default_rng(1)
    theta, rot, pos, beta = (
        rng.normal(0, 0.4, (3, 45)),
        rng.normal(size=(3, 3)),
        rng.normal(size=(3, 3)),
        rng.normal(size=10),
    )
    keypoints, vertices = hand.forward(theta, pos, rot, beta)
    np.testing.assert_allclose(keypoints[:, 0], pos, atol=1e-9)
    data = _numbers(side)
    transl = pos[1] - hand.wrist_joint(beta)
    joints, want = _lbs(data, theta[1], rot[1], transl, beta)
    np.testing.assert_allclose(vertices[1], want, atol=1e-7)
    np.testing.assert_allclose(keypoints[1, [1, 2, 3]], joints[13:16], atol=1e-7)  # thumb
    np.testing.assert_allclose(keypoints[1, [17, 18, 19]], joints[7:10], atol=1e-7)  # pinky
    np.testing.assert_allclose(keypoints[1, 8], want[320], atol=1e-7)  # index tip


def test_theta_zero_is_the_flat_hand_whatever_the_files_mean_hand(folder):
    hand = mano.load_mano("right", str(folder("right")))
    keypoints, _ = hand.forward(np.zeros((1, 45)), np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(10))
    np.testing.assert_allclose(keypoints[0], skeleton.rest_keypoints("right"), atol=1e-6)


def test_the_mirror_of_a_posed_mano_hand_is_the_posed_mirror_shape_included(folder):
    path = str(folder("right", "left"))
    right, left = mano.load_mano("right", path), mano.load_mano("left", path)
    assert left.fixed_shape
    rng = np.random.default_rng(2)
    theta, rot, pos, beta = (
        rng.normal(0, 0.4, (2, 45)),
        rng.normal(size=(2, 3)),
        rng.normal(size=(2, 3)),
        rng.normal(0, 2, 10),
    )
    a, _ = right.forward(theta, pos, rot, beta)
    b, _ = left.forward(skeleton.mirror_theta(theta), pos * skeleton.MIRROR_X, rot * skeleton.MIRROR_ROTVEC, beta)
    np.testing.assert_allclose(b, a * skeleton.MIRROR_X, atol=1e-7)


def test_a_left_file_without_the_fault_is_left_alone(folder):
    left = mano.load_mano("left", str(folder("right", "left", faulty_left=False)))
    assert not left.fixed_shape


def test_mano_and_the_generic_skeleton_mean_the_same_by_theta(folder):
    hand = mano.load_mano("right", str(folder("right")))
    rng = np.random.default_rng(4)
    theta, rot, pos = rng.normal(0, 0.4, (4, 45)), rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    keypoints, _ = hand.forward(theta, pos, rot, np.zeros(10))
    np.testing.assert_allclose(keypoints, skeleton.forward(theta, pos, rot, "right"), atol=1e-6)


def test_a_frame_without_a_pose_is_left_out(folder):
    hand = mano.load_mano("right", str(folder("right")))
    theta = np.zeros((2, 45))
    theta[0, 0] = np.nan
    keypoints, _ = hand.forward(theta, np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(10))
    assert np.isnan(keypoints[0]).all()
    assert np.isfinite(keypoints[1]).all()


class _Hostile:
    def __reduce__(self):
        return (os.system, ("true",))


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (lambda d: d.pop("weights"), Reason.MISSING_FIELD, "weights"),
        (lambda d: d.update(weights=np.zeros((6890, 24))), Reason.WRONG_TYPE, "weights"),
        (lambda d: d.update(v_template=_Hostile()), Reason.UNSAFE_CONTENT, "system"),
    ],
)
def test_a_file_that_is_no_mano_model_is_refused(tmp_path, change, reason, words):
    data = _numbers("right")
    change(data)
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(data, protocol=2))
    with pytest.raises(Reject, match=words) as caught:
        mano.load_mano("right", str(tmp_path))
    assert caught.value.reason is reason


def test_a_named_folder_without_the_file_is_an_error(tmp_path):
    with pytest.raises(Reject, match=r"MANO_LEFT\.pkl"):
        mano.load_mano("left", str(tmp_path))
