"""A scripted expert of Meta-World in one task: an attempt is a seed, its numbers follow from the seed alone.

The label of a step is the expert's clipped command at the visited state; what is executed is that command plus noise of
the episode's own level, so that a policy sees states beside the expert's path with the right answer to them
(closed-loop data augmentation). A kept attempt is simulated twice: once to judge it, once more with the cameras on.

State: hand position in metres in the simulator's world and gripper opening (0 closed, 1 open), the first four numbers
of the observation; the rest (objects, goal) the expert needs and a policy must not see. Commands: -1..1, one unit moves
the hand 0.01 m; the gripper's opens at -1 and closes at +1.

Legend: T steps.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.record.settings import Ranges, RecordSettings

RATE_HZ = 80  # five substeps of 2.5 ms; render_fps of the environment
#: raw camera name -> what it is moved to. corner2 stands upside down; the closer place is the environment's corner4
CAMERAS = {"corner2": (0.75, 0.075, 0.7), "gripperPOV": None}
#: noise of x, y, z and of the gripper's effort, relative to the episode's level
NOISE_SHAPE = np.array([1.0, 1.0, 1.0, 0.3])
WIDER_OBJECTS = 2.0  # width of the range that objects and goals are placed in
WIDER_HAND_M = np.array([0.10, 0.10, 0.05])  # half width of the range that the hand starts in

OnPicture = Callable[[str, np.ndarray], None]


@dataclass
class Attempt:
    """One attempt. ``state`` (T, 4) before each command, ``label`` (T, 4) clean clipped commands, ``executed`` (T, 4)
    what the simulator got, ``success`` (T,) after each command. float32 but for ``success``."""

    task: str
    ranges: Ranges
    seed: int
    sigma: float
    state: np.ndarray
    label: np.ndarray
    executed: np.ndarray
    success: np.ndarray

    @property
    def succeeded(self) -> bool:
        return bool(self.success.any())


def random_of(task: str, ranges: Ranges, seed: int) -> np.random.Generator:
    """The generator of an attempt; equal seeds of two tasks share nothing."""
    digest = hashlib.blake2b(f"metaworld|{task}|{ranges}|{seed}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest))


class Scene:
    """A task's simulator, expert and cameras. Use as ``with Scene.opened(...) as scene``."""

    def __init__(self, task: str, settings: RecordSettings) -> None:
        from metaworld import policies
        from metaworld.env_dict import ENV_CLS_MAP

        self.task, self.settings = task, settings
        self.env: Any = ENV_CLS_MAP[f"{task}-v3"]()
        self.expert: Any = getattr(policies, _policy_name(type(self.env).__name__, task, policies))()
        env = self.env
        # the expert reads the goal; the observation space was cached without it
        env._partially_observable = False
        env.__dict__.pop("sawyer_observation_space", None)
        # reset(seed) is ignored: places are drawn from env.np_random only so
        env._set_task_called, env._freeze_rand_vec, env.seeded_rand_vec = True, False, True
        self._stock: tuple[Any, np.ndarray] = (env._random_reset_space, np.array(env.hand_init_pos, float))
        for name, place in CAMERAS.items():
            if place is not None:
                env.model.cam_pos[env.model.camera(name).id] = place
        self._renderer: Any = None
        self._episode = ""

    @classmethod
    @contextmanager
    def opened(cls, task: str, settings: RecordSettings) -> Iterator[Scene]:
        scene = cls(task, settings)
        try:
            yield scene
        finally:
            scene.close()

    def close(self) -> None:
        """Give back renderer and environment; EGL complains when contexts are left to the interpreter's end."""
        if self._renderer is not None:
            self._renderer.close()
        self.env.close()

    def attempt(self, ranges: Ranges, seed: int, on_picture: OnPicture | None = None) -> Attempt:
        """Run one attempt; ``on_picture(camera, (H, W, 3) uint8)`` gets the pictures of every step, raw (corner2 upside
        down).

        Raises:
            Reject: BAD_VALUE where the simulation became unstable."""
        rng, sigma, observation = self._begin(ranges, seed)
        rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, bool]] = []
        left: int | None = None
        while len(rows) < self.settings.max_steps and left != 0:
            label = self._command(observation)
            executed = np.clip(label + rng.normal(size=4) * sigma * NOISE_SHAPE, -1, 1).astype(np.float32)
            if on_picture is not None:
                for name, picture in self.pictures():
                    on_picture(name, picture)
            state = observation[:4].astype(np.float32)
            observation, done = self._step(executed)
            rows.append((state, label, executed, done))
            if left is not None:
                left -= 1
            elif rows[-1][3]:
                left = self.settings.after_success
        state, label, executed, success = (np.array(column) for column in zip(*rows))
        return Attempt(self.task, ranges, seed, sigma, state, label, executed, success)

    def start(self, ranges: Ranges, seed: int) -> np.ndarray:
        """Begin an episode in which a policy acts: objects, goal and hand stand as in ``attempt(ranges, seed)``.
        Returns the state (4,)."""
        return self._begin(ranges, seed)[2][:4].astype(np.float32)

    def step(self, command: np.ndarray) -> tuple[np.ndarray, bool]:
        """Execute a command (4,) in -1..1, clipped to that. Returns the state (4,) after it and the environment's
        judgement.

        Raises:
            Reject: BAD_VALUE where the simulation became unstable."""
        observation, success = self._step(np.clip(command, -1, 1).astype(np.float32))
        return observation[:4].astype(np.float32), success

    def _begin(self, ranges: Ranges, seed: int) -> tuple[np.random.Generator, float, np.ndarray]:
        """Generator of the episode, its noise level, the first observation."""
        self._episode = f"{self.task} ({ranges}), seed {seed}"
        rng = random_of(self.task, ranges, seed)
        sigma = float(rng.uniform(0.0, self.settings.noise))
        return rng, sigma, self._reset(ranges, rng)

    def _step(self, command: np.ndarray) -> tuple[np.ndarray, bool]:
        observation, _, _, _, info = self.env.step(command)
        if not np.isfinite(observation).all() or self.env._did_see_sim_exception:
            raise Reject(Reason.BAD_VALUE, f"{self._episode}: the simulation became unstable")
        return np.asarray(observation), bool(info["success"] > 0.5)

    def _reset(self, ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
        import mujoco
        from gymnasium.spaces import Box

        env = self.env
        space, hand = self._stock
        if ranges == "widened":
            middle, half = (space.low + space.high) / 2, (space.high - space.low) / 2 * WIDER_OBJECTS
            space = Box(middle - half, middle + half, dtype=np.float64)
            hand = np.clip(hand + rng.uniform(-1, 1, 3) * WIDER_HAND_M, env.mocap_low, env.mocap_high)
        env._random_reset_space, env.hand_init_pos = space, hand.copy()
        env.np_random = rng
        observation, _ = env.reset()
        # reset moves the goal's site in the model only; the first picture would show it where it was before
        mujoco.mj_forward(env.model, env.data)
        return np.asarray(observation)

    def _command(self, observation: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Constant\\(s\\) may be too high")  # clipped right below
            return np.clip(np.asarray(self.expert.get_action(observation), np.float32), -1, 1)

    def pictures(self) -> Iterator[tuple[str, np.ndarray]]:
        """What each camera sees now, (name, (H, W, 3) uint8), raw (corner2 upside down)."""
        import mujoco

        if self._renderer is None:
            self._renderer = self._cameras_on(mujoco)
        for name in CAMERAS:
            self._renderer.update_scene(self.env.data, camera=name)
            yield name, self._renderer.render()

    def _cameras_on(self, mujoco: Any) -> Any:
        model, size = self.env.model, self.settings.size
        # read when the renderer is made: no shadows, no multisampling (about nine times faster on a CPU)
        model.vis.quality.shadowsize, model.vis.quality.offsamples = 0, 0
        model.vis.global_.offwidth, model.vis.global_.offheight = size, size
        renderer = mujoco.Renderer(model, size, size)
        for flag in ("mjRND_SHADOW", "mjRND_REFLECTION", "mjRND_SKYBOX"):
            renderer.scene.flags[getattr(mujoco.mjtRndFlag, flag)] = 0
        return renderer


def _policy_name(environment: str, task: str, policies: Any) -> str:
    """Experts are named after the task, but for two whose environment has the longer name."""
    words = "".join(w.capitalize() for w in task.split("-"))
    for name in (f"Sawyer{words}V3Policy", environment.replace("EnvV3", "V3Policy")):
        if hasattr(policies, name):
            return name
    raise Reject(Reason.UNSUPPORTED, f"Meta-World has no scripted expert for {task}")
