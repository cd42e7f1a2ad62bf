"""Load of the routed experts over the samples of a step, and the biases that even it out (``mof.balance: bias``)."""

from __future__ import annotations

import torch
from torch import distributed as dist

from beingh05_model.network.model import BeingH, Losses
from beingh05_model.network.mof import Router


class Balance:
    """Counts which experts the samples of all ranks chose and moves each router's bias once a step.

    Does nothing for models without routed layers, and where the balance is a loss or none.

    Args:
        device: Of the engine; ranks on GPUs can add up nothing that lies elsewhere.
    """

    def __init__(self, model: BeingH, device: torch.device) -> None:
        self.device = device
        routers = [m for m in model.modules() if isinstance(m, Router)]
        self.routers = [r for r in routers if r.config.balance == "bias"]
        self._load = self._zero()

    def _zero(self) -> torch.Tensor:
        experts = self.routers[0].config.experts if self.routers else 0
        return torch.zeros(len(self.routers), experts, device=self.device)

    def see(self, parts: Losses) -> None:
        """Count the choices of one row."""
        if self.routers and "expert_share" in parts.figures:
            self._load += (parts.figures["expert_share"].detach() > 0).sum(1)

    def step(self) -> None:
        """Move the biases by the load of the step over all ranks."""
        if not self.routers:
            return
        if dist.get_world_size() > 1:
            dist.all_reduce(self._load)
        for router, load in zip(self.routers, self._load, strict=True):
            router.rebalance(load.to(router.bias.device))
        self._load = self._zero()
