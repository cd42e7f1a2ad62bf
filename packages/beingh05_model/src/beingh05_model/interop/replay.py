"""Replay a recorded case of the released code with our model and compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from beingh05_model.inference.denoise import Denoiser, Locked
from beingh05_model.interop import cases, released
from beingh05_model.interop.names import released_names
from beingh05_model.network.model import BeingH
from beingh05_model.network.tokens import Tokens


@dataclass
class Difference:
    """Largest absolute difference over a case's outputs, and the largest reference value it is to be seen against."""

    case: str
    max_abs_diff: float
    cached_max_abs_diff: float | None
    largest_reference: float

    @property
    def tolerance(self) -> float:
        return 1e-6 * max(1.0, self.largest_reference)


def replay(weights: str | Path, directory: str | Path, name: str) -> Difference:
    """Replay one case.

    Args:
        weights: Directory with the state dict (any ``*.safetensors`` name) and its ``config.json`` or
            ``tiny_config.json``.
    """
    torch.set_num_threads(1)
    model, _ = released.load(weights)
    case = cases.read(directory, name)
    if not case.gated:
        model.mpg = None  # one state dict serves cases with and without the gate
    t, left = cases.tokens(case, model.config)
    return _train(model, case, t, left) if case.training else _infer(model, case, t)


def _train(model: BeingH, case: cases.Case, t: Tokens, left: list[Tensor]) -> Difference:
    gradients = {k.removeprefix("out.grad."): v for k, v in case.tensors.items() if k.startswith("out.grad.")}
    model.train()
    directions = torch.stack(left) if left else None
    with torch.set_grad_enabled(bool(gradients)):
        losses = model(t, directions)
    pairs = [(losses.flow, case.tensors.get("out.action_loss")), (losses.text, case.tensors.get("out.und_loss"))]
    if gradients:
        (losses.flow + losses.text).backward()
        own = dict(model.named_parameters())
        for ours, theirs in released_names(model.config).items():
            if theirs in gradients:
                gradient = own[ours].grad
                pairs.append((torch.zeros_like(own[ours]) if gradient is None else gradient, gradients[theirs]))
    worst, largest = _worst(pairs)
    return Difference(case.name, worst, None, largest)


def _infer(model: BeingH, case: cases.Case, t: Tokens) -> Difference:
    locked = None
    if "in.prev_chunk" in case.tensors and "inference_delay" in case.lists:
        locked = Locked(case.tensors["in.prev_chunk"], int(case.lists["inference_delay"]))
    found = []
    for cached in (False, True):
        queue: Iterator[Tensor] = (values for _, values in case.draws)

        def draw(shape: tuple[int, ...], queue: Iterator[Tensor] = queue) -> Tensor:
            return next(queue).reshape(shape)

        def directions(shape: tuple[int, ...], queue: Iterator[Tensor] = queue) -> Tensor:
            return torch.stack([next(queue) for _ in range(shape[0])])

        actions = Denoiser(model, cached, case.euler_steps, case.refinements).run(t, draw, locked, directions)
        found.append(_worst([(actions[0], case.tensors["out.action_pred"])]))
    return Difference(case.name, found[0][0], found[1][0], found[0][1])


def _worst(pairs: list[tuple[Tensor, Tensor | None]]) -> tuple[float, float]:
    """Largest difference and largest reference value over pairs of ours and theirs."""
    worst = largest = 0.0
    for ours, theirs in pairs:
        if theirs is None or not theirs.numel():
            continue
        if ours.numel() != theirs.numel():
            raise ValueError(f"shapes differ: {tuple(ours.shape)} here, {tuple(theirs.shape)} in the case")
        worst = max(worst, float((ours.reshape(theirs.shape) - theirs).abs().max()))
        largest = max(largest, float(theirs.abs().max()))
    return worst, largest
