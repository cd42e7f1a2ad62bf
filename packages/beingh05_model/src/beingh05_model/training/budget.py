"""What a run costs before it is started, from its settings and what they assume of an average sample.

tokens of a step  = packing.rows x packing.tokens
tokens a sample   = views x (tokens of a view + 2) + words + state + chunk + 4 special tokens
operations        = 3 x forward (training.estimate), no recomputation
GPU-hours         = samples x operations a sample / (device's bf16 peak x mfu) / 3600
"""

from __future__ import annotations

from dataclasses import dataclass

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


def lines(settings: TrainSettings) -> list[str]:
    """The budget in words, with what it assumes; empty where ``budget`` is not set."""
    assumed = settings.budget
    if assumed is None:
        return []
    found, packing = budget(settings, assumed), settings.packing
    return [
        f"{settings.steps} steps x {packing.rows} rows x {packing.tokens} tokens = {found.tokens / 1e9:.1f} B tokens",
        f"an average sample: {assumed.views:g} views and {assumed.words:g} words = {found.tokens_per_sample:.0f} tokens"
        f", {found.flops_per_sample / 1e12:.2f} TFLOP forward and backward; {found.samples / 1e6:.1f} M samples",
        f"{found.gpu_hours:.0f} GPU-hours on {assumed.device} "
        f"({estimate.DEVICES[assumed.device].tflops:g} TFLOP/s) at an MFU of {assumed.mfu:.1%}",
    ]
