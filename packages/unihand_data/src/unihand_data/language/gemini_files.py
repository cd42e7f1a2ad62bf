"""Videos uploaded to the Gemini Files API: once per content, until the vendor drops them.

The ledger (JSONL, append-only) remembers uploads between runs. Uploads expire (48 hours as of writing, the answer says
when), so an entry is used only while ``margin_s`` of its life is left.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class UploadFailed(Exception):
    """The vendor did not make a usable file of the upload."""

    def __init__(self, message: str, *, transient: bool):
        super().__init__(message)
        self.transient = transient


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class UploadedFiles:
    """Uploads by content hash.

    Args:
        sdk: a ``google.genai.Client``.
        ledger: JSONL file, or None to forget with the process.
        now, sleep: replaced in tests.
        wait_s: how long a file may stay in processing.
    """

    def __init__(
        self,
        sdk: Any,
        ledger: Path | None = None,
        *,
        now: Callable[[], datetime.datetime] = _now,
        sleep: Callable[[float], None] = time.sleep,
        margin_s: float = 3600.0,
        wait_s: float = 300.0,
    ):
        self._sdk = sdk
        self._ledger = ledger
        self._now = now
        self._sleep = sleep
        self._margin = datetime.timedelta(seconds=margin_s)
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._files: dict[str, dict[str, str]] = {}
        if ledger is not None and ledger.exists():
            for line in ledger.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    self._files[entry["content"]] = entry
                except (ValueError, KeyError, TypeError):
                    log.warning("%s: damaged line, that file is uploaded again", ledger)

    def ensure(self, path: str, content_hash: str, mime_type: str) -> str:
        """URI of the uploaded file, uploading it when it is not there or about to expire. Raises ``UploadFailed``."""
        with self._lock:  # one upload at a time: two workers must not send the same video twice
            known = self._files.get(content_hash)
            if known and known["uri"] and self._alive(known["expires"]):
                return known["uri"]
            return self._upload(path, content_hash, mime_type)

    def is_gone(self, content_hash: str, message: str) -> bool:
        """Whether an error of a call means that its file no longer exists (403 or 404 for a file of ours)."""
        known = self._files.get(content_hash)
        return bool(known and known["uri"]) and message.startswith(("HTTP 403", "HTTP 404"))

    def forget(self, content_hash: str) -> None:
        with self._lock:
            self._remember({"content": content_hash, "name": "", "uri": "", "expires": ""})

    def _alive(self, expires: str) -> bool:
        return bool(expires) and datetime.datetime.fromisoformat(expires) - self._margin > self._now()

    def _upload(self, path: str, content_hash: str, mime_type: str) -> str:
        from google.genai import types

        config = types.UploadFileConfig(mime_type=mime_type, display_name=content_hash)
        try:
            file = self._sdk.files.upload(file=path, config=config)
            waited = 0.0
            while file.state == types.FileState.PROCESSING:
                if waited >= self._wait_s:
                    raise UploadFailed(f"{path}: still processing after {self._wait_s:.0f} s", transient=True)
                self._sleep(2.0)
                waited += 2.0
                file = self._sdk.files.get(name=file.name)
        except ValueError as error:  # the library's word for an upload that did not finish
            raise UploadFailed(f"{path}: upload did not finish: {error}", transient=True) from error
        if file.state == types.FileState.FAILED or not file.uri:
            raise UploadFailed(f"{path}: the vendor could not process the video", transient=False)
        expires = (file.expiration_time or self._now() + datetime.timedelta(hours=24)).isoformat()
        self._remember({"content": content_hash, "name": file.name or "", "uri": file.uri, "expires": expires})
        return file.uri

    def _remember(self, entry: dict[str, str]) -> None:
        self._files[entry["content"]] = entry
        if self._ledger is not None:
            self._ledger.parent.mkdir(parents=True, exist_ok=True)
            with open(self._ledger, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
