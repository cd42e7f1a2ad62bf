"""The words of the questions. A change of any of them changes ``PROMPT_VERSION``, which is part of the cache key."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from unihand_data.language.answer_schema import annotation_schema
from unihand_data.language.backends import ClipRequest, ImagePart, Query, VideoPart
from unihand_data.language.config import LanguageSettings

PROMPT_VERSION = "annotate-v1"

INSTRUCTIONS = """\
You annotate short first-person video clips in which the camera is worn by the person whose hands are seen. Your words
train a robot policy, so every sentence must be visible in the picture; write what is done, never what might be meant
beyond it.

Return one JSON object.
- per_second: for each listed second one short imperative instruction (verb, object, hand or direction where it can be
  seen), as if telling someone to do exactly what happens. Repeat the same words while the same action goes on. Use an
  empty string when the wearer's hands do nothing.
- active_hand: for the same seconds, the wearer's hand that acts: left, right, both or none. Left and right are the
  wearer's own.
- intent: one sentence that says what the wearer is doing over the whole clip.
- is_manipulation and dominant_activity: manipulation means that the wearer's hands hold, move, open, press or otherwise
  act on something, even briefly or partly hidden; do not be strict about it. Walking, looking around, talking, waiting
  and what other people do is not manipulation, nor are hands that only swing through the air.
- objects: what the hands touch, as short nouns.
- has_readable_text: true when letters, digits or a clock face can be read.
- confidence: low, medium or high.
"""


def clip_request(
    clip_id: str,
    content_hash: str,
    duration_s: float,
    *,
    video: str | None = None,
    video_window: tuple[float, float] | None = None,
    context: Sequence[str] = (),
) -> ClipRequest:
    """The request of one clip with a window per second.

    Args:
        content_hash: of the encoded clip (``MediaRow.media_id``).
        video_window: seconds inside ``video`` where it holds pre-roll or more than the clip.
    """
    return ClipRequest(
        clip_id, content_hash, seconds_of(duration_s), video, video_window=video_window, context=tuple(context)
    )


def clip_query(request: ClipRequest, settings: LanguageSettings) -> Query:
    """The query of one clip: relevance, per-second instructions and intent in a single call.

    Raises ``ValueError`` when the settings ask for prompts this release does not have: an answer to other words must
    not be stored under that version.
    """
    if settings.prompt_version != PROMPT_VERSION:
        raise ValueError(f"language.prompt_version {settings.prompt_version!r}: this release has {PROMPT_VERSION!r}")
    lines = [f"The clip lasts {request.duration_s:.1f} seconds. Annotate these {len(request.windows)} seconds:"]
    lines += [f"{i}: {t0:.1f} s to {t1:.1f} s" for i, (t0, t1) in enumerate(request.windows)]
    if settings.narrations_as_context and request.context:
        lines.append("The data set says about this clip (may be imprecise; the picture decides):")
        lines += [f"- {text}" for text in request.context]
    video: VideoPart | None = None
    images: tuple[ImagePart, ...] = ()
    if settings.send == "video" and request.video:
        video = VideoPart(request.video, request.content_hash, request.mime_type, request.video_window, settings.fps)
    else:
        images = tuple(
            ImagePart(data, f"{time:.1f} s") for data, time in zip(request.frames, request.frame_times, strict=True)
        )
    schema = annotation_schema(len(request.windows))
    return Query(INSTRUCTIONS, "\n".join(lines), schema, video, images)


def seconds_of(duration_s: float, *, rest_s: float = 0.5) -> tuple[tuple[float, float], ...]:
    """The windows of a clip: one per second; a rest shorter than ``rest_s`` belongs to the last one."""
    whole = int(duration_s + 1e-6)
    edges = [float(k) for k in range(whole + 1)]
    if duration_s - whole >= rest_s or whole == 0:
        edges.append(duration_s)
    else:
        edges[-1] = max(edges[-1], duration_s)
    return tuple(itertools.pairwise(edges))
