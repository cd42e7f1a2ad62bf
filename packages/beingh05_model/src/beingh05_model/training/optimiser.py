"""Which parameters learn, in which groups, at which rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from beingh05_model.training.parts import part_of
from beingh05_model.training.settings import OptimiserSettings, TrainSettings

#: parameters of two dimensions and more that do not decay, besides the tables of ``nn.Embedding``
STILL = ("adapters.", "vision.class_token", "vision.position")


def frozen(name: str, settings: TrainSettings) -> bool:
    """Whether a parameter is held still by ``freeze``, ``freeze_action_layers`` or ``lora``."""
    part = part_of(name)
    if settings.lora is not None:
        return ".lora_" not in name and part not in (*settings.lora.train, "adapters")
    if part in settings.freeze:
        return True
    words = name.split(".")
    layers = name.startswith("backbone.layers.") and words[3] in ("act", "router")
    return layers and int(words[2]) < settings.freeze_action_layers


def freeze(model: nn.Module, settings: TrainSettings) -> int:
    """Hold parameters still; returns how many numbers still learn."""
    learning = 0
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not frozen(name, settings))
        learning += parameter.numel() * parameter.requires_grad
    return learning


def groups(model: nn.Module, settings: OptimiserSettings) -> list[dict[str, Any]]:
    """Matrices decay; norms, biases, embeddings (of tokens, places and classes), scales and slot adapters do not."""
    tables = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    decaying: list[nn.Parameter] = []
    still: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.dim() < 2 or id(parameter) in tables or name.startswith(STILL)
        (still if plain else decaying).append(parameter)
    return [
        {"params": decaying, "weight_decay": settings.decay},
        {"params": still, "weight_decay": 0.0},
    ]


def adamw(model: nn.Module, settings: OptimiserSettings) -> torch.optim.AdamW:
    return torch.optim.AdamW([g for g in groups(model, settings) if g["params"]], settings.rate, settings.betas)


def rate_at(step: int, steps: int, settings: OptimiserSettings) -> float:
    """Learning rate of a step, 0 the first: linear warm-up, then half a cosine down to ``last_rate``."""
    warmup = settings.warmup_of(steps)
    if step < warmup:
        return settings.rate * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return settings.last_rate + (settings.rate - settings.last_rate) * 0.5 * (1 + math.cos(math.pi * done))
