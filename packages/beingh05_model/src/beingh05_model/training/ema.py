"""A moving average of the parameters, spread over the ranks: each keeps whole tensors of its own, so it costs 4 bytes a
parameter over all ranks together. Works for every ZeRO stage; parameters that are split are gathered one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


def whole(parameter: nn.Parameter) -> AbstractContextManager[Any]:
    """The parameter's full value inside a ``with``; every rank must enter."""
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter], modifier_rank=None)


class Ema:
    """``average <- decay * average + (1 - decay) * parameter`` in float32.

    Args:
        parameters: By name: the engine's, and those beside it that belong to the model (slot adapters).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = dict(parameters), decay
        rank, world = dist.get_rank(), dist.get_world_size()
        self._owner = {name: number % world for number, name in enumerate(self.parameters)}
        self.average: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            with whole(parameter), torch.no_grad():
                if self._owner[name] == rank:
                    self.average[name] = parameter.detach().float().cpu().clone()

    @torch.no_grad()
    def update(self) -> None:
        for name, parameter in self.parameters.items():
            if not parameter.requires_grad:
                continue
            with whole(parameter):
                if name in self.average:
                    self.average[name].lerp_(parameter.detach().float().cpu(), 1 - self.decay)

    def gathered(self, model: nn.Module) -> dict[str, Tensor]:
        """All averages and the routers' biases, on rank 0; other ranks take part and get an empty dict.

        They travel one at a time, so no device holds more than one.
        """
        rank = dist.get_rank()
        out: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            owner = self._owner[name]
            if rank == owner == 0:
                out[name] = self.average[name]
            elif rank == owner:
                dist.send(self.average[name].to(parameter.device), 0)
            elif rank == 0:
                shape = getattr(parameter, "ds_shape", parameter.shape)
                one = torch.empty(shape, dtype=torch.float32, device=parameter.device)
                dist.recv(one, owner)
                out[name] = one.cpu()
        if rank:
            return {}
        return out | {n: b.detach().cpu() for n, b in model.state_dict().items() if n.endswith("router.bias")}

    def restore(self, averages: dict[str, Tensor]) -> None:
        """Take one's own tensors back."""
        for name in self.average:
            self.average[name] = averages[name].float().clone()
