"""The loss of a step (eqs. 4 and 6): each part a mean over everything of its kind in the rows of all ranks.

A row's parts are means over what the row holds. Rows hold different amounts, so each counts by its share of the step's;
which rows samples share, and how rows are spread over ranks and micro-batches, changes neither the loss nor a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch import distributed as dist

from beingh05_model.network.config import ModelConfig
from beingh05_model.network.model import Losses
from beingh05_model.network.tokens import Tokens
from beingh05_model.training.settings import LossSettings

PARTS = ("text", "flow", "motion", "routing")


class Diverged(ValueError):
    """A loss or a gradient is not a finite number; the message names the step and the part."""


def counts(t: Tokens, config: ModelConfig) -> dict[str, int]:
    """What the means of a row's parts are over: supervised words; samples with a cell that has a loss (for the
    release's mean over cells, such cells); masked motion tokens; routed samples."""
    cells = t.action_cells.any(-1)
    released = config.compat.loss_over_batch
    return {
        "text": int((t.label_ids >= 0).sum()),
        "flow": int(t.action_cells.sum()) if released else len(t.action_sample[cells].unique()),
        "motion": 0 if config.motion_tokens is None else int(t.motion_masked.sum()),
        "routing": 0 if config.mof is None else t.state_sample.numel(),
    }


def of_step(rows: list[dict[str, int]], device: torch.device) -> dict[str, int]:
    """The counts of all rows of a step; every rank gives its own."""
    total = torch.tensor([sum(row[name] for row in rows) for name in PARTS], device=device)
    if dist.get_world_size() > 1:
        dist.all_reduce(total)
    return dict(zip(PARTS, total.tolist(), strict=True))


def shares(parts: Losses, row: Mapping[str, int], step: Mapping[str, int]) -> dict[str, Tensor]:
    """What a row adds to each part of the step's loss, unweighted."""
    return {name: getattr(parts, name) * (row[name] / max(1, step[name])) for name in PARTS}


def weighted(parts: Mapping[str, Tensor], weight: LossSettings) -> Tensor:
    """Eqs. 4 and 6; the routers' part is weighted already."""
    action = weight.flow * parts["flow"] + weight.motion * parts["motion"]
    return weight.text * parts["text"] + weight.action * action + parts["routing"]


def check(step: int, found: Mapping[str, float]) -> None:
    """Refuse what is not finite; every rank must have the same values, so that all stop.

    Args:
        step: As the log counts, 1 the first.
        found: Losses and norms of gradients of the step by name.

    Raises:
        Diverged: one is infinite or not a number.
    """
    bad = [f"{name} {value}" for name, value in found.items() if not math.isfinite(value)]
    if bad:
        raise Diverged(
            f"step {step}: not finite: {', '.join(bad)}. Nothing of this step was saved; `beingh05 resume` goes on "
            "from the last checkpoint, but meets the same samples: lower optimiser.rate or look at them first"
        )
