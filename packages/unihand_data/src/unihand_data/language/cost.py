"""Tokens and money: an estimate before anything runs, a hard budget while it runs, an account afterwards.

Token counts of a request are upper-leaning assumptions (below); what was really used comes from the vendor's own count.
Thinking tokens are billed as output.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from unihand_data.language.backends import Query, Usage
from unihand_data.language.config import LanguageSettings, Price, PriceTable
from unihand_data.language.prompts import INSTRUCTIONS

#: input tokens per sampled frame with its time stamp, by media resolution: 258 + 7 documented for the default; the
#: lower figure of newer models at ``low`` is not documented firmly, so ``low`` is not assumed cheaper
TOKENS_PER_FRAME = {"low": 265, "medium": 265, "high": 287}
TOKENS_PER_IMAGE = 1024
#: expected answer: a short sentence and a hand per second, and the rest of the object
OUTPUT_PER_SECOND, OUTPUT_FIXED = 28, 120
THINKING_IF_UNSET = 1024
_SCHEMA_TOKENS = 350


class UnknownPrice(ValueError):
    """Money is to be counted for a model the price table does not list."""


def price_of(model: str, table: PriceTable) -> Price | None:
    """The price of a model id; a dated or numbered version of a listed model has the listed one's price."""
    if model in table.models:
        return table.models[model]
    stems = [m for m in table.models if model.startswith((f"{m}-0", f"{m}-1", f"{m}-2", f"{m}@"))]
    return table.models[max(stems, key=len)] if stems else None


def cost_of(usage: Usage, price: Price, *, batch: bool = False) -> float:
    """Money for one call."""
    cached = price.input if price.cached_input is None else price.cached_input
    total = (usage.input - usage.cached_input) * price.input + usage.cached_input * cached
    total += (usage.output + usage.thinking) * price.output
    return total / 1e6 * (price.batch_factor if batch else 1.0)


def text_tokens(text: str) -> int:
    """Bytes / 4, rounded up: no vendor's tokenizer is needed to plan."""
    return -(-len(text.encode()) // 4)


def input_tokens(query: Query, settings: LanguageSettings, duration_s: float) -> int:
    """Upper-leaning estimate of a query's input tokens."""
    tokens = text_tokens(query.instructions) + text_tokens(query.text) + (_SCHEMA_TOKENS if query.schema else 0)
    if query.video is not None:
        frames = math.ceil(duration_s * settings.fps) + 1
        tokens += frames * TOKENS_PER_FRAME[settings.media_resolution]
    return tokens + sum(TOKENS_PER_IMAGE + text_tokens(i.caption) for i in query.images)


def worst_cost(query: Query, settings: LanguageSettings, duration_s: float, price: Price, *, batch: bool) -> float:
    """What a call can cost at most: every allowed output token, and thinking where it is not bounded."""
    thinking = THINKING_IF_UNSET if settings.thinking_budget is None else settings.thinking_budget
    usage = Usage(input_tokens(query, settings, duration_s), settings.max_output_tokens, thinking)
    return cost_of(usage, price, batch=batch)


@dataclass(frozen=True)
class Estimate:
    """What a job will ask for. ``money`` is None for a model without a price."""

    model: str
    calls: int
    hours: float
    input_tokens: int
    output_tokens: int
    money: float | None
    currency: str
    prices_as_of: str
    batch: bool
    assumptions: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        """One line for ``--plan``."""
        if not self.calls:
            return "no calls to a model"
        money = (
            f"about {self.money:.2f} {self.currency} (prices of {self.prices_as_of})"
            if self.money is not None
            else f"unknown cost: no price for {self.model} in language.prices"
        )
        how = "batch" if self.batch else "one by one"
        return (
            f"{self.calls} calls to {self.model} ({how}), {self.input_tokens / 1e6:.2f} M input and "
            f"{self.output_tokens / 1e6:.2f} M output tokens, {money}"
        )


def estimate_hours(hours: float, settings: LanguageSettings, *, chunk_s: float | None = None) -> Estimate:
    """Plan from hours of video alone (before clips are known): one call per chunk of ``max_chunk_s``."""
    chunk = chunk_s or settings.max_chunk_s
    return _estimate({chunk: math.ceil(hours * 3600 / chunk)}, settings)


def estimate_durations(durations: Iterable[float], settings: LanguageSettings) -> Estimate:
    """Plan from the clips' lengths in seconds. ``backend: none`` plans zero calls."""
    return _estimate(Counter(durations), settings)


def _estimate(counts: dict[float, int], settings: LanguageSettings) -> Estimate:
    """``counts``: how many clips there are of each length."""
    if settings.backend == "none":
        counts = {}
    calls = sum(counts.values())
    fixed = text_tokens(INSTRUCTIONS) + _SCHEMA_TOKENS
    per_frame = TOKENS_PER_FRAME[settings.media_resolution] if settings.send == "video" else TOKENS_PER_IMAGE
    tokens_in = sum(
        n * (fixed + 12 * math.ceil(s) + per_frame * math.ceil(s * settings.fps)) for s, n in counts.items()
    )
    thinking = THINKING_IF_UNSET if settings.thinking_budget is None else settings.thinking_budget
    tokens_out = sum(n * (OUTPUT_FIXED + OUTPUT_PER_SECOND * math.ceil(s) + thinking) for s, n in counts.items())
    price = price_of(settings.model, settings.prices)
    money = cost_of(Usage(tokens_in, tokens_out), price, batch=settings.batch) if price else None
    assumptions = (
        f"{per_frame} input tokens per frame at {settings.fps:g} fps, {OUTPUT_PER_SECOND} output tokens per second + "
        f"{OUTPUT_FIXED}, {thinking} thinking tokens per call; cached answers not deducted"
    )
    return Estimate(
        settings.model, calls, sum(s * n for s, n in counts.items()) / 3600, tokens_in, tokens_out,
        money if calls else 0.0,
        settings.prices.currency, settings.prices.as_of, settings.batch, assumptions,
    )  # fmt: skip
