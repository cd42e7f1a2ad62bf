"""State and action vectors in and out of the action expert. Legend: S 200 slots, D width of the action expert."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beingh05_model.network.layers import time_table


class Mlp(nn.Module):
    """Linear, ReLU, Linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x)))


class ActionEncoder(nn.Module):
    """A noisy action step and its time bucket to one token; times may differ from step to step (eq. 18)."""

    def __init__(self, slots: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.fc1 = nn.Linear(slots, width)
        self.fc2 = nn.Linear(2 * width, width)
        self.fc3 = nn.Linear(width, width)

    def forward(self, x_TS: Tensor, bucket_T: Tensor, residual_TD: Tensor | None = None) -> Tensor:
        """``residual_TD`` is what slot adapters add to the first projection (eq. 12)."""
        x = self.fc1(x_TS)
        if residual_TD is not None:
            x = x + residual_TD
        x = torch.cat([x, time_table(bucket_T, self.width).to(x.dtype)], dim=-1)
        return self.fc3(F.silu(self.fc2(x)))
