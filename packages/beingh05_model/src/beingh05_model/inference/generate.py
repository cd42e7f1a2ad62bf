"""Text from the understanding expert, token by token, on the same cache of keys and values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from beingh05_model.network.attention import Mask
from beingh05_model.network.backbone import Cache
from beingh05_model.network.model import BeingH
from beingh05_model.network.tokens import Tokens
from beingh05_model.sequence.collate import rows
from beingh05_model.sequence.segments import Example, Text


@dataclass
class Generated:
    """Ids up to the end token, and the cache of the question (for what follows it)."""

    ids: list[int]
    cache: Cache


@torch.no_grad()
def generate(
    model: BeingH,
    question: Example,
    end: int,
    longest: int = 64,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    warm: Cache | None = None,
) -> Generated:
    """Continue one question with text.

    Args:
        question: Segments up to and including the assistant's header.
        end: Id that ends the answer; it is not returned.
        temperature: 0 takes the likeliest token.
        warm: Cache of the question's first tokens.

    Raises:
        ValueError: ``longest`` is not positive.
    """
    if longest < 1:
        raise ValueError(f"longest is {longest}; an answer needs at least one token")
    whole = replace(question, segments=[*question.segments, Text([0] * longest)])
    t = rows([whole], delimiters=model.delimiters is not None, full_actions=not model.config.compat.causal_actions)
    t = t.to(model.action_unit.device)
    first = t.length - longest
    cache, last = _prefix(model, t, first, warm)
    kept, ids = cache, []
    for place in range(first, t.length):
        token = _choose(model.text_head(last)[0].float(), temperature, generator)
        if token == end:
            break
        ids.append(token)
        if place + 1 == t.length:
            break
        embedding = model.backbone.embed(torch.tensor([[token]], device=last.device))
        at = torch.tensor([place], device=last.device)
        nothing = embedding.new_zeros(1, 0, model.config.backbone.act.width), at[:0]
        block = model.block(t, (embedding, at), nothing, Mask(t.layout, place, place + 1))
        features = model.backbone(block, kept, keep_cache=True)
        assert features.cache is not None
        kept, last = features.cache, features.und_BUD[:, -1]
    return Generated(ids, cache)


def _prefix(model: BeingH, t: Tokens, stop: int, warm: Cache | None) -> tuple[Cache, Tensor]:
    """Cache of the question and the features of its last token."""
    start = 0 if warm is None else warm.length
    und, und_at = model.embed_und(t, seen=start)
    clean = model.encode_steps(
        t.action * t.action_slots / model.action_unit,
        torch.full_like(t.time, model.config.flow.buckets, dtype=torch.long),
        t.action_slots,
    )
    state = model.encode_state(t)
    act, act_at = model.embed_act(t, state, clean)
    keep_u, keep_a = ((at >= start) & (at < stop) for at in (und_at, act_at))
    mask = Mask(t.layout, start, stop)
    block = model.block(t, (und[:, keep_u], und_at[keep_u]), (act[:, keep_a], act_at[keep_a]), mask, state)
    features = model.backbone(block, warm, keep_cache=True)
    assert features.cache is not None
    return features.cache, features.und_BUD[:, -1]


def _choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> int:
    if temperature <= 0:
        return int(logits.argmax())
    return int(torch.multinomial((logits / temperature).softmax(-1).cpu(), 1, generator=generator))
