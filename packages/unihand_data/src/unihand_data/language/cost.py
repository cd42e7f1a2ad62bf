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
from unihand_data.language.paraphrase import GROUP, asks_for_paraphrases
from unihand_data.language.paraphrase import INSTRUCTIONS as PARAPHRASE_INSTRUCTIONS
from unihand_data.language.prompts import INSTRUCTIONS

#: input tokens per sampled frame with its time stamp, by media resolution: 258 + 7 documented for the default; the
#: lower figure of newer models at ``low`` is not documented firmly, so ``low`` is not assumed cheaper
TOKENS_PER_FRAME = {"low": 265, "medium": 265, "high": 287}
TOKENS_PER_IMAGE = 1024
#: expected answer: a short sentence and a hand per second, and the rest of the object
OUTPUT_PER_SECOND, OUTPUT_FIXED = 28, 120
#: a numbered sentence of a paraphrase call, asked or answered, with its number and quotes
TOKENS_PER_SENTENCE = 20
THINKING_IF_UNSET = 1024
_SCHEMA_TOKENS = 350


def price_of(model: str, table: PriceTable) -> Price | None:
    """The price of a model id; a dated or numbered version of a listed model has the listed one's price."""
    if model in table.models:
        return table.models[model]
    stems = [m for m in table.models if model.startswith((f"{m}-0", f"{m}-1", f"{m}-2", f"{m}@"))]
    return table.models[max(stems, key=len)] if stems else None


def need_price(settings: LanguageSettings) -> None:
    """What a budget needs.

    Raises:
        ValueError: the model has no price.
    """
    if price_of(settings.model, settings.prices) is None:
        raise ValueError(
            f"language.budget is set but language.prices.models has no price for {settings.model!r}; add one "
            "(zeros for a self-hosted model)"
        )


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
class Part:
    """Calls of one kind. ``money`` is None for a model without a price."""

    what: str
    calls: int
    input_tokens: int
    output_tokens: int
    money: float | None


@dataclass(frozen=True)
class Estimate:
    """What a job will ask for: the sum of its ``parts``. ``money`` is None for a model without a price."""

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
    parts: tuple[Part, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        """All of it in one line."""
        if not self.calls:
            return "no calls to a model"
        return f"{self.calls} calls to {self.model} ({self._how}), {self._amounts(self)}"

    def lines(self) -> list[str]:
        """For ``--plan``: each kind of call, the sum where there are several, and what was assumed."""
        if not self.calls:
            return [self.sentence()]
        if len(self.parts) < 2:
            return [self.sentence(), f"assumed: {self.assumptions}"]
        parts = [f"{part.what}: {part.calls} calls, {self._amounts(part)}" for part in self.parts]
        return [*parts, f"together: {self.sentence()}", f"assumed: {self.assumptions}"]

    @property
    def _how(self) -> str:
        return "batch" if self.batch else "one by one"

    def _amounts(self, of: Part | Estimate) -> str:
        money = (
            f"about {rounded(of.money)} {self.currency} (prices of {self.prices_as_of})"
            if of.money is not None
            else f"unknown cost: no price for {self.model} in language.prices"
        )
        return f"{tokens(of.input_tokens)} input and {tokens(of.output_tokens)} output tokens, {money}"


def rounded(value: float, digits: int = 3) -> str:
    """``digits`` significant figures, never as a power of ten: a small sum is not shown as none."""
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(0, decimals)}f}"


def tokens(number: int) -> str:
    """As ``rounded``, in thousands and millions where there are that many."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= max(unit, 1e4):
            return f"{rounded(number / unit)} {name}"
    return f"{number:,}"


def estimate_hours(hours: float, settings: LanguageSettings, *, chunk_s: float | None = None) -> Estimate:
    """Plan from hours of video alone (before clips are known): one clip per chunk of ``max_chunk_s``."""
    chunk = chunk_s or settings.max_chunk_s
    return _estimate({chunk: math.ceil(hours * 3600 / chunk)}, settings)


def estimate_durations(durations: Iterable[float], settings: LanguageSettings) -> Estimate:
    """Plan from the clips' lengths in seconds. ``backend: none`` plans zero calls."""
    return _estimate(Counter(durations), settings)


def _estimate(counts: dict[float, int], settings: LanguageSettings) -> Estimate:
    """``counts``: how many clips there are of each length."""
    if settings.backend == "none":
        counts = {}
    thinking = THINKING_IF_UNSET if settings.thinking_budget is None else settings.thinking_budget
    parts = [_annotation(counts, settings, thinking)]
    assumptions = (
        f"{_per_frame(settings)} input tokens per frame at {settings.fps:g} fps, {OUTPUT_PER_SECOND} output tokens per "
        f"second + {OUTPUT_FIXED}, {thinking} thinking tokens per call"
    )
    if counts and asks_for_paraphrases(settings):
        parts.append(_paraphrases(counts, settings, thinking))
        assumptions += (
            f"; a sentence per second and one per clip to reword, {TOKENS_PER_SENTENCE} tokens each, none of them "
            "reworded before"
        )
    money = [part.money for part in parts if part.money is not None]
    return Estimate(
        settings.model, sum(p.calls for p in parts), sum(s * n for s, n in counts.items()) / 3600,
        sum(p.input_tokens for p in parts), sum(p.output_tokens for p in parts),
        sum(money) if len(money) == len(parts) else None,
        settings.prices.currency, settings.prices.as_of, settings.batch,
        f"{assumptions}; every clip passes the filters; cached answers and second tries are left out", tuple(parts),
    )  # fmt: skip


def _per_frame(settings: LanguageSettings) -> int:
    return TOKENS_PER_FRAME[settings.media_resolution] if settings.send == "video" else TOKENS_PER_IMAGE


def _annotation(counts: dict[float, int], settings: LanguageSettings, thinking: int) -> Part:
    fixed = text_tokens(INSTRUCTIONS) + _SCHEMA_TOKENS
    given = sum(
        n * (fixed + 12 * math.ceil(s) + _per_frame(settings) * math.ceil(s * settings.fps)) for s, n in counts.items()
    )
    answered = sum(n * (OUTPUT_FIXED + OUTPUT_PER_SECOND * math.ceil(s) + thinking) for s, n in counts.items())
    return _part("annotation", sum(counts.values()), given, answered, settings)


def _paraphrases(counts: dict[float, int], settings: LanguageSettings, thinking: int) -> Part:
    """Each clip asks for its own sentences: one per second and its intent, :data:`GROUP` in a call."""
    calls = sentences = 0
    for seconds, clips in counts.items():
        of_clip = math.ceil(seconds) + 1
        sentences += clips * of_clip
        calls += clips * math.ceil(of_clip / GROUP)
    wordings = settings.paraphrase.per_text + 1  # one to spare for the check
    given = calls * (text_tokens(PARAPHRASE_INSTRUCTIONS) + _SCHEMA_TOKENS) + sentences * TOKENS_PER_SENTENCE
    answered = sentences * wordings * TOKENS_PER_SENTENCE + calls * thinking
    return _part("paraphrases", calls, given, answered, settings)


def _part(what: str, calls: int, given: int, answered: int, settings: LanguageSettings) -> Part:
    price = price_of(settings.model, settings.prices)
    money = cost_of(Usage(given, answered), price, batch=settings.batch) if price else None
    return Part(what, calls, given, answered, money if calls else 0.0)
