"""What a GPU makes of the real architecture with random weights: latency of a chunk, training rate, attention, memory.

    python benchmarks/gpu_model.py [--preset being-h0.5-2b] [--views 3] [--parts acting training attention]
    python benchmarks/gpu_model.py --dry-run          # the tiny preset on the CPU, every branch but CUDA graphs

Acting, bfloat16, one observation: the plain cached denoiser, and static shapes eager, compiled, graphed, compiled and
graphed, and the last with int8 weights; K = 4 and 10, with and without one refinement. ``ms`` is a whole chunk with its
host side (mask, copies), ``prefix`` and ``flow`` the two parts on the device; ``prepared`` the seconds of compiling and
capturing. Goal: at most 8 ms at K = 4 without refinement on an H200.

Training, whole steps of the training loop on one device: DeepSpeed in bfloat16 at ZeRO stage 2, slot adapters beside
it, packed rows of 7,680 tokens (two views, three of four samples; the others text), with FlexAttention and with SDPA,
with and without recomputation. MFU as ``training/flops.py`` counts it. Goal: 45 %.

Attention alone: one layer's queries of such a row, forward and backward. Goals are judged on an H200 alone. Every line
says what ran; a case that fails is a line with its reason, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from beingh05_model.inference.compiled import StaticDenoiser
from beingh05_model.inference.denoise import Denoiser
from beingh05_model.network.attention import Mask, attend
from beingh05_model.network.config import ModelConfig
from beingh05_model.network.int8 import to_int8
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import preset
from beingh05_model.network.tokens import Tokens
from beingh05_model.sequence.collate import length, pack
from beingh05_model.sequence.segments import Example, Text
from beingh05_model.training import figures
from beingh05_model.training.adapters import AdapterOptimiser, take_out
from beingh05_model.training.balance import Balance
from beingh05_model.training.engine import process_group, start_engine
from beingh05_model.training.flops import Flops, peak_tflops
from beingh05_model.training.loader import PackedRow
from beingh05_model.training.loop import Run
from beingh05_model.training.rows import StreamState
from beingh05_model.training.settings import TrainSettings
from made_up import acting, machine, median_ms, question

GOAL_MS, GOAL_MFU = 8.0, 0.45
MODES = ("plain", "eager", "compiled", "graphed", "compiled+graphed", "int8 compiled+graphed")
Line = dict[str, Any]


class Bench:
    """Options of a run, and its lines."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.dry = a, a.dry_run
        if not self.dry and not torch.cuda.is_available():
            raise SystemExit("no CUDA device; --dry-run runs the tiny preset on the CPU")
        self.device = torch.device("cpu" if self.dry else "cuda")
        self.dtype = torch.float32 if self.dry else torch.bfloat16
        self.config: ModelConfig = preset("tiny-full" if self.dry else a.preset)
        self.lines: list[Line] = []

    def model(self) -> BeingH:
        torch.manual_seed(0)
        with self.device:
            model = BeingH(self.config)
        return model.to(self.dtype)

    def case(self, line: Line, work: Callable[[], Line]) -> None:
        """One case: its figures and peak memory, or why it failed."""
        gc.collect()
        if not self.dry:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            line |= work()
        except (RuntimeError, ValueError) as error:  # out of memory and failures of a compiler are RuntimeErrors
            line["failed"] = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
        if not self.dry:
            line["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        self.lines.append(line)
        shown = {k: v for k, v in line.items() if k != "part"}
        print(f"{line['part']:10s} " + "  ".join(f"{k} {v}" for k, v in shown.items()), flush=True)

    def ms(self, call: Callable[[], object], repeats: int | None = None) -> float:
        return round(median_ms(call, repeats or self.a.repeats, on_gpu=not self.dry), 3)


# ---- acting -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def chunks(bench: Bench) -> None:
    model = bench.model().eval()
    t = question(bench.config, bench.a.views)
    noise = torch.randn(tuple(t.action.shape), generator=torch.Generator().manual_seed(0))
    reference: dict[tuple[int, int], torch.Tensor] = {}
    for name in MODES:
        mode = name.removeprefix("int8 ")
        if bench.dry and "graphed" in mode:
            if not name.startswith("int8"):
                bench.lines.append({"part": "acting", "mode": name, "not_run": "CUDA graphs need a GPU"})
                continue
            mode = "eager"
        if name.startswith("int8"):
            to_int8(model)
        denoiser = Denoiser(model) if name == "plain" else StaticDenoiser(model, mode=mode, backend=bench.a.backend)
        for steps in bench.a.steps:
            for refinements in (0, 1):
                denoiser.euler_steps, denoiser.refinements = steps, refinements
                line = {"part": "acting", "mode": name, "K": steps, "refinements": refinements}
                key = steps, refinements
                bench.case(line, lambda d=denoiser, k=key: _chunk(bench, d, t, noise, reference, k))
        del denoiser


def _chunk(
    bench: Bench, denoiser: Denoiser, t: Tokens, noise: torch.Tensor, reference: dict, key: tuple[int, int]
) -> Line:
    def call() -> torch.Tensor:
        return denoiser.run(t, lambda _: noise)

    chunk = call().float().cpu()
    scale = float(reference.setdefault(key, chunk).abs().max())
    out: Line = {"apart": round(float((chunk - reference[key]).abs().max()) / scale, 6)}
    if isinstance(denoiser, StaticDenoiser) and denoiser.ran is not None and denoiser.last is not None:
        out |= {"ran": denoiser.ran.mode, "prepared": round(denoiser.ran.prepared_s, 1), "padded": denoiser.ran.padded}
        out |= {"prefix": bench.ms(denoiser.last.prefix), "flow": bench.ms(denoiser.last.flow)}
    return {"ms": bench.ms(call), **out}


# ---- training ---------------------------------------------------------------------------------------------------


def packed(bench: Bench) -> PackedRow:
    """A full row of samples."""
    total, config = (1024 if bench.dry else bench.a.tokens), bench.config
    delimiters = not config.compat.bare_actions
    made: list[Example] = []
    used = seed = 0
    while True:
        if seed % 4 == 3:
            one = Example([Text([5] * 60), Text([7] * 120, answer=True)])
        else:
            robot = ("human_hands", "metaworld", "so101")[seed % 4]
            one = acting(config, 2, 60, seed, robot)
        size = length(one, delimiters)
        if used + size > total:
            t = pack(made, total, full_actions=not config.compat.causal_actions, delimiters=delimiters)
            return PackedRow(t, 0, StreamState(), used, [e.embodiment for e in made])
        made.append(one)
        used, seed = used + size, seed + 1


def training(bench: Bench) -> None:
    row = packed(bench)
    with process_group():
        run = _run(bench)
        for backend in ("flex", "sdpa"):
            for recompute in (False, True):
                line = {"part": "training", "attention": backend, "recompute": recompute, "samples": row.samples}
                bench.case(line, lambda b=backend, r=recompute: _steps(bench, run, row, b, r))


def _run(bench: Bench) -> Run:
    """A run as ``training/loop.py`` sets it up: a model on the host, its adapters taken out, an engine around it."""
    settings = TrainSettings.model_validate({
        "model": bench.config, "data": {"recipe": "made up", "chunk": {"steps": bench.config.flow.chunk}},
        "output": "none", "steps": 1, "precision": "fp32" if bench.dry else "bf16", "stage": 2,
    })  # fmt: skip
    torch.manual_seed(0)
    model = BeingH(bench.config)
    taken = take_out(model)
    engine = start_engine(settings, model, accumulate=1)
    adapters = None if taken is None else AdapterOptimiser(taken, settings.optimiser, engine.device)
    layers = list(range(bench.config.mof_first_layer, bench.config.backbone.layers))
    interval = figures.Interval(layers, None)
    return Run(settings, engine, adapters, Balance(model, engine.device), interval, Flops(bench.config, model))


def _steps(bench: Bench, run: Run, row: PackedRow, backend: str, recompute: bool) -> Line:
    model, t = run.engine.module, row.content
    model.backbone.backend, model.backbone.recompute, model.vision.recompute = backend, recompute, recompute
    if bench.dry and backend == "flex":
        with torch.no_grad():
            ms = bench.ms(lambda: run.engine.module(t), 1)
        return {"forward_ms": ms, "note": "FlexAttention has no backward on a CPU"}
    rows = itertools.repeat(row)
    ms = bench.ms(lambda: run.step(rows, {}, 0, 1e-5), min(bench.a.repeats, 10))
    flops = run.flops.row(t)
    peak = peak_tflops(None, "bf16")
    out: Line = {"ms": ms, "samples_per_s": round(1e3 * row.samples / ms, 2)}
    out |= {"tokens_per_s": round(1e3 * t.length / ms), "tflops": round(flops / ms / 1e9, 3)}
    if peak is not None:
        out["mfu"] = round(flops / (ms / 1e3) / (peak * 1e12), 4)
    return out


# ---- attention --------------------------------------------------------------------------------------------------


def attention(bench: Bench) -> None:
    t = packed(bench).content
    b = bench.config.backbone
    layout = t.layout.to(bench.device)
    shapes = ((b.heads, t.length), (b.kv_heads, t.length), (b.kv_heads, t.length))
    q, k, v = (
        torch.randn(1, heads, count, b.head_dim, device=bench.device, dtype=bench.dtype, requires_grad=True)
        for heads, count in shapes
    )
    for backend in ("flex", "sdpa", "documents"):
        mask = Mask(layout)

        case = {"part": "attention", "attention": backend, "tokens": t.length}
        bench.case(case, lambda m=mask, b=backend: _attend(bench, (q, k, v), m, b))


def _attend(bench: Bench, qkv: tuple[torch.Tensor, ...], mask: Mask, backend: str) -> Line:
    still = [x.detach() for x in qkv]
    out: Line = {"forward_ms": bench.ms(lambda: attend(*still, mask, backend))}
    if bench.dry and backend == "flex":
        return {**out, "note": "FlexAttention has no backward on a CPU"}
    return {**out, "forward_backward_ms": bench.ms(lambda: attend(*qkv, mask, backend).sum().backward())}


# ---- report -----------------------------------------------------------------------------------------------------


def goals(bench: Bench) -> list[str]:
    """What was asked for, and the best figure there is."""
    ms = [x["ms"] for x in bench.lines if x["part"] == "acting" and x.get("K") == 4 and x.get("refinements") == 0
          and "ms" in x and not x["mode"].startswith("int8")]  # fmt: skip
    mfu = [x["mfu"] for x in bench.lines if "mfu" in x]
    if bench.dry:
        return [f"goals: {GOAL_MS:g} ms at K = 4 on an H200, MFU {GOAL_MFU:.0%}; a dry run measures neither"]
    card = torch.cuda.get_device_name()
    said = []
    for name, best, reached in (
        (f"at most {GOAL_MS:g} ms at K = 4 (H200)", min(ms, default=None), bool(ms) and min(ms) <= GOAL_MS),
        (f"MFU {GOAL_MFU:.0%} (H200)", max(mfu, default=None), bool(mfu) and max(mfu) >= GOAL_MFU),
    ):
        said.append(f"goal {name}: {'not measured' if best is None else best} -> {judged(best, reached, card)}")
    return said


def judged(best: float | None, reached: bool, card: str) -> str:
    """Whether a goal is reached; the goals name an H200, so other cards say nothing about them."""
    if "H200" not in card:
        return f"not judged on {card}"
    return "not judged, nothing ran" if best is None else "reached" if reached else "missed"


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--preset", default="being-h0.5-2b")
    p.add_argument("--views", type=int, default=3)
    p.add_argument("--steps", type=int, nargs="+", default=[4, 10])
    p.add_argument("--tokens", type=int, default=7680)
    p.add_argument("--repeats", type=int, default=20)
    p.add_argument("--parts", nargs="+", default=["acting", "training", "attention"])
    p.add_argument("--backend", default="inductor", help="of torch.compile")
    p.add_argument("--dry-run", action="store_true")
    p.add_argument("--json", type=Path)
    a = p.parse_args(argv)
    known: dict[str, Callable[[Bench], None]] = {"acting": chunks, "training": training, "attention": attention}
    if unknown := sorted(set(a.parts) - set(known)):
        p.error(f"no part {unknown[0]!r}; there are {', '.join(known)}")
    if a.dry_run:
        a.repeats = 1
        torch.set_num_threads(1)
    bench = Bench(a)
    print(f"{machine()}; {'dry run, tiny-full, float32' if a.dry_run else a.preset + ', bfloat16'}")
    for part in a.parts:
        known[part](bench)
    print("\n".join(goals(bench)))
    report = {"machine": machine(), "preset": "tiny-full" if a.dry_run else a.preset, "lines": bench.lines}
    print(json.dumps(report))
    if a.json is not None:
        a.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(any("failed" in line for line in bench.lines))


if __name__ == "__main__":
    sys.exit(main())
