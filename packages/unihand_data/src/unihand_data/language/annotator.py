"""Annotation one call per clip: cache, budget, one second try after an unreadable answer, accounting.

A batch has its own way of calling (:mod:`batch`), but reads answers with the same :func:`read_answer`.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from unihand_data.language.answer_schema import BadAnswer, parse_annotation
from unihand_data.language.backends import (
    ClipAnswer,
    ClipRequest,
    LanguageBackend,
    ModelClient,
    Query,
    RawAnswer,
    Usage,
)
from unihand_data.language.cache import AnswerCache, request_key
from unihand_data.language.config import LanguageSettings
from unihand_data.language.cost import cost_of, need_price, price_of, worst_cost
from unihand_data.language.prompts import clip_query
from unihand_data.language.spend import SpendLedger

log = logging.getLogger(__name__)

BUDGET_MESSAGE = "the budget (language.budget) is spent; raise it and run again, done clips are not asked twice"


def read_answer(request: ClipRequest, raw: RawAnswer, settings: LanguageSettings) -> ClipAnswer:
    """A vendor's ending as a validated answer; an unreadable text becomes ``bad_answer``."""
    answer = ClipAnswer(
        clip_id=request.clip_id,
        status=raw.status,
        message=raw.message,
        transient=raw.transient,
        model=settings.model,
        model_version=raw.model_version,
        prompt_version=settings.prompt_version,
        usage=raw.usage,
    )
    if raw.status != "ok":
        return answer
    try:
        return answer.fill(parse_annotation(raw.text, len(request.windows)))
    except BadAnswer as error:
        answer.status, answer.message = "bad_answer", str(error)
        return answer


def keepable(answer: ClipAnswer) -> bool:
    """Whether asking again would only cost money: answers and refusals are final, accidents are not."""
    return answer.status in ("ok", "blocked")


class Annotator:
    """A :class:`~unihand_data.language.backends.LanguageBackend` over one vendor's client.

    Args:
        client: closed with the annotator.
        ledger: shared by all workers of a job; its limit ends the spending.
    """

    def __init__(
        self,
        client: ModelClient,
        settings: LanguageSettings,
        cache: AnswerCache | None = None,
        ledger: SpendLedger | None = None,
    ):
        self.name = client.name
        self._client = client
        self._settings = settings
        self._cache = cache if cache is not None else AnswerCache(settings.cache_dir)
        self._ledger = ledger if ledger is not None else SpendLedger(limit=settings.budget)
        self._price = price_of(settings.model, settings.prices)
        self._lock = threading.Lock()
        self._spent = (Usage(), 0.0)
        if self._ledger.limit is not None:
            need_price(settings)

    def annotate(self, requests: Sequence[ClipRequest]) -> list[ClipAnswer]:
        """Answers in the order of the requests; a clip that cannot be asked has a status that says why."""
        if len(requests) <= 1 or self._settings.concurrency == 1:
            return [self._one(request) for request in requests]
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            return list(pool.map(self._one, requests))

    def ask(self, query: Query, call_key: str, duration_s: float = 0.0) -> tuple[RawAnswer, float | None]:
        """One paid call with budget and account, without cache (also used for text): the ending and its cost."""
        call = f"{call_key}:{uuid.uuid4().hex[:12]}"
        worst = (
            worst_cost(query, self._settings, duration_s, self._price, batch=False) if self._price is not None else None
        )
        if not self._ledger.reserve(call, worst):
            return RawAnswer("budget", message=BUDGET_MESSAGE, transient=True), 0.0
        raw = RawAnswer("error", message="the call did not end", transient=True)
        try:
            raw = self._client.generate(query)
        finally:
            cost = cost_of(raw.usage, self._price) if self._price is not None else None
            self._ledger.settle(call, cost=cost, usage=raw.usage, model=self._settings.model, status=raw.status)
            with self._lock:
                self._spent = (self._spent[0] + raw.usage, self._spent[1] + (cost or 0.0))
        return raw, cost

    def take_spent(self) -> tuple[Usage, float]:
        """Tokens and money of the calls since this was last asked, of this annotator alone (the account of all is the
        ledger's). Money of a model without a price is 0."""
        with self._lock:
            spent, self._spent = self._spent, (Usage(), 0.0)
        return spent

    def close(self) -> None:
        self._client.close()

    def _one(self, request: ClipRequest) -> ClipAnswer:
        key = request_key(request, self._settings)
        stored = self._cache.get(key)
        if stored is not None:
            answer = ClipAnswer.from_json(stored)
            answer.clip_id, answer.cached, answer.cost, answer.usage = request.clip_id, True, 0.0, Usage()
            return answer
        answer = self._asked(request, key)
        if answer.status == "bad_answer":
            log.info("clip %s: %s; asked once more", request.clip_id, answer.message)
            first, answer = answer, self._asked(request, key)
            if answer.status == "budget":
                answer = first
            else:
                answer.usage += first.usage
                answer.cost = None if answer.cost is None or first.cost is None else answer.cost + first.cost
        if keepable(answer):
            self._cache.put(key, answer.to_json())
        return answer

    def _asked(self, request: ClipRequest, key: str) -> ClipAnswer:
        raw, cost = self.ask(clip_query(request, self._settings), key, request.duration_s)
        answer = read_answer(request, raw, self._settings)
        answer.cost = cost
        return answer


def build_client(settings: LanguageSettings, *, api_key: str | None = None) -> ModelClient:
    """The vendor's client. Raises ``ValueError`` for ``backend: none`` or a missing key, naming the variable."""
    if settings.backend == "gemini":
        from unihand_data.language.gemini import GeminiClient

        return GeminiClient(settings, api_key=api_key)
    if settings.backend == "openai":
        from unihand_data.language.openai_compatible import OpenAIClient

        return OpenAIClient(settings, api_key=api_key)
    raise ValueError("language.backend is none: there is no model to ask")


def build_backend(settings: LanguageSettings, *, work_dir: str | Path | None = None) -> LanguageBackend | None:
    """The backend of a job, or None when words come from narrations and the motion describer alone.

    Args:
        work_dir: the job's directory, shared by its workers: ``spend.jsonl`` (budget and account), ``answers`` (unless
            ``language.cache_dir`` says where), ``batch`` (needed with ``language.batch``: where clips wait for
            :mod:`batch_cli`). Without it a run remembers nothing for the next.
    """
    if settings.backend == "none":
        return None
    work = Path(work_dir) if work_dir is not None else None
    if settings.batch:
        if settings.backend != "gemini" or work is None:
            raise ValueError("language.batch needs language.backend gemini and the job's directory")
        from unihand_data.language.batch_spool import BatchBackend

        return BatchBackend(settings, work / "batch")
    cache = AnswerCache(settings.cache_dir or (work / "answers" if work else None))
    spend = SpendLedger(work / "spend.jsonl" if work else None, settings.budget)
    return Annotator(build_client(settings), settings, cache, spend)
