"""Figures of an interval: loss parts, speed, MFU, where the time goes, and which experts each embodiment uses.

Times are of the slowest rank, counts of all ranks together. A loss part is a mean over what the steps held of its kind
(:mod:`~beingh05_model.training.losses`) and missing where they held none.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from beingh05_model.network.model import Losses
from beingh05_model.network.tokens import Tokens
from beingh05_model.training.trackers import Tracker

COUNTS = ("tokens", "samples", "skipped", "flops")


class Clock:
    """Seconds since the last call, added up by name. On a GPU the work that was queued is waited for, so that it
    counts where it belongs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.last = time.perf_counter()

    def restart(self) -> None:
        self.last = time.perf_counter()

    def add(self, name: str) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[name] += now - self.last
        self.last = now


class ExpertUse:
    """Share of the choices that fell on each routed expert, by layer and by embodiment."""

    def __init__(self, layers: list[int]) -> None:
        self.layers = layers
        self.chosen: dict[str, Tensor] = {}

    def see(self, t: Tokens, embodiments: list[str], parts: Losses) -> None:
        """Count the choices of one packed row; ``embodiments`` are of its samples, by number."""
        if "expert_share" not in parts.figures:
            return
        chosen_LGX = (parts.figures["expert_share"].detach() > 0).cpu()
        for place, sample in enumerate(t.state_sample.flatten().sort().values.tolist()):
            name = embodiments[sample]
            counts = chosen_LGX[:, place].long()
            self.chosen[name] = self.chosen[name] + counts if name in self.chosen else counts

    def shares(self, of_ranks: list[dict[str, Tensor]]) -> dict[str, dict[str, list[float]]]:
        """Embodiment to layer to share of each expert; empty where nothing was routed."""
        total: dict[str, Tensor] = {}
        for chosen in of_ranks:
            for name, counts in chosen.items():
                total[name] = total[name] + counts if name in total else counts
        return {
            name: {
                str(layer): [round(float(x), 4) for x in row / row.sum()]
                for layer, row in zip(self.layers, total[name], strict=True)
            }
            for name in sorted(total)
        }


class Interval:
    """Adds up what happens between two lines of the log."""

    def __init__(self, layers: list[int], peak_tflops: float | None) -> None:
        self.layers, self.peak = layers, peak_tflops
        self.clock = Clock()
        self._begin()

    def _begin(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.seen: dict[str, float] = defaultdict(float)
        self.experts = ExpertUse(self.layers)
        self.clock.seconds.clear()

    def count(self, **counts: float) -> None:
        for name, value in counts.items():
            self.sums[name] += value

    def see(self, name: str, mean: Tensor, count: int = 1) -> None:
        """A mean over ``count`` things of one row."""
        if count:
            self.sums[name] += float(mean.detach()) * count
            self.seen[name] += count

    def finish(self) -> dict[str, Any]:
        """The interval's figures over all ranks; then everything begins anew. Every rank must call."""
        mine = dict(self.sums), dict(self.seen), dict(self.clock.seconds), self.experts.chosen
        world = dist.get_world_size()
        every: list[Any] = [mine] * world
        if world > 1:
            dist.all_gather_object(every, mine)
        out: dict[str, Any] = {}
        for name in dict.fromkeys(name for sums, *_ in every for name in sums):
            total = sum(sums.get(name, 0.0) for sums, *_ in every)
            out[name] = total if name in COUNTS else total / sum(seen.get(name, 0.0) for _, seen, *_ in every)
        for name in dict.fromkeys(name for _, _, seconds, _ in every for name in seconds):
            out[name] = max(seconds.get(name, 0.0) for _, _, seconds, _ in every)
        seconds = sum(value for name, value in out.items() if name.endswith("_s"))
        out["samples/s"], out["tokens/s"] = out["samples"] / seconds, out["tokens"] / seconds
        flops = out.pop("flops")
        if self.peak is not None:
            out["mfu"] = flops / seconds / (self.peak * 1e12 * world)
        if shares := self.experts.shares([chosen for *_, chosen in every]):
            out["experts"] = shares
        self._begin()
        return out


def write(out: Path, step: int, figures: dict[str, Any], trackers: list[Tracker]) -> None:
    """One line in ``log.jsonl``, one on the screen, and the trackers."""
    line = {"step": step, **figures}
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    named = ("loss", "flow", "text", "motion", "skipped", "rate", "samples/s", "tokens/s", "mfu")
    parts = " ".join(f"{k} {line[k]:.4g}" for k in named if k in line)
    times = {name[:-2]: value for name, value in figures.items() if name.endswith("_s")}
    shares = " ".join(f"{name} {value / sum(times.values()):.0%}" for name, value in times.items())
    print(f"step {step}: {parts} | {shares}", flush=True)
    scalars = {name: value for name, value in figures.items() if name != "experts"}
    for name, layers in figures.get("experts", {}).items():
        for layer, row in layers.items():
            scalars |= {f"experts/{name}/layer_{layer}/{number}": share for number, share in enumerate(row)}
    for tracker in trackers:
        tracker.write(step, scalars)
