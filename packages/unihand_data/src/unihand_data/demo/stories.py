"""The two stories a clip can tell: ``pick`` (grasp, lift, carry, place while the other hand steadies) and ``walk``.

Frames and units as in :mod:`unihand_data.demo.script`. Both arms are written as right arms and mirrored in y when
played as left ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.demo import hand_model as hm
from unihand_data.demo.grasp import ELBOW, Grip, elbow_for, find_grip, settled, skin_radius, table
from unihand_data.demo.script import (
    MIRROR_Y,
    HandScript,
    Keys,
    ObjectSpec,
    Script,
    aim,
    head_motion,
    minimum_jerk,
    play,
)

COLOURS = {
    "red": (0.58, 0.10, 0.09), "blue": (0.10, 0.20, 0.50), "green": (0.12, 0.38, 0.18), "yellow": (0.70, 0.55, 0.10),
    "white": (0.72, 0.72, 0.70), "purple": (0.34, 0.15, 0.42),
}  # fmt: skip
_SIDE_CODE = {"right": 1, "left": 2}


@dataclass
class Clock:
    """Moments of a pick in seconds, drawn around a seven-second plan and stretched to the clip."""

    leave: float
    near: float
    at: float
    closed: float
    lifted: float
    over: float
    down: float
    opened: float
    away: float
    home: float
    unit: float  # one "second" of the plan
    end: float

    @staticmethod
    def draw(rng: np.random.Generator, duration: float) -> Clock:
        plan = np.array([0.5, 1.6, 1.95, 2.35, 3.15, 4.15, 4.8, 5.25, 5.6, 6.5])
        unit = duration / 7.0
        moments = [float(m) for m in (plan + rng.uniform(-0.06, 0.06, len(plan))) * unit]
        leave, near, at, closed, lifted, over, down, opened, away, home = moments
        return Clock(leave, near, at, closed, lifted, over, down, opened, away, home, unit, duration)


def pick(rng: np.random.Generator, duration: float, fps: float, *, left_handed: bool, camera_moves: bool) -> Script:
    """One hand grasps a thing, lifts, carries and places it; the other steadies a box, then slides it aside."""
    n = round(duration * fps)
    t = np.arange(n) / fps
    rest = hm.rest_joints(rng, rng.uniform(0.95, 1.06))
    thing, box = _things(rng)
    clock = Clock.draw(rng, duration)
    here = np.array([rng.uniform(0.23, 0.26), rng.uniform(-0.135, -0.10), thing.half_height])
    there = np.array([rng.uniform(0.27, 0.30), rng.uniform(-0.05, -0.02), thing.half_height])
    main_keys = _main_arm(rng, rest, thing, here, there, clock)
    helper_keys, box_at, box_turn = _helping_arm(rng, rest, box, clock)

    main, helper = ("left", "right") if left_handed else ("right", "left")
    hands = {main: play(main_keys, rest, t, rng, main), helper: play(helper_keys, rest, t, rng, helper)}
    hands = {side: hands[side] for side in ("right", "left")}
    to_main, to_help = (MIRROR_Y, np.eye(3)) if left_handed else (np.eye(3), MIRROR_Y)
    held = np.zeros((2, n), np.int8)
    held[0, (t >= clock.closed) & (t < clock.down)] = _SIDE_CODE[main]
    held[1, (t >= 4.6 * clock.unit) & (t < 5.5 * clock.unit)] = _SIDE_CODE[helper]
    pose = np.tile(np.eye(4), (2, n, 1, 1))
    pose[0] = _carried(to_main @ here, thing.half_height, hands[main], held[0] > 0)
    pose[1, :, :3, :3] = to_help @ box_turn @ to_help
    pose[1, :, :3, 3] = to_help @ box_at + _pushed(hands[helper], held[1] > 0)
    focus = hands[main].pos * 0.7 + hands[helper].pos * 0.3 + np.array([0.09, 0, 0])
    camera = head_motion(t, focus, rng, moving=camera_moves, walking=False)
    events, steps, intent = _words(thing.name, box.name, main, helper, clock)
    return Script(fps, hands, [thing, box], pose, held, camera, events, steps, intent)


def _things(rng: np.random.Generator) -> tuple[ObjectSpec, ObjectSpec]:
    """What is picked and what is steadied, of different colours."""
    first, second = rng.permutation(list(COLOURS))[:2]
    if rng.uniform() < 0.5:
        size = np.array([rng.uniform(0.028, 0.033), rng.uniform(0.045, 0.055)])
        thing = ObjectSpec(f"{first} can", "can", size, np.array(COLOURS[first]))
    else:
        half = rng.uniform(0.022, 0.027)
        thing = ObjectSpec(
            f"{first} block", "box", np.array([half, half, rng.uniform(0.045, 0.055)]), np.array(COLOURS[first])
        )
    size = np.array([rng.uniform(0.055, 0.07), rng.uniform(0.035, 0.045), 0.03])
    return thing, ObjectSpec(f"{second} box", "box", size, np.array(COLOURS[second]))


def _main_arm(
    rng: np.random.Generator, rest: np.ndarray, thing: ObjectSpec, here: np.ndarray, there: np.ndarray, clock: Clock
) -> Keys:
    start = np.array([rng.uniform(0.01, 0.04), rng.uniform(-0.17, -0.13), 0.03])
    idle = np.array([rng.uniform(0, 8), -6.0, -4.0])
    start = settled(rest, hm.RELAXED, start, None, idle, table)
    angles = np.array([rng.uniform(36, 46), rng.uniform(4, 10), rng.uniform(-12, -4)])
    grip: Grip = find_grip(rest, thing, here, angles, start)
    up = np.array([0.0, 0.0, rng.uniform(0.06, 0.09)])
    back = grip.hand.apply([0.05, 0.02, 0.0]) + np.array([0, 0, 0.03])
    above, carry, down = (grip.moved(here, p, start) for p in (here + up, there + up, there))
    keys = Keys()
    keys.add(0.0, start, idle, hm.RELAXED)
    keys.add(clock.leave, start, idle, hm.RELAXED)
    keys.add(clock.near, grip.wrist + back, angles, grip.open)
    keys.add(clock.at, grip.wrist, angles, grip.open)
    keys.add(clock.closed, grip.wrist, angles, grip.closed)
    keys.add(clock.lifted, *above, grip.closed)
    keys.add(clock.over, *carry, grip.closed)
    keys.add(clock.down, *down, grip.closed)
    keys.add(clock.opened, *down, grip.open)
    keys.add(clock.away, down[0] + back, down[1], grip.open)
    keys.add(clock.home, start + np.array([0.01, 0.01, 0]), idle, hm.RELAXED)
    keys.add(clock.end + 1.0, start + np.array([0.01, 0.01, 0]), idle, hm.RELAXED)
    return keys


def _helping_arm(
    rng: np.random.Generator, rest: np.ndarray, box: ObjectSpec, clock: Clock
) -> tuple[Keys, np.ndarray, np.ndarray]:
    """Keys of the hand that lies on the box, steadies it and slides it away; where the box stands and how it is
    turned."""
    at = np.array([rng.uniform(0.245, 0.265), rng.uniform(-0.145, -0.125), box.half_height])
    shift = np.array([rng.uniform(-0.01, 0.02), rng.uniform(-0.06, -0.045), 0.0])
    yaw = Rotation.from_rotvec([0, 0, np.deg2rad(rng.uniform(-12, 12))]).as_matrix()
    angles = np.array([rng.uniform(2, 10), rng.uniform(4, 12), rng.uniform(-6, 0)])
    idle = np.array([rng.uniform(0, 8), -6.0, -4.0])
    start = settled(
        rest, hm.RELAXED, np.array([rng.uniform(0.01, 0.03), rng.uniform(-0.16, -0.13), 0.03]), None, idle, table
    )

    def to_box(points: np.ndarray) -> np.ndarray:
        return box.distance((points - at) @ yaw)

    flat = hm.posture([-8, -8, -8, -8], [4, 4, 6, 5], [3, 3, 4, 3], [6, 1, -7, -3], (-10, 16, 0, 0, 4))
    curled = hm.posture([50, 50, 50, 50], [45, 45, 48, 45], [25, 25, 26, 25], [6, 1, -7, -3], (14, 24, 10, 20, 24))
    wrist = at + np.array([-0.100, -0.012, box.half_height + 0.022])
    wrist = settled(rest, flat, wrist, start, angles, to_box) + np.array([0, 0, 0.001])
    hand = aim(elbow_for(wrist, start), wrist, *angles)[1]

    def to_any(points: np.ndarray) -> np.ndarray:
        p = hand.apply(points) + wrist
        return np.minimum(to_box(p), table(p))

    lie = hm.close_on(rest, flat, curled, to_any, skin_radius(rest))
    over, u = np.array([-0.035, 0.0, 0.05]), clock.unit
    home = start + np.array([0, -0.01, 0])
    lifted = wrist + shift + np.array([-0.004, 0, 0.03])
    keys = Keys()
    keys.add(0.0, start, idle, hm.RELAXED)
    keys.add(0.25 * u, start, idle, hm.RELAXED)
    keys.add(1.0 * u, wrist + over, angles, flat)
    keys.add(1.45 * u, wrist, angles, lie)
    keys.add(4.6 * u, wrist, angles, lie)
    keys.add(5.5 * u, wrist + shift, angles, lie)
    keys.add(5.75 * u, lifted, angles, flat)
    keys.add(6.0 * u, wrist + shift + over, angles, flat)
    keys.add(6.75 * u, home, idle, hm.RELAXED)
    keys.add(8.0 * u, home, idle, hm.RELAXED)
    return keys, at, yaw


def _words(
    thing: str, box: str, main: str, helper: str, clock: Clock
) -> tuple[list[tuple[float, float, str]], list[tuple[float, float, str, str]], str]:
    """Events, an instruction per second of the plan, the clip's intent."""
    u = clock.unit
    events = [
        (clock.at, clock.closed, f"{main}_close"), (clock.closed, clock.down, f"{main}_hold"),
        (clock.down, clock.opened, f"{main}_open"), (1.45 * u, 5.5 * u, f"{helper}_contact"),
        (4.6 * u, 5.5 * u, f"{helper}_slide"),
    ]  # fmt: skip
    steps = [
        (f"reach for the {box} with the {helper} hand", helper),
        (f"reach for the {thing} with the {main} hand while the {helper} hand steadies the {box}", "both"),
        (f"close the {main} hand around the {thing} and lift it", main),
        (f"carry the {thing} to the middle of the table with the {main} hand", main),
        (f"put the {thing} down with the {main} hand", main),
        (f"let go of the {thing} with the {main} hand and slide the {box} aside with the {helper} hand", "both"),
        ("draw both hands back to the edge of the table", "both"),
    ]
    spans = [(i * u, min((i + 1) * u, clock.end), text, hand) for i, (text, hand) in enumerate(steps)]
    return (
        events,
        spans,
        f"move the {thing} to the middle of the table with the {main} hand and slide the {box} out of the way",
    )


