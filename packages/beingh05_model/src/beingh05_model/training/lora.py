"""Low-rank adaptation (Hu et al. 2021): y = W x + alpha / rank * B A x, where W stays and A, B learn.

A wrapped layer keeps its weight's name, so a model with residuals loads and saves its dense tensors like any other.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from beingh05_model.network.model import BeingH
from beingh05_model.training.parts import target_of
from beingh05_model.training.settings import LoraSettings

DOWN, UP = "lora_down", "lora_up"
FILE = "lora.safetensors"


class LoraLinear(nn.Linear):
    """A linear layer without bias, frozen, and its residual: zero at the start, because ``lora_up`` is.

    Args:
        base: The layer; its weight is taken over, not copied.
        generator: Draws ``lora_down`` (uniform, as a linear layer of that width begins).
    """

    def __init__(self, base: nn.Linear, settings: LoraSettings, generator: torch.Generator) -> None:
        super().__init__(base.in_features, base.out_features, bias=False, device="meta")
        self.weight = base.weight
        like = base.weight.detach()
        bound = 1 / math.sqrt(base.in_features)
        down = torch.empty(settings.rank, base.in_features).uniform_(-bound, bound, generator=generator)
        self.lora_down = nn.Parameter(down.to(like))
        self.lora_up = nn.Parameter(like.new_zeros(base.out_features, settings.rank))
        self.scale = settings.alpha / settings.rank
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        residual = F.linear(F.linear(self.dropout(x), self.lora_down), self.lora_up)
        return F.linear(x, self.weight) + self.scale * residual


def attach(model: BeingH, settings: LoraSettings, seed: int) -> list[str]:
    """Replace the target layers in place; returns their names. The same seed draws the same residuals."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and target_of(name) in settings.targets
    ]
    for name, layer in layers:
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, LoraLinear(layer, settings, generator))
    return [name for name, _ in layers]


def residuals(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The low-rank tensors alone."""
    return {name: value for name, value in tensors.items() if name.endswith((f".{DOWN}", f".{UP}"))}


def merged(tensors: dict[str, Tensor], settings: LoraSettings) -> dict[str, Tensor]:
    """Tensors of the model without residuals: W + alpha / rank * B A.

    Merged weights are float32 whatever they were trained as: bf16 would round small residuals away.
    """
    low = residuals(tensors)
    out = {name: value for name, value in tensors.items() if name not in low}
    for name in low:
        layer, _, kind = name.rpartition(".")
        if kind == DOWN:
            product = low[f"{layer}.{UP}"].float() @ low[name].float()
            out[f"{layer}.weight"] = out[f"{layer}.weight"].float() + settings.alpha / settings.rank * product
    return out


def save(folder: Path, tensors: dict[str, Tensor], settings: LoraSettings) -> None:
    """Write the low-rank tensors beside the merged weights of a checkpoint, with their settings as metadata."""
    part = folder / f".{FILE}.part"
    save_file({n: v.cpu().contiguous() for n, v in tensors.items()}, part, {"settings": settings.model_dump_json()})
    part.replace(folder / FILE)
