"""What two chunks of one form share, and what differs between them: places of tokens in sequences of fixed shape.

Legend: B rows, P padded prefix, N suffix, U understanding tokens and A action-expert tokens of the prefix, T action
steps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from beingh05_model.network.attention import Layout
from beingh05_model.network.model import BeingH
from beingh05_model.network.tokens import Tokens
from beingh05_model.sequence.collate import PAD


class Form(NamedTuple):
    """Everything that a compiler or a graph may take as constant.

    Attributes:
        prefix, keys: P and M = P + N.
        prefix_order, suffix_order: Tokens of the action expert in either part, by their number in (states, special
            tokens, steps); of steps the prefix has none.
        steps_at: Places of all action steps in the suffix; ``first``: the chunk's first step.
        rounds, euler: Refinements and Euler steps.
    """

    rows: int
    prefix: int
    keys: int
    views: int
    prefix_order: tuple[int, ...]
    suffix_order: tuple[int, ...]
    steps_at: tuple[int, ...]
    first: int
    rounds: int
    euler: int

    def content(self, t: Tokens, start: int) -> dict[str, Tensor]:
        """Words, pictures, places, states and context of a chunk as tensors of this form's shapes."""
        acts = torch.cat([t.state_at, t.delimiter_at, t.action_at])
        act_at = acts[list(self.prefix_order)]
        is_und = torch.ones(self.prefix, dtype=torch.bool)
        is_und[act_at.cpu()] = False
        und_at = is_und.nonzero()[:, 0]
        ids = torch.full((t.rows, self.prefix), PAD)
        kept = (t.text_at < start).cpu()
        ids[:, t.text_at.cpu()[kept]] = t.text_ids.cpu()[:, kept]
        picture = torch.full((self.prefix,), -1)
        picture[t.image_at.cpu()] = torch.arange(len(t.image_at))
        rows = torch.arange(t.rows, device=t.text_weight.device)
        weight = torch.zeros(t.rows, self.prefix)
        if t.text_weight.shape[0] and len(t.state_at):
            weight[:, :start] = t.text_weight[t.state_sample[:, 0], rows, :start].cpu()
        return {
            "ids": ids[:, und_at], "picture": picture[und_at], "und_at": und_at, "act_at": act_at, "pixels": t.pixels,
            "state": t.state, "state_slots": t.state_slots, "delimiters": t.delimiter_ids, "slots": t.action_slots,
            "real": t.action_real, "text_weight": weight[:, und_at],
        }  # fmt: skip


def form_of(t: Tokens, model: BeingH, start: int, stop: int, bucket: int, rounds: int, euler: int) -> Form:
    """The form of sequences whose places ``start..stop`` are run at every step.

    Raises:
        ValueError: motion tokens; a gate or routed experts with another number of states than one in the suffix;
            predicted steps that are not the last.
    """
    if len(t.motion_at):
        raise ValueError("motion tokens are for training; a chunk has none at inference")
    acts = torch.cat([t.state_at, t.delimiter_at, t.action_at])
    place = {int(at): number for number, at in enumerate(acts)}
    before = tuple(place[at] for at in sorted(place) if at < start)
    suffix = tuple(place[at] for at in range(start, stop))
    steps_at = tuple(int(at) - start for at in t.action_at)
    target = t.action_target[0]
    first = int(target.int().argmax())
    if steps_at[0] < 0 or not target[first:].all() or bool((t.action_target != target).any()):
        raise ValueError("static shapes need all action steps in one run, the predicted ones last")
    if model.config.mof is not None and (len(t.state_at) != 1 or int(t.state_at[0]) < start):
        raise ValueError("static shapes with routed experts need one state, after the words")
    if rounds and len(t.state_at) != 1:
        raise ValueError("static shapes with a gate need one state")
    keys = -(-stop // bucket) * bucket
    views = t.pixels.shape[1] if len(t.image_at) else 0
    return Form(t.rows, keys - (stop - start), keys, views, before, suffix, steps_at, first, rounds, euler)


def padded(layout: Layout, start: int, stop: int, prefix: int) -> Layout:
    """The layout of ``0..stop`` with padding between ``start`` and place ``prefix``, where the suffix then begins."""

    def wide(values: Tensor, fill: int) -> Tensor:
        gap = values.new_full((values.shape[0], prefix - start), fill)
        return torch.cat([values[:, :start], gap, values[:, start:stop]], dim=1)

    return Layout(
        wide(layout.document, -1),
        wide(layout.segment, -1),
        wide(layout.full, 0),
        wide(layout.target, 0),
        wide(layout.position, 0),
    )
