"""How many parameters a model has, and how many of them one action step uses."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from beingh05_model.network.config import ModelConfig
from beingh05_model.network.model import BeingH


@dataclass(frozen=True)
class Count:
    """Parameters by part.

    Attributes:
        total: All of them.
        active: Those that the tokens of one sample pass: of the routed experts only ``top_k`` of each layer.
        parts: By top-level part, the backbone split into its two experts.
    """

    total: int
    active: int
    parts: dict[str, int]


def on_meta(config: ModelConfig) -> BeingH:
    """The model without memory for its parameters."""
    with torch.device("meta"):
        return BeingH(config)


def count(config: ModelConfig) -> Count:
    """Counted on the meta device, so any size is quick."""
    parts: dict[str, int] = {}
    idle = 0
    for name, parameter in on_meta(config).named_parameters():
        words = name.split(".")
        part = words[0]
        if part == "backbone":
            part = {"embed": "embed", "layers": "layers"}.get(words[1], "norms")
        if part == "layers":
            part = words[3] if words[3] in ("und", "act") else "router"
        parts[part] = parts.get(part, 0) + parameter.numel()
        if ".ffn.experts." in name and config.mof is not None:
            idle += parameter.numel() * (config.mof.experts - config.mof.top_k)
    total = sum(parts.values())
    return Count(total, total - (idle // config.mof.experts if config.mof else 0), parts)
