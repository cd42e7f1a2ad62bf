"""The two stories a clip can tell: ``pick`` (grasp, lift, move, place while the other hand steadies) and ``walk``.

Frames and units as in :mod:`unihand_data.demo.script`. Sides are written for a right-handed person; the left-handed variant is the
y-mirror of positions with the roles exchanged.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.demo import hand_model as hm
from unihand_data.demo.mesh import hand_primitives
from unihand_data.demo.script import MIRROR_Y, HandScript, Keys, ObjectSpec, Script, aim, head_motion, play

ELBOW = np.array([-0.12, -0.27, 0.11])  # right elbow at rest
COLOURS = {
    "red": (0.72, 0.11, 0.10), "blue": (0.10, 0.22, 0.62), "green": (0.12, 0.45, 0.20), "yellow": (0.85, 0.66, 0.10),
    "white": (0.86, 0.86, 0.84), "purple": (0.40, 0.16, 0.50),
}  # fmt: skip


def skin_radius(rest: np.ndarray) -> np.ndarray:
    """(16, 2) skin radius at both ends of the bone that begins at each joint (zeros for the palm)."""
    prims = hand_primitives(rest)
    out = np.zeros((16, 2))
    for i in range(len(prims.ra)):
        b = prims.bone[i]
        if b and prims.group[i] >= 0 and not out[b].any():
            out[b] = prims.ra[i], prims.rb[i]
    out[13] = 0.012
    return out


def pick(rng: np.random.Generator, duration: float, fps: float, *, left_handed: bool, camera_moves: bool) -> Script:
    """One hand grasps a thing, lifts, carries and places it; the other steadies a box, then slides it aside."""
    n = round(duration * fps)
    t = np.arange(n) / fps
    scale = rng.uniform(0.95, 1.06)
    rest = hm.rest_joints(rng, scale)
    shape = rng.choice(["can", "box"])
    names = list(rng.permutation(list(COLOURS)))
    if shape == "can":
        size = np.array([rng.uniform(0.030, 0.035), rng.uniform(0.040, 0.050)])
        thing = ObjectSpec(f"{names[0]} can", "can", size, np.array(COLOURS[names[0]]))
    else:
        half = rng.uniform(0.025, 0.030)
        thing = ObjectSpec(
            f"{names[0]} block", "box", np.array([half, half, rng.uniform(0.032, 0.042)]), np.array(COLOURS[names[0]])
        )
    box = ObjectSpec(
        f"{names[1]} box",
        "box",
        np.array([rng.uniform(0.055, 0.07), rng.uniform(0.035, 0.045), 0.03]),
        np.array(COLOURS[names[1]]),
    )
    # key times as fractions of the clip
    T = duration / 7.0
    k = T * (np.array([0.0, 0.6, 1.7, 2.3, 3.1, 4.1, 4.8, 5.3, 6.3, 7.0]) + np.r_[0, rng.uniform(-0.06, 0.06, 8), 0])

    start = np.array([rng.uniform(0.03, 0.06), rng.uniform(-0.17, -0.13), 0.035])
    here = np.array([rng.uniform(0.20, 0.24), rng.uniform(-0.11, -0.07), thing.half_height])
    there = np.array([rng.uniform(0.25, 0.29), rng.uniform(0.0, 0.03), thing.half_height])
    up = np.array([0.0, 0.0, rng.uniform(0.06, 0.09)])
    roll, flex, dev = rng.uniform(34, 44), rng.uniform(4, 10), rng.uniform(-12, -4)
    # the thing sits in front of the palm, between the thumb and the fingers
    centre = np.array([-0.098, -0.050, 0.030]) * scale
    wrist, turn = _wrist_for(here, centre, roll, flex, dev, start)
    above, _ = _wrist_for(here + up, centre, roll, flex, dev, start)
    carry, _ = _wrist_for(there + up, centre, roll, flex, dev, start)
    down, _ = _wrist_for(there, centre, roll, flex, dev, start)

    def gap(points: np.ndarray) -> np.ndarray:
        return thing.distance(turn.apply(points) + wrist - here)

    grasp = hm.close_on(rest, hm.PRESHAPE, hm.CLOSED, gap, skin_radius(rest))
    back = turn.apply([0.045, 0.02, 0.0]) + np.array([0, 0, 0.02])
    a = np.array([roll, flex, dev])
    right = Keys()
    idle = np.array([rng.uniform(0, 8), -6.0, -4.0])
    right.add(k[0], start, idle, hm.RELAXED)
    right.add(k[1], start + [0.0, 0.0, 0.0], idle, hm.RELAXED)
    right.add(k[2], wrist + back, a, hm.PRESHAPE)
    right.add(k[2] + 0.35 * T, wrist, a, hm.PRESHAPE)
    right.add(k[3], wrist, a, grasp)
    right.add(k[4], above, a, grasp)
    right.add(k[5], carry, a, grasp)
    right.add(k[6], down, a, grasp)
    right.add(k[7], down, a, hm.PRESHAPE)
    right.add(k[7] + 0.3 * T, down + back, a, hm.PRESHAPE)
    right.add(k[8] + 0.2 * T, start + [0.01, 0.01, 0], idle, hm.RELAXED)
    right.add(k[9] + 1.0, start + [0.01, 0.01, 0], idle, hm.RELAXED)

    # the helping hand lies on a box, steadies it, slides it away; written as a right hand, mirrored when played
    box_at = np.array([rng.uniform(0.20, 0.23), rng.uniform(-0.155, -0.135), box.half_height])
    shift = np.array([rng.uniform(-0.01, 0.02), rng.uniform(-0.06, -0.045), 0.0])
    hold_angles = np.array([rng.uniform(2, 10), rng.uniform(4, 12), rng.uniform(-6, 0)])
    lie = hm.posture([22, 20, 26, 22], [20, 22, 26, 24], [12, 12, 14, 12], [5, 1, -7, -3], (0, 26, 8, 6, 10))
    hold_wrist = box_at + np.array([-0.088 * scale, -0.012, box.half_height + 0.030])
    s2 = np.array([rng.uniform(0.04, 0.07), rng.uniform(-0.16, -0.13), 0.035])
    left = Keys()
    left.add(k[0], s2, idle, hm.RELAXED)
    left.add(0.3 * T, s2, idle, hm.RELAXED)
    left.add(1.1 * T, hold_wrist + [-0.02, 0, 0.035], hold_angles, hm.OPEN)
    left.add(1.5 * T, hold_wrist, hold_angles, lie)
    left.add(4.6 * T, hold_wrist, hold_angles, lie)
    left.add(5.5 * T, hold_wrist + shift, hold_angles, lie)
    left.add(5.8 * T, hold_wrist + shift + [-0.01, 0, 0.03], hold_angles, hm.OPEN)
    left.add(6.6 * T, s2 + [0, -0.01, 0], idle, hm.RELAXED)
    left.add(8.0 * T, s2 + [0, -0.01, 0], idle, hm.RELAXED)

    main, helper = ("left", "right") if left_handed else ("right", "left")
    hands = {
        main: play(right, ELBOW, rest, t, rng, main),
        helper: play(left, ELBOW, rest, t, rng, helper),
    }
    code = {"right": 1, "left": 2}
    m_main = MIRROR_Y if left_handed else np.eye(3)
    m_help = np.eye(3) if left_handed else MIRROR_Y
    yaw = Rotation.from_rotvec([0, 0, np.deg2rad(rng.uniform(-12, 12))]).as_matrix()
    held = np.zeros((2, n), np.int8)
    held[0, (t >= k[3]) & (t < k[6])] = code[main]
    held[1, (t >= 4.6 * T) & (t < 5.5 * T)] = code[helper]
    pose = np.tile(np.eye(4), (2, n, 1, 1))
    pose[0] = _carried(np.eye(3), m_main @ here, m_main @ there, hands[main], held[0] > 0)
    pose[1, :, :3, :3] = m_help @ yaw @ m_help
    pose[1, :, :3, 3] = m_help @ box_at + _slide(hands[helper], held[1] > 0)
    focus = hands[main].pos * 0.7 + hands[helper].pos * 0.3 + np.array([0.09, 0, 0])
    camera = head_motion(t, focus, rng, moving=camera_moves, walking=False)
    events = [
        (k[2] + 0.35 * T, k[3], f"{main}_close"), (k[3], k[6], f"{main}_hold"), (k[6], k[7], f"{main}_open"),
        (1.5 * T, 5.5 * T, f"{helper}_contact"), (4.6 * T, 5.5 * T, f"{helper}_slide"),
    ]  # fmt: skip
    steps = [
        (f"the {main} hand waits on the table while the {helper} hand reaches for the {box.name}", "both"),
        (f"reach for the {thing.name} with the {main} hand", main),
        (f"close the {main} hand around the {thing.name}", main),
        (f"lift the {thing.name} with the {main} hand", main),
        (f"carry the {thing.name} across the table with the {main} hand", main),
        (f"put the {thing.name} down with the {main} hand while the {helper} hand slides the {box.name} aside", "both"),
        ("draw both hands back", "both"),
    ]
    edges = np.append(np.arange(0, len(steps)) * T, duration)
    return Script(
        fps, hands, [thing, box], pose, held, camera, events,
        [(float(edges[i]), float(edges[i + 1]), text, hand) for i, (text, hand) in enumerate(steps)],
        f"move the {thing.name} to the middle of the table with the {main} hand and make room with the {helper} hand",
    )  # fmt: skip


def walk(rng: np.random.Generator, duration: float, fps: float, *, camera_moves: bool = True) -> Script:
    """A head walks past the table, the hands hang relaxed and do nothing: what a relevance filter must refuse."""
    n = round(duration * fps)
    t = np.arange(n) / fps
    rest = hm.rest_joints(rng, rng.uniform(0.95, 1.06))
    hands = {}
    for side in ("right", "left"):
        at = np.array([rng.uniform(0.09, 0.12), rng.uniform(-0.13, -0.10), 0.12])
        keys = Keys()
        keys.add(0, at, (20, 0, 0), hm.RELAXED)
        keys.add(duration + 1, at, (20, 0, 0), hm.RELAXED)
        hands[side] = play(keys, ELBOW + [0, 0, 0.08], rest, t, rng, side)
    camera = head_motion(t, np.repeat([[0.2, 0.0, 0.05]], n, 0), rng, moving=camera_moves, walking=camera_moves)
    for hand in hands.values():
        hand.pos += camera[:, :3, 3] - camera[0, :3, 3]
    pose = np.tile(np.eye(4), (0, n, 1, 1))
    spans = [
        (float(s), float(min(s + 1, duration)), "walk on with both hands at rest", "none")
        for s in np.arange(0, duration, 1.0)
    ]
    return Script(
        fps,
        hands,
        [],
        pose,
        np.zeros((0, n), np.int8),
        camera,
        [(0.0, duration, "locomotion")],
        spans,
        "walk past the tables",
    )


def _wrist_for(centre_at, centre, roll, flex, dev, start) -> tuple[np.ndarray, Rotation]:
    """Wrist that brings hand-frame point ``centre`` to ``centre_at``; the forearm's direction depends on it, so iterate."""
    wrist = centre_at + np.array([-0.1, -0.03, 0.04])
    for _ in range(30):
        _, hand = aim(ELBOW + 0.55 * (wrist - start), wrist, roll, flex, dev)
        wrist = centre_at - hand.apply(centre)
    return wrist, hand


def _carried(rest_rot, here, there, hand: HandScript, held: np.ndarray) -> np.ndarray:
    """(T, 4, 4) at ``here`` until held, rigid in the hand while held, where the hand left it afterwards."""
    out = np.tile(np.eye(4), (len(held), 1, 1))
    out[:, :3, :3], out[:, :3, 3] = rest_rot, here
    on = np.flatnonzero(held)
    i0, i1 = on[0], on[-1]
    r0, p0 = hand.rot[i0].T @ rest_rot, hand.rot[i0].T @ (here - hand.pos[i0])
    for i in on:
        out[i, :3, :3], out[i, :3, 3] = hand.rot[i] @ r0, hand.rot[i] @ p0 + hand.pos[i]
    out[i1 + 1 :] = out[i1]
    del there
    return out


def _slide(hand: HandScript, held: np.ndarray) -> np.ndarray:
    """(T, 3) how far a pushed thing has moved along the table."""
    on = np.flatnonzero(held)
    i0, i1 = on[0], on[-1]
    d = hand.pos - hand.pos[i0]
    d[:i0], d[i1 + 1 :] = 0.0, d[i1]
    d[:, 2] = 0.0
    return d
