"""A trained model as the start of a richer one: what both have is copied, what is new begins so that the model first
acts as the one it came from.

new part                begins as
routed experts          slices of the dense feed-forward network they replace; every group of ``top_k`` experts holds it
                        whole, and a group's experts begin with one router row, so they are chosen together: the layer's
                        output is the dense one's
slot adapters           zero residuals
gate (MPG), motion tokens, special tokens of the action expert: at random, as in a new model

The paper does not say how its experts began; the rest follows from the equations.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from beingh05_model.interop.files import CheckpointError, read_tensors
from beingh05_model.interop.internvl import resize_position_table
from beingh05_model.interop.names import released_names
from beingh05_model.interop.released import load_tensors, read_config
from beingh05_model.network.config import ModelConfig
from beingh05_model.network.count import on_meta
from beingh05_model.network.model import BeingH

#: first words of the names of parts that a start may lack
NEW = ("adapters", "mpg", "motion_embed", "motion_place", "motion_head", "delimiters")
ROWS = ("backbone.embed.weight", "text_head.weight")
#: settings of the model by the first words of their parameters' names
SETTING = {
    **dict.fromkeys(("motion_embed", "motion_place", "motion_head"), "motion_tokens"),
    "mpg": "mpg",
    "adapters": "adapters",
}


def from_released(model: BeingH, directory: str | Path, drops: Collection[str] = ()) -> list[str]:
    """Start ``model`` from a released checkpoint; returns the names of the parameters that are new.

    Args:
        drops: As for :func:`adopt`.

    Raises:
        CheckpointError: as :func:`adopt`.
    """
    directory = Path(directory)
    config, _ = read_config(directory)
    tensors = read_tensors(directory)
    # names and shapes are checked against the checkpoint's own config first
    load_tensors(on_meta(config), tensors, str(directory))
    ours = {name: tensors[theirs] for name, theirs in released_names(config).items()}
    if config.mpg is not None and not config.mpg.strength and model.mpg is None:
        ours = {name: value for name, value in ours.items() if not name.startswith("mpg.")}  # a gate of strength zero
    return adopt(model, ours, config, str(directory), drops)


def adopt(
    model: BeingH, tensors: dict[str, Tensor], config: ModelConfig, where: str, drops: Collection[str] = ()
) -> list[str]:
    """Copy a checkpoint's tensors (under our names) into ``model``; returns the names of the parameters that are new.

    Position tables are resized, a larger vocabulary keeps its own last rows. A model in units of
    ``physical_scale`` takes the state encoder of one in raw units with its columns in the new unit.

    Args:
        drops: Parts by their settings (values of :data:`SETTING`) that the checkpoint may have and the model lacks.

    Raises:
        CheckpointError: the checkpoint has a part that the model lacks, the model one that cannot be begun, or a shape
            differs; the message names the tensor and the setting.
    """
    own = dict(model.named_parameters())
    given = {
        name: value.float()
        for name, value in tensors.items()
        if not name.endswith("router.bias") and SETTING.get(name.partition(".")[0]) not in drops
    }
    _units(given, config, model.config)
    new = _experts(model, given, config, where)
    dropped = sorted(given.keys() - own.keys())
    if dropped:
        part = dropped[0].partition(".")[0]
        known = SETTING.get(part)
        mend = f"set model.{known or ('mof' if part == 'backbone' else part)} as in the checkpoint"
        raise CheckpointError(
            f"{where}: {dropped[0]} has no place in the model; {mend}"
            + (f", or write start_drops: [{known}]" if known else "")
            + f" ({len(dropped)} tensors would be lost)"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            if name not in given:
                if name.partition(".")[0] not in NEW and name not in new:
                    raise CheckpointError(f"{where}: has no {name}, and nothing says how it would begin")
                new.add(name)
                continue
            value = given[name]
            if name == "vision.position" and value.shape[2:] == parameter.shape[2:]:
                value = resize_position_table(value, model.config.vision.grid)
            if name in ROWS and value.shape[1:] == parameter.shape[1:] and len(value) < len(parameter):
                parameter[: len(value)] = value
                continue
            if value.shape != parameter.shape:
                raise CheckpointError(
                    f"{where}: {name} is {tuple(value.shape)}, the model takes {tuple(parameter.shape)}; "
                    "take the sizes of the checkpoint"
                )
            parameter.copy_(value)
        for name, buffer in model.named_buffers():
            if name in tensors:
                buffer.copy_(tensors[name])
    return sorted(new)


def _units(given: dict[str, Tensor], old: ModelConfig, new: ModelConfig) -> None:
    """The first layer of the state encoder for inputs in other units."""
    if old.physical_scale != new.physical_scale:
        ratio = BeingH.units(new)[0] / BeingH.units(old)[0]
        given["state_encoder.fc1.weight"] = given["state_encoder.fc1.weight"] * ratio


def _experts(model: BeingH, given: dict[str, Tensor], config: ModelConfig, where: str) -> set[str]:
    """Replace dense feed-forward tensors of layers that are routed in the model by its experts; returns new names."""
    mof, width = model.config.mof, model.config.backbone.act.ffn
    first = model.config.mof_first_layer
    layers = range(first, min(config.mof_first_layer, model.config.backbone.layers))
    if mof is None or not layers:
        return set()
    if mof.top_k == 1 < mof.experts:
        raise CheckpointError(
            f"{where}: one expert at a time has its share of a softmax over {mof.experts} as its weight and "
            "cannot begin as the dense network; set model.mof.top_k to 2 or more"
        )
    narrow = mof.ffn if mof.ffn is not None else max(1, width // mof.top_k)
    slices = width // narrow
    if width % narrow or mof.top_k % slices or mof.experts % mof.top_k:
        raise CheckpointError(
            f"{where}: {mof.experts} experts of {narrow}, {mof.top_k} at a time, cannot begin as slices of a "
            f"feed-forward network of {width}: model.mof.ffn must divide it, top_k be a multiple of the slices and "
            "experts of top_k"
        )
    new: set[str] = set()
    own = dict(model.named_parameters())
    for layer in layers:
        place = f"backbone.layers.{layer}"
        dense = {part: given.pop(f"{place}.act.ffn.{part}.weight") for part in ("gate", "up", "down")}
        for expert in range(mof.experts):
            part = expert % slices * narrow
            rows = slice(part, part + narrow)
            name = f"{place}.act.ffn.experts.{expert}"
            given[f"{name}.gate.weight"] = dense["gate"][rows]
            given[f"{name}.up.weight"] = dense["up"][rows]
            # each slice is mixed with 1 / slices of the weight in all
            given[f"{name}.down.weight"] = dense["down"][:, rows] * slices
        for kind in ("state", "text"):
            name = f"{place}.router.{kind}.weight"
            group = own[name].detach()[:: mof.top_k]
            given[name] = group.repeat_interleave(mof.top_k, 0).clone()
        for name in own:
            if name.startswith((f"{place}.router.", f"{place}.act.ffn.experts.")):
                new.add(name)
    return new
