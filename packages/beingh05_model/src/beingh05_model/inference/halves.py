"""One layer of either expert as functions of tensors of fixed shape, for compilers and CUDA graphs.

The same mathematics as :mod:`beingh05_model.network.backbone`, without anything that depends on values: keys and values
are written into buffers, routed experts are gathered instead of skipped, and the queries of one key/value head are one
longer query, so that no kernel needs grouped heads. Legend: B rows, N tokens, M keys, H heads, K key/value heads,
E head width, D width, X experts, C chosen experts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beingh05_model.network.config import BackboneConfig
from beingh05_model.network.int8 import Int8, Int8Linear, linear
from beingh05_model.network.layers import rms, rotate
from beingh05_model.network.mof import RoutedFfn

Weight = Tensor | Int8
#: numbers of the chosen experts [B, C] and their mixing weights [B, C]
Routed = tuple[Tensor, Tensor]


class Half(NamedTuple):
    """Weights of one expert in one layer; ``gate_up`` and ``down`` of routed experts have a first axis X."""

    input_norm: Tensor
    qkv: Weight
    o: Weight
    q_norm: Tensor
    k_norm: Tensor
    ffn_norm: Tensor
    gate_up: Weight
    down: Weight


class Sizes(NamedTuple):
    """What the functions need of the configuration."""

    heads: int
    kv_heads: int
    head_dim: int
    eps: float

    @classmethod
    def of(cls, config: BackboneConfig) -> Sizes:
        return cls(config.heads, config.kv_heads, config.head_dim, config.rms_eps)


def _joined(layers: list[Any]) -> Weight:
    """Matrices of several layers below each other. The layers become views of the one matrix, so nothing is held
    twice."""
    for one in layers:
        _plain(one)
    if isinstance(layers[0], Int8Linear):
        whole = Int8(*(torch.cat(parts) for parts in zip(*(one.weight for one in layers), strict=True)))
        at = 0
        for one in layers:
            rows = slice(at, at + one.out_features)
            one.values, one.scale = whole.values[rows], whole.scale[rows]
            at += one.out_features
        return whole
    dense = torch.cat([one.weight.detach() for one in layers])
    for one, part in zip(layers, dense.split([len(one.weight) for one in layers]), strict=True):
        one.weight.data = part
    return dense


def _swiglu(ffn: Any) -> tuple[Weight, Weight]:
    return _joined([ffn.gate, ffn.up]), _one(ffn.down)


def _plain(layer: Any) -> None:
    """
    Raises:
        ValueError: the layer computes something else than its matrix (an unmerged low-rank addition, say).
    """
    if type(layer) not in (nn.Linear, Int8Linear):
        raise ValueError(f"static shapes need plain linear layers, not {type(layer).__name__}; merge it first")


def _one(layer: Any) -> Weight:
    _plain(layer)
    return layer.weight if isinstance(layer, Int8Linear) else layer.weight.detach()


def _stacked(parts: list[Weight]) -> Weight:
    if isinstance(parts[0], Tensor):
        return torch.stack([p for p in parts if isinstance(p, Tensor)])
    return Int8(*(torch.stack(list(column)) for column in zip(*parts, strict=True)))


@torch.no_grad()
def half(stream: Any) -> Half:
    """Weights of a :class:`~beingh05_model.network.backbone.Stream`, as they are now."""
    ffn = stream.ffn
    if isinstance(ffn, RoutedFfn):
        pairs = [_swiglu(expert) for expert in ffn.experts]
        gate_up, down = _stacked([a for a, _ in pairs]), _stacked([b for _, b in pairs])
        for number, expert in enumerate(ffn.experts):
            _point(expert, gate_up, down, number)
    else:
        gate_up, down = _swiglu(ffn)
    return Half(
        stream.input_norm.weight.detach(),
        _joined([stream.q, stream.k, stream.v]),
        _one(stream.o),
        stream.q_norm.weight.detach(),
        stream.k_norm.weight.detach(),
        stream.ffn_norm.weight.detach(),
        gate_up,
        down,
    )


def _point(expert: Any, gate_up: Weight, down: Weight, number: int) -> None:
    """Let one routed expert's layers be views of the stacked matrices."""
    width = expert.gate.out_features
    for layer, whole, rows in (
        (expert.gate, gate_up, slice(0, width)),
        (expert.up, gate_up, slice(width, None)),
        (expert.down, down, slice(None)),
    ):
        if isinstance(whole, Tensor):
            layer.weight.data = whole[number, rows]
        else:
            layer.values, layer.scale = whole.values[number, rows], whole.scale[number, rows]


