"""Integrate the flow (eq. 20) with a locked prefix (eq. 23) and rounds of refinement (eq. 21).

What stands before the first token that changes from step to step is run once and cached; each Euler step runs only the
action expert's last tokens. Without the cache everything is run again at every step; both give the same numbers.
Legend: B rows, T action steps, S 200 slots, D width of the action expert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from beingh05_model.network import flow
from beingh05_model.network.attention import Mask
from beingh05_model.network.backbone import Cache
from beingh05_model.network.model import BeingH
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

    @torch.no_grad()
    def run(
        self,
        t: Tokens,
        draw: Draw,
        locked: Locked | None = None,
        draw_directions: Draw | None = None,
        warm: Cache | None = None,
    ) -> Tensor:
        """Actions [B, T, S] in physical units for sequences whose action steps are all targets or context.

        Args:
            t: Sequences; ``action`` holds clean context steps, ``noise`` and ``time`` are not read.
            draw: Makes the noise. One noise serves all rounds, unless the model follows the release.
            draw_directions: Directions of eq. 14 per gated step, where a comparison gives them.
            warm: Cache of the first tokens of the sequences (pictures seen before), which are then not run again.
        """
        model, compat = self.model, self.model.config.compat
        mpg = model.mpg
        rounds = 0
        if mpg is not None and mpg.config.strength:
            rounds = mpg.config.refinements if self.refinements is None else self.refinements
        shape = tuple(t.action.shape)
        if compat.discarded_first_draw:
            draw(shape)
        und = model.embed_und(t, seen=0 if warm is None else warm.length)
        state = model.encode_state(t)
        start, stop = self.suffix(t) if self.cached else (0, t.length)
        cache = self._prefix(t, und, state, start, warm) if self.cached else None
        mask = Mask(t.layout, start, stop)  # one for all steps and rounds
        noise, clean = draw(shape), None
        for number in range(rounds + 1):
            if number and compat.noise_per_round:
                noise = draw(shape)
            steps = self._integrate(t, und, state, noise, clean, locked, mask, cache, draw_directions)
            if number < rounds:
                clean = model.encode_steps(steps, model.clean_bucket(t.time), t.action_slots)
        return steps * model.action_unit * (1 if compat.noise_on_unused_slots else t.action_slots)

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
        gates_state = mpg is not None and mpg.config.strength and not self.model.config.compat.mpg_state_rows_zero
        if gates_state and any(int(p) < start for p in t.state_at):
            raise ValueError("the state must follow the text, or a gate on it would change a cached prefix")
        return start, stop

    def _prefix(self, t: Tokens, und: tuple[Tensor, Tensor], state: Tensor, start: int, warm: Cache | None) -> Cache:
        """Run everything before the first changing token once."""
        done = 0 if warm is None else warm.length
        act, act_at = self.model.embed_act(t, state, self.model.encode_steps(*self._clean_context(t)))
        keep = (act_at >= done) & (act_at < start)
        before = (und[1] >= done) & (und[1] < start)
        block = self.model.block(
            t, (und[0][:, before], und[1][before]), (act[:, keep], act_at[keep]), Mask(t.layout, done, start)
        )
        cache = self.model.backbone(block, warm, keep_cache=True).cache
        assert cache is not None
        return cache

    def _clean_context(self, t: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        clean = t.action * t.action_slots / self.model.action_unit
        return clean, flow.bucket(torch.ones_like(t.time), self.model.config.flow), t.action_slots

    def _integrate(
        self,
        t: Tokens,
        und: tuple[Tensor, Tensor],
        state: Tensor,
        noise: Tensor,
        reference: Tensor | None,
        locked: Locked | None,
        mask: Mask,
        cache: Cache | None,
        draw_directions: Draw | None,
    ) -> Tensor:
        """One round: noise to actions in units of the network. ``reference``: clean embeddings of the previous
        round."""
        model, config = self.model, self.model.config
        count = config.flow.euler_steps if self.euler_steps is None else self.euler_steps
        context = t.action * t.action_slots / model.action_unit
        fixed_BT, values = ~t.action_target, context
        if locked is not None:
            fixed_BT, values = self._lock(t, locked, fixed_BT, context)
        x = model.usable(t.action_slots, noise)
        for step in range(count):
            x = torch.where(fixed_BT[..., None], values, x)
            if config.compat.delay_bucket_in_model_dtype and locked is not None:
                now = torch.tensor(step / count, dtype=noise.dtype)
                bucket = (now * config.flow.buckets).long().expand_as(fixed_BT)
            else:
                bucket = torch.full_like(t.time, config.flow.buckets * step // count, dtype=torch.long)
            bucket = torch.where(fixed_BT, config.flow.buckets, bucket)
            steps = model.encode_steps(x, bucket, t.action_slots)
            held = state
            if reference is not None and model.mpg is not None:
                directions = None
                if draw_directions is not None:
                    directions = draw_directions((model.mpg.config.projections, model.mpg.up.out_features))
                held, steps, _ = model.gated(t, state, steps, reference, directions)
            x = x + self._velocity(t, und, held, steps, mask, cache) / count
        return torch.where(fixed_BT[..., None], values, x)

    def _velocity(
        self, t: Tokens, und: tuple[Tensor, Tensor], state: Tensor, steps: Tensor, mask: Mask, cache: Cache | None
    ) -> Tensor:
        """Velocity of the steps; only the tokens of the mask's queries are run."""
        model, stop = self.model, mask.sizes[2]
        act, act_at = model.embed_act(t, state, steps)
        keep = (act_at >= mask.start) & (act_at < stop)
        after = (und[1] >= mask.start) & (und[1] < stop)
        block = model.block(t, (und[0][:, after], und[1][after]), (act[:, keep], act_at[keep]), mask)
        features = model.backbone(block, cache)
        at = torch.searchsorted(act_at[keep], t.action_at)
        return model.decode_steps(features.act_BAD[:, at], t.action_slots)

    def _lock(self, t: Tokens, locked: Locked, fixed_BT: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Targets before the delay become fixed. Where context steps precede the chunk, the chunk's own steps count."""
        chunk = int(t.action_target[0].sum())
        if not 0 <= locked.steps <= chunk:
            raise ValueError(f"a prefix of {locked.steps} steps cannot be locked in a chunk of {chunk}")
        if locked.steps and not locked.values.shape[1]:
            raise ValueError("a locked prefix needs at least one committed step")
        values = locked.values / self.model.action_unit
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
