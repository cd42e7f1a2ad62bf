"""The whole network: embeddings of every modality, the two experts, the heads and the losses (paper section 5).

The forward pass holds no randomness: noise, flow times, delays and masked motion tokens come with the batch.

While gradients are kept, every part runs on every row, on nothing (or on a blank whose features are cut away) where the
row has nothing for it. Its gradients are then exactly zero and the losses are the same, and ranks whose rows hold
different kinds of samples gather the same weights and reduce the same gradients in the same order.
Legend: B rows, N tokens, T action steps, P state tokens, Z motion tokens, S 200 slots, D width of the action expert.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beingh05_model.network import flow, scale
from beingh05_model.network.action_io import ActionEncoder, Mlp
from beingh05_model.network.adapters import SlotAdapters
from beingh05_model.network.attention import Mask
from beingh05_model.network.backbone import Backbone, Block, Features
from beingh05_model.network.config import SLOTS, ModelConfig
from beingh05_model.network.mpg import Grouped, Mpg
from beingh05_model.network.tokens import Tokens
from beingh05_model.network.vision import Connector, Vision

#: the action expert's own special tokens around state and action (paper 5.2.1)
DELIMITERS = ("state_start", "state_end", "action_start", "action_end", "motion_start", "motion_end")
#: spread of the places of motion tokens in a new model, where embeddings of ids have 1: from 0 they are learned late,
#: at 1 the ids are heard late (docs/model.md, Motion tokens)
PLACE_STD = 0.3


@dataclass
class Losses:
    """Parts of the training loss, unweighted, and figures for the log.

    Attributes:
        text: Cross entropy per supervised token (eq. 5).
        flow: Eq. 7, or 19 where a delay was drawn.
        motion: Eq. 8, per masked motion token.
        routing: Balance and z-loss of the routers, already weighted.
        figures: Gates, share of the experts and counts.
    """

    text: Tensor
    flow: Tensor
    motion: Tensor
    routing: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)


class BeingH(nn.Module):
    """Being-H0.5. See :class:`~beingh05_model.network.config.ModelConfig` for what can be switched."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        und, act = config.backbone.und.width, config.backbone.act.width
        self.backbone = Backbone(config.backbone, config.mof, config.mof_first_layer, config.attention)
        self.text_head = nn.Linear(und, config.backbone.vocab, bias=False)
        self.vision = Vision(config.vision)
        self.connector = Connector(config.vision.width, und)
        self.state_encoder = Mlp(SLOTS, act, act)
        self.action_encoder = ActionEncoder(SLOTS, act)
        self.action_decoder = Mlp(act, act, SLOTS)
        self.delimiters = None if config.compat.bare_actions else nn.Embedding(len(DELIMITERS), act)
        self.mpg = None
        if config.mpg is not None:
            self.mpg = Mpg(config.mpg, config.compat, act, und, gates_state=config.motion_tokens is None)
        self.adapters = SlotAdapters(act) if config.adapters else None
        if config.motion_tokens is None:
            self.motion_embed = self.motion_place = self.motion_head = None
        else:
            width = und if config.motion_tokens.expert == "und" else act
            self.motion_embed = nn.Embedding(config.motion_tokens.codebook + 1, width)  # the last one is [MASK]
            self.motion_place = nn.Embedding(config.motion_tokens.tokens, width)
            nn.init.normal_(self.motion_place.weight, std=PLACE_STD)
            self.motion_head = nn.Linear(width, config.motion_tokens.codebook)
        state_unit, action_unit = self.units(config)
        self.state_unit: Tensor
        self.action_unit: Tensor
        self.register_buffer("state_unit", state_unit, persistent=False)
        self.register_buffer("action_unit", action_unit, persistent=False)

    @staticmethod
    def units(config: ModelConfig) -> tuple[Tensor, Tensor]:
        """Physical value of one unit of a state and of an action slot, [S] each (scale.py)."""
        if not config.physical_scale:
            return torch.ones(SLOTS), torch.ones(SLOTS)
        return scale.units(scale.STATE_UNIT), scale.units(scale.ACTION_UNIT)

    def _apply(self, fn: Any, recurse: bool = True) -> BeingH:
        """Units stay float32 whatever the weights become: a centimetre in bfloat16 is 0.1 % off."""
        super()._apply(fn, recurse)
        for name, value in zip(("state_unit", "action_unit"), self.units(self.config), strict=True):
            self._buffers[name] = value.to(getattr(self, name).device)
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights. States, actions and noise come in float32 and are cast where they enter a layer."""
        return self.backbone.act_norm.weight.dtype

    # ---- embeddings -----------------------------------------------------------------------------------------------

    def views(self, pixels: Tensor) -> Tensor:
        """Pictures [B, V, 3, edge, edge] to tokens [B, V * tokens, width]."""
        tokens = self.connector(self.vision(pixels.flatten(0, 1).to(self.dtype)))
        return tokens.reshape(pixels.shape[0], -1, tokens.shape[-1])

    def embed_und(self, t: Tokens, seen: int = 0) -> tuple[Tensor, Tensor]:
        """Embeddings of the understanding expert's tokens and their places, in the order of the row.

        Args:
            seen: So many first tokens lie in a cache; pictures among them are not encoded again (zeros).
        """
        parts, places = [self.backbone.embed(t.text_ids)], [t.text_at]
        if len(t.image_at):
            if int(t.image_at[-1]) < seen:
                parts.append(parts[0].new_zeros(t.rows, len(t.image_at), parts[0].shape[-1]))
            else:
                parts.append(self.views(t.pixels))
            places.append(t.image_at)
        elif torch.is_grad_enabled():
            # a blank picture, not an empty batch: not every attention kernel takes one
            edge = self.config.vision.image_size
            blank = t.text_weight.new_zeros(t.rows, 1, 3, edge, edge)
            parts.append(self.views(blank)[:, :0])
            places.append(t.image_at)
        if self._motion_expert == "und" and _runs(t.motion_at):
            parts.append(self.embed_motion(t))
            places.append(t.motion_at)
        return _in_order(parts, places)

    @property
    def _motion_expert(self) -> str:
        return "" if self.config.motion_tokens is None else self.config.motion_tokens.expert

    def embed_motion(self, t: Tokens) -> Tensor:
        """Motion tokens, masked ones replaced by [MASK] (eq. 8), each with the embedding of its place.

        All [MASK] are one vector, and a place has ids of its own (part, group and level): without it only relative
        positions inside attention say which ids can stand there.
        """
        assert self.motion_embed is not None
        assert self.motion_place is not None
        ids = t.motion_ids.masked_fill(t.motion_masked, self.motion_embed.num_embeddings - 1)
        return self.motion_embed(ids) + self.motion_place(t.motion_place)

    def encode_state(self, t: Tokens) -> Tensor:
        """State tokens [B, P, D]; slots without a value are zero (eq. 1)."""
        return self.state_encoder((t.state * t.state_slots / self.state_unit).to(self.dtype))

    def encode_steps(self, x_BTS: Tensor, bucket_BT: Tensor, slots_BTS: Tensor) -> Tensor:
        """Action tokens [B, T, D] of (noisy) steps in units of the network."""
        x_BTS = x_BTS.to(self.dtype)
        residual = None if self.adapters is None else self.adapters.at_encoder(x_BTS, slots_BTS)
        return self.action_encoder(x_BTS, bucket_BT, residual)

    def clean_bucket(self, like: Tensor) -> Tensor:
        """Time bucket of noise-free actions for the anchor: t = 1; the release takes bucket 0, the noise end."""
        number = 0 if self.config.compat.mpg_anchor_is_noise else self.config.flow.buckets
        return torch.full_like(like, number, dtype=torch.long)

    def decode_steps(self, h_BTD: Tensor, slots_BTS: Tensor) -> Tensor:
        """Velocity [B, T, S] in units of the network. It is zero on slots that the embodiment lacks: nothing is learned
        there, and the next Euler step would be given what the decoder happens to say about them."""
        velocity = self.action_decoder(h_BTD)
        if self.adapters is not None:
            velocity = velocity + self.adapters.at_decoder(h_BTD, slots_BTS)
        return self.usable(slots_BTS, velocity)

    def usable(self, slots_BTS: Tensor, values_BTS: Tensor) -> Tensor:
        """Noise or velocity on the embodiment's slots only; the release has both on all 200."""
        return values_BTS if self.config.compat.noise_on_unused_slots else values_BTS * slots_BTS

    def embed_act(self, t: Tokens, state_BPD: Tensor, steps_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of the action expert's tokens and their places, in the order of the row."""
        still, places = self.special(t)
        return _in_order([state_BPD, steps_BTD, *still], [t.state_at, t.action_at, *places])

    def special(self, t: Tokens) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens of the action expert besides states and steps, kind by kind, and their places: its special tokens,
        motion tokens."""
        parts, places = [], []
        if self.delimiters is not None and _runs(t.delimiter_at):
            parts.append(self.delimiters(t.delimiter_ids))
            places.append(t.delimiter_at)
        if self._motion_expert == "act" and _runs(t.motion_at):
            parts.append(self.embed_motion(t))
            places.append(t.motion_at)
        return parts, places

    # ---- routing --------------------------------------------------------------------------------------------------

    def block(
        self,
        t: Tokens,
        und: tuple[Tensor, Tensor],
        act: tuple[Tensor, Tensor],
        mask: Mask,
        state_BPD: Tensor | None = None,
    ) -> Block:
        """The tokens of a call as the backbone takes them; ``mask.start`` is subtracted from the places.

        Args:
            state_BPD: Embeddings of all states before the gate, by which action tokens are routed.
        """
        (und_BUD, und_U), (act_BAD, act_A) = und, act
        block = Block(und_BUD, act_BAD, und_U - mask.start, act_A - mask.start, mask)
        if self.config.mof is None or not (len(t.state_at) or (_runs(act_A) and not len(act_A))):
            return block
        # samples with a state are routed, one row of the routing each, in the order of their numbers
        routed, order = t.state_sample.flatten().sort()
        if t.text_weight.shape[0] and len(und_U):
            block.text_SU = t.text_weight[routed][..., und_U].flatten(1).to(und_BUD.dtype)
        if not _runs(act_A):
            return block
        rows = torch.arange(t.rows, device=routed.device)[:, None]
        sample_BN = t.layout.document.new_full((t.rows, t.length), -1)
        sample_BN[rows, t.state_at] = t.state_sample
        sample_BN[rows, t.action_at] = t.action_sample
        sample_BN[rows, t.motion_at] = t.motion_sample
        if len(t.delimiter_at):
            sample_BN[rows, t.delimiter_at] = _sample_of_document(t, t.delimiter_at)
        block.sample_BA = torch.searchsorted(routed, sample_BN[:, act_A])
        if state_BPD is not None:
            block.state_SD = state_BPD.flatten(0, 1)[order]
        return block

    # ---- training -------------------------------------------------------------------------------------------------

    def forward(self, t: Tokens, directions: Tensor | None = None) -> Losses:
        """Losses of a packed batch.

        Args:
            directions: Directions of eq. 14 where they are drawn outside (comparison with the release).
        """
        features, figures, velocity_target = self.features(t, directions)
        und_BUD, act_BAD, und_U, act_A = features
        zero = und_BUD.sum() * 0 + act_BAD.sum() * 0
        text = zero
        if _runs(t.label_at):
            at = torch.searchsorted(und_U, t.label_at)
            logits = self.text_head(und_BUD[:, at]).float()
            text = _cross_entropy(logits.flatten(0, 1), t.label_ids.flatten())
        loss = zero
        if _runs(t.action_at):
            at = torch.searchsorted(act_A, t.action_at)
            velocity = self.decode_steps(act_BAD[:, at], t.action_slots).float()
            arguments = (velocity.flatten(0, 1), velocity_target.flatten(0, 1), t.action_cells.flatten(0, 1))
            if self.config.compat.loss_over_batch:
                loss = flow.flow_loss_over_batch(*arguments)
            else:
                loss = flow.flow_loss(*arguments, t.action_sample.flatten(), t.samples)
        motion = zero
        if self.motion_head is not None and _runs(t.motion_at):
            source, places = (und_BUD, und_U) if self._motion_expert == "und" else (act_BAD, act_A)
            logits = self.motion_head(source[:, torch.searchsorted(places, t.motion_at)][t.motion_masked]).float()
            motion = _cross_entropy(logits, t.motion_ids[t.motion_masked])
        routing = zero
        if "routing" in figures:
            routing = figures.pop("routing")
        return Losses(text, loss, motion, routing, figures)

    def features(
        self, t: Tokens, directions: Tensor | None = None
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], dict[str, Tensor], Tensor]:
        """Final features of both experts with their places, figures, and the velocity that the flow should have."""
        und = self.embed_und(t)
        clean_BTS = t.action * t.action_slots / self.action_unit
        noise_BTS = self.usable(t.action_slots, t.noise)
        noisy_BTS = flow.interpolate(noise_BTS, clean_BTS, t.time)
        steps = self.encode_steps(noisy_BTS, flow.bucket(t.time, self.config.flow), t.action_slots)
        state = ungated = self.encode_state(t)
        figures: dict[str, Tensor] = {}
        targets = bool(t.action_target.any())
        if self.mpg is not None and self.mpg.config.strength and (targets or torch.is_grad_enabled()):
            clean = self.encode_steps(clean_BTS, self.clean_bucket(t.time), t.action_slots)
            if targets:
                state, steps, figures["gate"] = self.gated(t, state, steps, clean, directions)
            else:
                state, steps = self._gate_nothing(state, steps, clean, directions)
        act = self.embed_act(t, state, steps)
        features: Features = self.backbone(self.block(t, und, act, Mask(t.layout), ungated))
        if features.routings:
            figures["routing"] = torch.stack([r.loss for r in features.routings.values()]).sum()
            figures["expert_share"] = torch.stack([r.weight_BX for r in features.routings.values()])
        return (features.und_BUD, features.act_BAD, und[1], act[1]), figures, clean_BTS - noise_BTS

    def gated(
        self,
        t: Tokens,
        state_BPD: Tensor,
        steps_BTD: Tensor,
        clean_BTD: Tensor,
        directions: Tensor | None,
        grouped: Grouped | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gate state and predicted steps sample by sample; context steps and samples without a target stay as they
        are.

        Args:
            grouped: Of ``t``, where it is known already.
        """
        assert self.mpg is not None
        g = Grouped.of(t) if grouped is None else grouped
        state, steps = state_BPD.flatten(0, 1), steps_BTD.flatten(0, 1)
        gated_state, gated_steps, gate = self.mpg(
            state[g.state_B], g.spread(steps_BTD), g.spread(clean_BTD), g.real, directions
        )
        state = state.index_copy(0, g.state_B, gated_state)
        steps = steps.index_copy(0, g.step_Q, gated_steps[g.row_Q, g.column_Q])
        return state.view_as(state_BPD), steps.view_as(steps_BTD), gate

    def _gate_nothing(
        self, state_BPD: Tensor, steps_BTD: Tensor, clean_BTD: Tensor, directions: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """State and steps as they are, after the gate ran on a blank sample that is cut away again. All that the gate
        reads and writes is tied to it as with samples, or the order of the backward pass would differ."""
        assert self.mpg is not None

        def blank(x: Tensor) -> Tensor:
            flat = x.flatten(0, 1)
            return torch.cat([flat[:0], flat.new_zeros(1, flat.shape[-1])])[:, None]

        real = torch.ones(1, 1, dtype=torch.bool, device=state_BPD.device)
        if directions is None and self.config.compat.mpg_random_directions:
            directions = torch.ones(self.mpg.directions_shape)  # of the blank: any do
        state, steps, _ = self.mpg(blank(state_BPD)[:, 0], blank(steps_BTD), blank(clean_BTD), real, directions)
        return (
            torch.cat([state_BPD.flatten(0, 1), state[:0]]).view_as(state_BPD),
            torch.cat([steps_BTD.flatten(0, 1), steps[:0, 0]]).view_as(steps_BTD),
        )


def _runs(at: Tensor) -> bool:
    """Whether a part with tokens at ``at`` runs: there are some, or gradients are kept and all parts do."""
    return bool(len(at)) or torch.is_grad_enabled()


def _cross_entropy(logits_NC: Tensor, ids_N: Tensor) -> Tensor:
    """Mean over the ids that are not -100; zero of no logits."""
    return F.cross_entropy(logits_NC, ids_N, ignore_index=-100) if len(ids_N) else logits_NC.sum()


def _in_order(parts: list[Tensor], places: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Embeddings of several kinds, sorted by place."""
    at, order = torch.cat(places).sort()
    return torch.cat(parts, dim=1)[:, order], at


def _sample_of_document(t: Tokens, at: Tensor) -> Tensor:
    """Sample of the tokens at places ``at``: the one whose state lies in the same document of the same row."""
    same = t.layout.document[:, at][..., None] == t.layout.document[:, t.state_at][:, None]
    return (same * (t.state_sample + 1)[:, None]).amax(-1) - 1
