"""A simulated pick and place of one arm: the numbers behind every generated robot file.

Commands are a smooth path that starts and ends at rest; the robot follows them with a first-order lag, so a command
leads the state as it does on a real arm. Poses are the forward kinematics of a published serial chain. The gripper is
told to close after the approach and to open near the end, and its gap follows with a lag of its own.

Legend: T steps, n joints; angles rad, lengths m, seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

#: modified Denavit-Hartenberg rows (alpha, a, d) and flange length: 7 Franka Panda, 6 UR5e, as their makers publish
#: them; 5 pan, lift, elbow, flex, roll with links of an SO-101's size
CHAINS: dict[int, tuple[list[tuple[float, float, float]], float]] = {
    7: (
        [(0, 0, 0.333), (-np.pi / 2, 0, 0), (np.pi / 2, 0, 0.316), (np.pi / 2, 0.0825, 0), (-np.pi / 2, -0.0825, 0.384),
         (np.pi / 2, 0, 0), (np.pi / 2, 0.088, 0)],
        0.107,
    ),
    6: (
        [(0, 0, 0.1625), (np.pi / 2, 0, 0), (0, -0.425, 0), (0, -0.3922, 0.1333), (np.pi / 2, 0, 0.0997),
         (-np.pi / 2, 0, 0.0996)],
        0.0,
    ),
    5: ([(0, 0, 0.12), (-np.pi / 2, 0.03, 0), (0, 0.116, 0), (0, 0.135, 0), (-np.pi / 2, 0, 0.06)], 0.09),
}  # fmt: skip
HOME: dict[int, list[float]] = {
    7: [0.0, -0.6, 0.0, -2.2, 0.0, 1.7, 0.8],
    6: [0.2, -1.4, 1.6, -1.8, -1.5, 0.1],
    5: [0.1, -0.9, 1.2, -1.0, 1.15],
}
ARM_LAG_S, GRIPPER_LAG_S = 0.06, 0.12
#: (lower, upper) rad of a joint; None where unknown
Limit = tuple[float, float] | None
MARGIN = 0.05  # rad that joints keep from their limits
STAGES = ("reach for the cup", "grasp the cup", "carry the cup to the shelf", "release the cup")
TASK = "pick up the cup and place it on the shelf"


@dataclass(frozen=True)
class Motion:
    """Everything a robot format may ask for.

    Attributes:
        times: (T,) from 0.
        joints, joint_commands: (T, n).
        pos, rot: (T, 3), (T, 3) rotvec: flange in the base frame (x forward, y left, z up); ``command_*`` likewise.
        gripper: (T,) 0 closed .. 1 open, measured; ``gripper_command`` is 0 or 1.
        fingers, finger_commands: (T, 6) closure 0 open .. 1 closed: pinky, ring, middle, index, thumb bend, thumb turn.
        base, base_velocity: (T, 3) x, y, yaw and their rates in the base's own frame.
        head, waist, lift: (T, 2), (T, 3), (T,).
        stages: (text, start, stop) in steps, covering the episode.
    """

    seed: int
    rate_hz: float
    times: np.ndarray
    joints: np.ndarray
    joint_commands: np.ndarray
    pos: np.ndarray
    rot: np.ndarray
    command_pos: np.ndarray
    command_rot: np.ndarray
    gripper: np.ndarray
    gripper_command: np.ndarray
    fingers: np.ndarray
    finger_commands: np.ndarray
    base: np.ndarray
    base_velocity: np.ndarray
    head: np.ndarray
    waist: np.ndarray
    lift: np.ndarray
    stages: tuple[tuple[str, int, int], ...]
    task: str = TASK

    @property
    def steps(self) -> int:
        return len(self.times)

    def quaternions(self, order: str, commands: bool = False) -> np.ndarray:
        """(T, 4) unit quaternions, ``xyzw`` or ``wxyz``, without jumps of sign."""
        q = Rotation.from_rotvec(self.command_rot if commands else self.rot).as_quat()
        flips = np.cumprod(np.where((q[1:] * q[:-1]).sum(1) < 0, -1.0, 1.0))
        q[1:] *= flips[:, None]
        return q if order == "xyzw" else q[:, [3, 0, 1, 2]]

    def euler(self, sequence: str = "xyz", commands: bool = False) -> np.ndarray:
        """(T, 3); lower case is extrinsic, upper case intrinsic, as in scipy."""
        return Rotation.from_rotvec(self.command_rot if commands else self.rot).as_euler(sequence)

    def matrices(self) -> np.ndarray:
        """(T, 4, 4) flange to base."""
        out = np.tile(np.eye(4), (self.steps, 1, 1))
        out[:, :3, :3], out[:, :3, 3] = Rotation.from_rotvec(self.rot).as_matrix(), self.pos
        return out

    def deltas(self) -> tuple[np.ndarray, np.ndarray]:
        """Commanded displacement per step (T, 3) m and (T, 3) rotvec in the base frame: where the next pose is sent,
        seen from the present one. The last is zero."""
        turn = Rotation.from_rotvec(self.rot)
        d_pos = np.diff(self.pos, axis=0, append=self.pos[-1:])
        nxt = Rotation.from_rotvec(np.concatenate([self.rot[1:], self.rot[-1:]]))
        return d_pos, (nxt * turn.inv()).as_rotvec()


def forward(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flange position (T, 3) and rotation (T, 3) rotvec of joint angles (T, n), n a key of :data:`CHAINS`."""
    q = np.asarray(joints, float)
    rows, flange = CHAINS[q.shape[1]]
    position, turn = np.zeros((len(q), 3)), Rotation.from_rotvec(np.zeros((len(q), 3)))
    for (alpha, a, d), theta in zip(rows, q.T):
        position = position + turn.apply([a, 0, 0])
        turn = turn * Rotation.from_rotvec([alpha, 0, 0])
        position = position + turn.apply([0, 0, d])
        turn = turn * Rotation.from_rotvec(theta[:, None] * [0, 0, 1])
    return position + turn.apply([0, 0, flange]), turn.as_rotvec()


