"""Rectified flow, eqs. 7 and 20. One convention everywhere: t = 0 is noise, t = 1 is clean.

Legend: T action steps (of one or many samples), S 200 slots.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from beingh05_model.network.config import FlowConfig

RELEASED_S = 0.999


def times_from_beta(beta_draw: Any, released: bool) -> Any:
    """Flow time (a number or a tensor) from draws of Beta(alpha, beta): t = 1 - s, in [0, 1].

    The release computes (0.999 - s) / 0.999, which can be slightly negative.
    """
    if released:
        return (RELEASED_S - beta_draw) / RELEASED_S
    return 1.0 - beta_draw  # draws lie in 0..1, so the time does


def bucket(time: Tensor, config: FlowConfig) -> Tensor:
    """Whole number of the time table's row: trunc(buckets * t)."""
    return (time * config.buckets).long()


def interpolate(noise: Tensor, clean: Tensor, time_T: Tensor) -> Tensor:
    """x_t = (1 - t) noise + t clean, [..., T, S]."""
    t = time_T[..., None]
    return (1 - t) * noise + t * clean


def flow_loss(velocity_TS: Tensor, target_TS: Tensor, cell_TS: Tensor, sample_T: Tensor, samples: int) -> Tensor:
    """Squared error, mean over a sample's active (step, slot) cells, then over the samples that have any (eq. 7).

    Args:
        cell_TS: True for cells with a loss.
        sample_T: Sample of each step, 0..samples-1.
    """
    error_T = ((velocity_TS - target_TS).square() * cell_TS).sum(-1)
    zero = error_T.new_zeros(samples)
    total = zero.index_add(0, sample_T, error_T)
    count = zero.index_add(0, sample_T, cell_TS.sum(-1).to(error_T.dtype))
    some = count > 0
    return (total / count.clamp(min=1)).sum() / some.sum().clamp(min=1)


def flow_loss_over_batch(velocity_TS: Tensor, target_TS: Tensor, cell_TS: Tensor) -> Tensor:
    """The release's loss: mean over all active cells of a packed batch, whoever they belong to."""
    error = ((velocity_TS - target_TS).square() * cell_TS).sum()
    return error / (cell_TS.sum() + 1e-8)
