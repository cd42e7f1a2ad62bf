"""RoboCasa: 24 tasks of one stage, fifty trials each, PandaOmron.

Presets: ``paper`` (five scenes, object split B, as the public evaluation that the paper refers to; layouts taken from
third-party copies of it) and ``release`` (the released script: any scene, all objects). In both 720 steps at most and
eight steps executed of a chunk.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from beingh05_model.evaluation.protocols.robosuite import NotInstalled, command, folder_missing, observation
from beingh05_model.evaluation.rollout import Episode
from beingh05_model.inference.policy import Observation
from unihand_data.config import Settings
from unihand_data.space import Embodiment, load_embodiment, rotations

#: the columns of the paper's Table 5, tasks in the order of RoboCasa's registry
CATEGORIES: dict[str, tuple[str, ...]] = {
    "pick and place": (
        "PnPCounterToCab", "PnPCabToCounter", "PnPCounterToSink", "PnPSinkToCounter", "PnPCounterToMicrowave",
        "PnPMicrowaveToCounter", "PnPCounterToStove", "PnPStoveToCounter",
    ),
    "doors and drawers": (
        "OpenSingleDoor", "CloseSingleDoor", "OpenDoubleDoor", "CloseDoubleDoor", "OpenDrawer", "CloseDrawer",
    ),
    "others": (
        "TurnOnSinkFaucet", "TurnOffSinkFaucet", "TurnSinkSpout", "TurnOnStove", "TurnOffStove", "CoffeeSetupMug",
        "CoffeeServeMug", "CoffeePressButton", "TurnOnMicrowave", "TurnOffMicrowave",
    ),
}  # fmt: skip
TASKS = tuple(task for tasks in CATEGORIES.values() for task in tasks)
#: (layout, style) of the five scenes
SCENES = ((1, 1), (2, 2), (4, 4), (6, 9), (7, 10))
CAMERAS = ("robot0_agentview_left", "robot0_agentview_right", "robot0_eye_in_hand")
#: parts of a command, in the environment's order: arm, gripper, base and torso, mode
ORDER = ("eef_position", "eef_rotation", "gripper", "base_motion", "control_mode")


class RobocasaProtocol(Settings):
    """One way of judging on RoboCasa.

    ``scenes``: trial k takes place in scene k modulo their number, so that each has as many trials; none lets the
    environment draw of all. ``objects``: instances of ``B`` (held out), ``A``, or all.
    ``seed`` + the episode's number (tasks outside, trials inside) seeds an environment of its own for each episode.
    ``embodiment``: ``robocasa`` (metres, radians; the base stands still) or ``robocasa_release`` (raw units of released
    checkpoints, base included).
    """

    tasks: tuple[str, ...] = TASKS
    trials: int = Field(default=50, ge=1)
    seed: int = 42
    scenes: tuple[tuple[int, int], ...] = SCENES
    objects: Literal["A", "B"] | None = "B"
    max_steps: int = Field(default=720, ge=1)
    execute: int = Field(default=8, ge=1)
    pixels: int = Field(default=512, ge=32)
    embodiment: Literal["robocasa", "robocasa_release"] = "robocasa"
    binary_gripper: bool = False

    @field_validator("tasks")
    @classmethod
    def _known(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(tasks) - set(TASKS))
        if unknown or not tasks:
            raise ValueError(f"no task {', '.join(unknown) or 'at all'}; there are {', '.join(TASKS)}")
        return tasks

    def episodes(self) -> list[Episode]:
        """Every trial; seeds do not depend on which tasks are asked for."""
        return [
            Episode(task, self.seed + TASKS.index(task) * self.trials + trial, self.max_steps, trial)
            for task in self.tasks
            for trial in range(self.trials)
        ]

    def make(self, task: str) -> RobocasaSimulator:
        """The simulator of a task."""
        return RobocasaSimulator(self, task)


PRESETS: dict[str, dict[str, Any]] = {"paper": {}, "release": {"scenes": (), "objects": None}}


def category(task: str) -> str:
    """The column of Table 5 that a task belongs to."""
    return next(name for name, tasks in CATEGORIES.items() if task in tasks)


def observed(robot: Embodiment, raw: Mapping[str, Any], instruction: str) -> Observation:
    """A raw observation: three pictures upside down, hand in the base's frame, fingers, base.

    The released layout takes axis-angles of the hand and reads the base's xyzw quaternion as wxyz, as its training did.
    """
    turn = np.asarray(raw["robot0_base_to_eef_quat"], np.float64)
    state = {
        "eef_position": raw["robot0_base_to_eef_pos"],
        "eef_rotation": rotations.quat_to_rotvec(turn, "xyzw") if robot.layout == "released" else turn,
        "finger_positions": raw["robot0_gripper_qpos"],
        "base_position": raw["robot0_base_pos"],
        "base_rotation": raw["robot0_base_quat"],
    }
    return observation(robot, raw, [f"{name}_image" for name in CAMERAS], state, instruction)


def row(robot: Embodiment, action: np.ndarray, binary_gripper: bool = False) -> np.ndarray:
    """A step [S] as the environment's command (12,): arm, gripper, base and torso, mode (-1 arm, 1 base)."""
    blocks = command(robot, action, binary_gripper)
    return np.clip(np.concatenate([blocks[name] for name in ORDER]), -1, 1)


