"""Linear layers with int8 weights: one scale per output channel, symmetric, weights only.

w is stored as round(w / s) in -127..127 with s = max |w| of the channel / 127, so no weight moves by more than s / 2.
Activations stay as they are: a chunk of one robot is bound by the way of the weights through memory, which this cuts to
a half of bfloat16's. Legend: O outputs, I inputs.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: matrices of both experts, the vision tower and the connector; what reads and writes states and actions, the gate, the
#: routers, embeddings and the text head stay as they are
QUANTISED = re.compile(
    r"backbone\.layers\.\d+\.(und|act)\.(q|k|v|o|ffn(\.experts\.\d+)?\.(gate|up|down))"
    r"|vision\.layers\.\d+\.(qkv|proj|fc1|fc2)|connector\.fc[12]"
)


class Int8(NamedTuple):
    """Values int8 [..., O, I] and the float scale of each output channel [..., O]."""

    values: Tensor
    scale: Tensor

    def dequantised(self, dtype: torch.dtype) -> Tensor:
        return (self.values.to(self.scale.dtype) * self.scale[..., None]).to(dtype)


def quantise(weight: Tensor) -> Int8:
    """Nearest int8 values of a float matrix [O, I]; a channel of zeros has scale 1.

    Raises:
        ValueError: a weight is not finite.
    """
    weight = weight.detach().float()
    if not torch.isfinite(weight).all():
        raise ValueError("a weight is not finite; such a model cannot be quantised")
    scale = weight.abs().amax(-1) / 127
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return Int8((weight / scale[..., None]).round().clamp(-127, 127).to(torch.int8), scale)


def linear(x: Tensor, weight: Tensor | Int8, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``; int8 values are cast on the way, their scales applied to the sums."""
    if isinstance(weight, Tensor):
        return F.linear(x, weight, bias)
    out = F.linear(x, weight.values.to(x.dtype)) * weight.scale.to(x.dtype)
    return out if bias is None else out + bias


class Int8Linear(nn.Module):
    """Takes the place of ``nn.Linear`` at inference; it does not learn."""

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.values: Tensor
        self.scale: Tensor
        self.register_buffer("values", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False) if bias else None

    def _apply(self, fn: Any, recurse: bool = True) -> Int8Linear:
        """Scales stay float32 whatever the rest becomes: a step that is 0.4 % off moves large weights by half of it."""
        scale = self.scale
        super()._apply(fn, recurse)
        if not scale.is_meta:
            self.scale = scale.to(self.values.device)
        return self

    @property
    def weight(self) -> Int8:
        return Int8(self.values, self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def to_int8(model: nn.Module, empty: bool = False) -> nn.Module:
    """Replace the layers of :data:`QUANTISED` in place; ``empty`` leaves their values to be loaded."""
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, nn.Linear) or not QUANTISED.fullmatch(name):
            continue
        small = Int8Linear(layer.in_features, layer.out_features, layer.bias is not None).to(layer.weight.device)
        if not empty:
            small.values, small.scale = quantise(layer.weight)
            if layer.bias is not None and small.bias is not None:
                small.bias.data = layer.bias.detach().clone()
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, small)
    return model
