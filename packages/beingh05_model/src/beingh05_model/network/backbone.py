"""Mixture of Transformers (paper 5.1): two experts of equal depth, one attention over the tokens of both.

Text and vision tokens pass the understanding expert ("und"), state and action tokens the action expert ("act"). A
block of
tokens may continue a cache of keys and values of earlier tokens: that is how a prefix is computed once, how the flow is
integrated and how text is generated. Legend: B rows, N tokens, M keys, U/A tokens of the two experts, D width, E
head width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from beingh05_model.network.attention import Backend, Mask, attend
from beingh05_model.network.config import BackboneConfig, MofConfig, StreamConfig
from beingh05_model.network.layers import RmsNorm, SwiGlu, rope_tables, rotate
from beingh05_model.network.mof import RoutedFfn, Router, Routing


@dataclass
class Block:
    """The tokens of one call. Rows share the places of their tokens; ``und`` and ``act`` index 0..N-1 of the block.

    Attributes:
        und_BUD, act_BAD: Embeddings of either expert.
        und_U, act_A: Their places in the block.
        mask: Who sees whom; its queries are this block, its keys everything up to the end of the block.
        sample_BA: Row of the routing that each action token follows (Mixture of Flow), -1 for none.
        state_SD: Per sample with a state its embedding before the gate, by sample number.
        text_SU: Per sample with a state a weight over the understanding tokens of all rows, [S, B * U], rows summing
            to one, zero where the instruction lies in the cache.
    """

    und_BUD: Tensor
    act_BAD: Tensor
    und_U: Tensor
    act_A: Tensor
    mask: Mask
    sample_BA: Tensor | None = None
    state_SD: Tensor | None = None
    text_SU: Tensor | None = None


@dataclass
class Cache:
    """Keys and values of earlier tokens per layer, [B, K, M, E] each, and the pooled instruction per routed layer."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    text: dict[int, Tensor] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return self.keys[0].shape[2] if self.keys else 0

    def cut(self, length: int) -> Cache:
        """The cache of the first ``length`` tokens alone. A pooled instruction is kept: cut only behind or before
        it."""
        return Cache([k[:, :, :length] for k in self.keys], [v[:, :, :length] for v in self.values], dict(self.text))


