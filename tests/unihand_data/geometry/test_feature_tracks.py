"""Following points through real, tiny videos."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from unihand_data.geometry.feature_tracks import _free_area, follow
from unihand_data.values.camera import Intrinsics
from unihand_data.values.clip import ClipRef

SIZE = (320, 192)
NOBODY = np.full((20, 21, 2), np.nan)


@pytest.fixture(scope="module")
def sliding(tmp_path_factory):
    """A textured wall that moves 3 px to the left and 1 px up each frame."""
    import av
    import cv2

    path = tmp_path_factory.mktemp("video") / "slide.mp4"
    wall = np.random.default_rng(3).integers(20, 235, (80, 120)).astype(np.uint8)
    wall = cv2.GaussianBlur(cv2.resize(wall, (480, 320), interpolation=cv2.INTER_CUBIC), (5, 5), 0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(30), options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for i in range(20):
            part = wall[i : i + SIZE[1], 3 * i : 3 * i + SIZE[0]]
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.repeat(part[..., None], 3, axis=2), format="rgb24")))
        out.mux(stream.encode(None))
    lens = Intrinsics(300, 300, (SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2, *SIZE)
    return ClipRef(str(path), np.arange(20) / 30, *SIZE, intrinsics=lens)


def steps(frame, track, xy):
    """Displacement of every point from one frame to the next."""
    out = []
    for t in range(19):
        _, a, b = np.intersect1d(track[frame == t], track[frame == t + 1], return_indices=True)
        out.append(xy[frame == t + 1][b] - xy[frame == t][a])
    return np.concatenate(out)


@pytest.mark.parametrize("max_side", [960, 160])
def test_points_move_as_the_picture_does(sliding, max_side):
    frame, track, xy = follow(sliding, NOBODY, NOBODY, max_side, 200)
    moved = steps(frame, track, xy)
    assert len(moved) > 19 * 40
    assert np.abs(np.median(moved, axis=0) - [-3, -1]).max() < 0.05
    assert (np.abs(moved - [-3, -1]).max(axis=1) < 1.0).mean() > 0.97
    assert (np.diff(frame) >= 0).all()
    assert (xy >= -1).all()
    assert (xy < np.array(SIZE) + 1).all()


def test_following_twice_gives_the_same_points(sliding):
    a, b = (follow(sliding, NOBODY, NOBODY, 960, 200) for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b))


def test_no_point_lies_on_a_hand_or_its_forearm(sliding):
    angle = np.arange(21) * (2 * np.pi / 21)
    hand = np.array([160.0, 80.0]) + 30 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    hand[0], hand[9] = [160, 105], [160, 60]  # the wrist below the middle knuckle: the forearm hangs down
    frame, _, xy = follow(sliding, NOBODY, np.tile(hand, (20, 1, 1)), 960, 400)
    assert len(frame) > 1000
    assert np.linalg.norm(xy - [160, 80], axis=1).min() > 30
    below = (np.abs(xy[:, 0] - 160) < 15) & (xy[:, 1] > 105)
    assert not below.any()


def free(hand):
    return _free_area(SIZE, [np.full((21, 2), np.nan), hand])


def test_a_hand_of_which_some_points_are_unknown_is_left_out_all_the_same():
    hand = np.random.default_rng(0).uniform(80, 140, (21, 2))
    hand[1] = np.nan
    assert free(hand)[110, 110] == 0
    hand[0] = np.nan  # without a wrist there is no forearm to leave out
    assert free(hand)[110, 110] == 0


def test_an_unseen_hand_leaves_everything_free():
    assert (free(np.full((21, 2), np.nan)) == 255).all()


def test_a_hand_at_the_lens_leaves_nothing_free_and_breaks_nothing():
    hand = np.random.default_rng(0).normal(size=(21, 2)) * 1e8
    assert free(hand).shape == SIZE[::-1]
