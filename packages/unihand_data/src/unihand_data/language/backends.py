"""What a language backend is asked and what it answers, for every vendor alike.

Two layers: a :class:`ModelClient` sends one :class:`Query` to one vendor and reads the ending; an annotation backend
(:mod:`annotator`, :mod:`batch`) puts the clip's question around it, validates the answer itself, and adds cache, budget
and accounting. Only the clients know a vendor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Protocol

from unihand_data.errors import Reason, Reject
from unihand_data.language.answer_schema import Annotation
from unihand_data.language.mirror_words import canonical_spelling
from unihand_data.shards.rows import LanguageRow

#: ``budget`` and ``waiting`` (in a batch) are left for a later run
Status = Literal["ok", "blocked", "bad_answer", "budget", "waiting", "error"]


@dataclass(frozen=True)
class ClipRequest:
    """One clip to annotate.

    Attributes:
        clip_id: for the caller; no part of the cache key.
        content_hash: blake2b-128 hex of what the model sees (the encoded clip, or the source with its window).
        windows: one (t0, t1) in seconds per asked instruction, on the clip's clock (first frame = 0), ascending.
        video: local path of the encoded clip.
        video_window: (start, end) s inside that file where the clip is only a part of it (long uploads, pre-roll).
        frames: JPEG bytes instead of a video: single frames or contact sheets.
        frame_times: s on the clip's clock, one per entry of ``frames`` (a sheet: its first frame).
        context: what the data set says about the clip.
    """

    clip_id: str
    content_hash: str
    windows: tuple[tuple[float, float], ...]
    video: str | None = None
    mime_type: str = "video/mp4"
    video_window: tuple[float, float] | None = None
    frames: tuple[bytes, ...] = ()
    frame_times: tuple[float, ...] = ()
    context: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.windows[-1][1] - self.windows[0][0] if self.windows else 0.0


@dataclass(frozen=True)
class Usage:
    """Tokens as the vendor counted them. ``output`` without ``thinking``; ``cached_input`` is part of ``input``."""

    input: int = 0
    output: int = 0
    thinking: int = 0
    cached_input: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.thinking + other.thinking,
            self.cached_input + other.cached_input,
        )


@dataclass
class ClipAnswer:
    """The dual-level annotation of one clip, or why there is none.

    ``blocked`` means the vendor refused: it says nothing about the clip and must never be read as irrelevant.
    ``cost`` is None where the model has no price; 0 for a cached answer. ``transient``: a later try may succeed.
    """

    clip_id: str
    status: Status
    per_second: list[str] = field(default_factory=list)
    active_hand: list[str] = field(default_factory=list)
    intent: str = ""
    is_manipulation: bool | None = None
    dominant_activity: str = ""
    objects: list[str] = field(default_factory=list)
    has_readable_text: bool = False
    confidence: str = ""
    message: str = ""
    transient: bool = False
    model: str = ""
    model_version: str = ""
    prompt_version: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    cached: bool = False

    def fill(self, annotation: Annotation) -> ClipAnswer:
        """Takes over the fields of a validated annotation."""
        for name, value in annotation.model_dump(mode="json").items():
            setattr(self, name, value)
        return self

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> ClipAnswer:
        """Raises ``TypeError`` or ``KeyError`` for another shape."""
        known = {f.name for f in fields(ClipAnswer)}
        values = {k: v for k, v in data.items() if k in known}
        return ClipAnswer(**{**values, "usage": Usage(**data["usage"])})


class LanguageBackend(Protocol):
    """Annotates clips. One answer per request, in the order of the requests; never raises for a single clip."""

    name: str  # a ``text_source`` of the contract: gemini | openai_compatible

    def annotate(self, requests: Sequence[ClipRequest]) -> list[ClipAnswer]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class VideoPart:
    path: str
    content_hash: str
    mime_type: str = "video/mp4"
    window: tuple[float, float] | None = None
    fps: float = 1.0


@dataclass(frozen=True)
class ImagePart:
    """``caption`` precedes the image in the prompt (its time stamp)."""

    data: bytes
    caption: str = ""
    mime_type: str = "image/jpeg"


@dataclass(frozen=True)
class Query:
    """One call to a model. ``schema``: JSON schema the answer is to follow (asked for, and validated by us always)."""

    instructions: str
    text: str
    schema: dict[str, Any] | None = None
    video: VideoPart | None = None
    images: tuple[ImagePart, ...] = ()


@dataclass
class RawAnswer:
    """A vendor's ending in our terms. ``bad_answer``: it ended in a form that cannot be read (cut off, empty)."""

    status: Status
    text: str = ""
    message: str = ""
    usage: Usage = field(default_factory=Usage)
    model_version: str = ""
    transient: bool = False


class ModelClient(Protocol):
    """One vendor. Retries what is worth retrying; every ending is a :class:`RawAnswer`."""

    name: str
    model: str

    def generate(self, query: Query) -> RawAnswer: ...

    def close(self) -> None: ...


def answer_rows(answer: ClipAnswer, request: ClipRequest, source: str) -> list[LanguageRow]:
    """Rows of an ``ok`` answer: an ``instruction`` per window with text, an ``intent`` for the clip.

    Windows that the model says the same about are joined: a sentence then spans what it describes.
    """
    if answer.status != "ok":
        return []
    rows: list[LanguageRow] = []
    model = answer.model_version or answer.model
    for (t0, t1), text, hand in zip(request.windows, answer.per_second, answer.active_hand):
        text = canonical_spelling(text.strip())
        if not text:
            continue
        last = rows[-1] if rows else None
        if last is not None and last.text == text and last.hand == hand and abs(last.t1 - t0) < 1e-6:
            last.t1 = t1
        else:
            rows.append(LanguageRow("instruction", t0, t1, text, hand, source, model, answer.prompt_version))
    if answer.intent.strip():
        t0, t1 = request.windows[0][0], request.windows[-1][1]
        hands = {h for h in answer.active_hand if h != "none"}
        hand = "both" if len(hands) > 1 else next(iter(hands), "none")
        text = canonical_spelling(answer.intent.strip())
        rows.append(LanguageRow("intent", t0, t1, text, hand, source, model, answer.prompt_version))
    return rows


def answer_reject(answer: ClipAnswer) -> Reject | None:
    """The reject (level ``clip``) of an answer that is not ``ok``; None otherwise.

    The caller decides whether it ends the clip or, with narrations or the motion describer at hand, only its words.
    """
    if answer.status == "ok":
        return None
    reason = {
        "blocked": Reason.BLOCKED,
        "bad_answer": Reason.BAD_ANSWER,
        "budget": Reason.BUDGET,
        "waiting": Reason.BUDGET,
        "error": Reason.TIMEOUT if answer.transient else Reason.BAD_ANSWER,
    }[answer.status]
    return Reject(reason, f"clip {answer.clip_id}: {answer.model}: {answer.message}", level="clip")
