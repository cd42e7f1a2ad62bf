"""The motion tokenizer: both auto-encoders, a chunk to tokens and back, and its directory.

config.json          settings, recipe and figures of its training, hash of the weights
model.safetensors    weights and codes, float32
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from beingh05_model.motion_tokens import layout
from beingh05_model.motion_tokens.coder import PartCoder
from beingh05_model.motion_tokens.settings import PARTS, TokenizerSettings
from beingh05_model.network import scale
from beingh05_model.network.config import MotionTokenConfig
from beingh05_model.sequence.chunks import Chunk, ChunkSettings
from unihand_data.ids import hash_file, make_id

FORMAT = "beingh05-motion-1"


class MotionTokenizer(nn.Module):
    """See the module; what a token stands for is in ``layout``."""

    def __init__(self, settings: TokenizerSettings) -> None:
        super().__init__()
        self.settings = settings
        unit = scale.units(scale.ACTION_UNIT)
        self.parts = nn.ModuleDict(
            {part: PartCoder(settings, unit[layout.SLOTS["right", part]], part == "wrist") for part in PARTS}
        )

    def coder(self, part: str) -> PartCoder:
        found = self.parts[part]
        assert isinstance(found, PartCoder)
        return found

    @torch.no_grad()
    def encode(self, part: str, x_NTW: Tensor) -> Tensor:
        """[N, block] ids of values in physical units (left hands mirrored)."""
        first = torch.from_numpy(layout.offsets(self.settings, part)).to(x_NTW.device)
        return (self.coder(part).encode(x_NTW) + first).flatten(1)

    @torch.no_grad()
    def decode(self, part: str, ids: Tensor) -> Tensor:
        """[N, T, W] physical values of ids [N, block].

        Raises:
            ValueError: an id that its place cannot have.
        """
        s = self.settings
        first = torch.from_numpy(layout.offsets(s, part)).to(ids.device)
        own = ids.reshape(len(ids), s.latent_steps, s.groups, s.levels) - first
        if bool(((own < 0) | (own >= s.codes)).any()):
            raise ValueError(f"motion tokens of {part}: an id outside the range of its place")
        return self.coder(part).decode(own)

    def quantise(self, chunk: Chunk) -> np.ndarray | None:
        """int64 [tokens] ids of a chunk, :data:`layout.NONE` at places of blocks that are not wholly known; None where
        none is.

        Raises:
            ValueError: a chunk of another length.
        """
        s = self.settings
        if len(chunk.values) != s.chunk.steps:
            raise ValueError(
                f"a chunk of {len(chunk.values)} steps; the motion tokenizer was trained on {s.chunk.steps}"
            )
        found = layout.blocks(chunk, s.chunk)
        if all(block is None for block in found):
            return None
        ids = np.full(s.tokens, layout.NONE, np.int64)
        for part in PARTS:  # both hands at once
            known = {n: b for n, b in enumerate(found) if layout.BLOCKS[n][1] == part and b is not None}
            if known:
                tokens = self.encode(part, torch.from_numpy(np.stack(list(known.values())))).numpy()
                for number, own in zip(known, tokens, strict=True):
                    ids[layout.block_slice(s, number)] = own
        return ids

    def dequantise(self, ids: np.ndarray) -> Chunk:
        """The chunk of such ids; slots of blocks without tokens are unknown."""
        found: list[np.ndarray | None] = []
        for number, (_, part) in enumerate(layout.BLOCKS):
            own = ids[layout.block_slice(self.settings, number)]
            empty = bool((own == layout.NONE).any())
            found.append(None if empty else self.decode(part, torch.from_numpy(own)[None])[0].numpy())
        return layout.from_blocks(found, self.settings.chunk)


@dataclass
class Stored:
    """A tokenizer that was read. ``identity`` names its content: settings and weights."""

    tokenizer: MotionTokenizer
    identity: str
    about: dict[str, Any] = field(default_factory=dict)


def save(directory: str | Path, tokenizer: MotionTokenizer, about: dict[str, Any]) -> None:
    """Write the directory, each file under a temporary name first; config.json last, it names the weights' hash."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    part = directory / ".model.safetensors.part"
    tensors = {name: value.detach().cpu().contiguous() for name, value in tokenizer.state_dict().items()}
    save_file(tensors, part, metadata={"format": "pt"})
    weights = hash_file(part)
    os.replace(part, directory / "model.safetensors")
    stated = {"format": FORMAT, "tokenizer": tokenizer.settings.model_dump(mode="json"), "weights": weights, **about}
    part = directory / ".config.json.part"
    part.write_text(json.dumps(stated, indent=1) + "\n")
    os.replace(part, directory / "config.json")


def load(directory: str | Path) -> Stored:
    """Read a directory, for use.

    Raises:
        ValueError: no such directory, another format, or weights that are not the config's.
    """
    directory = Path(directory)
    path, weights = directory / "config.json", directory / "model.safetensors"
    if not path.is_file() or not weights.is_file():
        raise ValueError(
            f"{directory}: no motion tokenizer; `beingh05 tokens` writes config.json and model.safetensors"
        )
    about = json.loads(path.read_text())
    if about.get("format") != FORMAT:
        raise ValueError(f"{path}: format is {about.get('format')!r}, not {FORMAT!r}")
    if hash_file(weights) != about["weights"]:
        raise ValueError(f"{weights}: not the weights that {path} names; write the tokenizer again")
    settings = TokenizerSettings.model_validate(about["tokenizer"])
    tokenizer = MotionTokenizer(settings)
    tokenizer.load_state_dict(load_file(weights))
    identity = make_id(FORMAT, json.dumps(settings.model_dump(mode="json"), sort_keys=True), about["weights"])
    return Stored(tokenizer.eval().requires_grad_(False), identity, about)


def for_run(directory: str | None, config: MotionTokenConfig | None, chunk: ChunkSettings) -> Stored | None:
    """The tokenizer of a training run; None for a run without motion tokens.

    Raises:
        ValueError: a tokenizer without ``model.motion_tokens`` or the reverse, other sizes, other chunks.
    """
    if directory is None and config is None:
        return None
    if directory is None:
        raise ValueError(
            "model.motion_tokens is set and motion_tokenizer is not: name a directory of `beingh05 tokens`"
        )
    stored = load(directory)
    wanted = stored.tokenizer.settings
    if config is None:
        sizes = f"{{codebook: {wanted.codebook}, tokens: {wanted.tokens}}}"
        raise ValueError(f"motion_tokenizer is set and model.motion_tokens is not: write motion_tokens: {sizes}")
    if config != layout.motion_config(wanted, config.expert):
        raise ValueError(
            f"model.motion_tokens has codebook {config.codebook} and tokens {config.tokens}; {directory} needs "
            f"{wanted.codebook} and {wanted.tokens}"
        )
    if chunk != wanted.chunk:
        raise ValueError(f"data.chunk is {chunk!r}; {directory} was trained on {wanted.chunk!r}")
    return stored
