"""Small layers that both experts are made of. Legend: B batch, N tokens, H heads, K key/value heads, E head width, D
width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm over the last axis, computed in float32 and cast back before the weight (as Qwen3)."""
    x32 = x.float()
    return weight * (x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


class RmsNorm(nn.Module):
    """:func:`rms` with a learned weight."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms(x, self.weight, self.eps)


class SwiGlu(nn.Module):
    """down(silu(gate x) * up x), without biases."""

    def __init__(self, width: int, ffn: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, ffn, bias=False)
        self.up = nn.Linear(width, ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def rope_tables(position_BN: Tensor, width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of rotary embeddings, float32 [B, 1, N, E] with the two halves alike (half-split rotation)."""
    frequency = theta ** (-torch.arange(0, width, 2, device=position_BN.device, dtype=torch.float32) / width)
    angle_BNe = position_BN.float()[..., None] * frequency
    angle_BNE = torch.cat([angle_BNe, angle_BNe], dim=-1)
    return angle_BNE.cos()[:, None], angle_BNE.sin()[:, None]


def rotate(x_BHNE: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Apply rotary embeddings in the dtype of ``x``."""
    cos, sin = (table.to(x_BHNE.dtype) for table in rope)
    first, second = x_BHNE.chunk(2, dim=-1)
    return x_BHNE * cos + torch.cat([-second, first], dim=-1) * sin


#: of the base 10,000, rounded to float32
LOG_BASE = torch.log(torch.tensor(10000.0)).item()


def time_table(bucket: Tensor, width: int) -> Tensor:
    """Sines, then cosines of an integer time bucket: [..., width] float32, base 10,000."""
    half = width // 2
    exponent = torch.arange(half, device=bucket.device, dtype=torch.float32)
    frequency = torch.exp(exponent * -(LOG_BASE / half))
    angle = bucket.float()[..., None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def plain_norm(x: Tensor) -> Tensor:
    """LayerNorm without weights over the last axis."""
    return F.layer_norm(x, x.shape[-1:])
