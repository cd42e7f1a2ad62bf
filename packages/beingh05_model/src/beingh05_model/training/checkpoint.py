"""Our own checkpoint: everything that is needed to use a model, in one directory that names what it was made from.

config.json          network settings, embodiments by name and hash, recipe hash, step, system prompt
model.safetensors    every parameter, float32 or as trained; of an int8 export int8 values and scales
tokenizer.json
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from beingh05_model.interop.released import CheckpointError
from beingh05_model.network.config import ModelConfig
from beingh05_model.network.int8 import to_int8
from beingh05_model.network.model import BeingH
from beingh05_model.sequence import tokenizer as tk

FORMAT = "beingh05-1"
#: ``weights`` in config.json of a checkpoint whose large matrices are int8 (network/int8.py); such a one does not learn
INT8 = "int8"


@dataclass
class Checkpoint:
    """A loaded checkpoint."""

    model: BeingH
    tokenizer: tk.TextTokenizer
    about: dict[str, Any]


def write_text(path: Path, text: str) -> None:
    """Under a temporary name first."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text)
    os.replace(temporary, path)


def save(
    directory: str | Path,
    config: ModelConfig,
    tensors: dict[str, Tensor],
    tokenizer: tk.TextTokenizer,
    about: dict[str, Any],
) -> None:
    """Write a checkpoint; ``about`` holds recipe, embodiments, step and system prompt."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / ".model.safetensors.part"
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata={"format": "pt"})
    os.replace(temporary, directory / "model.safetensors")
    part = directory / ".tokenizer.json.part"
    tokenizer.save(part)
    os.replace(part, directory / "tokenizer.json")
    stated = {"format": FORMAT, "model": config.model_dump(mode="json"), **about}
    write_text(directory / "config.json", json.dumps(stated, indent=1) + "\n")


def load(directory: str | Path, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: a file is missing, of another format, or its tensors are not the config's.
    """
    directory = Path(directory)
    path = directory / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: not found")
    about = json.loads(path.read_text())
    if about.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format is {about.get('format')!r}, not {FORMAT!r}; a released checkpoint is read with "
            "beingh05_model.interop.released.load"
        )
    model = BeingH(ModelConfig.model_validate(about["model"]))
    if about.get("weights") == INT8:
        to_int8(model, empty=True)
    if model.backbone.backend == "flex":  # of packed rows: compiled for a length, and questions have every length
        model.backbone.backend = "sdpa"
    tensors = load_file(directory / "model.safetensors")
    missing, unknown = model.load_state_dict(tensors, strict=False)
    if missing or unknown:
        raise CheckpointError(f"{directory}/model.safetensors: missing {missing[:3]}, unknown {unknown[:3]}")
    return Checkpoint(model.to(dtype).eval(), tk.load(directory), about)
