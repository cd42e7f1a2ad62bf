"""Gemini batches (half price, answers within a day) as three short, separate, idempotent steps on one ledger.

``submit`` sends what is neither answered nor on its way, ``poll`` asks how the jobs stand, ``collect`` takes in
finished ones. Each may be killed and run again. None waits: a batch must not sit inside a data job's operator, whose
engine would call it stuck. A job's state is never believed: every row is read by itself, a row that was asked and not
answered is *missing*, and failed and missing rows go out again with the next ``submit`` until ``batch_attempts``.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unihand_data.ids import make_id
from unihand_data.language.annotator import keepable, read_answer
from unihand_data.language.backends import ClipAnswer, ClipRequest, RawAnswer, Usage
from unihand_data.language.batch_ledger import TERMINAL, BatchLedger, BatchRecord
from unihand_data.language.cache import AnswerCache, request_key
from unihand_data.language.config import LanguageSettings
from unihand_data.language.cost import cost_of, price_of, worst_cost
from unihand_data.language.gemini import GeminiClient, read_response
from unihand_data.language.prompts import clip_query
from unihand_data.language.spend import SpendLedger

log = logging.getLogger(__name__)


@dataclass
class SubmitReport:
    """Clips by what happened to them."""

    submitted: int = 0
    cached: int = 0
    waiting: int = 0
    budget: int = 0
    given_up: int = 0
    jobs: list[str] = field(default_factory=list)


@dataclass
class CollectReport:
    jobs: int = 0
    answered: int = 0
    failed: int = 0
    missing: int = 0


class GeminiBatches:
    """The three steps.

    Args:
        directory: holds ``batches.jsonl``; one directory per job.
        cache: answers go here; the pipeline then reads them as if they had been asked one by one.
    """

    def __init__(
        self,
        client: GeminiClient,
        settings: LanguageSettings,
        directory: str | Path,
        cache: AnswerCache | None = None,
        spend: SpendLedger | None = None,
    ):
        self._client = client
        self._settings = settings
        self._ledger = BatchLedger(Path(directory) / "batches.jsonl")
        self._cache = cache if cache is not None else AnswerCache(settings.cache_dir)
        self._spend = spend if spend is not None else SpendLedger(Path(directory) / "spend.jsonl", settings.budget)
        self._price = price_of(settings.model, settings.prices)

    def submit(self, requests: Sequence[ClipRequest]) -> SubmitReport:
        """Sends what is not answered, not waiting, not given up and within the budget."""
        report = SubmitReport()
        with self._ledger.locked() as ledger:
            self._settle_intents(ledger)
            new: dict[str, ClipRequest] = {}
            for request in requests:
                key = request_key(request, self._settings)
                state = ledger.key(key)
                if self._cache.get(key) is not None:
                    report.cached += 1
                elif state.open_in:
                    report.waiting += 1
                elif state.attempts >= self._settings.batch_attempts:
                    report.given_up += 1
                elif key not in new:
                    new[key] = request
            for rows in self._groups(new, report):
                report.jobs.append(self._create(ledger, rows, new))
                report.submitted += len(rows)
        return report

    def poll(self) -> dict[str, str]:
        """State by job name (``RUNNING``, ``SUCCEEDED`` ...) of the jobs not yet collected."""
        states = {}
        with self._ledger.locked() as ledger:
            for batch in ledger.open_batches():
                state = _state_name(self._client.sdk.batches.get(name=batch.job).state)
                if state != batch.state:
                    ledger.write({"event": "state", "display": batch.display, "state": state})
                states[batch.job] = state
        return states

    def collect(self) -> CollectReport:
        """Takes in every finished job; running ones are left alone."""
        report = CollectReport()
        with self._ledger.locked() as ledger:
            for batch in ledger.open_batches():
                job = self._client.sdk.batches.get(name=batch.job)
                if _state_name(job.state) in TERMINAL:
                    self._collect_one(ledger, batch, job, report)
        return report

    def answers(self, requests: Sequence[ClipRequest]) -> list[ClipAnswer]:
        """What is known about each clip now; a clip still waiting is a transient error."""
        out = []
        with self._ledger.locked() as ledger:
            for request in requests:
                key = request_key(request, self._settings)
                stored, state = self._cache.get(key), ledger.key(key)
                if stored is not None:
                    answer = ClipAnswer.from_json(stored)
                    answer.clip_id, answer.cached, answer.cost, answer.usage = request.clip_id, True, 0.0, Usage()
                elif state.open_in:
                    raw = RawAnswer("waiting", message=f"waiting in batch {state.open_in}", transient=True)
                    answer = read_answer(request, raw, self._settings)
                elif state.status:
                    given_up = state.attempts >= self._settings.batch_attempts
                    status: Any = state.status if state.status in ("bad_answer", "blocked") else "error"
                    raw = RawAnswer(status, message=state.message, transient=not given_up)
                    answer = read_answer(request, raw, self._settings)
                else:
                    raw = RawAnswer("waiting", message="not submitted yet (or beyond the budget)", transient=True)
                    answer = read_answer(request, raw, self._settings)
                out.append(answer)
        return out

    # -- submit

    def _groups(self, new: dict[str, ClipRequest], report: SubmitReport) -> Iterator[dict[str, dict[str, Any]]]:
        """Rows (key -> request body) in batches of bounded size; a clip the budget does not cover is counted."""
        rows: dict[str, dict[str, Any]] = {}
        size = 0
        for key, request in new.items():
            query = clip_query(request, self._settings)
            worst = (
                worst_cost(query, self._settings, request.duration_s, self._price, batch=True)
                if self._price is not None
                else None
            )
            if not self._spend.reserve(self._call_id(key), worst):
                report.budget += 1
                continue
            body = rest_request(self._client.contents(query), self._client.config(query))
            length = len(json.dumps(body))
            if rows and (len(rows) >= self._settings.batch_rows or size + length > self._settings.batch_file_mb * 1e6):
                yield rows
                rows, size = {}, 0
            rows[key] = body
            size += length
        if rows:
            yield rows

    def _create(self, ledger: BatchLedger, rows: dict[str, Any], requests: dict[str, ClipRequest]) -> str:
        attempts = [f"{key}:{ledger.key(key).attempts}" for key in rows]
        display = f"unihand-{make_id(*attempts)[:24]}"
        clips = {k: {"clip_id": requests[k].clip_id, "seconds": len(requests[k].windows)} for k in rows}
        ledger.write({"event": "intent", "display": display, "clips": clips})
        job = self._send(display, rows)
        ledger.write({"event": "submitted", "display": display, "job": job})
        return job

    def _send(self, display: str, rows: dict[str, Any]) -> str:
        from google.genai import types

        config = types.CreateBatchJobConfig(display_name=display)
        if len(json.dumps(rows)) <= self._settings.batch_inline_mb * 1e6:
            source: Any = [_inlined(key, body) for key, body in rows.items()]
        else:
            with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
                for key, body in rows.items():
                    file.write(json.dumps({"key": key, "request": body}) + "\n")
                file.flush()
                upload = types.UploadFileConfig(mime_type="jsonl", display_name=display)
                source = self._client.sdk.files.upload(file=file.name, config=upload).name
        job = self._client.sdk.batches.create(model=self._settings.model, src=source, config=config)
        return str(job.name)

    def _settle_intents(self, ledger: BatchLedger) -> None:
        """An intent without a job: a step was killed in between. Adopt the job if the vendor has it, else free it."""
        dangling = [b for b in ledger.batches.values() if not b.job and not b.closed]
        if not dangling:
            return
        known = {job.display_name: str(job.name) for job in self._client.sdk.batches.list()}
        for batch in dangling:
            if batch.display in known:
                log.info("batch %s was created after all: %s", batch.display, known[batch.display])
                ledger.write({"event": "submitted", "display": batch.display, "job": known[batch.display]})
            else:
                ledger.write({"event": "abandoned", "display": batch.display})

    # -- collect

    def _collect_one(self, ledger: BatchLedger, batch: BatchRecord, job: Any, report: CollectReport) -> None:
        failed: dict[str, tuple[str, str]] = {}
        seen: set[str] = set()
        for key, raw in self._rows(job):
            clip = batch.clips.get(key)
            if clip is None or key in seen:
                log.warning("%s: a row with %s key %r is left out", batch.job, "a second" if clip else "unknown", key)
                continue
            seen.add(key)
            request = ClipRequest(clip["clip_id"], "", tuple((float(i), i + 1.0) for i in range(clip["seconds"])))
            answer = read_answer(request, raw, self._settings)
            answer.cost = cost_of(raw.usage, self._price, batch=True) if self._price is not None else None
            self._settle(key, answer.cost, raw.usage, answer.status)
            if keepable(answer):
                self._cache.put(key, answer.to_json())
                report.answered += 1
            else:
                failed[key] = (answer.status, answer.message)
                report.failed += 1
        for key in batch.clips.keys() - seen:
            failed[key] = ("missing", f"batch {batch.job} ended {_state_name(job.state)} without this clip's row")
            self._settle(key, 0.0, Usage(), "missing")
            report.missing += 1
        if not seen - failed.keys() and batch.clips:
            log.warning(
                "%s ended %s and answered none of %d clips", batch.job, _state_name(job.state), len(batch.clips)
            )
        ledger.write({"event": "collected", "display": batch.display, "failed": failed})
        report.jobs += 1

    def _rows(self, job: Any) -> Iterator[tuple[str, RawAnswer]]:
        if job.dest is None:
            return
        for row in job.dest.inlined_responses or []:
            key = (row.metadata or {}).get("key", "")
            if row.error is not None or row.response is None:
                yield key, _row_error(row.error.message if row.error is not None else "a row without a response")
            else:
                yield key, read_response(row.response)
        if job.dest.file_name:
            data = self._client.sdk.files.download(file=job.dest.file_name)
            for number, line in enumerate(data.splitlines()):
                if line.strip():
                    yield from _file_row(line, f"{job.dest.file_name} line {number + 1}")

    def _settle(self, key: str, cost: float | None, usage: Usage, status: str) -> None:
        call = self._call_id(key)
        self._spend.settle(call, cost=cost, usage=usage, model=self._settings.model, status=status)

    def _call_id(self, key: str) -> str:
        """One per clip and attempt: counted before submission, and the same number at its collection."""
        state = self._ledger.key(key)
        return f"batch:{key}:{state.attempts - (1 if state.open_in else 0)}"


def rest_request(contents: list[Any], config: Any) -> dict[str, Any]:
    """A ``GenerateContentRequest`` as the REST API spells it, for a batch row."""
    dump = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    system = dump.pop("systemInstruction", None)
    body: dict[str, Any] = {"contents": [c.model_dump(mode="json", by_alias=True, exclude_none=True) for c in contents]}
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    return body | {"generationConfig": dump}


def _inlined(key: str, body: dict[str, Any]) -> Any:
    from google.genai import types

    config = types.GenerateContentConfig.model_validate(
        {**body["generationConfig"], "systemInstruction": body.get("systemInstruction")}
    )
    contents = [types.Content.model_validate(c) for c in body["contents"]]
    return types.InlinedRequest(contents=contents, metadata={"key": key}, config=config)


def _file_row(line: bytes, where: str) -> Iterator[tuple[str, RawAnswer]]:
    from google.genai import types

    try:
        row = json.loads(line)
        key = row["key"]
    except (ValueError, KeyError, TypeError):
        log.warning("%s: unreadable row; its clip counts as missing", where)
        return
    if row.get("response"):
        try:
            yield key, read_response(types.GenerateContentResponse._from_response(response=row["response"], kwargs={}))
        except ValueError as error:
            yield key, _row_error(f"unreadable response: {str(error)[:200]}")
    else:
        why = row.get("error") or row.get("status") or {}
        yield key, _row_error(why.get("message", str(why)) if isinstance(why, dict) else str(why))


def _row_error(message: str | None) -> RawAnswer:
    return RawAnswer("error", message=f"batch row failed: {message or 'no message'}", transient=True)


def _state_name(state: Any) -> str:
    """``SUCCEEDED`` for every spelling; the library passes states it does not know through as new members."""
    return state.name.removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_") if state is not None else "UNKNOWN"
