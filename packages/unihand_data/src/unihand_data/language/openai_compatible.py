"""Any endpoint that speaks the OpenAI chat protocol: a vLLM server with Qwen2.5-VL, a proxy, OpenAI itself.

``openai`` is imported when a client is built. A video goes as ``video_url`` (a data URL; vLLM reads it) with the frame
rate stated, else as single frames, each after its time stamp. The answer's form is asked for with ``json_schema``; a
server that does not know it gets the schema as text instead, and says so only once. The library's own retries are off:
ours also read ``Retry-After`` and use the job's numbers.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unihand_data.language.backends import Query, RawAnswer, Usage
from unihand_data.language.config import LanguageSettings, RetrySettings

log = logging.getLogger(__name__)

RETRIED_STATUS = (408, 409, 429, 500, 502, 503, 504)


class OpenAIClient:
    """A :class:`~unihand_data.language.backends.ModelClient`."""

    name = "openai_compatible"

    def __init__(
        self,
        settings: LanguageSettings,
        *,
        api_key: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ):
        import openai

        variable = settings.api_key_env or "OPENAI_API_KEY"
        key = api_key or os.environ.get(variable)
        if not key and settings.base_url is None:
            raise ValueError(f"language.backend openai needs an API key in the environment variable {variable}")
        self.model = settings.model
        self._settings = settings
        self._sleep = sleep
        self._schema_known = True
        self.sdk = openai.OpenAI(
            api_key=key or "none",  # a server of one's own mostly wants none, the library wants one
            base_url=settings.base_url,
            timeout=settings.timeout_s,
            max_retries=0,
        )

    def generate(self, query: Query) -> RawAnswer:
        """One call with retries."""
        retry = self._settings.retry
        for attempt in range(retry.attempts):
            raw, wait = self._try(query)
            if not (raw.status == "error" and raw.transient) or attempt + 1 == retry.attempts:
                return raw
            self._sleep(wait if wait is not None else backoff(attempt, retry))
        raise AssertionError("unreachable: attempts is at least one")

    def close(self) -> None:
        self.sdk.close()

    def _try(self, query: Query) -> tuple[RawAnswer, float | None]:
        """(ending, seconds the server asked us to wait)."""
        import openai

        try:
            completion = self.sdk.chat.completions.create(**self.body(query))
        except openai.APIStatusError as error:
            if error.status_code == 400 and query.schema and self._schema_known and _is_about_schema(error.message):
                log.warning(
                    "%s does not take json_schema; the schema goes as text from now on", self._settings.base_url
                )
                self._schema_known = False
                return self._try(query)
            if error.status_code == 400 and error.code == "content_filter":
                return RawAnswer("blocked", message=f"prompt blocked: {error.message}"), None
            transient = error.status_code in RETRIED_STATUS
            after = error.response.headers.get("retry-after", "")
            wait = min(float(after), self._settings.retry.max_s) if after.replace(".", "", 1).isdigit() else None
            return RawAnswer("error", message=f"HTTP {error.status_code}: {error.message}", transient=transient), wait
        except openai.APIConnectionError as error:  # timeouts too
            return RawAnswer("error", message=f"no answer: {error}", transient=True), None
        except (openai.OpenAIError, ValueError) as error:
            return RawAnswer("error", message=f"unreadable response: {str(error)[:200]}", transient=True), None
        return read_completion(completion), None

    def body(self, query: Query) -> dict[str, Any]:
        """Arguments of ``chat.completions.create``."""
        s = self._settings
        parts: list[dict[str, Any]] = []
        extra: dict[str, Any] = {}
        if query.video is not None:
            if query.video.window is not None:
                raise ValueError("an OpenAI-compatible endpoint takes whole clips: encode the clip, or send frames")
            data = Path(query.video.path).read_bytes()
            parts.append({"type": "video_url", "video_url": {"url": _data_url(data, query.video.mime_type)}})
            # without it the server samples at its own rate and the model's time axis is wrong
            extra["mm_processor_kwargs"] = {"fps": query.video.fps}
        for image in query.images:
            if image.caption:
                parts.append({"type": "text", "text": image.caption})
            parts.append({"type": "image_url", "image_url": {"url": _data_url(image.data, image.mime_type)}})
        text = query.text
        body: dict[str, Any] = {}
        if query.schema and self._schema_known:
            form = {"name": "answer", "schema": query.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif query.schema:
            text += f"\nAnswer with one JSON object of this schema and nothing else:\n{json.dumps(query.schema)}"
        parts.append({"type": "text", "text": text})
        return body | {
            "model": self.model,
            "messages": [{"role": "system", "content": query.instructions}, {"role": "user", "content": parts}],
            "temperature": s.temperature,
            "max_tokens": s.max_output_tokens,
            "seed": s.seed,
            "extra_body": extra or None,
        }


def read_completion(completion: Any) -> RawAnswer:
    """A chat completion as a :class:`RawAnswer`."""
    usage = read_usage(getattr(completion, "usage", None))
    version = getattr(completion, "model", None) or ""
    if not getattr(completion, "choices", None):
        return RawAnswer("error", message="a response without choices", usage=usage, transient=True)
    choice = completion.choices[0]
    text, refusal = choice.message.content or "", getattr(choice.message, "refusal", None)
    if choice.finish_reason == "content_filter" or refusal:
        return RawAnswer("blocked", message=refusal or "ended with content_filter", usage=usage, model_version=version)
    if choice.finish_reason == "length":
        return RawAnswer("bad_answer", text, "cut off: raise language.max_output_tokens", usage, version)
    if not text:
        return RawAnswer("bad_answer", message="empty answer", usage=usage, model_version=version)
    return RawAnswer("ok", text, usage=usage, model_version=version)


def read_usage(usage: Any) -> Usage:
    """Token counts; reasoning tokens are part of ``completion_tokens`` and are shown apart."""
    if usage is None:
        return Usage()
    details, prompt = getattr(usage, "completion_tokens_details", None), getattr(usage, "prompt_tokens_details", None)
    thinking = getattr(details, "reasoning_tokens", None) or 0
    cached = getattr(prompt, "cached_tokens", None) or 0
    return Usage(usage.prompt_tokens or 0, (usage.completion_tokens or 0) - thinking, thinking, cached)


def backoff(attempt: int, retry: RetrySettings) -> float:
    """Seconds before try ``attempt + 2``: exponential, capped, with jitter on top."""
    return min(retry.initial_s * retry.base**attempt, retry.max_s) + random.uniform(0.0, retry.jitter)


def _data_url(data: bytes, mime_type: str) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def _is_about_schema(message: str) -> bool:
    return any(word in message.lower() for word in ("response_format", "json_schema", "guided", "grammar", "schema"))
