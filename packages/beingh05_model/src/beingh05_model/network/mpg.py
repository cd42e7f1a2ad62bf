"""Manifold-preserving gating (paper 5.3.2, eqs. 13 to 16).

H are the suffix features: the state token and the current action tokens, projected to the width of the understanding
expert. A model with motion tokens keeps its state token as it is: they see the state, and the gate, made of noisy and
clean actions, would tell them of the other target (eq. 9). Legend: B samples, T action tokens, N suffix tokens (state
and action), D action width, W understanding width, M directions, Q predicted steps of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from beingh05_model.network.config import MpgConfig, ReleaseCompat
from beingh05_model.network.layers import plain_norm
from beingh05_model.network.tokens import Tokens

DIRECTION_SEED = 5


def pooled_discrepancy(h_BNW: Tensor, anchor_BW: Tensor, real_BN: Tensor) -> Tensor:
    """Eq. 14 in closed form, [B]. The anchor is one point broadcast over the tokens, so sorting changes nothing and
    the mean over directions of (theta . (h - z))^2 is |h - z|^2 / W; mean over the sample's real tokens."""
    squared_BN = (h_BNW - anchor_BW[:, None]).square().mean(-1) * real_BN
    return squared_BN.sum(-1) / real_BN.sum(-1).clamp(min=1)


def sliced_discrepancy(h_BNW: Tensor, anchor_BW: Tensor, real_BN: Tensor, direction_MW: Tensor) -> Tensor:
    """Eq. 14 with given directions (scaled to length one here), a mean over directions and a sample's real tokens,
    [B]."""
    direction_MW = direction_MW / direction_MW.norm(dim=-1, keepdim=True)
    h_BNM, z_B1M = h_BNW @ direction_MW.T, anchor_BW[:, None] @ direction_MW.T
    squared_BN = (h_BNM - z_B1M).square().mean(-1) * real_BN
    return squared_BN.sum(-1) / real_BN.sum(-1).clamp(min=1)


@dataclass
class Grouped:
    """The predicted steps of packed rows, sample by sample. Making it asks the device for sizes: once per layout.

    Attributes:
        step_Q: Numbers of the predicted steps among all steps of all rows.
        row_Q, column_Q: Sample with a target, and step of it, of each.
        real: bool [B, T], steps that exist.
        state_B: Numbers of the samples' state tokens among all of all rows.
    """

    step_Q: Tensor
    row_Q: Tensor
    column_Q: Tensor
    real: Tensor
    state_B: Tensor

    @classmethod
    def of(cls, t: Tokens) -> Grouped:
        step_Q = t.action_target.flatten().nonzero()[:, 0]
        samples, row_Q, counts = t.action_sample.flatten()[step_Q].unique(return_inverse=True, return_counts=True)
        order_Q = torch.arange(len(row_Q), device=row_Q.device)
        column_Q = order_Q - (counts.cumsum(0) - counts)[row_Q]  # a sample's steps follow one another
        real = torch.zeros(len(samples), int(counts.max()), dtype=torch.bool, device=row_Q.device)
        real[row_Q, column_Q] = t.action_real.flatten()[step_Q]
        return cls(step_Q, row_Q, column_Q, real, torch.searchsorted(t.state_sample.flatten(), samples))

    def spread(self, x_BTD: Tensor) -> Tensor:
        """Features of all steps as [B, T, D], zeros where a sample has fewer."""
        flat = x_BTD.flatten(0, 1)
        out = flat.new_zeros(*self.real.shape, flat.shape[-1])
        return out.index_put((self.row_Q, self.column_Q), flat[self.step_Q])