def simulate(seed: int, steps: int, rate_hz: float, joints: int = 7, limits: Sequence[Limit] = ()) -> Motion:
    """One episode; the same arguments give the same numbers.

    Args:
        steps: T, at least 8, so that the gripper both closes and opens.
        joints: 5, 6 or 7.
        limits: per joint. One that would leave them counts from another zero; the poses are those of the chain.

    Raises:
        ValueError: fewer steps, or a chain that does not exist.
    """
    if steps < 8 or joints not in CHAINS:
        raise ValueError(f"steps >= 8 and joints in {sorted(CHAINS)}, not {steps} and {joints}")
    rng = np.random.default_rng(seed)
    times = np.arange(steps) / rate_hz
    phase = np.linspace(0, 1, steps)
    ease = phase**2 * (3 - 2 * phase)  # at rest at both ends
    swing = rng.uniform(0.25, 0.5, (2, joints)) * rng.choice([-1, 1], (2, joints))
    path = swing[0] * np.sin(np.pi * ease)[:, None] + 0.6 * swing[1] * (1 - np.cos(2 * np.pi * ease))[:, None]
    command = np.array(HOME[joints]) + rng.uniform(-0.1, 0.1, joints) + path
    close, opening = max(2, round(0.35 * steps)), max(5, round(0.8 * steps))
    gripper_command = np.ones(steps)
    gripper_command[close:opening] = 0.0
    state = _follow(command, rate_hz, ARM_LAG_S)
    gripper = _follow(gripper_command[:, None], rate_hz, GRIPPER_LAG_S)[:, 0]
    reach = rng.uniform(0.7, 1.0, 6)
    finger_commands = reach * (1 - gripper_command)[:, None]
    base, base_velocity = _drive(rng, ease, rate_hz)
    wave = np.sin(np.pi * ease)[:, None]
    pos, rot = forward(state)
    command_pos, command_rot = forward(command)
    zero = _zeros(command, limits)
    ends = (0, close, min(close + 2, opening), opening, steps)
    return Motion(
        seed=seed,
        rate_hz=rate_hz,
        times=times,
        joints=state + zero,
        joint_commands=command + zero,
        pos=pos,
        rot=rot,
        command_pos=command_pos,
        command_rot=command_rot,
        gripper=gripper,
        gripper_command=gripper_command,
        fingers=_follow(finger_commands, rate_hz, GRIPPER_LAG_S),
        finger_commands=finger_commands,
        base=base,
        base_velocity=base_velocity,
        head=wave * rng.uniform(-0.4, 0.4, 2),
        waist=wave * rng.uniform(-0.2, 0.2, 3),
        lift=0.3 + 0.05 * wave[:, 0],
        stages=tuple((text, a, b) for text, a, b in zip(STAGES, ends[:-1], ends[1:])),
    )


def _zeros(command: np.ndarray, limits: Sequence[Limit]) -> np.ndarray:
    """(n,): what brings each joint (T, n) into its limits, the least there is, or into their middle if they are less
    than its way."""
    out = np.zeros(command.shape[1])
    for joint, limit in enumerate(limits[: len(out)]):
        if limit is None:
            continue
        least, most = command[:, joint].min(), command[:, joint].max()
        low, high = limit[0] + MARGIN - least, limit[1] - MARGIN - most
        out[joint] = np.clip(0.0, low, high) if low <= high else (low + high) / 2
    return out


def _follow(command: np.ndarray, rate_hz: float, lag_s: float) -> np.ndarray:
    """(T, k): starts at the first command; each step closes the part of the gap that a lag of ``lag_s`` leaves."""
    share = 1 - np.exp(-1 / (rate_hz * lag_s))
    out = command.astype(float).copy()
    for t in range(1, len(out)):
        out[t] = out[t - 1] + share * (command[t - 1] - out[t - 1])
    return out


def _drive(rng: np.random.Generator, ease: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """A base that rolls a little: (T, 3) x, y, yaw and the velocity (T, 3) in the base's own frame."""
    base = ease[:, None] * rng.uniform(-0.2, 0.2, 3)
    rate = np.diff(base, axis=0, append=base[-1:]) * rate_hz
    c, s = np.cos(base[:, 2]), np.sin(base[:, 2])
    own = np.stack([c * rate[:, 0] + s * rate[:, 1], -s * rate[:, 0] + c * rate[:, 1], rate[:, 2]], axis=1)
    return base, own
