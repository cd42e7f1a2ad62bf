"""Grouped residual vector quantisation: the latent is cut into groups, each quantised by levels of what is left over.

Codes are moving averages of the vectors that chose them. A code that is hardly chosen is put on a random vector of the
batch, from a generator whose state is part of a training state. Gradients pass straight through.

Legend: N vectors, D channels, G groups, L levels, K codes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from beingh05_model.motion_tokens.settings import TokenizerSettings


class Quantised(NamedTuple):
    """``vectors`` [N, D] with the gradient of the input, ``ids`` [N, G, L] in 0..K-1, ``commitment`` a scalar."""

    vectors: Tensor
    ids: Tensor
    commitment: Tensor


class GroupedResidualQuantiser(nn.Module):
    """See the module. In training mode codes move with every batch."""

    def __init__(self, settings: TokenizerSettings) -> None:
        super().__init__()
        self.settings = settings
        shape = settings.groups, settings.levels, settings.codes
        self.codes: Tensor
        self.count: Tensor
        self.total: Tensor
        self.begun: Tensor
        self.register_buffer("codes", torch.zeros(*shape, settings.code_width // settings.groups))
        self.register_buffer("count", torch.zeros(shape))  # average choices in a batch
        self.register_buffer("total", torch.zeros_like(self.codes))  # average sum of what chose a code
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    def forward(self, x_ND: Tensor, generator: torch.Generator | None = None) -> Quantised:
        """Quantise; in training mode ``generator`` (on the CPU) is needed and codes are updated."""
        pieces, ids, commitment = [], [], x_ND.new_zeros(())
        for g, piece in enumerate(x_ND.chunk(self.settings.groups, dim=1)):
            left, sum_ND = piece, torch.zeros_like(piece)
            for level in range(self.settings.levels):
                if self.training:
                    assert generator is not None
                    self._begin(g, level, left.detach(), generator)
                chosen = nearest(left.detach(), self.codes[g, level])
                quantised = self.codes[g, level][chosen]
                if self.training:
                    assert generator is not None
                    self._move(g, level, left.detach(), chosen, generator)
                commitment = commitment + (left - quantised).square().mean()
                left, sum_ND = left - quantised, sum_ND + quantised
                ids.append(chosen)
            pieces.append(sum_ND)
        if self.training:
            self.begun.fill_(True)
        vectors = torch.cat(pieces, dim=1)
        shape = len(x_ND), self.settings.groups, self.settings.levels
        mean = commitment / (self.settings.groups * self.settings.levels)
        return Quantised(x_ND + (vectors - x_ND).detach(), torch.stack(ids, 1).reshape(shape), mean)

    def look_up(self, ids_NGL: Tensor) -> Tensor:
        """[N, D] sums of the codes of ids."""
        groups = [
            torch.stack([self.codes[g, level][ids_NGL[:, g, level]] for level in range(self.settings.levels)]).sum(0)
            for g in range(self.settings.groups)
        ]
        return torch.cat(groups, dim=1)

    def _begin(self, g: int, level: int, x: Tensor, generator: torch.Generator) -> None:
        """The first batch gives all codes."""
        if not self.begun:
            self._revive(g, level, torch.ones(self.settings.codes, dtype=torch.bool, device=x.device), x, generator)

    def _move(self, g: int, level: int, x: Tensor, chosen: Tensor, generator: torch.Generator) -> None:
        k, decay = self.settings.codes, self.settings.decay
        # a product with one-hot rows, not index_add: the sum's order is the same in every run, on a GPU too
        one_hot = torch.nn.functional.one_hot(chosen, k).to(x.dtype)
        self.count[g, level].lerp_(one_hot.sum(0), 1 - decay)
        self.total[g, level].lerp_(one_hot.T @ x, 1 - decay)
        alive = self.count[g, level] > max(self.settings.dead_share * len(x) / k, 1e-6)
        mean = self.total[g, level] / self.count[g, level].clamp(min=1e-6)[:, None]
        self.codes[g, level] = torch.where(alive[:, None], mean, self.codes[g, level])
        if not bool(alive.all()):
            self._revive(g, level, ~alive, x, generator)

    def _revive(self, g: int, level: int, which: Tensor, x: Tensor, generator: torch.Generator) -> None:
        """Put codes on random vectors of the batch, as if they were chosen as often as all others."""
        number = int(which.sum())
        order = torch.randperm(len(x), generator=generator)
        order = order[torch.arange(number) % len(order)].to(x.device)
        share = len(x) / self.settings.codes
        self.codes[g, level, which] = x[order]
        self.count[g, level, which] = share
        self.total[g, level, which] = x[order] * share


def nearest(x_ND: Tensor, codes_KD: Tensor) -> Tensor:
    """[N] number of the nearest code."""
    return (codes_KD.square().sum(1) - 2 * x_ND @ codes_KD.T).argmin(1)
