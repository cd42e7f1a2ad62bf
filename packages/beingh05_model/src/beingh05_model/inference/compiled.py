"""The same chunk with static shapes: compiled layers and CUDA graphs (paper 6.1: what can be cached is, what can be
fixed is).

The prefix is padded to a bucket, keys and values of all layers lie in buffers, and everything that differs between two
chunks of one form (words, pictures, places, masks, times, noise) is written into buffers before the work starts. So the
work is two functions of buffers alone, ``prefix`` and ``flow``; a CUDA graph replays each as one launch. Numbers are
:class:`~beingh05_model.inference.denoise.Denoiser`'s. Legend: B rows, P padded prefix, N suffix, M = P + N, U
understanding tokens of the prefix, T action steps, S 200 slots, R rounds, K Euler steps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from beingh05_model.inference.denoise import Denoiser, Draw, Locked
from beingh05_model.inference.places import Form, form_of
from beingh05_model.inference.prepared import Mode, Prepared, Weights
from beingh05_model.network.backbone import Cache
from beingh05_model.network.tokens import Tokens


class Ran(NamedTuple):
    """What made a chunk: the mode that really ran, where, prefix tokens and what they were padded to, and the seconds
    that preparing the form took before (0 where it was prepared)."""

    mode: Mode
    device: str
    prefix: int
    padded: int
    prepared_s: float


@dataclass
class StaticDenoiser(Denoiser):
    """A drop-in for :class:`Denoiser` on one device. Weights are taken when it is made, and the model's layers then
    share memory with it: move, cast or load the model before.

    Attributes:
        mode: None takes "compiled+graphed" on a GPU and "eager" elsewhere; a mode that cannot run is an error, never
            another mode.
        backend: ``torch.compile``'s.
        bucket: Keys are padded to a multiple of it; each multiple is prepared once (compiled and captured).
        ran, last: What made the last chunk, and its buffers and work (to time its two parts).

    Raises:
        ValueError: graphs without a GPU, an unknown mode, layers that are no plain matrices.
    """

    mode: Mode | None = None
    backend: str = "inductor"
    bucket: int = 64
    ran: Ran | None = field(default=None, init=False)
    last: Prepared | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        on_gpu = self.model.action_unit.is_cuda
        mode: Mode = self.mode or ("compiled+graphed" if on_gpu else "eager")
        if mode not in get_args(Mode):
            raise ValueError(f"mode is {mode!r}; there are {', '.join(get_args(Mode))}")
        if "graphed" in mode and not on_gpu:
            raise ValueError(f"mode {mode!r} needs a CUDA device; the model is on {self.model.action_unit.device.type}")
        if not self.cached:
            raise ValueError("static shapes are for a cached prefix")
        self._mode = mode
        self._weights = Weights.of(self.model)
        self._prepared: dict[Form, Prepared] = {}

    @torch.no_grad()
    def run(
        self,
        t: Tokens,
        draw: Draw,
        locked: Locked | None = None,
        draw_directions: Draw | None = None,
        warm: Cache | None = None,
    ) -> Tensor:
        """As :meth:`Denoiser.run`; the chunk comes back on the model's device.

        Raises:
            ValueError: a warm cache, motion tokens, or routed experts whose state stands before the words.
        """
        if warm is not None:
            raise ValueError("static shapes run the whole prefix; a warm cache is for Denoiser")
        start, stop = self.suffix(t)
        form = form_of(t, self.model, start, stop, self.bucket, self.rounds, self.count)
        compat = self.model.config.compat
        if compat.discarded_first_draw:
            draw(tuple(t.action.shape))
        noise = [draw(tuple(t.action.shape))]
        for _ in range(form.rounds):
            noise.append(draw(tuple(t.action.shape)) if compat.noise_per_round else noise[0])
        began = time.perf_counter()
        known = form in self._prepared
        if not known:
            self._prepared[form] = Prepared(self._weights, form, t)
        one = self.last = self._prepared[form]
        one.fill(t, start, stop, torch.stack(noise), *self._fixed(t, locked), self._directions(form, draw_directions))
        if not known:
            one.prepare(self._mode, self.backend)
        seconds = 0.0 if known else time.perf_counter() - began
        one.prefix()
        one.flow()
        device = self.model.action_unit.device
        self.ran = Ran(self._mode, str(device), start, form.prefix, seconds)
        x = one.out.clone()
        return x * self.model.action_unit * (1 if compat.noise_on_unused_slots else one.buffers["slots"])

    def _fixed(self, t: Tokens, locked: Locked | None) -> tuple[Tensor, Tensor, Tensor]:
        """Which steps are fixed [B, T], their values [B, T, S], and the time bucket of every step [K, B, T]."""
        fixed_BT, values = self.held(t, locked)
        buckets = [torch.where(fixed_BT, self.model.config.flow.buckets, b) for b in self.buckets(t, locked)]
        return fixed_BT, values, torch.stack(buckets)

    def _directions(self, form: Form, draw: Draw | None) -> Tensor | None:
        """Directions of eq. 14 for every gated step, in the order in which :class:`Denoiser` draws them.

        Raises:
            ValueError: a released gate, which wants them drawn outside.
        """
        mpg, steps = self.model.mpg, form.rounds * form.euler
        if mpg is None or not steps:
            return None
        if draw is not None:
            return torch.stack([draw(mpg.directions_shape) for _ in range(steps)])
        if self.model.config.compat.mpg_random_directions:
            raise ValueError("the released gate takes random directions: give draw_directions")
        return mpg.directions().expand(steps, -1, -1) if mpg.config.distance == "sliced" else None
