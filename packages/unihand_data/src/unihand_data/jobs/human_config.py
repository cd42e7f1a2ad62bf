"""All settings of the human-video job in one model; ``pipelines/human_video.yaml`` is the commented default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from unihand_data.config import Settings, runtime_field
from unihand_data.curate.motion_quality import MotionSettings
from unihand_data.curate.tasks import TaskSettings
from unihand_data.geometry.camera_motion import CameraSettings
from unihand_data.hands.config import HandsSettings
from unihand_data.language.config import LanguageSettings, RelevanceSettings
from unihand_data.runner.settings import RunnerSettings
from unihand_data.video.encode import EncodeSettings
from unihand_data.video.scan import ScanSettings
from unihand_data.video.segment import SegmentSettings
from unihand_data.video.worker import VideoWorkerSettings


class VideoSettings(Settings):
    """Scanning, cutting and storing; ``rectified_hfov_deg`` is the pinhole a fisheye picture is turned into."""

    scan: ScanSettings = Field(default_factory=ScanSettings)
    segment: SegmentSettings = Field(default_factory=SegmentSettings)
    encode: EncodeSettings = Field(default_factory=EncodeSettings)
    rectified_hfov_deg: float = Field(90.0, gt=20, lt=150)
    worker: VideoWorkerSettings = runtime_field(default_factory=VideoWorkerSettings)


class HumanVideoSettings(Settings):
    """Settings of ``pipelines/human_video.py``. Content hash and ids depend on everything but runtime fields."""

    dataset: str | None = None  # name of a data set YAML; null: found by fingerprint
    hand_estimator: Literal["mediapipe", "hawor"] = "mediapipe"
    prefer_annotated: bool = True  # take a data set's own hands instead of estimating them
    video: VideoSettings = Field(default_factory=VideoSettings)
    hands: HandsSettings = Field(default_factory=HandsSettings)
    camera: CameraSettings = Field(default_factory=CameraSettings)
    motion: MotionSettings = Field(default_factory=MotionSettings)
    relevance: RelevanceSettings = Field(default_factory=RelevanceSettings)
    language: LanguageSettings = Field(default_factory=LanguageSettings)
    tasks: TaskSettings = Field(default_factory=TaskSettings)
    mirror: bool = True
    runner: RunnerSettings = runtime_field(default_factory=RunnerSettings)
