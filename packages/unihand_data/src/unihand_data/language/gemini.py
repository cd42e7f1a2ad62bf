"""Gemini through google-genai (3.4): structured output, Files, windows of one video, endings, usage.

``google.genai`` is imported when a client is built. Endings are compared as enum members: their string form differs
between releases. Retries (408, 429, 5xx, transport) are the library's own, with our numbers; any other 4xx is final.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from pathlib import Path
from typing import Any

from unihand_data.language.backends import Query, RawAnswer, Usage, VideoPart
from unihand_data.language.config import LanguageSettings
from unihand_data.language.gemini_files import UploadedFiles, UploadFailed

log = logging.getLogger(__name__)

RETRIED_STATUS = (408, 429, 500, 502, 503, 504)


class GeminiClient:
    """A :class:`~unihand_data.language.backends.ModelClient`. ``base_url`` points the real client anywhere."""

    name = "gemini"

    def __init__(self, settings: LanguageSettings, *, api_key: str | None = None):
        from google import genai
        from google.genai import types

        variable = settings.api_key_env or "GEMINI_API_KEY"
        key = api_key or os.environ.get(variable)
        if not key:
            raise ValueError(f"language.backend gemini needs an API key in the environment variable {variable}")
        retry = settings.retry
        self.model = settings.model
        self._settings = settings
        self.sdk = genai.Client(
            api_key=key,
            http_options=types.HttpOptions(
                base_url=settings.base_url,
                timeout=int(settings.timeout_s * 1000),
                retry_options=types.HttpRetryOptions(
                    attempts=retry.attempts,
                    initial_delay=retry.initial_s,
                    max_delay=retry.max_s,
                    exp_base=retry.base,
                    jitter=retry.jitter,
                    http_status_codes=list(RETRIED_STATUS),
                ),
            ),
        )
        ledger = Path(settings.cache_dir) / "gemini_files.jsonl" if settings.cache_dir else None
        self.files = UploadedFiles(self.sdk, ledger)

    def generate(self, query: Query) -> RawAnswer:
        """One call; a file the vendor no longer has is uploaded again, once."""
        raw = self._try(query)
        if (
            raw.status == "error"
            and query.video is not None
            and self.files.is_gone(query.video.content_hash, raw.message)
        ):
            log.info("uploaded file of %s is gone, uploading it again", query.video.path)
            self.files.forget(query.video.content_hash)
            raw = self._try(query)
        return raw

    def _try(self, query: Query) -> RawAnswer:
        from google.genai import errors

        try:
            response = self.sdk.models.generate_content(
                model=self.model, contents=self.contents(query), config=self.config(query)
            )
        except errors.APIError as error:
            code = int(error.code or 0)
            return RawAnswer("error", message=f"HTTP {code}: {error.message}", transient=code in RETRIED_STATUS)
        except UploadFailed as error:
            return RawAnswer("error", message=str(error), transient=error.transient)
        except transport_errors() as error:
            return RawAnswer("error", message=f"no answer: {type(error).__name__}: {error}", transient=True)
        except ValueError as error:  # the body is not JSON, or JSON of another shape (pydantic's error is one too)
            return RawAnswer("error", message=f"unreadable response: {str(error)[:200]}", transient=True)
        return read_response(response)

    def contents(self, query: Query) -> list[Any]:
        """One user turn: the video or the images, then the text. Uploads a video too large to travel inline."""
        from google.genai import types

        parts: list[Any] = []
        if query.video is not None:
            parts.append(self._video_part(query.video))
        for image in query.images:
            if image.caption:
                parts.append(types.Part(text=image.caption))
            parts.append(types.Part(inline_data=types.Blob(data=image.data, mime_type=image.mime_type)))
        parts.append(types.Part(text=query.text))
        return [types.Content(role="user", parts=parts)]

    def config(self, query: Query) -> Any:
        """The generation config; the schema goes as JSON schema, which keeps ``minItems`` and enums."""
        from google.genai import types

        s = self._settings
        thinking = None
        if s.thinking_level is not None:
            thinking = types.ThinkingConfig(thinking_level=types.ThinkingLevel(s.thinking_level.upper()))
        elif s.thinking_budget is not None:
            thinking = types.ThinkingConfig(thinking_budget=s.thinking_budget)
        resolution = types.MediaResolution(f"MEDIA_RESOLUTION_{s.media_resolution.upper()}")
        return types.GenerateContentConfig(
            system_instruction=query.instructions,
            temperature=s.temperature,
            seed=s.seed,
            max_output_tokens=s.max_output_tokens,
            response_mime_type="application/json" if query.schema else None,
            response_json_schema=query.schema,
            media_resolution=resolution if query.video or query.images else None,
            thinking_config=thinking,
        )

    def close(self) -> None:
        self.sdk.close()

    def _video_part(self, video: VideoPart) -> Any:
        from google.genai import types

        start, end = video.window if video.window is not None else (None, None)
        metadata = types.VideoMetadata(
            fps=video.fps,
            start_offset=f"{start:g}s" if start is not None else None,
            end_offset=f"{end:g}s" if end is not None else None,
        )
        # base64 adds a third; the limit is on the request as it travels
        if Path(video.path).stat().st_size * 4 / 3 <= self._settings.inline_limit_mb * 1e6:
            blob = types.Blob(data=Path(video.path).read_bytes(), mime_type=video.mime_type)
            return types.Part(inline_data=blob, video_metadata=metadata)
        uri = self.files.ensure(video.path, video.content_hash, video.mime_type)
        return types.Part(file_data=types.FileData(file_uri=uri, mime_type=video.mime_type), video_metadata=metadata)


def transport_errors() -> tuple[type[Exception], ...]:
    """Errors of the transport the library found installed: httpx, or httpx2, its fork with classes of its own."""
    found = [importlib.import_module(name) for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
    return (OSError, *(module.HTTPError for module in found))


def read_response(response: Any) -> RawAnswer:
    """A ``GenerateContentResponse`` (of a call or of a batch row) as a :class:`RawAnswer`."""
    from google.genai.types import FinishReason

    refusals = {
        FinishReason.SAFETY,
        FinishReason.RECITATION,
        FinishReason.BLOCKLIST,
        FinishReason.PROHIBITED_CONTENT,
        FinishReason.SPII,
        FinishReason.IMAGE_SAFETY,
        FinishReason.IMAGE_PROHIBITED_CONTENT,
        FinishReason.IMAGE_RECITATION,
        FinishReason.MODEL_ARMOR,
    }
    usage = read_usage(response.usage_metadata)
    version = response.model_version or ""
    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        why = f"prompt blocked: {feedback.block_reason.name} {feedback.block_reason_message or ''}".strip()
        return RawAnswer("blocked", message=why, usage=usage, model_version=version)
    if not response.candidates:
        # happens with every safety filter off, too; it says nothing about the clip
        return RawAnswer("blocked", message="no candidates and no reason (OTHER)", usage=usage, model_version=version)
    candidate = response.candidates[0]
    reason = candidate.finish_reason
    text = _text_of(candidate)
    if reason in refusals:
        return RawAnswer("blocked", message=f"ended with {reason.name}", usage=usage, model_version=version)
    if reason == FinishReason.OTHER and not text:
        return RawAnswer("blocked", message="ended with OTHER and no text", usage=usage, model_version=version)
    if reason == FinishReason.MAX_TOKENS:
        why = "cut off: raise language.max_output_tokens or lower the thinking budget"
        return RawAnswer("bad_answer", text, why, usage, version)
    if not text:
        name = reason.name if reason is not None else "no finish reason"
        return RawAnswer("bad_answer", message=f"empty answer ({name})", usage=usage, model_version=version)
    return RawAnswer("ok", text, usage=usage, model_version=version)


def read_usage(metadata: Any) -> Usage:
    """Token counts; None (no metadata, or a field left out) counts as zero."""
    if metadata is None:
        return Usage()
    return Usage(
        metadata.prompt_token_count or 0,
        metadata.candidates_token_count or 0,
        metadata.thoughts_token_count or 0,
        metadata.cached_content_token_count or 0,
    )


def _text_of(candidate: Any) -> str:
    parts = candidate.content.parts if candidate.content is not None else None
    return "".join(p.text for p in parts or [] if p.text and not p.thought)
