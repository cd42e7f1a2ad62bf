"""What a run costs before it is started, from its settings and what they assume of an average sample.

tokens of a step  = packing.rows x packing.tokens
tokens a sample   = views x (tokens of a view + 2) + words + state + chunk + 4 special tokens
operations        = 3 x forward (training.estimate), no recomputation
memory            = weights, gradients and Adam by ZeRO stage, and activations of a row (training.estimate)
GPU-hours         = samples x operations a sample / (device's bf16 peak x mfu) / 3600
"""

from __future__ import annotations

from dataclasses import dataclass

from beingh05_model.network.config import ModelConfig
from beingh05_model.network.count import count
from beingh05_model.training import estimate
from beingh05_model.training.settings import BudgetSettings, TrainSettings


@dataclass(frozen=True)
class Budget:
    """Cost of a run, over all its steps and devices."""

    tokens: float
    tokens_per_sample: float
    samples: float
    flops_per_sample: float
    gpu_hours: float


def budget(settings: TrainSettings, assumed: BudgetSettings) -> Budget:
    """Work out the cost of a run."""
    model = settings.model
    special = 0 if model.compat.bare_actions else 4
    each = assumed.views * (model.vision.tokens + 2) + assumed.words + 1 + model.flow.chunk + special
    tokens = float(settings.steps) * settings.packing.rows * settings.packing.tokens
    device = estimate.DEVICES[assumed.device]
    samples = tokens / each
    return Budget(
        tokens,
        each,
        samples,
        estimate.training_flops_per_sample(model, assumed.views, assumed.words),
        estimate.gpu_hours(model, samples, device, assumed.mfu, assumed.views, assumed.words),
    )


def size(config: ModelConfig) -> str:
    """Parameters in words, all and those that one sample passes."""
    counted = count(config)
    return f"{counted.total / 1e6:.1f} M parameters, {counted.active / 1e6:.1f} M active"


def memory(settings: TrainSettings, assumed: BudgetSettings, ranks: int) -> tuple[float, float]:
    """Bytes of a rank: weights, gradients and Adam; activations of one row of average samples."""
    model = settings.model
    row = estimate.Row.of(model, settings.packing.tokens, assumed.views, assumed.words)
    kept = estimate.activation_bytes(model, row, settings.recompute, 2 if settings.precision == "bf16" else 4)
    return estimate.training_bytes_per_rank(model, ranks, settings.stage), kept


def lines(settings: TrainSettings) -> list[str]:
    """The budget in words, with what it assumes; empty where ``budget`` is not set."""
    assumed = settings.budget
    if assumed is None:
        return []
    found, packing = budget(settings, assumed), settings.packing
    weights, kept = memory(settings, assumed, packing.rows)
    return [
        f"{settings.steps} steps x {packing.rows} rows x {packing.tokens} tokens = {found.tokens / 1e9:.1f} B tokens",
        f"an average sample: {assumed.views:g} views and {assumed.words:g} words = {found.tokens_per_sample:.0f} tokens"
        f", {found.flops_per_sample / 1e12:.2f} TFLOP forward and backward; {found.samples / 1e6:.1f} M samples",
        f"{found.gpu_hours:.0f} GPU-hours on {assumed.device} "
        f"({estimate.DEVICES[assumed.device].tflops:g} TFLOP/s) at an MFU of {assumed.mfu:.1%}",
        f"a rank of {packing.rows}, a row each, ZeRO {settings.stage}: {weights / 1e9:.1f} GB of weights, gradients "
        f"and Adam, {kept / 1e9:.1f} GB of activations {'with' if settings.recompute else 'without'} recomputation; "
        f"{assumed.device} has {estimate.DEVICES[assumed.device].memory_gb:g} GB",
    ]
