"""Twins of the real job: the same hands, seen in the flipped picture.

The path from numbers to pixels is written out here, apart from the report's: state -> posed skeleton -> camera.
"""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.curate.mirror_row import mirror_episode
from unihand_data.hands import skeleton
from unihand_data.shards.reader import ShardReader

EEF, THETA = {"right": 0, "left": 9}, {"right": 110, "left": 155}
OTHER = {"right": "left", "left": "right"}


def column(row, slot: int) -> int:
    return int(np.flatnonzero(row.state_slots == slot)[0])


def seen(row, side: str) -> np.ndarray:
    """(T,) bool: this hand's wrist and fingers are unmasked."""
    return row.state_mask[:, column(row, EEF[side])] & row.state_mask[:, column(row, THETA[side])]


def pixels(row, side: str) -> np.ndarray:
    """(T, 21, 2) of the posed hand in the row's own view."""
    e, t = column(row, EEF[side]), column(row, THETA[side])
    scale = next(h.hand_scale for h in row.hands if h.side == side)
    world = skeleton.forward(
        row.state[:, t : t + 45], row.state[:, e : e + 3], row.state[:, e + 3 : e + 6], side, scale
    )
    camera = row.cameras[0]
    out = np.full((row.frames, 21, 2), np.nan)
    fx, fy, cx, cy = camera.intrinsics
    for i in np.flatnonzero(seen(row, side)):
        to_camera = np.linalg.inv(np.asarray(camera.poses[i], float))
        p = world[i] @ to_camera[:3, :3].T + to_camera[:3, 3]
        out[i] = np.stack([fx * p[:, 0] / p[:, 2] + cx, fy * p[:, 1] / p[:, 2] + cy], axis=-1)
    return out


@pytest.fixture(scope="module")
def pairs(job, whole):
    """(parent, twin) of every clip."""
    rows = job.rows_of(whole[0])
    found = [(rows[r.parent_id], r) for r in rows.values() if r.mirrored]
    assert len(found) == 2
    return found


def test_the_posed_twin_lies_where_the_flipped_parent_lies(pairs):
    counted = 0
    for parent, twin in pairs:
        width = parent.cameras[0].width
        for side in ("right", "left"):
            ok = seen(parent, side)
            assert np.array_equal(ok, seen(twin, OTHER[side]))
            flipped = pixels(parent, side)[ok] * [-1, 1] + [width - 1, 0]
            assert np.abs(flipped - pixels(twin, OTHER[side])[ok]).max(initial=0) < 0.5
            counted += int(ok.sum())
    assert counted > 60, "both hands of most frames were compared"


def test_the_posed_hand_lies_in_the_picture(pairs):
    """A mirror test proves nothing about skeletons that are nowhere near a hand: most joints are inside the picture."""
    shares = []
    for parent, _ in pairs:
        camera = parent.cameras[0]
        points = np.concatenate([pixels(parent, side)[seen(parent, side)] for side in ("right", "left")])
        inside = ((points > -20) & (points < [camera.width + 20, camera.height + 20])).all(-1)
        shares += [inside.mean()] if len(points) else []  # a clip whose camera is unknown has no wrist in the world
    assert shares
    assert min(shares) > 0.8


def test_the_pictures_of_a_twin_are_the_flipped_pictures_of_its_parent(pairs, whole):
    parent, twin = pairs[0]
    with ShardReader(str(whole[0])) as reader:
        one, other = reader.window((parent.episode_id, 5)), reader.window((twin.episode_id, 5))
    assert np.array_equal(one.frames["ego"][0][:, ::-1], other.frames["ego"][0])


def test_the_mirror_of_the_twin_is_the_parent(pairs):
    for parent, twin in pairs:
        again = mirror_episode(twin)
        assert again.state == pytest.approx(parent.state, abs=2e-6)
        assert again.action == pytest.approx(parent.action, abs=2e-6)
        for name in ("state_mask", "action_mask", "state_slots", "action_slots"):
            assert np.array_equal(getattr(again, name), getattr(parent, name)), name
        assert again.cameras[0].poses == pytest.approx(parent.cameras[0].poses, abs=1e-5)
        assert [(t.text, t.hand) for t in again.language] == [(t.text, t.hand) for t in parent.language]


def test_hands_and_directions_swap_in_the_words(pairs):
    swapped = 0
    for parent, twin in pairs:
        for a, b in zip(parent.language, twin.language, strict=True):
            assert b.hand == OTHER.get(a.hand, a.hand)
            if "clockwise" not in a.text:
                assert a.text.replace("left", "#").replace("right", "left").replace("#", "right") == b.text
            swapped += a.text != b.text
    assert swapped


def test_samples_of_a_twin_are_those_of_its_parent(pairs, whole):
    with ShardReader(str(whole[0])) as reader:
        table = reader.samples().to_pylist()
    for parent, twin in pairs:
        keys = [
            sorted(
                (s["task"], s["start_frame"], s["frames_available"], s["split"]) for s in table if s["episode_id"] == i
            )
            for i in (parent.episode_id, twin.episode_id)
        ]
        assert keys[0] == keys[1]
