"""The slot adapters' own optimiser (eq. 12: what belongs to slots that a step did not touch does not change).

Adam moves a parameter as long as its moments are not zero, gradient or not, and decay always does. So the adapters are
kept out of DeepSpeed: every rank holds them whole (they are few), their gradients are averaged here, and a group takes
a step only if a sample of that step, on any rank, has one of its slots. All others stay bit for bit, moments included.
They stay float32 in every precision and are cast where they are used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from beingh05_model.network.adapters import ADAPTER_GROUPS, SlotAdapters
from beingh05_model.network.model import BeingH
from beingh05_model.network.tokens import Tokens
from beingh05_model.training.settings import OptimiserSettings

PREFIX = "adapters."


def take_out(model: BeingH) -> SlotAdapters | None:
    """Unregister the adapters, so that an engine around the model does not see them; the model goes on using them."""
    adapters = model.adapters
    if adapters is None:
        return None
    del model.adapters
    model.__dict__["adapters"] = adapters
    return adapters


class AdapterOptimiser:
    """One AdamW without decay per slot group, each with its own count of steps.

    Args:
        device: Of the engine, which moves the model without them: they are moved here.

    Attributes:
        norm: Of the gradients of the last step, before clipping.
    """

    def __init__(self, adapters: SlotAdapters, settings: OptimiserSettings, device: torch.device) -> None:
        self.adapters, self.clip, self.device, self.norm = adapters.to(device), settings.clip, device, 0.0
        self.groups: dict[str, torch.optim.AdamW] = {
            name: torch.optim.AdamW(
                [adapters.encode[name], adapters.decode[name]], settings.rate, settings.betas, weight_decay=0.0
            )
            for name in ADAPTER_GROUPS
        }
        self._touched: set[str] = set()

    def see(self, t: Tokens) -> None:
        """Note which groups the action steps of a row have; call it for every row of a step."""
        slots = t.action_slots.flatten(0, 1)
        self._touched |= {name for name, rows in self.adapters.active(slots).items() if bool(rows.any())}

    def step(self, rate: float) -> list[str]:
        """Average the gradients over the ranks and move the groups that were touched anywhere; returns their names.

        Gradients are expected to be divided by the number of rows of this rank already.
        """
        world = dist.get_world_size()
        flags = torch.tensor([float(name in self._touched) for name in ADAPTER_GROUPS], device=self.device)
        if world > 1:
            dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        active = [name for name, flag in zip(ADAPTER_GROUPS, flags.tolist(), strict=True) if flag > 0]
        parameters = [p for name in active for p in self.parameters(name)]
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if world > 1:
                dist.all_reduce(parameter.grad)
                parameter.grad /= world
        self.norm = float(nn.utils.clip_grad_norm_(parameters, self.clip)) if parameters else 0.0
        for name in active:
            for group in self.groups[name].param_groups:
                group["lr"] = rate
            self.groups[name].step()
        for optimiser in self.groups.values():
            optimiser.zero_grad(set_to_none=True)
        self._touched = set()
        return active

    def parameters(self, name: str) -> tuple[nn.Parameter, nn.Parameter]:
        return self.adapters.encode[name], self.adapters.decode[name]

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """The adapters under the model's names."""
        return {PREFIX + name: parameter for name, parameter in self.adapters.named_parameters()}

    def tensors(self) -> dict[str, Tensor]:
        """Copies of them."""
        return {PREFIX + name: value.detach().cpu().clone() for name, value in self.adapters.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"adapters": self.tensors(), "groups": {n: o.state_dict() for n, o in self.groups.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.adapters.load_state_dict({k.removeprefix(PREFIX): v for k, v in state["adapters"].items()})
        for name, optimiser in self.groups.items():
            optimiser.load_state_dict(state["groups"][name])
