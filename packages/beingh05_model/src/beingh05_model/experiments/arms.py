"""The arms of the ablations: what is trained from what, what is held still, and on what it is judged.

An arm is one training run and its evaluation (:class:`ArmSettings`, a YAML in a directory of its own). Arms of a table
differ in nothing but what the table names; they share seeds, data and the pre-training they start from.

| study | of the paper | arms |
| --- | --- | --- |
| freeze | Tables 6 and 7 | five sets of frozen parts, two starts |
| layers | Figures 11 and 12 | the whole VLM frozen, four numbers of frozen action layers, two starts, dense and MoF |
| mof | 5.1.2 | dense and MoF with equal active parameters |
| mask | Table 8 | with and without the masked motion-token objective |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from beingh05_model.evaluation import metaworld as mw
from beingh05_model.evaluation.mwds import MwdsSettings
from beingh05_model.experiments.train_demo import SETTINGS, SIZE
from beingh05_model.network.config import MotionTokenConfig
from beingh05_model.training.settings import TrainSettings, over
from unihand_data import yaml_text
from unihand_data.config import Settings, SettingsError

Study = Literal["freeze", "layers", "mof", "mask"]
Start = Literal["native", "human"]
STARTS: tuple[Start, ...] = ("native", "human")
#: frozen parts of Tables 6 and 7 by the paper's names
FROZEN: dict[str, tuple[str, ...]] = {
    "Und + Proj + ViT": ("understanding", "connector", "vision"),
    "Und + ViT": ("understanding", "vision"),
    "Und Only": ("understanding",),
    "Proj + ViT": ("connector", "vision"),
    "None (Full FT)": (),
}
VLM = FROZEN["Und + Proj + ViT"]
#: vision-text reaches neither; held still, so that a native start has an action expert that was never trained
NOT_OF_THE_VLM = ("action", "heads")
#: tasks that the mean command cannot do: of 50 widened episodes it succeeds in 0, 0, 0 and 4 (docs/train_demo.md), in
#: the recorder's other tasks in 12 to 20 and in faucet-open in 4, which a blind policy does in 42. Where it succeeds,
#: arms that learned nothing but the mean are alike above zero and hide what a table is about.
TASKS = ("drawer-open", "window-close", "button-press-topdown", "window-open")
#: the chunk of people, one second at 15 Hz, that motion tokens stand for
HUMAN_CHUNK = {"steps": 15, "rate_hz": 15.0}


class ClosedLoop(Settings):
    """Meta-World tasks ``TASK@RANGE``, so many rollouts each, at the recorder's picture size."""

    tasks: tuple[str, ...]
    rollouts: int = Field(ge=1)
    size: int = SIZE
    execute: int = Field(default=8, ge=1)
    max_steps: int = Field(default=mw.MAX_STEPS, ge=1)


