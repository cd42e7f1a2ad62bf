"""LIBERO: four suites of ten tasks, fifty trials each from stored initial states (and LIBERO-90).

Numbers: the release's evaluation script (preset ``release``, the default), openpi's (``openpi``). They agree on steps,
warm-up and pictures and differ in seeds, picture size and how many steps of a chunk are executed.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from beingh05_model.evaluation.protocols.robosuite import NotInstalled, command, folder_missing, observation
from beingh05_model.evaluation.rollout import Episode
from beingh05_model.inference.policy import Observation
from unihand_data import yaml_text
from unihand_data.config import Settings
from unihand_data.space import Embodiment, load_embodiment, rotations

#: suite -> policy steps of an episode, without the warm-up
MAX_STEPS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
TASKS = {suite: 90 if suite == "libero_90" else 10 for suite in MAX_STEPS}
CAMERAS = ("agentview_image", "robot0_eye_in_hand_image")
#: what is done while objects fall into place: nothing, gripper open
IDLE = np.array([0, 0, 0, 0, 0, 0, -1.0])

Suite = Literal["libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90"]


class LiberoProtocol(Settings):
    """One way of judging on LIBERO.

    ``seeding``: ``episode`` seeds the environment with ``seed`` + the episode's number within its suite (tasks outside,
    trials inside); ``task`` seeds it once, with ``seed``, when it is built. Seeds matter although initial states are
    stored.
    ``execute``: steps executed of a chunk. ``pixels``: side of the rendered pictures.
    ``embodiment``: ``libero`` (metres, radians) or ``libero_release`` (the raw units of released checkpoints).
    ``binary_gripper``: send only -1 or 1.
    """

    suites: tuple[Suite, ...] = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
    tasks: tuple[int, ...] | None = None
    trials: int = Field(default=50, ge=1, le=50)
    seed: int = 41
    seeding: Literal["episode", "task"] = "episode"
    warm_up: int = Field(default=10, ge=0)
    execute: int = Field(default=8, ge=1)
    pixels: int = Field(default=512, ge=32)
    embodiment: Literal["libero", "libero_release"] = "libero"
    binary_gripper: bool = False

    def episodes(self) -> list[Episode]:
        """Every trial; tasks are named ``SUITE/NUMBER``."""
        out = []
        for suite in self.suites:
            for task in range(TASKS[suite]):
                for trial in range(self.trials):
                    number = task * self.trials + trial  # of the whole suite, so a part of it has the same seeds
                    seed = self.seed + (number if self.seeding == "episode" else 0)
                    if self.tasks is None or task in self.tasks:
                        out.append(Episode(f"{suite}/{task}", seed, MAX_STEPS[suite], trial))
        return out

    def make(self, task: str) -> LiberoSimulator:
        """The simulator of a task."""
        return LiberoSimulator(self, task)


PRESETS: dict[str, dict[str, Any]] = {
    "release": {},
    "openpi": {"seed": 7, "seeding": "task", "execute": 5, "pixels": 256},
}


def category(task: str) -> str:
    """The suite of a task: a column of the paper's Table 4."""
    return task.partition("/")[0]


def observed(robot: Embodiment, raw: Mapping[str, Any], instruction: str) -> Observation:
    """A raw observation: both pictures turned by 180 degrees, hand position, axis-angle of its xyzw quaternion, two
    finger positions."""
    state = {
        "eef_position": raw["robot0_eef_pos"],
        "eef_rotation": rotations.quat_to_rotvec(np.asarray(raw["robot0_eef_quat"], np.float64), "xyzw"),
        "finger_positions": raw["robot0_gripper_qpos"],
    }
    return observation(robot, raw, CAMERAS, state, instruction)


def row(robot: Embodiment, action: np.ndarray, binary_gripper: bool = False) -> np.ndarray:
    """A step [S] as the environment's command (7,): displacement, axis-angle, gripper."""
    blocks = command(robot, action, binary_gripper)
    return np.clip(np.concatenate([blocks["eef_position"], blocks["eef_rotation"], blocks["gripper"]]), -1, 1)


def check_installed() -> dict[str, str]:
    """LIBERO's own paths.

    Raises:
        NotInstalled: a package, its configuration file or its assets are missing. Nothing of LIBERO is imported before
            this is clear: without a configuration file its import waits for an answer on the terminal.
    """
    packages = [name for name in ("libero", "robosuite", "bddl") if importlib.util.find_spec(name) is None]
    if packages:
        raise NotInstalled(
            f"LIBERO cannot run: no package {', '.join(packages)}; install LIBERO (github: "
            "Lifelong-Robot-Learning/LIBERO, or hf-libero) with robosuite 1.4.0"
        )
    config = Path(os.environ.get("LIBERO_CONFIG_PATH", Path.home() / ".libero")) / "config.yaml"
    if not config.is_file():
        raise NotInstalled(
            f"LIBERO cannot run: {config} is missing; write the keys benchmark_root, bddl_files, init_states, datasets "
            "and assets with their folders, or import libero.libero once in a terminal"
        )
    paths: dict[str, str] = yaml_text.loads(config.read_text()) or {}
    for key in ("bddl_files", "init_states", "assets"):
        if key not in paths or folder_missing(Path(paths[key])):
            raise NotInstalled(
                f"LIBERO cannot run: {config} names no folder with files as {key} ({paths.get(key)}); the assets are "
                "not in every package, take them from LIBERO's repository"
            )
    return paths


class LiberoSimulator:
    """A :class:`~beingh05_model.evaluation.rollout.Simulator` of one task. Needs LIBERO and its assets."""

    def __init__(self, protocol: LiberoProtocol, task: str) -> None:
        paths = check_installed()
        from libero.libero import benchmark
        from libero.libero.envs import OffScreenRenderEnv

        suite, _, number = task.partition("/")
        about = benchmark.get_benchmark_dict()[suite]().get_task(int(number))
        self.instruction = str(about.language)
        self._protocol, self._robot = protocol, load_embodiment(protocol.embodiment)
        self._starts = initial_states(Path(paths["init_states"]) / about.problem_folder / about.init_states_file)
        self._env: Any = OffScreenRenderEnv(
            bddl_file_name=str(Path(paths["bddl_files"]) / about.problem_folder / about.bddl_file),
            camera_heights=protocol.pixels,
            camera_widths=protocol.pixels,
        )
        self._env.seed(protocol.seed if protocol.seeding == "task" else 0)
        self._raw: Mapping[str, Any] = {}

    def reset(self, seed: int, trial: int) -> None:
        if self._protocol.seeding == "episode":
            self._env.seed(seed)
        self._env.reset()
        self._raw = self._env.set_init_state(self._starts[trial])
        for _ in range(self._protocol.warm_up):
            self._raw, *_ = self._env.step(IDLE.tolist())

    def observe(self) -> Observation:
        return observed(self._robot, self._raw, self.instruction)

    def step(self, action: np.ndarray) -> None:
        sent = row(self._robot, action, self._protocol.binary_gripper)
        self._raw, *_ = self._env.step(sent.tolist())

    @property
    def success(self) -> bool:
        return bool(self._env.check_success())

    def close(self) -> None:
        self._env.close()


def initial_states(path: Path) -> np.ndarray:
    """[N, ...] stored states of the simulator. The file is a pickle of torch; nothing but arrays is taken from it."""
    import torch
    from torch.serialization import safe_globals

    parts: list[Any] = [np.ndarray, np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32))]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        if importlib.util.find_spec(module) is not None:
            parts.append(importlib.import_module(module)._reconstruct)
    with safe_globals(parts):
        return np.asarray(torch.load(path, map_location="cpu", weights_only=True))
