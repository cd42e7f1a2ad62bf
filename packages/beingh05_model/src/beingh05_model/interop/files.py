"""Files of a checkpoint directory: tensors, ``config.json``, and what stands beside them and is carried along."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from beingh05_model.interop.names import LEGACY

#: recorded cases lie in the folder of their state dict, so that one is named
RECORDED = "tiny_state_dict.safetensors"
#: tokenizer files of transformers, and normalisation statistics of a released checkpoint's data configurations
COMPANIONS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.json",
    "chat_template.jinja",
    "*_metadata.json",
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be taken; the message names the file, the field and the mend."""


def some(names: Sequence[str]) -> str:
    """The first four and how many more."""
    if not names:
        return "none"
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def read_tensors(directory: str | Path) -> dict[str, Tensor]:
    """Every tensor of every ``*.safetensors`` in the directory; names of earlier releases become today's.

    Raises:
        CheckpointError: there is none.
    """
    recorded = Path(directory) / RECORDED
    files = [recorded] if recorded.is_file() else sorted(Path(directory).glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{directory}: no *.safetensors file")
    tensors: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118  safe_open is no mapping
                known = next((new + name[len(old) :] for old, new in LEGACY.items() if name.startswith(old)), name)
                tensors[known] = handle.get_tensor(name)
    return tensors


def write(directory: str | Path, tensors: Mapping[str, Tensor], config: dict[str, Any]) -> None:
    """``model.safetensors`` and ``config.json``, each under a temporary name first."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    part = directory / ".model.safetensors.part"
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, part, metadata={"format": "pt"})
    os.replace(part, directory / "model.safetensors")
    part = directory / ".config.json.part"
    part.write_text(json.dumps(config, indent=2) + "\n")
    os.replace(part, directory / "config.json")


def companions(directory: str | Path) -> list[Path]:
    """Files of :data:`COMPANIONS` in a directory."""
    return sorted({file for pattern in COMPANIONS for file in Path(directory).glob(pattern) if file.is_file()})


def carry(source: str | Path, target: str | Path) -> None:
    """Copy companions bit for bit; those that ``target`` has already stay."""
    for file in companions(source):
        to = Path(target) / file.name
        if not to.exists():
            part = to.with_name(f".{to.name}.part")
            shutil.copyfile(file, part)
            os.replace(part, to)
