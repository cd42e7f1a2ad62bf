"""Meta-World in closed loop: a policy acts where the recorder's experts acted (docs/metaworld.md).

An episode is named ``TASK@RANGE`` and a seed; objects, goal and hand stand as in the recorder's attempt of that seed,
so seeds of demonstrations (from 0 up) and of evaluation (:data:`FIRST_SEED` up) never meet. The policy sees the hand,
the gripper and the pictures; the expert's view of objects and goal is never given to it.

Legend: S 200 slots, T steps.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beingh05_model.evaluation.rollout import Episode, Outcome
from beingh05_model.inference.policy import Observation
from unihand_data.config import SettingsError
from unihand_data.record.expert import Scene
from unihand_data.record.gl import choose_backend
from unihand_data.record.settings import Ranges, RecordSettings
from unihand_data.record.tasks import SENTENCES
from unihand_data.record.workers import one_thread_each
from unihand_data.space import Embodiment, load_embodiment, to_dense

if TYPE_CHECKING:
    from beingh05_model.evaluation.placement import Placement

EMBODIMENT = "metaworld"
FIRST_SEED = 100_000
#: policy steps of an episode: two and a half times an expert's longest
MAX_STEPS = 250
TURNS = {"none": 0, "rotate_180": 2}
INFO = "meta/info.json"
EPISODES = "meta/episodes.jsonl"


def episodes(tasks: Sequence[str], ranges: Ranges, count: int, first_seed: int = FIRST_SEED) -> list[Episode]:
    """``count`` episodes of each task, at the same seeds for whoever acts."""
    return [
        Episode(f"{task}@{ranges}", first_seed + trial, MAX_STEPS, trial) for task in tasks for trial in range(count)
    ]


class MetaWorld:
    """A :class:`~beingh05_model.evaluation.rollout.Simulator` of one task in one range.

    Args:
        name: ``TASK@RANGE``.
        size: pixels of a side, as the demonstrations were recorded.
    """

    def __init__(self, name: str, size: int) -> None:
        choose_backend()
        task, _, ranges = name.partition("@")
        settings = RecordSettings.model_validate({"tasks": [task], "ranges": [ranges], "size": size})
        self.sentence = SENTENCES[settings.tasks[0]]
        self._ranges: Ranges = settings.ranges[0]
        self._scene = Scene(settings.tasks[0], settings)
        self._robot: Embodiment = load_embodiment(EMBODIMENT)
        self._cameras = {c.key: c for c in self._robot.cameras}
        self._state = np.zeros(4, np.float32)
        self._success = False

    def reset(self, seed: int, trial: int) -> None:
        self._state, self._success = self._scene.start(self._ranges, seed), False

    def observe(self) -> Observation:
        pictures = {
            self._cameras[name].view: np.rot90(picture, TURNS[self._cameras[name].turn])
            for name, picture in self._scene.pictures()
        }
        state, known = to_dense(*self._robot.to_unified(self._state[None], "state")[:3])
        return Observation(pictures, self.sentence, state[0], known[0], EMBODIMENT)

    def step(self, action: np.ndarray) -> None:
        self.command(self._robot.from_unified(action, range(len(action)), kind="action"))

    def command(self, command: np.ndarray) -> None:
        """A raw command (4,) instead of an action of the unified space."""
        self._state, success = self._scene.step(command)
        self._success = self._success or success

    @property
    def success(self) -> bool:
        """Whether any step of the episode succeeded."""
        return self._success

    def close(self) -> None:
        self._scene.close()


# ---- what a policy that looks must beat ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Demonstrations:
    """Clean labels of a recording, [T, 4] per episode, by ``TASK@RANGE``."""

    recording: Path
    labels: dict[str, list[np.ndarray]]

    @classmethod
    def read(cls, recording: Path) -> Demonstrations:
        """Of a folder of the recorder.

        Raises:
            FileNotFoundError: no such recording.
        """
        import pyarrow.parquet as pq

        found: dict[str, list[np.ndarray]] = defaultdict(list)
        lines = (recording / EPISODES).read_text().splitlines()
        for one in map(json.loads, lines):
            number = int(one["episode_index"])
            path = recording / f"data/chunk-{number // 1000:03d}/episode_{number:06d}.parquet"
            label = np.stack(pq.read_table(path, columns=["action"])["action"].to_numpy())
            found[f"{one['task_id']}@{one['range']}"].append(label.astype(np.float32))
        return cls(recording, dict(found))

    def mean_command(self, name: str) -> np.ndarray:
        """(1, 4): one command for all steps, the mean over the demonstrations of a task.

        Raises:
            SettingsError: the recording holds none.
        """
        return np.concatenate(self._of(name)).mean(0, keepdims=True)

    def mean_trajectory(self, name: str) -> np.ndarray:
        """[T, 4]: at each step the mean over the demonstrations that are still going on.

        Raises:
            SettingsError: the recording holds none.
        """
        labels = self._of(name)
        longest = max(len(label) for label in labels)
        return np.stack([np.mean([label[t] for label in labels if t < len(label)], 0) for t in range(longest)])

    def _of(self, name: str) -> list[np.ndarray]:
        if name not in self.labels:
            raise SettingsError(_lacks(self.recording, [name], self.labels))
        return self.labels[name]


def pixels(recording: Path) -> int:
    """Side of a recording's pictures.

    Raises:
        SettingsError: no such recording, or it has no pictures.
    """
    path = recording / INFO
    if not path.is_file():
        raise SettingsError(f"{path}: not found; give a folder of the recorder (docs/metaworld.md)")
    features = json.loads(path.read_text())["features"].values()
    sides = [int(one["shape"][0]) for one in features if one["dtype"] == "video"]
    if not sides:
        raise SettingsError(f"{path}: features names no video; give a folder of the recorder (docs/metaworld.md)")
    return sides[0]


def check_recording(recording: Path, names: Sequence[str], size: int) -> None:
    """That demonstrations of every ``TASK@RANGE`` are there, with pictures of ``size`` pixels; reads ``meta`` only.

    Raises:
        SettingsError: they are not.
    """
    found = pixels(recording)
    if found != size:
        raise SettingsError(f"{recording}: pictures of {found} pixels, {size} are wanted; record with --size {size}")
    path = recording / EPISODES
    if not path.is_file():
        raise SettingsError(f"{path}: not found; give a folder of the recorder (docs/metaworld.md)")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    held = dict.fromkeys(f"{one['task_id']}@{one['range']}" for one in lines)
    if missing := [name for name in names if name not in held]:
        raise SettingsError(_lacks(recording, missing, held))


def _lacks(recording: Path, missing: Sequence[str], held: Iterable[str]) -> str:
    return (
        f"{recording}: no demonstrations of {', '.join(missing)} (there are {', '.join(held) or 'none'}); record them "
        "as well (docs/metaworld.md) or name other tasks"
    )


def check_tasks(given: Sequence[str]) -> tuple[str, ...]:
    """``--tasks``, checked.

    Raises:
        SettingsError: no such task, or one stands there twice.
    """
    if unknown := [task for task in given if task not in SENTENCES]:
        raise SettingsError(f"--tasks: no {unknown[0]!r}; there are {', '.join(SENTENCES)}")
    if len(set(given)) < len(given):
        raise SettingsError("--tasks: a task is named twice")
    return tuple(given)


def play(trials: Sequence[Episode], commands: dict[str, np.ndarray], size: int = 32) -> list[Outcome]:
    """Commands [T, 4] of each task played without looking; the last one is repeated."""
    out: list[Outcome] = []
    worlds: dict[str, MetaWorld] = {}
    try:
        for one in trials:
            world = worlds.setdefault(one.task, MetaWorld(one.task, size))
            world.reset(one.seed, one.trial)
            path, steps = commands[one.task], 0
            while steps < one.max_steps and not world.success:
                world.command(path[min(steps, len(path) - 1)])
                steps += 1
            out.append(Outcome(one.task, one.seed, one.trial, world.success, steps, 0))
    finally:
        for world in worlds.values():
            world.close()
    return out


def expert(trials: Sequence[Episode]) -> list[Outcome]:
    """The scripted expert at the same seeds, without noise."""
    choose_backend()  # read when the simulator is imported, so also where nothing is rendered
    out: list[Outcome] = []
    for name in dict.fromkeys(one.task for one in trials):
        task, _, ranges = name.partition("@")
        options: dict[str, Any] = {"tasks": [task], "ranges": [ranges], "noise": 0, "after_success": 0}
        settings = RecordSettings.model_validate({**options, "max_steps": MAX_STEPS})
        with Scene.opened(task, settings) as scene:
            for one in trials:
                if one.task == name:
                    tried = scene.attempt(settings.ranges[0], one.seed)
                    out.append(Outcome(name, one.seed, one.trial, tried.succeeded, len(tried.success), 0))
    return out


def policy(
    trials: Sequence[Episode],
    checkpoint: str,
    size: int,
    blind: bool = False,
    execute: int = 8,
    placement: Placement | None = None,
) -> list[Outcome]:
    """A checkpoint acts; ``execute`` steps of each chunk are taken before the next is asked for. It runs in float32 on
    the CPU where no ``placement`` is given."""
    import torch

    from beingh05_model.evaluation import checkpoints
    from beingh05_model.evaluation.placement import CPU
    from beingh05_model.evaluation.rollout import Rollout

    torch.set_num_threads(1)
    acting = checkpoints.load(checkpoint, blind=blind, placement=placement or CPU).policy
    return Rollout(acting, execute=execute, together=10).run(trials, lambda name: MetaWorld(name, size))


def spread(
    run: Callable[..., list[Outcome]], trials: Sequence[Episode], workers: int, *arguments: Any
) -> list[Outcome]:
    """``run(trials, *arguments)`` with a process for each of some tasks at a time; outcomes in the order of the
    trials."""
    names = list(dict.fromkeys(one.task for one in trials))
    with one_thread_each(max(1, min(workers, len(names)))) as pool:
        jobs = {n: pool.submit(run, [t for t in trials if t.task == n], *arguments) for n in names}
        found = {n: iter(job.result()) for n, job in jobs.items()}
    return [next(found[one.task]) for one in trials]
