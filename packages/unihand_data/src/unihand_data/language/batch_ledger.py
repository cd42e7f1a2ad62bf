"""What was submitted to batch jobs and what became of it: one append-only JSONL file, one event per line.

Events, in the life of a batch: ``intent`` (about to be created, with its clips), ``submitted`` (the vendor's job name),
``state``, ``collected`` (which clips failed or are missing); ``abandoned`` when an intent never became a job.
A killed step leaves at most an intent without a job, and the next ``submit`` looks for that job by its display name.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

TERMINAL = ("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")


@dataclass
class BatchRecord:
    """One batch. ``clips``: key -> {clip_id, seconds}. ``job`` is empty until the vendor has named it."""

    display: str
    clips: dict[str, dict[str, Any]]
    job: str = ""
    state: str = "INTENT"
    closed: bool = False


@dataclass
class KeyState:
    """One clip over all its batches."""

    attempts: int = 0
    open_in: str = ""  # display name of the batch it waits in
    status: str = ""  # of the last ending that was no answer
    message: str = ""


@dataclass
class BatchLedger:
    """The replayed file. Use inside :meth:`locked`, which also keeps two steps from running at once."""

    path: Path
    batches: dict[str, BatchRecord] = field(default_factory=dict)
    keys: dict[str, KeyState] = field(default_factory=dict)

    @contextmanager
    def locked(self) -> Iterator[BatchLedger]:
        """Exclusive use, with everything others wrote taken in."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._replay()
            yield self

    def write(self, event: dict[str, Any]) -> None:
        """Appends and applies one event; call inside :meth:`locked`."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        self._apply(event)

    def open_batches(self) -> list[BatchRecord]:
        return [b for b in self.batches.values() if b.job and not b.closed]

    def key(self, key: str) -> KeyState:
        return self.keys.setdefault(key, KeyState())

    def _replay(self) -> None:
        self.batches, self.keys = {}, {}
        if not self.path.exists():
            return
        text = self.path.read_text(encoding="utf-8", errors="replace")
        if text and not text.endswith("\n"):
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("\n")  # a torn last line must not swallow the next event
        for line in text.splitlines():
            try:
                if line.strip():
                    self._apply(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                log.warning("%s: damaged line left out: %s", self.path, error)

    def _apply(self, event: dict[str, Any]) -> None:
        kind, display = event["event"], event["display"]
        if kind == "intent":
            self.batches[display] = BatchRecord(display, event["clips"])
            for key in event["clips"]:
                self.key(key).open_in = display
            return
        batch = self.batches[display]
        if kind == "submitted":
            batch.job, batch.state = event["job"], "SUBMITTED"
            for key in batch.clips:
                self.key(key).attempts += 1
        elif kind == "state":
            batch.state = event["state"]
        elif kind in ("collected", "abandoned"):
            batch.closed = True
            for key in batch.clips:
                self.key(key).open_in = ""
            for key, (status, message) in event.get("failed", {}).items():
                state = self.key(key)
                state.status, state.message = status, message
