"""What a human-video reader hands over: cheap items first, an opened recording later, in a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from unihand_data.values.camera import CameraTrack, Intrinsics
from unihand_data.values.hands import HandTrack


@dataclass
class SourceItem:
    """One input item, listed without opening it. Small and picklable: it travels to a worker.

    Attributes:
        key: stable name inside the data set (relative path, take id); not an id by itself.
        uri: the file a person would look at; a member of an archive is ``archive!member``.
        dataset: name of the data set YAML.
        payload: what the reader needs to open it (paths, row numbers), JSON-able.
    """

    key: str
    uri: str
    dataset: str
    payload: dict = field(default_factory=dict)


@dataclass
class Narration:
    """Text the data set itself brings, with its own time span in seconds of the recording's clock."""

    t0: float
    t1: float
    text: str
    level: Literal["instruction", "intent", "task"] = "instruction"
    hand: Literal["left", "right", "both", "none"] = "none"


@dataclass
class Recording:
    """One opened recording.

    Attributes:
        video: local path or URL of the video; None for a source that has motion but whose video is elsewhere (reject).
        content_id: blake2b-128 hex of the video's bytes (of the annotation's, where there is no video): ids hang on it.
        intrinsics: of the displayed picture, or None (then the config's assumed field of view applies).
        hands: hands the data set brings, on ``hands_t``; resampled to the video's frames by the caller, never
            extrapolated.
        hands_t: (N,) seconds on the video's clock.
        hands_sparse: frames without a hand were not annotated, so stretches without any are left to an estimator.
        camera: camera trajectory the data set brings, on ``camera_t``.
        narrations: text with spans.
        setting: ``lab`` | ``wild``; origin: ``real`` | ``sim``; licence and shareable are the *upstream's*.
    """

    item: SourceItem
    video: str | None
    content_id: str
    recording_id: str
    intrinsics: Intrinsics | None = None
    hands: list[HandTrack] = field(default_factory=list)
    hands_t: np.ndarray | None = None
    hands_sparse: bool = False
    camera: CameraTrack | None = None
    camera_t: np.ndarray | None = None
    narrations: list[Narration] = field(default_factory=list)
    split_group: str = ""  # what must stay in one split where it is more than this recording (views of one motion)
    fps_hint: float | None = None
    setting: Literal["lab", "wild"] = "wild"
    origin: Literal["real", "sim"] = "real"
    licence: str = "unknown"
    shareable: bool = False
    task_id: str = ""
    suite: str = ""
    extra: dict = field(default_factory=dict)
