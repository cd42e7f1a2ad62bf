"""The rows of a shard directory as dataclasses (docs/contract.md, section 3); ``schema.py`` holds them as Arrow types.

Legend: T frames of the row, S active slots of that row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class MediaRow:
    """Encoded bytes shared by the rows that refer to them. ``media_id`` is the content hash of the bytes.

    ``path`` is used in staging instead of ``data``: bytes enter ``media.lance`` at the commit.
    ``pts`` are the presentation times (s) of the stored frames, pre-roll included (negative).
    """

    media_id: str
    kind: str  # video | depth | image
    width: int
    height: int
    frames: int
    codec: str
    gop: int
    pts_start: float
    licence: str
    path: str = ""
    data: bytes | None = None
    pts: np.ndarray | None = None


@dataclass
class CameraRow:
    """A view of an episode. ``pts`` None means the media's own times; ``poses`` is (T, 4, 4) float32 or None."""

    view: str
    media_id: str
    width: int
    height: int
    fps: float
    t_offset: float = 0.0
    pts: np.ndarray | None = None
    intrinsics: np.ndarray | None = None  # (4,) fx fy cx cy in pixels of the stored video
    distortion: np.ndarray | None = None
    poses: np.ndarray | None = None
    pose_valid: np.ndarray | None = None
    depth_media_id: str = ""
    mirrored: bool = False


@dataclass
class HandRow:
    """Per-frame quality of one hand; the pose itself is in the state vector."""

    side: str
    hand_model: str
    estimator: str
    confidence: np.ndarray  # (T,) float32
    valid: np.ndarray  # (T,) bool
    interpolated: np.ndarray  # (T,) bool
    hand_scale: float = 1.0


@dataclass
class LanguageRow:
    """A sentence about [t0, t1] (s on the row's clock). ``level``: instruction | intent | task | subtask | step."""

    level: str
    t0: float
    t1: float
    text: str
    hand: str = "none"
    text_source: str = "dataset"
    model: str = ""
    template_id: str = ""
    paraphrase_id: int = 0


@dataclass
class EventRow:
    """Something that happens over [t0, t1] (s on the row's clock): a contact, a grasp, a state change ...

    Attributes:
        kind: the word of the source. source: who says so (the data set, a detector).
    """

    t0: float
    t1: float
    kind: str
    source: str = ""


@dataclass
class EpisodeRow:
    """One clip or episode. ``state`` and ``action`` are (T, S) over the row's own active slots."""

    episode_id: str
    recording_id: str
    source: str
    source_uri: str
    embodiment: str
    embodiment_hash: str
    domain: str  # human | robot
    origin: str  # real | sim
    setting: str  # lab | wild
    split: str  # train | val | test
    rate_hz: float
    timestamps: np.ndarray  # (T,) float64 s, first is 0
    world: str
    raw_to_world: np.ndarray  # (4, 4)
    state_slots: np.ndarray  # (S,) int16
    action_slots: np.ndarray
    state: np.ndarray  # (T, S) float32
    action: np.ndarray
    state_mask: np.ndarray  # (T, S) bool
    action_mask: np.ndarray
    licence: str
    shareable: bool
    parent_id: str = ""
    suite: str = ""
    task_id: str = ""
    success: bool | None = None
    seed: int | None = None
    action_source: list[dict[str, str]] = field(default_factory=list)  # [{slot_group, kind}]
    raw_extra: dict[str, np.ndarray] = field(default_factory=dict)
    cameras: list[CameraRow] = field(default_factory=list)
    hands: list[HandRow] = field(default_factory=list)
    language: list[LanguageRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    quality: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        return len(self.timestamps)

    @property
    def duration_s(self) -> float:
        """Frames over rate, so that clips cut from one recording add up to it."""
        return self.frames / self.rate_hz if self.rate_hz else 0.0

    @property
    def mirrored(self) -> bool:
        return bool(self.parent_id)


@dataclass
class ConversationRow:
    """One vision-text conversation.

    Attributes:
        media: ``{media_id, times}`` in the order of the placeholders; ``times`` are the frames (s of the media's clock)
            that are shown of a video, empty for a picture.
        turns: ``{role, text}``, question and answer by turns.
        geometry: ``{kind, points, label, turn}``; points are x0 y0 x1 y1 ... in 0..1 of the original frame, ``turn`` is
            the number of the turn that speaks of it.
        tokens_text, tokens_answer: of all questions and of all answers, disjoint; pictures are not in them.
    """

    conversation_id: str
    source: str
    pillar: str  # general | grounding | planning
    media: list[dict[str, Any]]  # {media_id, times}
    turns: list[dict[str, str]]
    geometry: list[dict[str, Any]]  # {kind, points, label, turn}
    licence: str
    split: str
    tokens_text: int
    tokens_answer: int
    shareable: bool | None = None  # may the row leave the machine; None: not said, which a recipe takes as no


@dataclass
class SampleRow:
    """One training sample: where it starts and which task it is. Its id never depends on generated text.

    Attributes:
        start_frame: first predicted frame, of the episode's own frames (rate ``rate_hz`` of the row).
        frames_available, history_available: frames from the start on, and before it.
        language_ref: number of the sentence in the episode's ``language``; -1 none.
        tokens_text, tokens_answer: what the sample is given and what it predicts, in tokens; pictures are not in them.
        images_per_time: views shown at each time at which the task shows pictures.
        weight: of this sample among those of its directory, 1 unless a job says otherwise; recipes bring their own.
    """

    sample_id: str
    task: str  # motion_generation | motion_continuation | motion_description | vision_text
    episode_id: str = ""
    conversation_id: str = ""
    start_frame: int = 0
    frames_available: int = 0
    history_available: int = 0
    language_ref: int = -1
    question_template_id: str = ""
    tokens_text: int = 0
    tokens_answer: int = 0
    images_per_time: int = 1
    weight: float = 1.0
    split: str = "train"


@dataclass
class RejectRow:
    """What did not make it: an input item, a clip of one, or a row.

    Attributes:
        item: id of the input item it belongs to.
        stage, reason, message: where, one of :class:`unihand_data.errors.Reason`, and the sentence.
        attempt: how many tries came before.
        frames, frames_with_hand, duration_s: what the loss covers (decoded frames, s), 0 where unknown.
    """

    item: str
    level: str  # item | clip | row
    stage: str
    reason: str
    message: str
    source_uri: str
    attempt: int = 0
    frames: int = 0
    frames_with_hand: int = 0
    duration_s: float = 0.0
    figures: str | None = ""  # JSON: what the filter that dropped a clip measured, by name; empty where none did


def figures_json(figures: Mapping[str, float]) -> str:
    """Finite figures as ``RejectRow.figures`` holds them: six significant digits, in the order of their names."""
    finite = {name: float(f"{value:.6g}") for name, value in sorted(figures.items()) if math.isfinite(value)}
    return json.dumps(finite, separators=(",", ":")) if finite else ""


@dataclass
class StagedRows:
    """What one finished unit of a job writes: episodes (mirror twins among them) or conversations, what they refer to,
    and their samples."""

    episodes: list[EpisodeRow] = field(default_factory=list)
    media: list[MediaRow] = field(default_factory=list)
    samples: list[SampleRow] = field(default_factory=list)
    conversations: list[ConversationRow] = field(default_factory=list)
