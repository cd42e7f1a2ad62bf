"""What a study will cost: its arms, and hours from one training step and one chunk measured here, on made-up input."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from beingh05_model.evaluation.metaworld import EMBODIMENT
from beingh05_model.experiments import one_arm
from beingh05_model.experiments.arms import ArmSettings
from beingh05_model.inference.policy import Observation, Policy
from beingh05_model.network.count import count
from beingh05_model.network.model import BeingH
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.sequence.chunks import Chunk
from beingh05_model.sequence.collate import pack
from beingh05_model.sequence.segments import Example
from beingh05_model.sequence.serialise import SYSTEM, Serialiser
from beingh05_model.training.rows import RowStream
from beingh05_model.training.settings import TrainSettings
from unihand_data.space import load_embodiment

#: s on the machine of docs/metaworld.md: a simulated step, a picture
STEP_S, PICTURE_S = 0.00035, 0.008
#: episodes that share a forward pass in evaluation/metaworld.py
TOGETHER = 10


@dataclass(frozen=True)
class Speed:
    """``step_s``: an optimiser step with nothing frozen. ``chunk_s``: a chunk of :data:`TOGETHER` observations."""

    step_s: float
    chunk_s: float


def measure(settings: TrainSettings, words: tk.TextTokenizer) -> Speed:
    """One step of the model forward and backward, and one chunk, after one of each that does not count."""
    torch.set_num_threads(1)
    model = BeingH(settings.model)
    delimiters = not settings.model.compat.bare_actions
    held = RowStream(_Made(settings, words), settings.packing, 0, delimiters).next()
    row = pack(held.examples, settings.packing.tokens if settings.packing.pad else None, delimiters=delimiters)

    def step() -> None:
        found = model(row)
        (found.flow + found.routing).backward()

    acting = Policy(model, words, system=settings.system or SYSTEM)
    seen = [_observation(settings) for _ in range(TOGETHER)]
    step_s = _seconds(step) * settings.packing.rows
    model.eval()
    return Speed(step_s, _seconds(lambda: acting.act(seen)))


def _seconds(run: Callable[[], object]) -> float:
    run()
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _observation(settings: TrainSettings) -> Observation:
    edge, known = settings.model.vision.image_size, np.zeros(200, bool)
    known[load_embodiment(EMBODIMENT).slots("state")] = True
    pictures = {f"view {n}": np.full((edge, edge, 3), 90, np.uint8) for n in range(settings.data.views)}
    return Observation(pictures, "open the drawer", np.zeros(200, np.float32), known, EMBODIMENT)


class _Made:
    """The same robot sample at every position."""

    def __init__(self, settings: TrainSettings, words: tk.TextTokenizer) -> None:
        self.settings = settings
        model = settings.model
        self.serialiser = Serialiser(
            words, model.flow, model.vision.tokens, model.compat, None, settings.system or SYSTEM
        )
        self.slots = np.zeros(200, bool)
        self.slots[load_embodiment(EMBODIMENT).slots("action")] = True

    def examples(self, positions: Sequence[int]) -> list[Example]:
        return [self._example(position) for position in positions]

    def _example(self, position: int) -> Example:
        steps, edge = self.settings.model.flow.chunk, self.settings.model.vision.image_size
        chunk = Chunk(np.zeros((steps, 200), np.float32), np.repeat(self.slots[None], steps, 0))
        random = np.random.default_rng(position)
        target = [self.serialiser.target(chunk, self.slots, random) for _ in range(self.settings.data.draws)]
        pictures = [torch.zeros(3, edge, edge) for _ in range(self.settings.data.views)]
        state = np.zeros(200, np.float32), self.slots
        question = "How should the hands move to do the following? open the drawer"
        return self.serialiser.acting(pictures, question, state, target, name=str(position), embodiment=EMBODIMENT)


def text(before: Mapping[Path, ArmSettings], arms: Mapping[Path, ArmSettings], speed: Speed, workers: int) -> str:
    """The plan: arms, how many are left, and how long they take at most (every rollout to its last step)."""
    every = {**before, **arms}
    left = {folder: arm for folder, arm in every.items() if not one_arm.done(folder)}
    steps = sum(arm.train.steps for arm in left.values())
    loops = [arm.closed_loop for arm in left.values() if arm.closed_loop is not None]
    rollouts = sum(len(loop.tasks) * loop.rollouts for loop in loops)
    acting = sum(len(loop.tasks) * loop.rollouts * _rollout_s(arm, speed) for arm in left.values()
                 if (loop := arm.closed_loop) is not None)  # fmt: skip
    names = list(dict.fromkeys(", ".join(f"{k} {v}" for k, v in arm.labels.items()) for arm in arms.values()))
    seeds = sorted({arm.seed for arm in arms.values()})
    first = next(iter(arms.values())).train
    lines = [
        f"model: {count(first.model).total:,} parameters, {first.model.backbone.layers} layers",
        *(f"  {name}" for name in names),
        f"{len(names)} arms x seeds {', '.join(map(str, seeds))} = {len(arms)} runs, after {len(before)} pre-trainings "
        f"that the arms of a seed share; {len(left)} of {len(every)} are to be run",
        f"training: {steps:,} steps at {speed.step_s:.2f} s (measured now, made-up rows, nothing frozen, one thread) = "
        f"{steps * speed.step_s / 3600:.1f} h",
        f"closed loop: {rollouts:,} rollouts, at most {acting / 3600:.1f} h if none succeeds (chunk of {TOGETHER} "
        f"measured now {speed.chunk_s:.2f} s; pictures and physics as in docs/metaworld.md)",
        f"together at most {(steps * speed.step_s + acting) / 3600 / workers:.1f} h with {workers} arms at a time, the "
        "data and the start of each run aside",
    ]
    return "\n".join(lines)


def _rollout_s(arm: ArmSettings, speed: Speed) -> float:
    loop = arm.closed_loop
    assert loop is not None
    chunks = -(-loop.max_steps // loop.execute)
    return loop.max_steps * STEP_S + chunks * (speed.chunk_s / TOGETHER + arm.train.data.views * PICTURE_S)
