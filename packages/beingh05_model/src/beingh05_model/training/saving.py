"""A run's checkpoints: the model to use, the state to resume from, and ``latest``, which names the newest whole one."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from beingh05_model.sequence import tokenizer as tk
from beingh05_model.training import checkpoint, lora
from beingh05_model.training.adapters import AdapterOptimiser
from beingh05_model.training.ema import Ema
from beingh05_model.training.engine import full_tensors
from beingh05_model.training.rows import StreamState
from beingh05_model.training.settings import TrainSettings
from beingh05_model.training.state import State
from beingh05_model.training.state import save as save_state

ADAPTERS = "adapters.pt"


@dataclass
class Saver:
    """Writes a run's checkpoints.

    Attributes:
        about: What a checkpoint says of itself; step and settings are added.
    """

    settings: TrainSettings
    engine: Any
    ema: Ema | None
    adapters: AdapterOptimiser | None
    tokenizer: tk.TextTokenizer
    about: dict[str, Any]

    def save(self, step: int, states: dict[int, StreamState], own: Iterable[int]) -> None:
        """Write everything of a step; every rank must call.

        Args:
            states: Where streams stand; of them this rank has moved ``own`` on.
        """
        settings, rank, world = self.settings, dist.get_rank(), dist.get_world_size()
        out, name = Path(settings.output), f"step-{step:07d}"
        mine = {number: states[number].as_dict() for number in own if number in states}
        every: list[dict[int, Any]] = [mine] * world
        if world > 1:
            dist.all_gather_object(every, mine)
        streams = {str(number): state for one in every for number, state in one.items()}
        told = {"step": step, "streams": streams, "samples": samples_of(settings, self.about)}
        save_state(out / "state" / name, self.engine, self.ema, told)
        weights = {"": full_tensors(self.engine)}
        if self.ema is not None:
            weights["-ema"] = self.ema.gathered(self.engine.module)
        if rank == 0:
            told = {**self.about, "step": step, "settings": settings.model_dump(mode="json")}
            if self.adapters is not None:  # the averages hold theirs already
                weights[""] |= self.adapters.tensors()
            for ending, tensors in weights.items():
                folder = out / f"{name}{ending}"
                dense = tensors if settings.lora is None else lora.merged(tensors, settings.lora)
                checkpoint.save(folder, self.engine.module.config, dense, self.tokenizer, told)
                if settings.lora is not None:
                    lora.save(folder, lora.residuals(tensors), settings.lora)
            if self.adapters is not None:
                torch.save(self.adapters.state_dict(), out / "state" / name / ADAPTERS)
            checkpoint.write_text(out / "latest", name + "\n")
            for old in sorted((out / "state").glob("step-*"), key=step_of)[: -settings.keep]:
                shutil.rmtree(old)
        dist.barrier()


def step_of(folder: Path) -> int:
    """Of ``step-N``."""
    return int(folder.name.removeprefix("step-"))


def samples_of(settings: TrainSettings, about: dict[str, Any]) -> dict[str, Any]:
    """What decides which samples a run sees, in plain data; how they are read and by how many ranks does not."""
    data = settings.data.model_dump(
        mode="json", exclude={"recipe", "workers", "ahead", "cached_episodes", "open_videos"}
    )
    packing = settings.packing.model_dump(mode="json", exclude={"pad"})
    return {
        "data.recipe": about.get("recipe"),
        "seed": settings.seed,
        **{f"data.{name}": value for name, value in data.items()},
        **{f"packing.{name}": value for name, value in packing.items()},
    }


def begin(settings: TrainSettings) -> None:
    """Refuse to begin where a run is.

    Raises:
        ValueError: the output holds a checkpoint.
    """
    latest = Path(settings.output) / "latest"
    if latest.is_file():
        raise ValueError(
            f"{settings.output}: holds a run that is at {latest.read_text().strip()}; go on with it (beingh05 resume), "
            "or begin in another output"
        )


def newest(settings: TrainSettings, about: dict[str, Any]) -> State:
    """The state of the newest whole checkpoint of a run's output.

    Raises:
        ValueError: there is none, or it is of a run with other samples or streams.
    """
    out = Path(settings.output)
    latest = out / "latest"
    if not latest.is_file():
        raise ValueError(f"{out}: nothing to resume; no checkpoint was completed there")
    state = State(out / "state" / latest.read_text().strip())
    now = samples_of(settings, about)
    for name, was in state.told.get("samples", now).items():
        if name not in ("packing.rows", "packing.lanes") and now.get(name, was) != was:
            raise ValueError(
                f"{state.folder}: was begun with {name} {was!r}, and it is {now[name]!r} now: the run would see other "
                "samples; set it back, or start a run of its own from the checkpoint (start: ...)"
            )
    strange = [n for n in state.told["streams"] if int(n) >= settings.packing.streams]
    if strange:
        raise ValueError(
            f"{state.folder}: has a stream {strange[0]} and packing has {settings.packing.streams}; "
            "resume with the packing.rows and packing.lanes of the run"
        )
    return state


def streams(state: State) -> dict[int, StreamState]:
    """Where the streams stood."""
    return {int(number): StreamState(**told) for number, told in state.told["streams"].items()}


def load_adapters(state: State, adapters: AdapterOptimiser) -> None:
    """Put slot adapters and their moments back."""
    adapters.load_state_dict(torch.load(state.folder / ADAPTERS, weights_only=True))
