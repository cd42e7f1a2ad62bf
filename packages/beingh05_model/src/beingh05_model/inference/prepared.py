"""Buffers of one form of chunk, and the work over them: prefix, and Euler steps of all rounds.

Everything that differs between two chunks of a form lies in ``buffers``; ``prefix`` and ``flow`` read and write buffers
alone, so they can be compiled and captured. Legend: B rows, P padded prefix, N suffix, M = P + N, T action steps, R
rounds, K Euler steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from beingh05_model.inference import halves
from beingh05_model.inference.places import Form, padded
from beingh05_model.network.attention import Mask
from beingh05_model.network.layers import rope_tables
from beingh05_model.network.model import BeingH
from beingh05_model.network.mof import Router
from beingh05_model.network.tokens import Tokens

Mode = Literal["eager", "compiled", "graphed", "compiled+graphed"]


@dataclass
class Weights:
    """The layers as tuples of tensors, and the slot adapters as two matrices."""

    model: BeingH
    und: list[halves.Half]
    act: list[halves.Half]
    routers: list[Router | None]
    encode: Tensor | None
    decode: Tensor | None
    sizes: halves.Sizes

    @classmethod
    def of(cls, model: BeingH) -> Weights:
        layers: list[Any] = list(model.backbone.layers)
        encode = decode = None
        if model.adapters is not None:
            encode, decode = (matrix.to(model.dtype) for matrix in model.adapters.dense())
        return cls(
            model,
            [halves.half(layer.und) for layer in layers],
            [halves.half(layer.act) for layer in layers],
            [layer.router for layer in layers],
            encode,
            decode,
            halves.Sizes.of(model.config.backbone),
        )


class Prepared:
    """Buffers of one form, and the two functions over them."""

    def __init__(self, weights: Weights, form: Form, t: Tokens) -> None:
        self.weights, self.form, self.model = weights, form, weights.model
        b, device, dtype = self.model.config.backbone, self.model.action_unit.device, self.model.dtype
        self.keys, self.values = (
            [torch.zeros(form.rows, b.kv_heads, form.keys, b.head_dim, device=device, dtype=dtype) for _ in weights.und]
            for _ in range(2)
        )
        top_k = 0 if self.model.config.mof is None else self.model.config.mof.top_k
        shape = (form.rows, top_k)
        self.routed: list[halves.Routed | None] = [
            (torch.zeros(shape, device=device, dtype=torch.long), torch.zeros(shape, device=device, dtype=dtype))
            if router is not None
            else None
            for router in weights.routers
        ]
        # on the device, because a graph must not copy a list from the host
        orders = {"prefix_order": form.prefix_order, "suffix_order": form.suffix_order, "steps_at": form.steps_at}
        self.buffers = {name: torch.tensor(order, dtype=torch.long, device=device) for name, order in orders.items()}
        self.out = torch.zeros(t.action.shape, device=device)
        self.prefix: Callable[[], None] = self._prefix
        self.flow: Callable[[], None] = self._flow
        self.prefix_layer, self.suffix_layer = halves.prefix_layer, halves.suffix_layer
        self._layout: list[Tensor] = []

    # ---- buffers --------------------------------------------------------------------------------------------------

    def fill(
        self, t: Tokens, start: int, stop: int, noise: Tensor, fixed: Tensor, values: Tensor, bucket: Tensor,
        directions: Tensor | None,
    ) -> None:  # fmt: skip
        """Write a chunk's content into the buffers."""
        form, dtype = self.form, self.model.dtype
        layout = padded(t.layout, start, stop, form.prefix)
        parts = [layout.document, layout.segment, layout.full, layout.target, layout.position]
        if not self._layout or not all(torch.equal(a, b) for a, b in zip(parts, self._layout, strict=True)):
            self._layout = parts
            group = self.model.config.backbone.heads // self.model.config.backbone.kv_heads
            for name, mask in (
                ("bias_prefix", Mask(layout, 0, form.prefix)),
                ("bias_suffix", Mask(layout, form.prefix, form.keys)),
            ):
                dense = mask.dense()
                bias = torch.zeros(dense.shape, dtype=dtype).masked_fill_(~dense.cpu(), float("-inf"))
                self._put(name, bias.repeat(1, 1, group, 1))
            self._put("position", layout.position)
        for name, value in form.content(t, start).items():
            self._put(name, value)
        for name, value in (("noise", noise), ("fixed", fixed), ("values", values), ("bucket", bucket)):
            self._put(name, value)
        if directions is not None:
            self._put("directions", directions.to(dtype))

    def _put(self, name: str, value: Tensor) -> None:
        if name in self.buffers:
            self.buffers[name].copy_(value, non_blocking=True)
        else:
            self.buffers[name] = value.to(self.out.device, copy=True).contiguous()

    # ---- work -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _prefix(self) -> None:
        """Pictures, words and clean context: keys and values of the first P places, and each layer's experts."""
        model, form, b, w = self.model, self.form, self.buffers, self.weights
        und = model.backbone.embed(b["ids"])
        if form.views:
            seen = model.views(b["pixels"])[:, b["picture"].clamp(min=0)]
            und = torch.where((b["picture"] >= 0)[None, :, None], seen, und)
        state = self._state()
        act = torch.cat(self._still(state), dim=1)[:, b["prefix_order"]]
        rope = rope_tables(b["position"][:, : form.prefix], w.sizes.head_dim, model.config.backbone.rope_theta)
        last = len(w.und) - 1
        for number, (u, a) in enumerate(zip(w.und, w.act, strict=True)):
            router, routed = w.routers[number], self.routed[number]
            if router is not None and routed is not None:
                pooled = (b["text_weight"].to(und.dtype)[:, None] @ und)[:, 0]
                for kept, new in zip(routed, router.choose(router.logits(state[:, 0], pooled)), strict=True):
                    kept.copy_(new)
            und, act = self.prefix_layer(
                u, a, und, act, b["und_at"], b["act_at"], self.keys[number], self.values[number], b["bias_prefix"],
                rope, number == last, w.sizes,
            )  # fmt: skip

    @torch.no_grad()
    def _flow(self) -> None:
        """All Euler steps of all rounds; the chunk in units of the network is left in ``out``."""
        model, form, b = self.model, self.form, self.buffers
        state, clean = self._state(), None
        rope = rope_tables(
            b["position"][:, form.prefix :], self.weights.sizes.head_dim, model.config.backbone.rope_theta
        )
        fixed = b["fixed"][..., None]
        x = b["noise"][0]
        for number in range(form.rounds + 1):
            x = model.usable(b["slots"], b["noise"][number])
            for step in range(form.euler):
                x = torch.where(fixed, b["values"], x)
                steps, held = self._encode(x, b["bucket"][step]), state
                if clean is not None:
                    held, steps = self._gated(state, steps, clean, (number - 1) * form.euler + step)
                x = x + self._velocity(held, steps, rope) / form.euler
            x = torch.where(fixed, b["values"], x)
            if number < form.rounds:
                clean = self._encode(x, model.clean_bucket(b["fixed"]))
        self.out.copy_(x)

    def _state(self) -> Tensor:
        b = self.buffers
        return self.model.state_encoder((b["state"] * b["state_slots"] / self.model.state_unit).to(self.model.dtype))

    def _encode(self, x: Tensor, bucket: Tensor) -> Tensor:
        """As ``BeingH.encode_steps``; the slot adapters are one matrix."""
        x, encode = x.to(self.model.dtype), self.weights.encode
        residual = None if encode is None else (x * self.buffers["slots"]) @ encode.T
        return self.model.action_encoder(x, bucket, residual)

    def _still(self, state: Tensor) -> list[Tensor]:
        """Tokens of the action expert that are no steps: states and special tokens, each kind in its order."""
        if self.model.delimiters is None:
            return [state]
        return [state, self.model.delimiters(self.buffers["delimiters"])]

    def _gated(self, state: Tensor, steps: Tensor, clean: Tensor, number: int) -> tuple[Tensor, Tensor]:
        mpg, first, directions = self.model.mpg, self.form.first, self.buffers.get("directions")
        assert mpg is not None
        given = None if directions is None else directions[number]
        gated_state, gated_steps, _ = mpg(
            state[:, 0], steps[:, first:], clean[:, first:], self.buffers["real"][:, first:], given
        )
        return gated_state[:, None], torch.cat([steps[:, :first], gated_steps], dim=1)

    def _velocity(self, state: Tensor, steps: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        w, model = self.weights, self.model
        x = torch.cat([*self._still(state), steps], dim=1)[:, self.buffers["suffix_order"]]
        for number, (half, routed) in enumerate(zip(w.act, self.routed, strict=True)):
            x = self.suffix_layer(
                half, routed, x, self.keys[number], self.values[number], self.buffers["bias_suffix"], rope, w.sizes
            )
        h = model.backbone.act_norm(x)[:, self.buffers["steps_at"]]
        velocity = model.action_decoder(h)
        if w.decode is not None:
            velocity = velocity + (h @ w.decode.T) * self.buffers["slots"]
        return model.usable(self.buffers["slots"], velocity)

    # ---- compiling and capturing --------------------------------------------------------------------------------

    def prepare(self, mode: Mode, backend: str) -> None:
        """Compile the layers and capture both functions, as the mode says. The buffers hold a first chunk."""
        if "compiled" in mode:
            self.prefix_layer, self.suffix_layer = _compiled(backend)
        if "graphed" in mode:
            self.prefix, self.flow = _captured(self._prefix), _captured(self._flow)
        elif "compiled" in mode:
            self.prefix()
            self.flow()


@cache
def _compiled(backend: str) -> tuple[Callable[..., tuple[Tensor, Tensor]], Callable[..., Tensor]]:
    """Both layer functions through ``torch.compile``. A layer is compiled once and serves all of its kind: weights are
    arguments."""
    # every form, and dense and routed layers, need their own code
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    prefix = torch.compile(halves.prefix_layer, fullgraph=True, dynamic=False, backend=backend)
    return prefix, torch.compile(halves.suffix_layer, fullgraph=True, dynamic=False, backend=backend)


def _captured(work: Callable[[], None]) -> Callable[[], None]:
    """The work as a CUDA graph; three runs before it let kernels be chosen and compiled."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
