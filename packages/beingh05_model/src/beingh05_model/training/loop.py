"""The training loop: rows of every stream, DeepSpeed's step, a line of figures, checkpoints that resume exactly."""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from beingh05_model.network.model import BeingH, Losses
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.training import checkpoint
from beingh05_model.training.adapters import AdapterOptimiser, take_out
from beingh05_model.training.balance import Balance
from beingh05_model.training.ema import Ema
from beingh05_model.training.engine import full_tensors, start_engine
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
        resume: Go on from the newest complete checkpoint.
        stop_after: Stop at this step as if the job's time had ended, without a checkpoint.

    Raises:
        ValueError: the rows of a step cannot be shared evenly by the ranks, or there is nothing to resume.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    turns(settings, 0, rank, world)  # refused before anything is built
    share = settings.packing.rows // world
    out = Path(settings.output)
    freeze(model, settings)
    model.backbone.recompute = settings.recompute
    taken = take_out(model)
    adapters = None if taken is None else AdapterOptimiser(taken, settings.optimiser)
    engine = start_engine(settings, model, accumulate=share)
    ema = None if settings.optimiser.ema is None else Ema(engine.module, settings.optimiser.ema)
    balance = Balance(model)
    step = 0
    states: dict[int, StreamState] = {}
    if resume:
        step, states = _resume(engine, ema, adapters, out)
    rows = loader(source, settings, states, step, rank, world)
    losses: list[float] = []
    while step < settings.steps:
        rate = rate_at(step, settings.steps, settings.optimiser)
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        figures = _step(engine, rows, share, states, settings, adapters, balance)
        if adapters is not None:
            adapters.step(rate)
        balance.step()
        if ema is not None:
            ema.update(engine.module)
        step += 1
        losses.append(figures["loss"])
        figures["rate"] = rate
        if rank == 0 and step % settings.log_every == 0:
            _log(out, step, figures)
        if stop_after is not None and step >= stop_after:
            break
        if step % settings.save_every == 0 or step == settings.steps:
            _save(engine, ema, adapters, settings, states, step, tokenizer, about)
    return Outcome(step, losses)


def _step(
    engine: Any,
    rows: Iterator[PackedRow],
    share: int,
    states: dict[int, StreamState],
    settings: TrainSettings,
    adapters: AdapterOptimiser | None,
    balance: Balance,
) -> dict[str, float]:
    """One optimiser step: this rank's rows, forward, backward; then the update. ``states`` follows the rows taken."""
    sums: dict[str, float] = defaultdict(float)
    clock = _Clock(sums)
    for _ in range(share):
        row = next(rows)
        states[row.stream] = row.state
        t = row.content.to(engine.device)
        if adapters is not None:
            adapters.see(t)
        clock.add("data_s")
        parts: Losses = engine(t)
        loss = _total(parts, settings)
        balance.see(parts)
        clock.add("forward_s")
        engine.backward(loss)
        clock.add("backward_s")
        engine.step()
        clock.add("update_s")
        for name, value in _figures(parts, loss).items():
            sums[name] += float(value) / share
        sums["tokens"] += row.tokens
        sums["samples"] += row.samples
    return _over_ranks(dict(sums))


def _total(parts: Losses, settings: TrainSettings) -> Tensor:
    """Eqs. 4 and 6."""
    weight = settings.loss
    return weight.text * parts.text + weight.flow * parts.flow + weight.motion * parts.motion + parts.routing


def _figures(parts: Losses, loss: Tensor) -> dict[str, Tensor]:
    out = {"loss": loss, "text": parts.text, "flow": parts.flow, "motion": parts.motion, "routing": parts.routing}
    if "gate" in parts.figures:
        out["gate"] = parts.figures["gate"].mean()
    return {name: value.detach() for name, value in out.items()}


class _Clock:
    """Seconds since the last call, added up by name."""

    def __init__(self, sums: dict[str, float]) -> None:
        self.sums, self.last = sums, time.perf_counter()

    def add(self, name: str) -> None:
        now = time.perf_counter()
        self.sums[name] += now - self.last
        self.last = now


