"""Recorded cases of the released code as token sequences: its packed inputs, its random draws, its outputs.

A case is ``<name>.json`` (lists) beside ``<name>.safetensors``: ``in.*`` inputs under the release's names,
``draw.NNN.<kind>`` random draws in call order, ``act.*`` activations, ``out.*`` outputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from beingh05_model.network import flow
from beingh05_model.network.attention import Layout
from beingh05_model.network.config import ModelConfig
from beingh05_model.network.tokens import Tokens, empty

DRAW = "draw."


@dataclass
class Case:
    """One recorded call."""

    name: str
    lists: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def draws(self) -> list[tuple[str, Tensor]]:
        """Kind and values of the random draws, in call order."""
        names = sorted(n for n in self.tensors if n.startswith(DRAW))
        return [(n.split(".", 2)[2], self.tensors[n]) for n in names]

    def _count(self, prefix: str) -> int:
        return sum(name.startswith(prefix) for name in self.tensors)

    @property
    def gated(self) -> bool:
        """The case was recorded with the gate on: directions were drawn for it."""
        return any(kind == "randn" and values.dim() == 1 for kind, values in self.draws)

    @property
    def refinements(self) -> int:
        """Rounds after the first: the noise draws but one per round and the one that the release throws away."""
        return max(0, sum(kind == "randn" and values.dim() == 3 for kind, values in self.draws) - 2)

    @property
    def euler_steps(self) -> int | None:
        """Steps per round, from the recorded encoder calls: one per step, and one between two rounds. None: not
        recorded."""
        calls, rounds = self._count("act.action_encoder."), self.refinements + 1
        return (calls - rounds + 1) // rounds if calls else None

    @property
    def training(self) -> bool:
        return "out.action_loss" in self.tensors or "out.und_loss" in self.tensors


def read(directory: str | Path, name: str) -> Case:
    """One case of a directory."""
    directory = Path(directory)
    description = json.loads((directory / f"{name}.json").read_text())
    return Case(name, description["lists"], load_file(directory / f"{name}.safetensors"))


def layout(case: Case) -> Layout:
    """Documents and segments from ``sample_lens``, ``split_lens`` and ``attn_modes``; the padding document is cut
    off."""
    length = int(case.lists["sequence_length"])

    def numbers(key: str) -> Tensor:
        lengths: list[int] = case.lists[key]
        return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[:length][None]

    segment = numbers("split_lens")
    modes: list[str] = case.lists["attn_modes"]
    full = torch.tensor([mode in ("full", "noise") for mode in modes])[segment]
    target = torch.tensor([mode == "noise" for mode in modes])[segment]
    return Layout(numbers("sample_lens"), segment, full, target, case.tensors["in.packed_position_ids"][None, :length])


def tokens(case: Case, config: ModelConfig) -> tuple[Tokens, list[Tensor]]:
    """The case's sequence with its draws put in, and the draws that are left (directions of the gate)."""
    tensors, shape = case.tensors, layout(case)
    chunk = config.flow.chunk
    t = replace(
        empty(shape),
        text_ids=tensors["in.packed_text_ids"][None],
        text_at=tensors["in.packed_text_indexes"],
        pixels=tensors["in.packed_vit_tokens"][None],
        image_at=tensors["in.packed_vit_token_indexes"],
    )
    draws: Iterator[tuple[str, Tensor]] = iter(case.draws)
    if "in.packed_label_ids" in tensors:
        t = replace(t, label_at=tensors["in.ce_loss_indexes"], label_ids=tensors["in.packed_label_ids"][None])
    if "in.padded_state" in tensors:
        samples = len(tensors["in.padded_state"])
        every = torch.ones(1, samples * chunk, 200, dtype=torch.bool)
        step = torch.ones(1, samples * chunk, dtype=torch.bool)
        t = replace(
            t,
            state=tensors["in.padded_state"][None],
            state_slots=torch.ones(1, samples, 200, dtype=torch.bool),
            state_sample=torch.arange(samples)[None],
            state_at=tensors["in.packed_state_indexes"],
            action=torch.zeros(1, samples * chunk, 200),
            action_slots=every,
            action_cells=every,
            action_sample=torch.arange(samples).repeat_interleave(chunk)[None],
            action_real=step,
            action_target=step,
            time=torch.zeros(1, samples * chunk),
            noise=torch.zeros(1, samples * chunk, 200),
            action_at=tensors["in.packed_action_indexes"],
            samples=samples,
        )
        if case.training:
            t = _with_training_draws(t, tensors, draws, config)
    return t, [values for _, values in draws]


def _with_training_draws(
    t: Tokens, tensors: dict[str, Tensor], draws: Iterator[tuple[str, Tensor]], config: ModelConfig
) -> Tokens:
    """Noise, delays and flow times of a training case, in the order in which the release draws them."""
    chunk, samples = config.flow.chunk, t.samples
    noise = next(draws)[1]
    kind, values = next(draws)
    delay = torch.zeros(samples, dtype=torch.long)
    if kind == "multinomial":
        delay = values.clamp(max=chunk)
        kind, values = next(draws)
        if kind == "multinomial_weights":
            kind, values = next(draws)
    time = flow.times_from_beta(values, config.compat.time_below_zero)[:, None].expand(-1, chunk)
    committed = torch.arange(chunk)[None] < delay[:, None]
    cells = tensors["in.padded_action_mask"].view(samples, chunk, 200) & ~committed[..., None]
    return replace(
        t,
        action=tensors["in.padded_action"][None],
        action_cells=cells.flatten(0, 1)[None],
        noise=noise[None],
        time=torch.where(committed, 1.0, time).flatten()[None],
    )
