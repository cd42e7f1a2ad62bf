"""Embodiment-specific adaptation (paper 5.3.1, eq. 12): one small residual per slot group, shared by all robots with
it.

A group is a run of slots of one meaning and side. A sample touches only the groups in which its embodiment has
slots, so training one robot leaves the groups that it does not have exactly as they were. Legend: T steps, S 200
slots, D width.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from beingh05_model.network.config import SLOTS
from unihand_data.space import GROUPS

#: the K groups of eq. 12, by the groups of the slot table that each one holds
ADAPTER_GROUPS: dict[str, tuple[str, ...]] = {
    "right_eef_position": ("right_eef_position",),
    "right_eef_rotation": ("right_eef_rotation",),
    "left_eef_position": ("left_eef_position",),
    "left_eef_rotation": ("left_eef_rotation",),
    "right_gripper": ("right_gripper",),
    "left_gripper": ("left_gripper",),
    "right_hand": ("right_hand", "right_hand_extension"),
    "left_hand": ("left_hand", "left_hand_extension"),
    "right_arm": ("right_arm",),
    "left_arm": ("left_arm",),
    "head": ("head", "neck"),
    "waist": ("waist", "lift", "torso"),
    "base": ("base_velocity",),
    "right_theta": ("right_theta",),
    "left_theta": ("left_theta",),
}


@cache
def group_slots(name: str) -> list[int]:
    """Slots of one adapter group."""
    return [slot for part in ADAPTER_GROUPS[name] for slot in GROUPS[part].slots]


def _used(slots_TS: Tensor) -> set[int]:
    """Slots of any step."""
    return set(slots_TS.flatten(0, -2).any(0).nonzero()[:, 0].tolist())


class SlotAdapters(nn.Module):
    """Residuals at the action encoder (slots to width) and decoder (width to slots), all zero at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encode = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(width, len(group_slots(name)))) for name in ADAPTER_GROUPS}
        )
        self.decode = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(len(group_slots(name)), width)) for name in ADAPTER_GROUPS}
        )

    def active(self, slots_BS: Tensor) -> dict[str, Tensor]:
        """Per group, bool [...]: does the embodiment have one of its slots? ``slots_BS`` bool [..., 200]."""
        return {name: slots_BS[..., group_slots(name)].any(-1) for name in ADAPTER_GROUPS}

    def dense(self) -> tuple[Tensor, Tensor]:
        """Both residuals over all slots as one matrix each, [D, S] and [S, D]; slots without an adapter are zero."""
        some = next(iter(self.encode.values()))
        encode = some.new_zeros(some.shape[0], SLOTS)
        decode = torch.zeros_like(encode.T)
        for name in ADAPTER_GROUPS:
            slots = group_slots(name)
            encode[:, slots], decode[slots] = self.encode[name].detach(), self.decode[name].detach()
        return encode, decode

    def at_encoder(self, x_TS: Tensor, slots_TS: Tensor) -> Tensor:
        """What the adapters add to the encoder's first projection, [T, D]; ``slots_TS``: slots of each step's
        embodiment."""
        out = x_TS.new_zeros(*x_TS.shape[:-1], next(iter(self.encode.values())).shape[0])
        used = _used(slots_TS)
        for name, weight in self.encode.items():
            slots = group_slots(name)
            if not used.isdisjoint(slots):
                at = slots_TS[..., slots].any(-1).nonzero(as_tuple=True)
                out = out.index_put(at, (x_TS[at] * slots_TS[at])[:, slots] @ weight.T.to(x_TS.dtype), accumulate=True)
        return out

    def at_decoder(self, h_TD: Tensor, slots_TS: Tensor) -> Tensor:
        """What the adapters add to the velocity, [T, S]; zero on slots that the embodiment lacks."""
        out = h_TD.new_zeros(*h_TD.shape[:-1], slots_TS.shape[-1])
        used = _used(slots_TS)
        for name, weight in self.decode.items():
            slots = group_slots(name)
            if not used.isdisjoint(slots):
                at = slots_TS[..., slots].any(-1).nonzero(as_tuple=True)
                full = h_TD.new_zeros(len(at[0]), slots_TS.shape[-1])
                full[:, slots] = h_TD[at] @ weight.T.to(h_TD.dtype)
                out = out.index_put(at, full * slots_TS[at], accumulate=True)
        return out