def walk(rng: np.random.Generator, duration: float, fps: float, *, camera_moves: bool = True) -> Script:
    """A head walks down an aisle between tables, the hands are held still before the body: what a relevance filter
    must refuse."""
    n = round(duration * fps)
    t = np.arange(n) / fps
    rest = hm.rest_joints(rng, rng.uniform(0.95, 1.06))
    hands = {}
    for side in ("right", "left"):
        at = np.array([rng.uniform(0.10, 0.13), rng.uniform(-0.13, -0.10), 0.12])
        keys = Keys()
        keys.add(0, at, (25, 0, 0), hm.RELAXED)
        keys.add(duration + 1, at, (25, 0, 0), hm.RELAXED)
        hands[side] = play(keys, rest, t, rng, side, elbow=ELBOW + np.array([0, 0, 0.08]))
    camera = head_motion(t, np.repeat([[0.2, 0.0, 0.05]], n, 0), rng, moving=camera_moves, walking=camera_moves)
    for hand in hands.values():  # carried along with the body
        hand.pos += camera[:, :3, 3] - camera[0, :3, 3]
    spans = [
        (float(s), float(min(s + 1, duration)), "walk on with both hands at rest", "none")
        for s in np.arange(0, duration, 1.0)
    ]
    return Script(
        fps, hands, [], np.zeros((0, n, 4, 4)), np.zeros((0, n), np.int8), camera,
        [(0.0, duration, "locomotion")], spans, "walk along the tables", "walk",
    )  # fmt: skip


