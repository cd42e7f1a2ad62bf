"""InternVL3.5's weights as the start of a model: understanding expert, vision tower and connector.

The original layout (``vision_model.*``, ``mlp1.*``, ``language_model.*``) has the released names but for their
prefixes. The action expert starts at random, as published; so do all parts that InternVL lacks.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from beingh05_model.interop.names import released_names
from beingh05_model.interop.released import CheckpointError, read_tensors
from beingh05_model.network.config import VisionConfig
from beingh05_model.network.model import BeingH

PREFIXES = {"vision_model.": "vit_model.", "mlp1.": "connector.mlp1."}


def internvl_names(model: BeingH) -> dict[str, str]:
    """Our name to InternVL's, for the parameters that InternVL has."""
    back = {new: old for old, new in PREFIXES.items()}
    names = {}
    for ours, theirs in released_names(model.config).items():
        if "_mot_gen" in theirs or not theirs.startswith(("language_model.", *back)):
            continue
        prefix = next((p for p in back if theirs.startswith(p)), None)
        names[ours] = theirs if prefix is None else back[prefix] + theirs[len(prefix) :]
    return names


def resize_position_table(table: Tensor, grid: int) -> Tensor:
    """A vision tower's position table [1, 1 + g*g, D] for another grid: bicubic in float32, the class token
    unchanged."""
    old = round((table.shape[1] - 1) ** 0.5)
    if old == grid:
        return table
    patches = table[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], patches.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def load_into(model: BeingH, directory: str | Path) -> list[str]:
    """Put InternVL3.5's weights into a model; returns the names of our parameters that stay as they were.

    A larger vocabulary of the model keeps its own rows past InternVL's; ``lm_head`` is taken from the file, where it is
    stored apart from the embedding.

    Raises:
        CheckpointError: a tensor is missing or has a shape that cannot be fitted.
    """
    directory = Path(directory)
    tensors = read_tensors(directory)
    own, names = dict(model.named_parameters()), internvl_names(model)
    missing = sorted(set(names.values()) - tensors.keys())
    if missing:
        raise CheckpointError(f"{directory}: missing {', '.join(missing[:4])} ({len(missing)} in all)")
    vision: VisionConfig = model.config.vision
    with torch.no_grad():
        for ours, theirs in names.items():
            value = tensors[theirs]
            if ours == "vision.position":
                value = resize_position_table(value, vision.grid)
            if ours in ("backbone.embed.weight", "text_head.weight") and value.shape[1:] == own[ours].shape[1:]:
                rows = min(len(value), len(own[ours]))
                own[ours][:rows] = value[:rows]
                continue
            if value.shape != own[ours].shape:
                raise CheckpointError(
                    f"{directory}: {theirs} is {tuple(value.shape)}, the model takes {tuple(own[ours].shape)}; "
                    "is it InternVL3.5 of the same size?"
                )
            own[ours].copy_(value)
    return sorted(own.keys() - names.keys())