class Stream(nn.Module):
    """One expert's half of a layer."""

    def __init__(self, config: BackboneConfig, stream: StreamConfig, mof: MofConfig | None) -> None:
        super().__init__()
        self.config = config
        inner, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.input_norm = RmsNorm(stream.width, config.rms_eps)
        self.q = nn.Linear(stream.width, inner, bias=False)
        self.k = nn.Linear(stream.width, kv, bias=False)
        self.v = nn.Linear(stream.width, kv, bias=False)
        self.o = nn.Linear(inner, stream.width, bias=False)
        self.q_norm = RmsNorm(config.head_dim, config.rms_eps)
        self.k_norm = RmsNorm(config.head_dim, config.rms_eps)
        self.ffn_norm = RmsNorm(stream.width, config.rms_eps)
        self.ffn = SwiGlu(stream.width, stream.ffn) if mof is None else RoutedFfn(mof, stream.width, stream.ffn)

    def project(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys, values [B, N, heads, E]; queries and keys normalised per head."""
        x_BND = self.input_norm(x_BND)
        heads, kv = (self.config.heads, self.config.head_dim), (self.config.kv_heads, self.config.head_dim)
        q = self.q_norm(self.q(x_BND).unflatten(-1, heads))
        k = self.k_norm(self.k(x_BND).unflatten(-1, kv))
        return q, k, self.v(x_BND).unflatten(-1, kv)


def _merge(und: Tensor, act: Tensor, und_U: Tensor, act_A: Tensor) -> Tensor:
    """Both experts' [B, *, H, E] into the order of the block, [B, H, N, E]."""
    if not torch.is_grad_enabled():  # else both experts' projections take part, with a gradient of zero
        if not len(act_A):
            return und.transpose(1, 2)
        if not len(und_U):
            return act.transpose(1, 2)
    shape = (und.shape[0], len(und_U) + len(act_A), *und.shape[2:])
    out = und.new_zeros(shape).index_copy(1, und_U, und).index_copy(1, act_A, act)
    return out.transpose(1, 2)


class Layer(nn.Module):
    """One layer of both experts."""

    def __init__(self, config: BackboneConfig, mof: MofConfig | None) -> None:
        super().__init__()
        self.und = Stream(config, config.und, None)
        self.act = Stream(config, config.act, mof)
        self.router = None if mof is None else Router(mof, config.act.width, config.und.width, config.rms_eps)

    def forward(
        self,
        und: Tensor,
        act: Tensor,
        block: Block,
        rope: tuple[Tensor, Tensor],
        backend: Backend,
        past: tuple[Tensor, Tensor] | None,
        text: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Routing | None]:
        """Both experts' features after the layer, keys and values of the block, pooled instruction, routing."""
        und_U, act_A = block.und_U, block.act_A
        routing = None
        if self.router is not None:
            if block.text_SU is not None:
                text = block.text_SU @ und.flatten(0, 1)
            if block.state_SD is not None and text is not None:
                routing = self.router(block.state_SD, text)
        q, k, v = (
            _merge(a, b, und_U, act_A) for a, b in zip(self.und.project(und), self.act.project(act), strict=True)
        )
        q, k = rotate(q, rope), rotate(k, rope)
        keys, values = (k, v) if past is None else (torch.cat([past[0], k], 2), torch.cat([past[1], v], 2))
        mixed = attend(q, keys, values, block.mask, backend).transpose(1, 2).flatten(2)
        und = und + self.und.o(mixed[:, und_U])
        act = act + self.act.o(mixed[:, act_A])
        und = und + self.und.ffn(self.und.ffn_norm(und))
        if routing is None or block.sample_BA is None:
            if self.router is None:
                act = act + self.act.ffn(self.act.ffn_norm(act))
            elif act.shape[1]:
                raise ValueError("a routed layer needs the state and the instruction of every action token's sample")
        else:
            act = act + self.act.ffn(self.act.ffn_norm(act), block.sample_BA, routing)
        return und, act, k, v, text, routing


@dataclass
class Features:
    """Final normalised features of a block, and what the layers left behind."""

    und_BUD: Tensor
    act_BAD: Tensor
    cache: Cache | None
    routings: dict[int, Routing]


class Backbone(nn.Module):
    """Token embedding, layers and final norms."""

    def __init__(self, config: BackboneConfig, mof: MofConfig | None, mof_first_layer: int, backend: Backend) -> None:
        super().__init__()
        self.config, self.backend = config, backend
        self.embed = nn.Embedding(config.vocab, config.und.width)
        self.layers = nn.ModuleList(
            Layer(config, mof if number >= mof_first_layer else None) for number in range(config.layers)
        )
        self.und_norm = RmsNorm(config.und.width, config.rms_eps)
        self.act_norm = RmsNorm(config.act.width, config.rms_eps)
        self.recompute = False  # gradient checkpointing, per layer

    def forward(self, block: Block, cache: Cache | None = None, keep_cache: bool = False) -> Features:
        """Run a block of tokens, after the tokens of ``cache`` where one is given.

        Args:
            keep_cache: Return the keys and values of cache and block together.
        """
        stop = block.mask.sizes[2]
        position = block.mask.layout.position[:, block.mask.start : stop]
        rope = rope_tables(position, self.config.head_dim, self.config.rope_theta)
        und, act = block.und_BUD, block.act_BAD
        kept = Cache() if keep_cache else None
        routings: dict[int, Routing] = {}
        for number, layer in enumerate(self.layers):
            past = None if cache is None else (cache.keys[number], cache.values[number])
            text = None if cache is None else cache.text.get(number)
            arguments = (und, act, block, rope, self.backend, past, text)
            if self.recompute and torch.is_grad_enabled():
                und, act, k, v, text, routing = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                und, act, k, v, text, routing = layer(*arguments)
            if kept is not None:
                kept.keys.append(k if past is None else torch.cat([past[0], k], 2))
                kept.values.append(v if past is None else torch.cat([past[1], v], 2))
                if text is not None:
                    kept.text[number] = text
            if routing is not None:
                routings[number] = routing
        return Features(self.und_norm(und), self.act_norm(act), kept, routings)
