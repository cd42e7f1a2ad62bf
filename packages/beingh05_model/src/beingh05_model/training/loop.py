"""The training loop: packed rows, DeepSpeed's step, a line of figures an interval, checkpoints that resume exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from beingh05_model.network.model import BeingH, Losses
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.training import figures, lora, losses, saving, trackers
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
        losses.Diverged: a loss or a gradient is not finite, on whatever rank; all ranks raise it.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    mine = turns(settings, 0, rank, world)  # refused before anything is built
    if not resume:
        saving.begin(settings)
    trackers.check(settings)
    if settings.lora is not None:
        lora.attach(model, settings.lora, settings.seed)
    freeze(model, settings)
    model.backbone.recompute = model.vision.recompute = settings.recompute
    state = saving.newest(settings, about) if resume else None
    taken = take_out(model)
    if state is not None:
        state.load_weights(model)
    engine = start_engine(settings, model, accumulate=settings.packing.rows // world)
    adapters = None if taken is None else AdapterOptimiser(taken, settings.optimiser, engine.device)
    ema = None
    if settings.optimiser.ema is not None:
        beside = {} if adapters is None else adapters.named_parameters()
        ema = Ema(dict(engine.module.named_parameters()) | beside, settings.optimiser.ema)
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
    run = Run(settings, engine, adapters, Balance(model, engine.device), interval, Flops(model.config, model))
    rows = loader(source, settings, states, step, rank, world)
    told = trackers.trackers(settings, step) if rank == 0 else []
    found: list[float] = []
    while step < settings.steps:
        rate = rate_at(step, settings.steps, settings.optimiser)
        found.append(run.step(rows, states, step, rate))
        if ema is not None:
            ema.update()
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
    return Outcome(step, found)


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
            The loss (:mod:`~beingh05_model.training.losses`), the same on every rank.
        """
        engine, interval, world = self.engine, self.interval, dist.get_world_size()
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        config, every = self.settings.model, self.settings.packing.rows
        own = [next(rows) for _ in range(every // world)]
        held = [losses.counts(row.content, config) for row in own]
        whole = losses.of_step(held, engine.device)
        total = dict.fromkeys(losses.PARTS, torch.zeros((), dtype=torch.float64, device=engine.device))
        for row, count in zip(own, held, strict=True):
            skipped = row.state.skipped - (states[row.stream].skipped if row.stream in states else 0)
            states[row.stream] = row.state
            if self.settings.lora is not None and self.settings.lora.dropout:  # nothing else draws in a forward pass
                torch.manual_seed(hash((self.settings.seed, step, row.stream)))
            directions = None
            if config.mpg is not None and config.compat.mpg_random_directions:
                directions = engine.module.mpg.directions(hash((self.settings.seed, step, row.stream, 1)))
            if self.adapters is not None:
                self.adapters.see(row.content)
            t = row.content.to(engine.device)
            interval.clock.add("data_s")
            parts: Losses = engine(t, directions)
            shares = losses.shares(parts, count, whole)
            loss = every * losses.weighted(shares, self.settings.loss)  # the engine takes the mean over rows and ranks
            self.balance.see(parts)
            interval.clock.add("forward_s")
            engine.backward(loss)
            interval.clock.add("backward_s")
            engine.step()
            interval.clock.add("update_s")
            total = {name: sum_ + shares[name].detach() for name, sum_ in total.items()}
            interval.see("loss", loss)
            for name, number in count.items():
                interval.see(name, getattr(parts, name), number)
            if "gate" in parts.figures:
                interval.see("gate", parts.figures["gate"].mean(), len(parts.figures["gate"]))
            interval.experts.see(row.content, row.embodiments, parts)
            flops = self.flops.row(row.content)
            interval.count(tokens=row.tokens, samples=row.samples, skipped=skipped, flops=flops)
        norms = {"the gradient's norm": engine.get_global_grad_norm()}  # None at stage 0 in float32
        if self.adapters is not None:
            self.adapters.step(rate)
            norms["the norm of the adapters' gradient"] = self.adapters.norm
        self.balance.step()
        sums = torch.stack(list(total.values()))
        if world > 1:
            dist.all_reduce(sums)
        told = dict(zip(total, sums.tolist(), strict=True))
        losses.check(step + 1, {**told, **{name: float(norm) for name, norm in norms.items() if norm is not None}})
        return float(losses.weighted(dict(zip(total, sums, strict=True)), self.settings.loss))
