"""The training loop: packed rows, DeepSpeed's step, a line of figures an interval, checkpoints that resume exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from beingh05_model.network.model import BeingH, Losses
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.training import figures, lora, saving, trackers
from beingh05_model.training.adapters import AdapterOptimiser, take_out
from beingh05_model.training.balance import Balance
from beingh05_model.training.ema import Ema
from beingh05_model.training.engine import start_engine
from beingh05_model.training.flops import Flops, peak_tflops
from beingh05_model.training.loader import PackedRow, loader, turns
from beingh05_model.training.optimiser import freeze, rate_at
from beingh05_model.training.rows import Examples, StreamState
from beingh05_model.training.settings import TrainSettings


@dataclass
class Outcome:
    """Where a run ended, and the loss of every step it made."""

    step: int
    losses: list[float]


def train(
    settings: TrainSettings,
    model: BeingH,
    source: Examples,
    tokenizer: tk.TextTokenizer,
    about: dict[str, Any],
    *,
    resume: bool = False,
    stop_after: int | None = None,
) -> Outcome:
    """Train to ``settings.steps``, from the beginning or from the newest checkpoint in ``settings.output``.

    Args:
        about: What a checkpoint says of itself (recipe hash, embodiments); steps and settings are added.
        resume: Go on from the newest complete checkpoint, which any number of ranks may have written.
        stop_after: Stop at this step as if the job's time had ended, without a checkpoint.

    Raises:
        ValueError: the rows of a step cannot be shared evenly by the ranks, there is nothing to resume, or a
            tracker's package is missing.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    mine = turns(settings, 0, rank, world)  # refused before anything is built
    trackers.check(settings)
    if settings.lora is not None:
        lora.attach(model, settings.lora, settings.seed)
    freeze(model, settings)
    model.backbone.recompute = settings.recompute
    state = saving.newest(settings) if resume else None
    taken = take_out(model)
    if state is not None:
        state.load_weights(model)
    adapters = None if taken is None else AdapterOptimiser(taken, settings.optimiser)
    engine = start_engine(settings, model, accumulate=settings.packing.rows // world)
    ema = None if settings.optimiser.ema is None else Ema(engine.module, settings.optimiser.ema)
    step = 0
    states: dict[int, StreamState] = {}
    if state is not None:
        step, states = int(state.told["step"]), saving.streams(state)
        state.load_optimiser(engine)
        if ema is not None:
            state.load_average(ema)
        if adapters is not None:
            saving.load_adapters(state, adapters)
    saver = saving.Saver(settings, engine, ema, adapters, tokenizer, about)
    interval = figures.Interval(
        list(range(model.config.mof_first_layer, model.config.backbone.layers)),
        peak_tflops(settings.peak_tflops, settings.precision),
    )
    run = Run(settings, engine, adapters, Balance(model), interval, Flops(model.config, model))
    rows = loader(source, settings, states, step, rank, world)
    told = trackers.trackers(settings, step) if rank == 0 else []
    losses: list[float] = []
    while step < settings.steps:
        rate = rate_at(step, settings.steps, settings.optimiser)
        losses.append(run.step(rows, states, step, rate))
        if ema is not None:
            ema.update(engine.module)
        interval.clock.add("update_s")
        step += 1
        if step % settings.log_every == 0 or step == settings.steps:
            line = {**interval.finish(), "rate": rate}
            if rank == 0:
                figures.write(Path(settings.output), step, line, told)
        if stop_after is not None and step >= stop_after:
            break
        if step % settings.save_every == 0 or step == settings.steps:
            saver.save(step, states, mine)
            interval.clock.restart()
    for tracker in told:
        tracker.close()
    return Outcome(step, losses)


@dataclass
class Run:
    """What a step needs."""

    settings: TrainSettings
    engine: Any
    adapters: AdapterOptimiser | None
    balance: Balance
    interval: figures.Interval
    flops: Flops

    def step(self, rows: Iterator[PackedRow], states: dict[int, StreamState], step: int, rate: float) -> float:
        """This rank's rows, forward, backward; then the update. ``states`` follows the rows taken.

        Returns:
            The loss, mean over the rows of all ranks.
        """
        engine, interval, world = self.engine, self.interval, dist.get_world_size()
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        share = self.settings.packing.rows // world
        total = torch.zeros((), dtype=torch.float64, device=engine.device)
        for _ in range(share):
            row = next(rows)
            states[row.stream] = row.state
            if self.settings.lora is not None and self.settings.lora.dropout:  # nothing else draws in a forward pass
                torch.manual_seed(hash((self.settings.seed, step, row.stream)))
            t = row.content.to(engine.device)
            if self.adapters is not None:
                self.adapters.see(t)
            interval.clock.add("data_s")
            parts: Losses = engine(t)
            loss = _total(parts, self.settings)
            self.balance.see(parts)
            interval.clock.add("forward_s")
            engine.backward(loss)
            interval.clock.add("backward_s")
            engine.step()
            interval.clock.add("update_s")
            total += loss.detach() / share
            interval.see(_figures(parts, loss))
            interval.experts.see(t, row.embodiments, parts)
            interval.count(tokens=row.tokens, samples=row.samples, flops=self.flops.row(row.content))
        if self.adapters is not None:
            self.adapters.step(rate)
        self.balance.step()
        if world > 1:
            dist.all_reduce(total)
        return float(total) / world


def _total(parts: Losses, settings: TrainSettings) -> Tensor:
    """Eqs. 4 and 6."""
    weight = settings.loss
    return weight.text * parts.text + weight.flow * parts.flow + weight.motion * parts.motion + parts.routing


def _figures(parts: Losses, loss: Tensor) -> dict[str, Tensor]:
    out = {"loss": loss, "text": parts.text, "flow": parts.flow, "motion": parts.motion, "routing": parts.routing}
    if "gate" in parts.figures:
        out["gate"] = parts.figures["gate"].mean()
    return {name: value.detach() for name, value in out.items()}