def project(w: Half, x_BND: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B, N, H, E], keys and values [B, N, K, E]; queries and keys normalised per head."""
    heads, kv = sizes.heads, sizes.kv_heads
    qkv = linear(rms(x_BND, w.input_norm, sizes.eps), w.qkv).unflatten(-1, (heads + 2 * kv, sizes.head_dim))
    q, k, v = qkv.split([heads, kv, kv], dim=2)
    return rms(q, w.q_norm, sizes.eps), rms(k, w.k_norm, sizes.eps), v


def attend(q_BHNE: Tensor, k_BKME: Tensor, v_BKME: Tensor, bias: Tensor) -> Tensor:
    """[B, N, H * E]. ``bias`` [B, 1, H / K * N, M]: the mask of the N queries once per head of a group."""
    rows, heads, count, width = q_BHNE.shape
    grouped = q_BHNE.reshape(rows, k_BKME.shape[1], -1, width)
    mixed = F.scaled_dot_product_attention(grouped, k_BKME, v_BKME, attn_mask=bias)
    return mixed.reshape(rows, heads, count, width).transpose(1, 2).flatten(2)


def feed_forward(w: Half, x_BND: Tensor, sizes: Sizes) -> Tensor:
    gate, up = linear(rms(x_BND, w.ffn_norm, sizes.eps), w.gate_up).chunk(2, dim=-1)
    return linear(F.silu(gate) * up, w.down)


def routed_feed_forward(w: Half, x_BND: Tensor, routed: Routed, sizes: Sizes) -> Tensor:
    """The chosen experts' matrices are gathered, one set a row."""
    chosen_BC, weight_BC = routed
    x = rms(x_BND, w.ffn_norm, sizes.eps)[:, None]
    gate, up = _per_row(x, w.gate_up, chosen_BC).chunk(2, dim=-1)
    out_BCND = _per_row(F.silu(gate) * up, w.down, chosen_BC)
    return (out_BCND * weight_BC[..., None, None]).sum(1)


def _per_row(x: Tensor, w: Weight, chosen_BC: Tensor) -> Tensor:
    if isinstance(w, Tensor):
        return x @ w[chosen_BC].transpose(-1, -2)
    return (x @ w.values[chosen_BC].to(x.dtype).transpose(-1, -2)) * w.scale[chosen_BC][..., None, :].to(x.dtype)


def suffix_layer(
    w: Half, routed: Routed | None, x_BND: Tensor, keys: Tensor, values: Tensor, bias: Tensor,
    rope: tuple[Tensor, Tensor], sizes: Sizes,
) -> Tensor:  # fmt: skip
    """One layer of the action expert over the N last tokens; their keys and values are written at the end of the
    buffers [B, K, M, E]."""
    q, k, v = (part.transpose(1, 2) for part in project(w, x_BND, sizes))
    first = keys.shape[2] - x_BND.shape[1]
    keys[:, :, first:].copy_(rotate(k, rope))
    values[:, :, first:].copy_(v)
    out = x_BND + linear(attend(rotate(q, rope), keys, values, bias), w.o)
    if routed is None:
        return out + feed_forward(w, out, sizes)
    return out + routed_feed_forward(w, out, routed, sizes)


def prefix_layer(
    und: Half, act: Half, x_BUD: Tensor, a_BAD: Tensor, und_U: Tensor, act_A: Tensor, keys: Tensor, values: Tensor,
    bias: Tensor, rope: tuple[Tensor, Tensor], last: bool, sizes: Sizes,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One layer of both experts over the P first tokens; their keys and values are written at the start of the
    buffers. Of the last layer nothing else is needed."""
    q, k, v = project(und, x_BUD, sizes)
    if a_BAD.shape[1]:
        shape = (len(x_BUD), x_BUD.shape[1] + a_BAD.shape[1])
        q, k, v = (
            p.new_zeros(*shape, *p.shape[2:]).index_copy(1, und_U, p).index_copy(1, act_A, r)
            for p, r in zip((q, k, v), project(act, a_BAD, sizes), strict=True)
        )
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    k = rotate(k, rope)
    count = k.shape[2]
    keys[:, :, :count].copy_(k)
    values[:, :, :count].copy_(v)
    if last:
        return x_BUD, a_BAD
    mixed = attend(rotate(q, rope), k, v, bias)
    if not a_BAD.shape[1]:
        x_BUD = x_BUD + linear(mixed, und.o)
        return x_BUD + feed_forward(und, x_BUD, sizes), a_BAD
    x_BUD = x_BUD + linear(mixed[:, und_U], und.o)
    a_BAD = a_BAD + linear(mixed[:, act_A], act.o)
    return x_BUD + feed_forward(und, x_BUD, sizes), a_BAD + feed_forward(act, a_BAD, sizes)