class ArmSettings(Settings):
    """One arm of one seed. ``labels`` are its place in the table. Pre-training is an arm that nothing judges."""

    labels: dict[str, str]
    train: TrainSettings
    closed_loop: ClosedLoop | None = None
    human: MwdsSettings | None = None

    @property
    def seed(self) -> int:
        return self.train.seed

    def text(self) -> str:
        """As it stands in its directory."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class Choice(Settings):
    """What is chosen for all arms of a study.

    ``seeds``: so many, from 0. ``steps``: of an arm; ``pretrain_steps``: of each pre-training, native and human-centric
    alike. ``demonstrations``: of each task, in the training split. ``single``: a model for each task (Table 6), else
    one for all (Table 7). ``changes``: of train_demo.yaml's settings, for every arm. ``only``: arms with these labels.
    """

    study: Study
    tasks: tuple[str, ...] = TASKS
    seeds: int = Field(default=3, ge=1)
    steps: int = Field(default=600, ge=1)
    pretrain_steps: int = Field(default=600, ge=1)
    rollouts: int = Field(default=20, ge=1)
    demonstrations: int = Field(default=5, ge=1)
    single: bool = False
    execute: int = Field(default=8, ge=1)
    size: int = SIZE
    max_steps: int = Field(default=mw.MAX_STEPS, ge=1)
    changes: dict[str, Any] = Field(default_factory=dict)
    only: dict[str, str] = Field(default_factory=dict)


class Places(Settings):
    """Where the data of a study lies.

    ``robot``: recipe by the tasks it holds, joined by ``+``. ``joint``: robots and human rows. ``human``: human rows
    and vision-text. ``text``: vision-text alone. ``judged``: human rows that no arm is trained on, for MWDS.
    """

    tokenizer: str
    text: str
    human: str
    robot: dict[str, str] = Field(default_factory=dict)
    joint: str | None = None
    motion_tokenizer: str | None = None
    motion_sizes: MotionTokenConfig | None = None
    judged: MwdsSettings | None = None


class Arms:
    """The arms of a study below a folder.

    ``pretraining()`` and ``arms()`` give directories by arm; what ``arms()`` starts from is in ``pretraining()``.
    """

    def __init__(self, choice: Choice, places: Places, output: Path) -> None:
        self.choice, self.places, self.output = choice, places, output
        self._before: dict[Path, ArmSettings] = {}

    def arms(self) -> dict[Path, ArmSettings]:
        """Every arm of every seed, seed by seed, so that what there is after a while covers the table.

        Raises:
            SettingsError: none has the labels that are asked for; it lists those that there are.
        """
        named = {"freeze": self._freeze, "layers": self._layers, "mof": self._mof, "mask": self._mask}
        self._before = {}
        every = [named[self.choice.study](seed) for seed in range(self.choice.seeds)]
        found = {folder: arm for seed in every for folder, arm in seed.items() if self._wanted(arm)}
        if not found:
            asked = ", ".join(f"{label}={value}" for label, value in self.choice.only.items())
            raise SettingsError(f"no arm of the study {self.choice.study} has {asked}; there are {_labels(every)}")
        needed = {arm.train.start for arm in found.values()}
        self._before = {folder: arm for folder, arm in self._before.items() if str(final(arm.train)) in needed}
        return found

    def _wanted(self, arm: ArmSettings) -> bool:
        return all(arm.labels.get(label) == value for label, value in self.choice.only.items())

    def pretraining(self) -> dict[Path, ArmSettings]:
        """What the arms start from, once for each seed."""
        self.arms()
        return dict(self._before)

    # ---- tables -----------------------------------------------------------------------------------------------------

    def _freeze(self, seed: int) -> dict[Path, ArmSettings]:
        out: dict[Path, ArmSettings] = {}
        for tasks in self._task_sets():
            for frozen, parts in FROZEN.items():
                for start in STARTS:
                    labels = {"frozen": frozen, "start": start}
                    if self.choice.single:
                        labels["task"] = tasks[0]
                    changes = {"freeze": list(parts), "start": self.start(start, True, seed)}
                    out |= self._robot(labels, tasks, seed, self._recipe(tasks), changes)
        return out

    def _layers(self, seed: int) -> dict[Path, ArmSettings]:
        out: dict[Path, ArmSettings] = {}
        for mof in (False, True):
            for start in STARTS:
                for layers in frozen_layers(self._base(mof)["model"]["backbone"]["layers"]):
                    labels = {"expert": _expert(mof), "start": start, "frozen layers": str(layers)}
                    changes = {
                        "freeze": list(VLM), "freeze_action_layers": layers, "start": self.start(start, mof, seed),
                        **_without_experts(mof),
                    }  # fmt: skip
                    out |= self._robot(labels, self.choice.tasks, seed, self._recipe(self.choice.tasks), changes)
        return out

    def _mof(self, seed: int) -> dict[Path, ArmSettings]:
        recipe = self.places.joint
        assert recipe is not None, "the study of experts needs robots and people together"
        out: dict[Path, ArmSettings] = {}
        for mof in (False, True):
            changes = {"start": self.start("human", mof, seed), **_without_experts(mof)}
            out |= self._robot({"expert": _expert(mof)}, self.choice.tasks, seed, recipe, changes)
        return out

    def _mask(self, seed: int) -> dict[Path, ArmSettings]:
        """Without the objective its weight is zero and all else is the same: rows, packing, parameters, noise."""
        common = self._of_people()
        start = self._pretraining("native", "people", seed, common)
        out: dict[Path, ArmSettings] = {}
        for name, weight in (("hybrid", 0.1), ("without mask loss", 0.0)):
            changes = over(common, {"start": start, "loss": {"motion": weight}})
            labels = {"objective": name}
            folder = self._folder(labels, seed)
            train = self._train(folder, self.places.human, self.choice.steps, seed, changes)
            out[folder] = ArmSettings(labels=labels, train=train, human=self.places.judged)
        return out

    # ---- parts of an arm --------------------------------------------------------------------------------------------

    def start(self, start: Start, mof: bool, seed: int) -> str:
        """Directory of the model that an arm starts from."""
        return self._pretraining(start, _expert(mof), seed, _without_experts(mof))

    def _pretraining(self, start: Start, kind: str, seed: int, changes: dict[str, Any]) -> str:
        folder = self.output / "pretraining" / f"{start}-{kind}" / f"seed-{seed}"
        steps = self.choice.pretrain_steps
        recipe = self.places.text if start == "native" else self.places.human
        if start == "native":
            changes = over(changes, {"freeze": list(NOT_OF_THE_VLM)})
        train = self._train(folder, recipe, steps, seed, changes)
        self._before[folder] = ArmSettings(labels={"pretraining": f"{start}-{kind}"}, train=train)
        return str(final(train))

    def _robot(
        self, labels: dict[str, str], tasks: Sequence[str], seed: int, recipe: str, changes: dict[str, Any]
    ) -> dict[Path, ArmSettings]:
        c = self.choice
        folder = self._folder(labels, seed)
        judged = ClosedLoop(
            tasks=tuple(f"{task}@widened" for task in tasks),
            rollouts=c.rollouts, size=c.size, execute=c.execute, max_steps=c.max_steps,
        )  # fmt: skip
        return {
            folder: ArmSettings(
                labels=labels, train=self._train(folder, recipe, c.steps, seed, changes), closed_loop=judged
            )
        }

    def _folder(self, labels: dict[str, str], seed: int) -> Path:
        study = "freeze-single" if self.choice.single else self.choice.study
        name = "-".join(value.lower().replace(" ", "") for value in labels.values())
        return self.output / study / f"seed-{seed}" / name.translate({ord("("): "-", ord(")"): None, ord("/"): "-"})

    def _task_sets(self) -> list[tuple[str, ...]]:
        return [(task,) for task in self.choice.tasks] if self.choice.single else [self.choice.tasks]

    def _recipe(self, tasks: Sequence[str]) -> str:
        return self.places.robot["+".join(tasks)]

    def _base(self, mof: bool = True) -> dict[str, Any]:
        base = over(yaml_text.loads(SETTINGS.read_text()), self.choice.changes)
        return over(base, _without_experts(mof))

    def _of_people(self) -> dict[str, Any]:
        sizes = self.places.motion_sizes
        assert sizes is not None, "the study of the masked objective needs a motion tokenizer"
        model = {"flow": {"chunk": HUMAN_CHUNK["steps"]}, "motion_tokens": sizes.model_dump()}
        return {
            "model": model, "data": {"chunk": HUMAN_CHUNK}, "motion_tokenizer": self.places.motion_tokenizer,
        }  # fmt: skip

    def _train(self, folder: Path, recipe: str, steps: int, seed: int, changes: dict[str, Any]) -> TrainSettings:
        own = {
            "data": {"recipe": recipe}, "output": str(folder / "run"), "steps": steps, "seed": seed, "keep": 1,
            "save_every": max(1, -(-steps // 2)), "tokenizer": self.places.tokenizer,
        }  # fmt: skip
        return TrainSettings.model_validate(over(over(self._base(), changes), own))


def _labels(seeds: Sequence[Mapping[Path, ArmSettings]]) -> str:
    """Labels and values of arms, as ``--only`` takes them."""
    found: dict[str, dict[str, None]] = {}
    for arm in (arm for arms in seeds for arm in arms.values()):
        for label, value in arm.labels.items():
            found.setdefault(label, {})[value] = None
    return "; ".join(f"{label}={' | '.join(values)}" for label, values in found.items())


def frozen_layers(layers: int) -> list[int]:
    """None, a quarter, half and all of the layers, rounded (the paper: 0, 7, 14 and 28 of 28)."""
    return sorted({0, round(layers / 4), round(layers / 2), layers})


def final(train: TrainSettings) -> Path:
    """The last checkpoint of a run: the average where one is kept."""
    ending = "" if train.optimiser.ema is None else "-ema"
    return Path(train.output) / f"step-{train.steps:07d}{ending}"


def _expert(mof: bool) -> str:
    return "mof" if mof else "dense"


def _without_experts(mof: bool) -> dict[str, Any]:
    """The dense expert is as wide as the chosen routed experts together, so active parameters are equal but for the
    router."""
    return {} if mof else {"model": {"mof": None}}
