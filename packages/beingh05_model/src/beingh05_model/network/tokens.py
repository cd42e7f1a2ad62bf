"""The content of a token sequence as the network takes it: what every token is, and where it stands.

Training packs many samples into one row (B = 1); inference keeps one sample a row, all rows with the same places.
``*_at`` are places in the row, shared by all rows. Legend: B rows, N tokens, A action-expert tokens, T action steps,
Z motion tokens, V views, S 200 slots, G samples of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from beingh05_model.network.attention import Layout


@dataclass
class Tokens:
    """A batch of sequences, without any randomness left: noise, times, delays and masks were drawn when it was made.

    Attributes:
        layout: Documents, segments and positions, [B, N].
        text_ids: [B, X] ids, at places ``text_at`` [X].
        pixels: [B, V, 3, edge, edge], ImageNet-normalised; ``image_at`` [V * tokens per view].
        delimiter_ids: [B, L] numbers of the action expert's own special tokens (0..3), at ``delimiter_at`` [L].
        state: [B, P, S] physical units; ``state_slots`` bool, the slots that hold a value; ``state_at`` [P].
        state_sample: [B, P] sample of each state token.
        action: [B, T, S] clean steps in physical units (zeros where unknown, at inference); ``action_at`` [T].
        action_slots: bool [B, T, S], slots of each step's embodiment.
        action_cells: bool [B, T, S], cells with a loss (valid, not an outlier, after the delay).
        action_sample: [B, T] sample of each step.
        action_real: bool [B, T], the step exists (neither past the end of an episode nor padding).
        action_target: bool [B, T], the step is predicted; else it is clean context.
        time: [B, T] flow time of each step: 1 for context and committed prefix (eq. 18).
        noise: [B, T, S] unit normal.
        motion_ids: [B, Z] true motion tokens; ``motion_masked`` bool: replaced by the mask token and scored (eq. 8).
        motion_place: [B, Z] place of each among those of a chunk (what it stands for, by ``motion_tokens.layout``).
        motion_sample, motion_at: as for actions.
        label_at: [Q] places whose prediction is scored, ``label_ids`` [B, Q] the token that follows; -100 scores
            nothing.
        text_weight: [G, B, N] weights that pool each sample's instruction, rows summing to one (Mixture of Flow).
        samples: G.
    """

    layout: Layout
    text_ids: Tensor
    text_at: Tensor
    pixels: Tensor
    image_at: Tensor
    delimiter_ids: Tensor
    delimiter_at: Tensor
    state: Tensor
    state_slots: Tensor
    state_sample: Tensor
    state_at: Tensor
    action: Tensor
    action_slots: Tensor
    action_cells: Tensor
    action_sample: Tensor
    action_real: Tensor
    action_target: Tensor
    time: Tensor
    noise: Tensor
    action_at: Tensor
    motion_ids: Tensor
    motion_masked: Tensor
    motion_place: Tensor
    motion_sample: Tensor
    motion_at: Tensor
    label_at: Tensor
    label_ids: Tensor
    text_weight: Tensor
    samples: int

    @property
    def rows(self) -> int:
        return self.layout.document.shape[0]

    @property
    def length(self) -> int:
        return self.layout.document.shape[1]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Tokens:
        """Everything on a device; pixels, states and actions stay float32 unless ``dtype`` is given for the pixels."""
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self) if f.name != "samples"
        }
        if dtype is not None:
            moved["pixels"] = moved["pixels"].to(dtype)
        return replace(self, **moved)


def empty(layout: Layout, slots: int = 200) -> Tokens:
    """Tokens of a layout with no content yet; fill what exists with ``dataclasses.replace``."""
    rows, length = layout.document.shape
    device = layout.document.device

    def none(*tail: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(rows, 0, *tail, dtype=dtype, device=device)

    at = torch.zeros(0, dtype=torch.long, device=device)
    ids, flag = none(dtype=torch.long), none(dtype=torch.bool)
    values, cells = none(slots), none(slots, dtype=torch.bool)
    return Tokens(
        layout=layout, text_ids=ids, text_at=at, pixels=none(3, 0, 0), image_at=at, delimiter_ids=ids, delimiter_at=at,
        state=values, state_slots=cells, state_sample=ids, state_at=at, action=values, action_slots=cells,
        action_cells=cells, action_sample=ids, action_real=flag, action_target=flag, time=none(), noise=values,
        action_at=at, motion_ids=ids, motion_masked=flag, motion_place=ids, motion_sample=ids, motion_at=at,
        label_at=at, label_ids=ids, text_weight=torch.zeros(0, rows, length, device=device), samples=0,
    )  # fmt: skip
