"""Batches seen from inside a data job: the stage writes down what it wants to ask and takes what has been answered.

A job that runs with ``language.batch`` does not wait. A clip whose answer is not there yet is spooled and comes back as
``waiting`` (a reject with reason ``budget``: left for a later run). :mod:`batch_cli` then submits, polls and collects;
the next run of the job finds the answers in the cache.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from unihand_data.language.annotator import read_answer
from unihand_data.language.backends import ClipAnswer, ClipRequest, RawAnswer, Usage
from unihand_data.language.batch_ledger import BatchLedger
from unihand_data.language.cache import AnswerCache, request_key
from unihand_data.language.config import LanguageSettings

log = logging.getLogger(__name__)


def answers_of(directory: str | Path) -> Path:
    """Where answers lie unless ``language.cache_dir`` says so: in the folder that holds the batch's, so that the
    job finds what a step collected."""
    return Path(directory).absolute().parent / "answers"


class RequestSpool:
    """Requests by key, one append-only file per writer. Frames (bytes) are not spooled: batches send the video."""

    def __init__(self, directory: str | Path):
        self._dir = Path(directory)
        self._dir.mkdir(parents=True, exist_ok=True)
        self._file = self._dir / f"spool-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._known: set[str] = set()

    def add(self, key: str, request: ClipRequest) -> None:
        """Writes a request down once per writer; its video must stay where it is until it is submitted."""
        if request.frames:
            raise ValueError("a batch sends the encoded clip: set language.send to video")
        if key in self._known:
            return
        self._known.add(key)
        with open(self._file, "a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "request": asdict(request)}) + "\n")

    def requests(self) -> dict[str, ClipRequest]:
        """All writers' requests by key; a damaged line is left out (its clip spools itself again)."""
        out = {}
        for path in sorted(self._dir.glob("spool-*.jsonl")):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    out[entry["key"]] = _request(entry["request"])
                except (ValueError, KeyError, TypeError) as error:
                    log.warning("%s: damaged line left out: %s", path, error)
        return out


class BatchBackend:
    """A :class:`~unihand_data.language.backends.LanguageBackend` that needs neither network nor key."""

    name = "gemini"

    def __init__(self, settings: LanguageSettings, directory: str | Path, cache: AnswerCache | None = None):
        self._settings = settings
        self._spool = RequestSpool(directory)
        self._ledger = BatchLedger(Path(directory) / "batches.jsonl")
        self._cache = cache if cache is not None else AnswerCache(settings.cache_dir or answers_of(directory))

    def annotate(self, requests: Sequence[ClipRequest]) -> list[ClipAnswer]:
        """Stored answers, endings that are final, and ``waiting`` for the rest, which is spooled."""
        with self._ledger.locked() as ledger:
            return [self._one(ledger, request) for request in requests]

    def close(self) -> None:
        """Nothing is held open."""

    def _one(self, ledger: BatchLedger, request: ClipRequest) -> ClipAnswer:
        key = request_key(request, self._settings)
        stored, state = self._cache.get(key), ledger.key(key)
        if stored is not None:
            answer = ClipAnswer.from_json(stored)
            answer.clip_id, answer.cached, answer.cost, answer.usage = request.clip_id, True, 0.0, Usage()
            return answer
        if not state.open_in and state.status and state.attempts >= self._settings.batch_attempts:
            raw = RawAnswer("bad_answer" if state.status == "bad_answer" else "error", message=state.message)
            return read_answer(request, raw, self._settings)
        self._spool.add(key, request)
        where = f"in {state.open_in}" if state.open_in else "for the next submit"
        message = f"waiting {where}: run `unihand batch OUT` with submit, poll and collect, then the job again"
        return read_answer(request, RawAnswer("waiting", message=message, transient=True), self._settings)


def _request(data: dict) -> ClipRequest:
    pairs = tuple((float(a), float(b)) for a, b in data["windows"])
    window = tuple(data["video_window"]) if data["video_window"] else None
    values = {**data, "windows": pairs, "video_window": window, "frames": ()}
    return ClipRequest(**{**values, "frame_times": tuple(data["frame_times"]), "context": tuple(data["context"])})
