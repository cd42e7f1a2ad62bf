"""Embodiment-aware delays (paper 5.3.3, eqs. 17 and 18): how many steps of a chunk are already committed.

A robot with control period dt and latency budget L commits m = ceil(L / dt) steps on average. Training draws the delay
around m, so that one checkpoint serves robots and computers of different speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unihand_data.config import Settings


class DelaySettings(Settings):
    """``safety``: steps added to the mean at run time (eq. 22). ``uniform``: share of delays drawn from all allowed."""

    safety: int = 1
    uniform: float = 0.2


@dataclass(frozen=True)
class DelayDistribution:
    """pi of eq. 17: probabilities of the delays 0 .. d_max - 1."""

    mean: int
    probability: np.ndarray

    @property
    def maximum(self) -> int:
        """d_max: delays stay below it."""
        return len(self.probability)

    def draw(self, random: np.random.Generator) -> int:
        return int(random.choice(self.maximum, p=self.probability))


#: rows without a latency budget (humans) commit nothing
NO_DELAY = DelayDistribution(0, np.ones(1))


def delay_distribution(
    latency_s: float | None, step_s: float, chunk: int, settings: DelaySettings | None = None
) -> DelayDistribution:
    """pi for one embodiment.

    Args:
        latency_s: Expected inference latency L; None where there is none to expect.
        step_s: Period of one step of the chunk, after resampling.
        chunk: Steps T of a chunk.

    Raises:
        ValueError: mean and safety leave no step of the chunk to predict.
    """
    if latency_s is None:
        return NO_DELAY
    settings = settings or DelaySettings()
    mean = math.ceil(latency_s / step_s - 1e-9)
    if mean + settings.safety >= chunk:
        raise ValueError(
            f"a latency of {latency_s * 1000:.0f} ms is {mean} steps of {step_s * 1000:.0f} ms; with {settings.safety} "
            f"for safety nothing of a chunk of {chunk} steps is left: make the chunk longer or the model faster"
        )
    sigma = max(1.0, mean / 4)
    maximum = min(chunk, mean + settings.safety + math.ceil(2 * sigma) + 1)
    delays = np.arange(maximum)
    normal = np.exp(-0.5 * ((delays - mean) / sigma) ** 2)
    probability = (1 - settings.uniform) * normal / normal.sum() + settings.uniform / maximum
    return DelayDistribution(mean, probability)
