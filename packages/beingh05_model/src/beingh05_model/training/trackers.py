"""Where figures of a run go besides its own log: TensorBoard and Weights & Biases, each only if it is asked for."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any, Protocol

from beingh05_model.training.settings import TrainSettings


class Tracker(Protocol):
    """Takes the scalars of a step."""

    def write(self, step: int, scalars: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in ``OUTPUT/tensorboard``."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # what a killed run wrote past its last checkpoint is not shown
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]

    def write(self, step: int, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run on Weights & Biases that goes on where the training does: its id follows from the output's path."""

    def __init__(self, settings: TrainSettings) -> None:
        import wandb

        assert settings.wandb is not None
        Path(settings.output).mkdir(parents=True, exist_ok=True)
        place = str(Path(settings.output).resolve())
        self._run: Any = wandb.init(
            project=settings.wandb.project,
            name=settings.wandb.name,
            mode=settings.wandb.mode,
            dir=settings.output,
            id=hashlib.blake2b(place.encode(), digest_size=8).hexdigest(),
            resume="allow",
            config=settings.model_dump(mode="json"),
        )

    def write(self, step: int, scalars: dict[str, float]) -> None:
        self._run.log(scalars, step=step)

    def close(self) -> None:
        self._run.finish()


def check(settings: TrainSettings) -> None:
    """Refuse trackers whose package is missing, before anything is built.

    Raises:
        ValueError: with the command that installs it.
    """
    if settings.wandb is not None and importlib.util.find_spec("wandb") is None:
        raise ValueError("wandb: the package is not installed; `pip install wandb`, or leave `wandb` out")
    if settings.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError("tensorboard: the package is not installed; `pip install 'beingh05-model[train]'`")


def trackers(settings: TrainSettings, step: int) -> list[Tracker]:
    """The trackers of a run that begins or goes on after ``step``; for rank 0."""
    out: list[Tracker] = []
    if settings.tensorboard:
        out.append(TensorBoard(Path(settings.output) / "tensorboard", step))
    if settings.wandb is not None:
        out.append(Wandb(settings))
    return out
