"""Answers by content: the same question about the same pixels is paid once, by any job that shares the directory.

Every writer has a file of its own (``answers-<pid>-<random>.jsonl``), so writers never meet; readers take in all files
of the directory up to their last complete line. A line carries a checksum: a torn or flipped one is left out, counted
and asked again; the others stay good. Nothing is ever rewritten.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import uuid
from pathlib import Path
from typing import Any

from unihand_data.ids import make_id
from unihand_data.language.answer_schema import schema_hash
from unihand_data.language.backends import ClipRequest
from unihand_data.language.config import LanguageSettings

log = logging.getLogger(__name__)


class AnswerCache:
    """Append-only store of JSON values by key. ``directory`` None keeps them in memory."""

    def __init__(self, directory: str | Path | None = None):
        self._dir = Path(directory) if directory is not None else None
        self._values: dict[str, Any] = {}
        self._offsets: dict[str, int] = {}
        self._lock = threading.Lock()
        self._own: Path | None = None
        self._own_pid = 0
        self.damaged_lines = 0
        if self._dir is not None:
            self._dir.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Any | None:
        """The stored value; looks at what other writers added before it says None."""
        with self._lock:
            if key not in self._values:
                self._refresh()
            return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Stores a value; a key that is known keeps its first value."""
        with self._lock:
            if key in self._values:
                return
            if self._dir is not None:
                with open(self._writer(), "ab") as file:
                    file.write(_line(key, value))
            self._values[key] = json.loads(json.dumps(value))

    def __len__(self) -> int:
        with self._lock:
            self._refresh()
            return len(self._values)

    def _writer(self) -> Path:
        assert self._dir is not None
        if self._own is None or self._own_pid != os.getpid():  # a fork must not share its parent's file
            self._own_pid = os.getpid()
            self._own = self._dir / f"answers-{self._own_pid}-{uuid.uuid4().hex[:8]}.jsonl"
        return self._own

    def _refresh(self) -> None:
        if self._dir is None:
            return
        for path in sorted(self._dir.glob("answers-*.jsonl")):
            offset = self._offsets.get(path.name, 0)
            if path.stat().st_size <= offset:
                continue
            with open(path, "rb") as file:
                file.seek(offset)
                data = file.read()
            end = data.rfind(b"\n") + 1
            self._offsets[path.name] = offset + end
            for line in data[:end].splitlines():
                self._take(path, line)

    def _take(self, path: Path, line: bytes) -> None:
        try:
            entry = json.loads(line)
            if entry["sum"] != _checksum(entry["key"], entry["value"]):
                raise ValueError("checksum does not match")
        except (ValueError, KeyError, TypeError) as error:
            self.damaged_lines += 1
            log.warning("%s: damaged line left out (%s); its question is asked again", path, error)
            return
        self._values.setdefault(entry["key"], entry["value"])


def _line(key: str, value: Any) -> bytes:
    return (json.dumps({"key": key, "sum": _checksum(key, value), "value": value}) + "\n").encode()


def _checksum(key: str, value: Any) -> str:
    text = json.dumps([key, value], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def request_key(request: ClipRequest, settings: LanguageSettings) -> str:
    """Everything the answer depends on, and nothing of where or when it was asked."""
    context = request.context if settings.narrations_as_context else ()
    return make_id(
        "annotate", settings.prompt_version, settings.backend, settings.model, schema_hash(), request.content_hash,
        json.dumps([request.windows, request.video_window, request.frame_times, context]), settings.send, settings.fps,
        settings.media_resolution, settings.thinking_budget, settings.thinking_level, settings.temperature,
        settings.seed, settings.max_output_tokens,
    )  # fmt: skip
