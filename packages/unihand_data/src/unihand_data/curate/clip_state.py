"""A human clip on its way from a recording to rows: what the stages of section 3.1 read and add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unihand_data.shards.rows import LanguageRow, MediaRow
from unihand_data.values.camera import CameraTrack
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.recording import Narration, SourceItem


@dataclass
class Origin:
    """Where a clip comes from; copied into every row it becomes."""

    recording_id: str
    content_id: str
    dataset: str
    uri: str
    setting: str
    licence: str
    shareable: bool
    suite: str = ""
    task_id: str = ""
    origin: str = "real"
    split_group: str = ""  # the recording, or what it shares a split with


@dataclass
class ClipState:
    """One clip of at most ten seconds. Stages fill the optional fields in order.

    Attributes:
        clip_id: id of the (unmirrored) episode this clip becomes.
        clip: the frames in the source file.
        narrations: what the data set says about this stretch, on the clip's clock (first frame = 0).
        annotated: hands and camera the data set brings, already on the clip's frames.
        own_hands: the data set annotated the hands of this stretch (else ``annotated`` holds its camera alone).
        fps: frames per second of the clip's own time stamps.
        figures: every figure a filter looked at; they go into the row of a clip that is kept.
        media: the encoded short-GOP file in the work directory.
        joined: the input item, where the clip's video was joined from its pictures and must be there to be read.
    """

    clip_id: str
    origin: Origin
    clip: ClipRef
    fps: float
    narrations: list[Narration] = field(default_factory=list)
    annotated: HandResult | None = None
    own_hands: bool = False
    hands: HandResult | None = None
    camera: CameraTrack | None = None
    figures: dict[str, float] = field(default_factory=dict)
    relevance: dict[str, Any] = field(default_factory=dict)
    language: list[LanguageRow] = field(default_factory=list)
    media: MediaRow | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    joined: SourceItem | None = None

    @property
    def frames(self) -> int:
        return len(self.clip.pts)

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps

    @property
    def frames_with_hand(self) -> int:
        """Frames in which at least one hand was seen (filled-in poses do not count)."""
        if self.hands is None:
            return 0
        seen = [track.valid & ~track.interpolated for track in (self.hands.left, self.hands.right)]
        return int((seen[0] | seen[1]).sum())