def _over_ranks(figures: dict[str, float]) -> dict[str, float]:
    """Losses are means over ranks, counts sums, seconds the slowest rank's."""
    world = dist.get_world_size()
    if world == 1:
        return figures
    every: list[dict[str, float]] = [{} for _ in range(world)]
    dist.all_gather_object(every, figures)
    out = {}
    for name in figures:
        values = [one.get(name, 0.0) for one in every]
        if name in ("tokens", "samples"):
            out[name] = sum(values)
        elif name.endswith("_s"):
            out[name] = max(values)
        else:
            out[name] = sum(values) / world
    return out


def _log(out: Path, step: int, figures: dict[str, float]) -> None:
    """One line a call, appended to ``log.jsonl`` and printed."""
    seconds = sum(v for k, v in figures.items() if k.endswith("_s"))
    line = {"step": step, **figures, "samples/s": figures["samples"] / seconds, "tokens/s": figures["tokens"] / seconds}
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    parts = " ".join(f"{k} {line[k]:.4g}" for k in ("loss", "flow", "text", "motion", "rate", "samples/s", "tokens/s"))
    shares = " ".join(f"{k[:-2]} {figures[k] / seconds:.0%}" for k in figures if k.endswith("_s"))
    print(f"step {step}: {parts} | {shares}", flush=True)


# ---- checkpoints ------------------------------------------------------------------------------------------------


def _save(
    engine: Any,
    ema: Ema | None,
    adapters: AdapterOptimiser | None,
    settings: TrainSettings,
    states: dict[int, StreamState],
    step: int,
    tokenizer: tk.TextTokenizer,
    about: dict[str, Any],
) -> None:
    """Optimiser state, positions of all streams and the model itself; ``latest`` names it once it is whole."""
    out, name = Path(settings.output), f"step-{step:07d}"
    world, rank = dist.get_world_size(), dist.get_rank()
    mine = {number: state.as_dict() for number, state in states.items()}
    every: list[dict[int, Any]] = [mine] * world
    if world > 1:
        dist.all_gather_object(every, mine)
    state = {str(k): v for one in every for k, v in one.items()}
    engine.save_checkpoint(
        str(out / "state"), tag=name, client_state={"step": step, "streams": state}, save_latest=False
    )
    told = {**about, "step": step, "settings": settings.model_dump(mode="json")}
    weights = {"": full_tensors(engine)}
    if ema is not None:
        weights["-ema"] = ema.gathered(engine.module)
    if rank == 0:
        extra = {} if adapters is None else adapters.tensors()
        for ending, tensors in weights.items():
            tensors |= extra
            checkpoint.save(out / f"{name}{ending}", engine.module.config, tensors, tokenizer, told)
        if ema is not None:
            torch.save(weights["-ema"], out / "state" / name / "ema.pt")
        if adapters is not None:
            torch.save(adapters.state_dict(), out / "state" / name / "adapters.pt")
        checkpoint.write_text(out / "latest", name + "\n")
        for old in sorted((out / "state").glob("step-*"))[: -settings.keep]:  # DeepSpeed leaves scripts beside them
            shutil.rmtree(old)
    dist.barrier()


def _resume(
    engine: Any, ema: Ema | None, adapters: AdapterOptimiser | None, out: Path
) -> tuple[int, dict[int, StreamState]]:
    """Step and streams of the newest whole checkpoint."""
    latest = out / "latest"
    if not latest.is_file():
        raise ValueError(f"{out}: nothing to resume; no checkpoint was completed there")
    name = latest.read_text().strip()
    path, state = engine.load_checkpoint(str(out / "state"), tag=name)
    if path is None:
        raise ValueError(f"{out / 'state' / name}: cannot be read")
    if ema is not None:
        ema.restore(torch.load(out / "state" / name / "ema.pt", weights_only=True))
    if adapters is not None:
        adapters.load_state_dict(torch.load(out / "state" / name / "adapters.pt", weights_only=True))
    streams = {int(k): StreamState(**v) for k, v in state["streams"].items()}
    return int(state["step"]), streams
