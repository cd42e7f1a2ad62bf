"""A moving average of the parameters, spread over the ranks: each keeps whole tensors of its own, so it costs 4 bytes a
parameter over all ranks together. Works for every ZeRO stage; parameters that are split are gathered one at a time."""

from __future__ import annotations

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
    """``average <- decay * average + (1 - decay) * parameter`` in float32."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        rank, world = dist.get_rank(), dist.get_world_size()
        self._owner = {name: number % world for number, (name, _) in enumerate(model.named_parameters())}
        self.average: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            with whole(parameter), torch.no_grad():
                if self._owner[name] == rank:
                    self.average[name] = parameter.detach().float().cpu().clone()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            with whole(parameter):
                if name in self.average:
                    self.average[name].lerp_(parameter.detach().float().cpu(), 1 - self.decay)

    def gathered(self, model: nn.Module) -> dict[str, Tensor]:
        """All averages, on rank 0; other ranks get an empty dict."""
        world = dist.get_world_size()
        every: list[dict[str, Tensor] | None] = [self.average] if world == 1 else [None] * world
        if world > 1:
            dist.gather_object(self.average, every if dist.get_rank() == 0 else None)
            if dist.get_rank():
                return {}
        merged = {name: value for one in every if one for name, value in one.items()}
        buffers = {n: b for n, b in model.state_dict().items() if n not in merged and n.endswith("router.bias")}
        return {**merged, **buffers}

    def restore(self, averages: dict[str, Tensor]) -> None:
        """Take one's own tensors back."""
        for name in self.average:
            self.average[name] = averages[name].float().clone()
