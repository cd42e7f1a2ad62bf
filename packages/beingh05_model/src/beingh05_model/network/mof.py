"""Mixture of Flow (paper 5.1.2): foundation layers are dense, upper layers route each sample to a few of many experts.

The router of a layer looks at the embedding of the state, before the gate and the layers, and at the pooled features
of the instruction in that layer. Neither can feel an action step, noisy or clean, so the choice is one per sample and
layer and does not change while the flow is integrated. Legend: B samples, N tokens, X experts, C chosen experts, D
width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from beingh05_model.network.config import MofConfig
from beingh05_model.network.layers import RmsNorm, SwiGlu


@dataclass
class Routing:
    """What one layer's router decided for the samples of a batch.

    Attributes:
        weight_BX: Mixing weights; zero for experts that were not chosen (:meth:`Router.choose`).
        loss: Balance and z-loss, already weighted.
    """

    weight_BX: Tensor
    loss: Tensor


class Router(nn.Module):
    """Logits from the state's embedding and the mean of the instruction's features."""

    def __init__(self, config: MofConfig, act_width: int, und_width: int, eps: float) -> None:
        super().__init__()
        self.config = config
        self.state_norm = RmsNorm(act_width, eps)
        self.text_norm = RmsNorm(und_width, eps)
        self.state = nn.Linear(act_width, config.experts, bias=False)
        self.text = nn.Linear(und_width, config.experts, bias=False)
        # moved by the sign of the load error, never by a gradient (bias balance); changes the choice, not the weights
        self.bias: Tensor
        self.register_buffer("bias", torch.zeros(config.experts))

    def logits(self, state_BD: Tensor, text_BD: Tensor) -> Tensor:
        """float32 [B, X]."""
        return (self.state(self.state_norm(state_BD)) + self.text(self.text_norm(text_BD))).float()

    def choose(self, logits_BX: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of the chosen experts [B, C], ascending, and their mixing weights [B, C]: softmax over the chosen
        ones. Of one expert that would be 1 whatever the router says, and the flow could not teach it: a single expert
        has its share of the softmax over all, as in Switch Transformer (arXiv 2101.03961, eq. 2)."""
        top_k = self.config.top_k
        chosen_BC = (logits_BX + self.bias).topk(top_k, dim=-1).indices.sort(-1).values
        if top_k == 1:
            return chosen_BC, logits_BX.softmax(-1).gather(-1, chosen_BC)
        return chosen_BC, logits_BX.gather(-1, chosen_BC).softmax(-1)

    def forward(self, state_BD: Tensor, text_BD: Tensor) -> Routing:
        config, logits_BX = self.config, self.logits(state_BD, text_BD)
        chosen_BC, weight_BC = self.choose(logits_BX)
        chosen_BX = torch.zeros_like(logits_BX, dtype=torch.bool).scatter_(-1, chosen_BC, True)
        weight_BX = torch.zeros_like(logits_BX).scatter(-1, chosen_BC, weight_BC)
        samples = max(1, len(logits_BX))  # a row may have none to route
        loss = config.z_weight * logits_BX.logsumexp(-1).pow(2).sum() / samples
        if config.balance == "loss":
            share_X = chosen_BX.float().sum(0) / samples / config.top_k
            mean_X = logits_BX.softmax(-1).sum(0) / samples
            loss = loss + config.balance_weight * config.experts * (share_X * mean_X).sum()
        return Routing(weight_BX.to(state_BD.dtype), loss)

    @torch.no_grad()
    def rebalance(self, load_X: Tensor) -> None:
        """Move the bias of each expert one step against its load error; ``load_X`` is the count over all ranks."""
        error = load_X.float().mean() - load_X.float()
        self.bias += self.config.bias_step * error.sign()


class RoutedFfn(nn.Module):
    """The experts of one layer. An expert that no sample chose is not run and gets an exactly zero gradient."""

    def __init__(self, config: MofConfig, width: int, ffn: int) -> None:
        super().__init__()
        narrow = config.ffn if config.ffn is not None else max(1, ffn // config.top_k)
        self.experts = nn.ModuleList(SwiGlu(width, narrow) for _ in range(config.experts))

    def forward(self, x_BND: Tensor, sample_BN: Tensor, routing: Routing) -> Tensor:
        """``sample_BN`` names for each token the row of ``routing`` it follows."""
        weight_BNX = routing.weight_BX[sample_BN]
        out_BND = torch.zeros_like(x_BND)
        for number, expert in enumerate(self.experts):
            weight_BN = weight_BNX[..., number]
            rows = weight_BN.nonzero(as_tuple=True)
            if len(rows[0]) == 0 and not torch.is_grad_enabled():
                continue
            # with no token the product is empty: parameters take part with a gradient that is exactly zero, on every
            # rank
            out_BND = out_BND.index_put(rows, expert(x_BND[rows]) * weight_BN[rows][:, None], accumulate=True)
        return out_BND
