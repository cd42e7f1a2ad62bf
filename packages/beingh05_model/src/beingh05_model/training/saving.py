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
        save_state(out / "state" / name, self.engine, self.ema, {"step": step, "streams": streams})
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
            for old in sorted((out / "state").glob("step-*"))[: -settings.keep]:
                shutil.rmtree(old)
        dist.barrier()


def newest(settings: TrainSettings) -> State:
    """The state of the newest whole checkpoint of a run's output.

    Raises:
        ValueError: there is none, or it is of a run with other streams.
    """
    out = Path(settings.output)
    latest = out / "latest"
    if not latest.is_file():
        raise ValueError(f"{out}: nothing to resume; no checkpoint was completed there")
    state = State(out / "state" / latest.read_text().strip())
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