class Mpg(nn.Module):
    """The gate, its residual, and the projections between the two widths.

    ``gates_state``: the state token is changed too, and not only looked at.
    """

    def __init__(
        self, config: MpgConfig, compat: ReleaseCompat, act_width: int, und_width: int, gates_state: bool = True
    ) -> None:
        super().__init__()
        self.config, self.compat = config, compat
        self.gates_state = gates_state and not compat.mpg_state_rows_zero
        self.up = nn.Linear(act_width, und_width)
        self.down = nn.Linear(und_width, act_width)
        self.observe = nn.Linear(und_width, und_width)  # E_obs
        self.act = nn.Linear(act_width, und_width)  # E_act
        self.enhance = nn.Linear(und_width, und_width)  # P_MPG: weight W, ungated bias b

    @property
    def directions_shape(self) -> tuple[int, int]:
        """M, W."""
        return self.config.projections, self.up.out_features

    def directions(self, seed: int = DIRECTION_SEED) -> Tensor:
        """Directions of eq. 14, [M, W], the same for the same seed."""
        return torch.randn(self.directions_shape, generator=torch.Generator().manual_seed(seed))

    def anchor(self, clean_BTD: Tensor, real_BT: Tensor) -> Tensor:
        """z-hat [B, W] of clean action embeddings: mean-pool, E_act, LayerNorm."""
        weight = real_BT[..., None].to(clean_BTD.dtype)
        count = weight.sum(-2).clamp(min=1)
        if self.compat.mpg_norm_then_pool:
            return (plain_norm(self.act(clean_BTD)) * weight).sum(-2) / count
        return plain_norm(self.act((clean_BTD * weight).sum(-2) / count))

    def gate(self, e_BNW: Tensor, anchor_BW: Tensor, real_BN: Tensor, direction_MW: Tensor | None = None) -> Tensor:
        """g = exp(-D / tau) in (0, 1], [B] (eq. 15)."""
        h_BNW = plain_norm(e_BNW)
        if direction_MW is None and self.config.distance == "sliced":
            direction_MW = self.directions().to(h_BNW)
        if direction_MW is not None:
            cost_B = sliced_discrepancy(h_BNW, anchor_BW, real_BN, direction_MW)
        else:
            cost_B = pooled_discrepancy(h_BNW, anchor_BW, real_BN)
        return torch.exp(-cost_B / self.config.temperature)

    def forward(
        self,
        state_BD: Tensor,
        act_BTD: Tensor,
        clean_BTD: Tensor,
        real_BT: Tensor,
        direction_MW: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gated state token [B, D], gated action tokens [B, T, D] and the gate [B] (one for all with the release's
        scope).

        Args:
            state_BD, act_BTD: Embeddings of the state token and of the current (noisy) action tokens.
            clean_BTD: Embeddings of the reference action: the target in training, the previous round at inference.
            real_BT: Steps that exist.
            direction_MW: Directions of eq. 14; None takes the closed form or the seeded ones, as configured.

        Raises:
            ValueError: the release's directions are drawn for every call (``compat.mpg_random_directions``) and were
                not given; nothing is drawn here.
        """
        compat, strength = self.compat, self.config.strength
        if direction_MW is not None:
            direction_MW = direction_MW.to(act_BTD)
        elif compat.mpg_random_directions:
            raise ValueError("the released gate takes random directions: draw them from a seed and give them")
        h_B1W = self.up(state_BD)[:, None]
        if compat.mpg_state_rows_zero:
            h_B1W = torch.zeros_like(h_B1W)
        h_BNW = torch.cat([h_B1W, self.up(act_BTD)], dim=1)
        e_BNW = self.observe(h_BNW)
        real_BN = torch.cat([torch.ones_like(real_BT[:, :1]), real_BT], dim=1)
        if compat.mpg_gate_of_batch:  # the samples' clean embeddings are averaged step by step before anything else
            anchor = self.anchor(clean_BTD.mean(0, keepdim=True), real_BT.all(0, keepdim=True))
            g_B = self.gate(e_BNW.flatten(0, 1)[None], anchor, real_BN.flatten()[None], direction_MW)
        else:
            g_B = self.gate(e_BNW, self.anchor(clean_BTD, real_BT), real_BN, direction_MW)
        gate = (g_B.detach() if self.config.stop_gradient else g_B)[:, None, None]
        enhanced_BNW = self.enhance(gate * e_BNW)
        if compat.mpg_round_trip:
            out_BND = self.down(h_BNW + strength * enhanced_BNW)
        else:
            # P_MPG of eq. 13 is `enhance` and then `down`: lambda scales the whole of it, and its ungated offset b_MPG
            # is down(bias of enhance), the bias of `down` included
            out_BND = torch.cat([state_BD[:, None], act_BTD], dim=1) + strength * self.down(enhanced_BNW)
        state = out_BND[:, 0] if self.gates_state else state_BD
        return state, out_BND[:, 1:], g_B
