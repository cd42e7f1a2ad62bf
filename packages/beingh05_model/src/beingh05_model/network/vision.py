"""InternViT and its connector (InternVL): pictures to tokens of the understanding expert.

Legend: V views, C channels, P patches, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from beingh05_model.network.config import VisionConfig


class VitLayer(nn.Module):
    """Pre-norm attention and MLP with exact GELU; each branch scaled per channel."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)
        self.fc1 = nn.Linear(config.width, config.ffn)
        self.fc2 = nn.Linear(config.ffn, config.width)
        self.scale1 = nn.Parameter(torch.full((config.width,), 0.1))
        self.scale2 = nn.Parameter(torch.full((config.width,), 0.1))

    def forward(self, x_VPD: Tensor) -> Tensor:
        views, patches, width = x_VPD.shape
        qkv = self.qkv(self.norm1(x_VPD)).view(views, patches, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(views, patches, width)
        x_VPD = x_VPD + self.scale1 * self.proj(mixed)
        return x_VPD + self.scale2 * self.fc2(F.gelu(self.fc1(self.norm2(x_VPD))))


class ConvStem(nn.Module):
    """A small convolutional pyramid in place of the patch embedding, for presets that learn to see from a few thousand
    pictures: strides 7 and 2, as large as one 14 x 14 patch."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        if config.patch != 14:
            raise ValueError(f"the convolutional stem divides an edge by 14; patch is {config.patch}")
        half = config.width // 2
        self.conv1 = nn.Conv2d(3, half, 11, stride=7, padding=2)
        self.norm1 = nn.GroupNorm(8, half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, half)
        self.conv3 = nn.Conv2d(half, config.width, 3, stride=2, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.gelu(self.norm1(self.conv1(pixels)))
        x = x + F.gelu(self.norm2(self.conv2(x)))
        return self.conv3(x)


class Vision(nn.Module):
    """Pictures [V, 3, S, S], normalised with ImageNet's mean and deviation, to features of the last layer."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.position = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.width))
        if config.stem == "conv":
            self.patch: nn.Module = ConvStem(config)
        else:
            self.patch = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        self.layers = nn.ModuleList(VitLayer(config) for _ in range(config.layers))
        self.recompute = False  # gradient checkpointing, per layer

    def forward(self, pixels: Tensor) -> Tensor:
        """[V, 1 + P, D]: the class token, then patches row by row."""
        edge = self.config.image_size
        if pixels.shape[-2:] != (edge, edge):
            raise ValueError(
                f"pictures are {tuple(pixels.shape[-2:])} pixels; this model was built for {edge} x {edge}"
            )
        patches = self.patch(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(pixels), -1, -1), patches], dim=1) + self.position
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False) if self.recompute and torch.is_grad_enabled() else layer(x)
        return x


def pixel_shuffle(x_VPD: Tensor) -> Tensor:
    """2 x 2 neighbouring patches become one token of four times the width, in InternVL's order ("v2")."""
    views, patches, width = x_VPD.shape
    edge = int(patches**0.5)
    x = x_VPD.view(views, edge, edge // 2, 2 * width)
    x = x.permute(0, 2, 1, 3).reshape(views, edge // 2, edge // 2, 4 * width)
    return x.permute(0, 2, 1, 3).reshape(views, (edge // 2) ** 2, 4 * width)


class Connector(nn.Module):
    """Features of patches to tokens [V, tokens, width of the understanding expert]; the class token is dropped."""

    def __init__(self, vision_width: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * vision_width)
        self.fc1 = nn.Linear(4 * vision_width, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, x_VPD: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(pixel_shuffle(x_VPD[:, 1:])))))