def _carried(here: np.ndarray, half_height: float, hand: HandScript, held: np.ndarray) -> np.ndarray:
    """(T, 4, 4) upright at ``here`` until held, rigid in the hand while held, then upright where it was put down."""
    out = np.tile(np.eye(4), (len(held), 1, 1))
    out[:, :3, 3] = here
    on = np.flatnonzero(held)
    i0, i1 = int(on[0]), int(on[-1])
    r0, p0 = hand.rot[i0].T, hand.rot[i0].T @ (here - hand.pos[i0])
    out[on, :3, :3], out[on, :3, 3] = hand.rot[on] @ r0, np.einsum("tij,j->ti", hand.rot[on], p0) + hand.pos[on]
    last = Rotation.from_matrix(out[i1, :3, :3])
    yaw = np.arctan2(out[i1, 1, 0], out[i1, 0, 0])
    settle = (Rotation.from_rotvec([0, 0, yaw]) * last.inv()).as_rotvec()
    drop = np.array([0, 0, half_height - out[i1, 2, 3]])
    for i in range(
        i1 + 1, len(held)
    ):  # tremor leaves it tilted by a fraction of a degree: it settles within six frames
        b = float(minimum_jerk(np.array((i - i1) / 6.0)))
        out[i, :3, :3] = (Rotation.from_rotvec(b * settle) * last).as_matrix()
        out[i, :3, 3] = out[i1, :3, 3] + b * drop
    return out


def _pushed(hand: HandScript, held: np.ndarray) -> np.ndarray:
    """(T, 3) how far a pushed thing has moved along the table."""
    on = np.flatnonzero(held)
    i0, i1 = int(on[0]), int(on[-1])
    d = hand.pos - hand.pos[i0]
    d[:i0], d[i1 + 1 :] = 0.0, d[i1]
    d[:, 2] = 0.0
    return d