def check_installed() -> None:
    """Raises ``NotInstalled`` where a package or downloaded assets are missing."""
    packages = [name for name in ("robocasa", "robosuite") if importlib.util.find_spec(name) is None]
    if packages:
        raise NotInstalled(
            f"RoboCasa cannot run: no package {', '.join(packages)}; install robosuite 1.5 and RoboCasa (github: "
            "robocasa/robocasa; it is not on PyPI) and download its kitchen assets"
        )
    spec = importlib.util.find_spec("robocasa")
    root = Path(next(iter((spec.submodule_search_locations if spec else None) or ["."]))) / "models" / "assets"
    missing = [n for n in ("textures", "fixtures", "objects/objaverse") if folder_missing(root / n)]
    if missing:
        raise NotInstalled(
            f"RoboCasa cannot run: no {', '.join(missing)} below {root}; run python -m "
            "robocasa.scripts.download_kitchen_assets"
        )


class RobocasaSimulator:
    """A :class:`~beingh05_model.evaluation.rollout.Simulator` of one task. Needs RoboCasa and its assets."""

    def __init__(self, protocol: RobocasaProtocol, task: str) -> None:
        check_installed()
        self._protocol, self._task = protocol, task
        self._robot = load_embodiment(protocol.embodiment)
        self._env: Any = None
        self._raw: Mapping[str, Any] = {}
        self._instruction = ""

    def reset(self, seed: int, trial: int) -> None:
        """A new environment: its seed is read when it is made."""
        import robocasa  # noqa: F401  registers the kitchens
        import robosuite
        from robosuite.controllers import load_composite_controller_config

        self.close()
        p = self._protocol
        self._env = robosuite.make(
            env_name=self._task,
            robots="PandaOmron",
            controller_configs=load_composite_controller_config(controller=None, robot="PandaOmron"),
            camera_names=list(CAMERAS),
            camera_widths=p.pixels,
            camera_heights=p.pixels,
            has_renderer=False,
            has_offscreen_renderer=True,
            ignore_done=True,
            use_object_obs=True,
            use_camera_obs=True,
            camera_depths=False,
            seed=seed,
            obj_instance_split=p.objects,
            layout_and_style_ids=[p.scenes[trial % len(p.scenes)]] if p.scenes else None,
            translucent_robot=False,
        )
        self._raw = self._env.reset()
        self._instruction = str(self._env.get_ep_meta()["lang"])  # of this reset: it names the objects drawn

    def observe(self) -> Observation:
        return observed(self._robot, self._raw, self._instruction)

    def step(self, action: np.ndarray) -> None:
        self._raw, *_ = self._env.step(row(self._robot, action, self._protocol.binary_gripper))

    @property
    def success(self) -> bool:
        return bool(self._env._check_success())

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None
