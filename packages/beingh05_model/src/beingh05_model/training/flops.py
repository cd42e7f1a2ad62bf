"""Operations that a step of training needs, for the share of the device's arithmetic that is used (MFU).

Counted are the products of matrices that the model's mathematics asks for: a weight costs 2 operations a token forward,
2 more for the gradient of its input where something before it learns, and 2 for its own where it learns. Attention
counts within documents, both ways. Padding, recomputation and work on masked places do not count.
"""

from __future__ import annotations

import torch
from torch import nn

from beingh05_model.network.config import ModelConfig
from beingh05_model.network.tokens import Tokens
from beingh05_model.training.estimate import DEVICES, layer_weights
from beingh05_model.training.parts import part_of


def peak_tflops(settings_peak: float | None, precision: str) -> float | None:
    """Arithmetic of this rank's device in TFLOP/s: as set, else by the name of the CUDA device; None where unknown.

    The table holds peaks of bf16, so a float32 run has none unless it is set.
    """
    if settings_peak is not None:
        return settings_peak
    if precision != "bf16" or not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((device.tflops for known, device in DEVICES.items() if known in name), None)


class Flops:
    """Operations of packed rows of one model, whose ``requires_grad`` say what learns."""

    def __init__(self, config: ModelConfig, model: nn.Module) -> None:
        self.config = config
        learning: set[str] = set()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                # a low-rank residual: the gradient passes, the large weight has none
                learning.add(f"{part_of(name)}, low rank" if ".lora_" in name else part_of(name))
        self._tower = 3 if "vision" in learning else 1
        self._connector = 3 if "connector" in learning else 2 if "vision" in learning else 1
        passes = learning & {"vision", "connector", "understanding, low rank"}
        self._und = 3 if "understanding" in learning else 2 if passes else 1
        self._act = 3 if "action" in learning else 2

    def row(self, t: Tokens) -> float:
        """Forward and backward of one packed batch."""
        config, b, v = self.config, self.config.backbone, self.config.vision
        weights = layer_weights(config)
        pictures = t.pixels.shape[0] * t.pixels.shape[1]
        patches = v.grid**2 + 1
        vision = 2 * patches * weights["vision"] + v.layers * 4 * patches**2 * v.width
        connector = 2 * v.tokens * (4 * v.width * b.und.width + b.und.width**2)
        is_und = torch.zeros(t.length, dtype=torch.bool, device=t.text_at.device)
        is_und[t.text_at] = is_und[t.image_at] = True
        und_pairs = act_pairs = und_tokens = act_tokens = 0
        for row in t.layout.document.cpu():
            numbers = int(row.max()) + 1
            und = torch.bincount(row[(row >= 0) & is_und.cpu()], minlength=numbers)
            every = torch.bincount(row[row >= 0], minlength=numbers)
            und_tokens += int(und.sum())
            act_tokens += int((every - und).sum())
            und_pairs += int((und * und).sum())
            act_pairs += int(((every - und) * every).sum())
        width = 4 * b.layers * b.heads * b.head_dim
        labels = int((t.label_ids >= 0).sum())
        return (
            pictures * (self._tower * vision + self._connector * connector)
            + self._und * (2 * und_tokens * weights["und"] + und_pairs * width + 2 * labels * b.vocab * b.und.width)
            + self._act * 2 * act_tokens * weights["act"]
            + 3 * act_pairs * width
        )
