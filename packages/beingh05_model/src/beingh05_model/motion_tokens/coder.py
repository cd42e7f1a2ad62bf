"""The auto-encoder of one part of a hand: 1-D convolutions over time around a grouped residual quantiser.

Legend: N hands, T steps, W slots of the part, C channels, Z latent steps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beingh05_model.motion_tokens.quantiser import GroupedResidualQuantiser
from beingh05_model.motion_tokens.settings import TokenizerSettings


class CoderLosses(NamedTuple):
    """``values``: squared error in units; ``path``: of the running sum, 0 for absolute values; ``commitment``."""

    values: Tensor
    path: Tensor
    commitment: Tensor


class PartCoder(nn.Module):
    """Values [N, T, W] in physical units to ids and back.

    Args:
        unit: [W] physical value of one unit (network/scale.py): no statistic of the data.
        displacements: values are steps of a path.
    """

    def __init__(self, settings: TokenizerSettings, unit: Tensor, displacements: bool) -> None:
        super().__init__()
        self.settings, self.displacements = settings, displacements
        width, slots = settings.width, len(unit)
        self.unit: Tensor
        self.register_buffer("unit", unit, persistent=False)
        down: list[nn.Module] = [nn.Conv1d(slots, width, 3, padding=1), nn.ReLU()]
        up: list[nn.Module] = [nn.Conv1d(settings.code_width, width, 3, padding=1), nn.ReLU()]
        for _ in range(settings.halvings):
            down += [nn.Conv1d(width, width, 4, stride=2, padding=1), *_residuals(settings)]
            up += [*_residuals(settings), nn.Upsample(scale_factor=2), nn.Conv1d(width, width, 3, padding=1)]
        self.encoder = nn.Sequential(*down, nn.Conv1d(width, settings.code_width, 3, padding=1))
        self.decoder = nn.Sequential(*up, nn.ReLU(), nn.Conv1d(width, slots, 3, padding=1))
        self.quantiser = GroupedResidualQuantiser(settings)

    def latents(self, x_NTW: Tensor) -> Tensor:
        """[N, Z, code width] of values in physical units."""
        missing = -x_NTW.shape[1] % 2**self.settings.halvings
        x_NWT = F.pad((x_NTW / self.unit).transpose(1, 2), (0, missing), mode="replicate")
        return self.encoder(x_NWT).transpose(1, 2)

    def values(self, z_NZC: Tensor) -> Tensor:
        """[N, T, W] physical values of latents."""
        return self._units(z_NZC) * self.unit

    def _units(self, z_NZC: Tensor) -> Tensor:
        return self.decoder(z_NZC.transpose(1, 2)).transpose(1, 2)[:, : self.settings.chunk.steps]

    def losses(self, x_NTW: Tensor, generator: torch.Generator) -> CoderLosses:
        """Losses of a batch; in training mode codes move."""
        latent = self.latents(x_NTW)
        quantised = self.quantiser(latent.flatten(0, 1), generator)
        error = self._units(quantised.vectors.reshape(latent.shape)) - x_NTW / self.unit
        path = error.new_zeros(())
        if self.displacements:  # over the square root of T: what independent errors would add up to
            path = error.cumsum(1).square().mean() / error.shape[1]
        return CoderLosses(error.square().mean(), path, quantised.commitment)

    def encode(self, x_NTW: Tensor) -> Tensor:
        """[N, Z, G, L] ids in 0..codes-1."""
        latent = self.latents(x_NTW)
        ids: Tensor = self.quantiser(latent.flatten(0, 1)).ids
        return ids.reshape(*latent.shape[:2], self.settings.groups, self.settings.levels)

    def decode(self, ids_NZGL: Tensor) -> Tensor:
        """[N, T, W] physical values of ids."""
        return self.values(self.quantiser.look_up(ids_NZGL.flatten(0, 1)).reshape(*ids_NZGL.shape[:2], -1))


def _residuals(settings: TokenizerSettings) -> list[nn.Module]:
    """The widest dilation first."""
    return [_Residual(settings.width, settings.dilation**i) for i in reversed(range(settings.depth))]


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.point = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.point(F.relu(self.wide(F.relu(x))))
