"""Integrate the flow (eq. 20) with a locked prefix (eq. 23) and rounds of refinement (eq. 21).

What stands before the first token that changes from step to step is run once and cached; each Euler step runs only the
action expert's last tokens. Without the cache everything is run again at every step; both give the same numbers.
Legend: B rows, T action steps, S 200 slots, D width of the action expert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from beingh05_model.network import flow
from beingh05_model.network.attention import Mask
from beingh05_model.network.backbone import Block, Cache
from beingh05_model.network.model import BeingH
from beingh05_model.network.mpg import Grouped
from beingh05_model.network.tokens import Tokens

#: draws a tensor of the given shape
Draw = Callable[[tuple[int, ...]], Tensor]


@dataclass
class Locked:
    """Committed actions (eq. 23): the first ``steps`` of ``values`` [B, T', S], physical units, already shifted to now.

    A shorter chunk than the model's is continued by its last step.
    """

    values: Tensor
    steps: int


@dataclass
class Denoiser:
    """One model, one set of options.

    Attributes:
        cached: Run the prefix once (default), or everything at each step.
        euler_steps, refinements: None takes the model's own.
    """

    model: BeingH
    cached: bool = True
    euler_steps: int | None = None
    refinements: int | None = None

    @property
    def count(self) -> int:
        """Euler steps of a round."""
        return self.model.config.flow.euler_steps if self.euler_steps is None else self.euler_steps

    @property
    def rounds(self) -> int:
        """Rounds after the first; none without a gate."""
        mpg = self.model.mpg
        if mpg is None or not mpg.config.strength:
            return 0
        return mpg.config.refinements if self.refinements is None else self.refinements

    @torch.no_grad()
    def run(
        self,
        t: Tokens,
        draw: Draw,
        locked: Locked | None = None,
        draw_directions: Draw | None = None,
        warm: Cache | None = None,
    ) -> Tensor:
        """Actions [B, T, S] in physical units for sequences whose action steps are all targets or context, on the
        model's device.

        Args:
            t: Sequences, on any device; ``action`` holds clean context steps, ``noise`` and ``time`` are not read.
            draw: Makes the noise. One noise serves all rounds, unless the model follows the release.
            draw_directions: Directions of eq. 14 per gated step; a released gate asks for them.
            warm: Cache of the first tokens of the sequences (pictures seen before), which are then not run again.
        """
        model, compat = self.model, self.model.config.compat
        rounds, device = self.rounds, model.action_unit.device
        shape = tuple(t.action.shape)
        if compat.discarded_first_draw:
            draw(shape)
        start, stop = self.suffix(t) if self.cached else (0, t.length)
        t = t.to(device)
        und = model.embed_und(t, seen=0 if warm is None else warm.length)
        state = model.encode_state(t)
        cache = self._prefix(t, und, state, start, warm) if self.cached else None
        running = _Running.of(model, t, und, state, Mask(t.layout, start, stop), cache)
        grouped = Grouped.of(t) if rounds else None
        fixed_BT, values = self.held(t, locked)
        buckets = self.buckets(t, locked)
        noise, clean = draw(shape).to(device), None
        for number in range(rounds + 1):
            if number and compat.noise_per_round:
                noise = draw(shape).to(device)
            x = model.usable(t.action_slots, noise)
            for bucket in buckets:
                x = torch.where(fixed_BT[..., None], values, x)
                steps = model.encode_steps(x, torch.where(fixed_BT, model.config.flow.buckets, bucket), t.action_slots)
                held = state
                if clean is not None and model.mpg is not None:
                    directions = None
                    if draw_directions is not None:
                        directions = draw_directions(model.mpg.directions_shape)
                    held, steps, _ = model.gated(t, state, steps, clean, directions, grouped)
                x = x + self._velocity(t, held, steps, running) / self.count
            x = torch.where(fixed_BT[..., None], values, x)
            if number < rounds:
                clean = model.encode_steps(x, model.clean_bucket(t.time), t.action_slots)
        return x * model.action_unit * (1 if compat.noise_on_unused_slots else t.action_slots)

    def suffix(self, t: Tokens) -> tuple[int, int]:
        """First and last place, exclusive, of the tokens that are run at every step: those of the action expert
        around the last action step. What follows them nobody sees.

        Raises:
            ValueError: the gate changes the state token, but the state stands before text and cannot be in the suffix.
        """
        own = {int(p) for places in (t.action_at, t.state_at, t.delimiter_at, t.motion_at) for p in places}
        start = int(t.action_at[-1])
        stop = start + 1
        while start - 1 in own:
            start -= 1
        while stop in own:
            stop += 1
        mpg = self.model.mpg
        if mpg is not None and mpg.config.strength and mpg.gates_state and any(int(p) < start for p in t.state_at):
            raise ValueError("the state must follow the text, or a gate on it would change a cached prefix")
        return start, stop

    def _prefix(self, t: Tokens, und: tuple[Tensor, Tensor], state: Tensor, start: int, warm: Cache | None) -> Cache:
        """Run everything before the first changing token once."""
        done = 0 if warm is None else warm.length
        act, act_at = self.model.embed_act(t, state, self.model.encode_steps(*self._clean_context(t)))
        keep = (act_at >= done) & (act_at < start)
        before = (und[1] >= done) & (und[1] < start)
        block = self.model.block(
            t, (und[0][:, before], und[1][before]), (act[:, keep], act_at[keep]), Mask(t.layout, done, start), state
        )
        cache = self.model.backbone(block, warm, keep_cache=True).cache
        assert cache is not None
        return cache

    def _clean_context(self, t: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        clean = t.action * t.action_slots / self.model.action_unit
        return clean, flow.bucket(torch.ones_like(t.time), self.model.config.flow), t.action_slots

    def held(self, t: Tokens, locked: Locked | None) -> tuple[Tensor, Tensor]:
        """Steps that stay as they are (context, committed prefix), bool [B, T], and their values [B, T, S] in units of
        the network."""
        fixed_BT = ~t.action_target
        context = t.action * t.action_slots / self.model.action_unit.to(t.action.device)
        return (fixed_BT, context) if locked is None else self._lock(t, locked, fixed_BT, context)

    def buckets(self, t: Tokens, locked: Locked | None) -> list[Tensor]:
        """Time bucket [B, T] of every Euler step, for steps that are not fixed."""
        flow, count = self.model.config.flow, self.count
        if self.model.config.compat.delay_bucket_in_model_dtype and locked is not None:
            now = [torch.tensor(step / count, dtype=self.model.dtype) * flow.buckets for step in range(count)]
            return [torch.full_like(t.time, int(one.long()), dtype=torch.long) for one in now]
        return [torch.full_like(t.time, flow.buckets * step // count, dtype=torch.long) for step in range(count)]

    def _velocity(self, t: Tokens, state: Tensor, steps: Tensor, running: _Running) -> Tensor:
        """Velocity of the steps; only the tokens of the mask's queries are run."""
        act = torch.cat([state, steps, *running.still], dim=1)[:, running.order]
        features = self.model.backbone(replace(running.block, act_BAD=act), running.cache)
        return self.model.decode_steps(features.act_BAD[:, running.steps_at], t.action_slots)

    def _lock(self, t: Tokens, locked: Locked, fixed_BT: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Targets before the delay become fixed. Where context steps precede the chunk, the chunk's own steps count."""
        chunk = int(t.action_target[0].sum())
        if not 0 <= locked.steps <= chunk:
            raise ValueError(f"a prefix of {locked.steps} steps cannot be locked in a chunk of {chunk}")
        if locked.steps and not locked.values.shape[1]:
            raise ValueError("a locked prefix needs at least one committed step")
        values = locked.values.to(context.device) / self.model.action_unit.to(context.device)
        if not self.model.config.compat.noise_on_unused_slots:
            values = values * t.action_slots[:, :1]
        if values.shape[1] < chunk and values.shape[1]:
            values = torch.cat([values, values[:, -1:].expand(-1, chunk - values.shape[1], -1)], dim=1)
        full = context.clone()
        fixed = fixed_BT.clone()
        first = t.action.shape[1] - chunk
        full[:, first : first + chunk] = values[:, :chunk]
        fixed[:, first : first + locked.steps] = True
        return fixed, full


@dataclass
class _Running:
    """What does not change from step to step: places, masks, routes and the embeddings of special tokens.

    Attributes:
        still: Action-expert tokens that are neither states nor steps.
        order: Places of (states, steps, ``still``) in the order of the row, those that are run.
        steps_at: Places of the action steps among them.
        block: The tokens of a call without the embeddings of the action expert.
    """

    still: list[Tensor]
    order: Tensor
    steps_at: Tensor
    block: Block
    cache: Cache | None

    @classmethod
    def of(
        cls, model: BeingH, t: Tokens, und: tuple[Tensor, Tensor], state: Tensor, mask: Mask, cache: Cache | None
    ) -> _Running:
        still, still_at = model.special(t)
        at, order = torch.cat([t.state_at, t.action_at, *still_at]).sort()
        stop = mask.sizes[2]
        keep = (at >= mask.start) & (at < stop)
        at, order = at[keep], order[keep]
        after = (und[1] >= mask.start) & (und[1] < stop)
        nothing = und[0].new_zeros(t.rows, len(at), model.config.backbone.act.width)
        block = model.block(t, (und[0][:, after], und[1][after]), (nothing, at), mask, state)
        return cls(still, order, torch.searchsorted(at, t.action_at), block, cache)
