"""All settings of the human-video job in one model; ``pipelines/human_video.yaml`` is the commented default."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from unihand_data.config import Settings, SettingsError, runtime_field
from unihand_data.curate.motion_quality import MotionSettings
from unihand_data.curate.tasks import TaskSettings
from unihand_data.geometry.camera_motion import CameraSettings
from unihand_data.hands.config import HandsSettings
from unihand_data.hands.hawor_config import HaworSettings
from unihand_data.ids import make_id
from unihand_data.jobs.places import need_folder
from unihand_data.jobs.tokenizer import TokenSettings
from unihand_data.language.config import LanguageSettings, RelevanceSettings
from unihand_data.runner import paths
from unihand_data.runner.settings import RunnerSettings
from unihand_data.sources.spec import DatasetSpec
from unihand_data.video.encode import EncodeSettings
from unihand_data.video.scan import ScanSettings
from unihand_data.video.segment import SegmentSettings
from unihand_data.video.worker import VideoWorkerSettings


class VideoSettings(Settings):
    """Scanning, cutting and storing; ``rectified_hfov_deg`` is the pinhole a fisheye picture is turned into."""

    scan: ScanSettings = ScanSettings()
    segment: SegmentSettings = SegmentSettings()
    encode: EncodeSettings = EncodeSettings()
    rectified_hfov_deg: float = Field(default=90.0, gt=20, lt=150)
    worker: VideoWorkerSettings = runtime_field(VideoWorkerSettings())
    joined_gb: float = runtime_field(50.0, gt=0)  # of videos joined from pictures that wait in one folder


class HumanVideoSettings(Settings):
    """Settings of ``pipelines/human_video.py``. Content hash and ids depend on everything but runtime fields."""

    dataset: str | None = runtime_field(None)  # name or path of a data set YAML; null: found by fingerprint
    dataset_id: str = ""  # hash of what that YAML says, filled in by the job: its content counts, its place does not
    hand_estimator: Literal["mediapipe", "hawor"] = "mediapipe"
    videos: str | None = runtime_field(None)  # folder of the videos, for data sets whose annotation comes without them
    mano_dir: str | None = runtime_field(None)  # the user's MANO files; null: UNIHAND_MANO_DIR
    prefer_annotated: bool = True  # take a data set's own hands instead of estimating them
    video: VideoSettings = VideoSettings()
    hands: HandsSettings = HandsSettings()
    hawor: HaworSettings = HaworSettings()
    camera: CameraSettings = CameraSettings()
    motion: MotionSettings = MotionSettings()
    relevance: RelevanceSettings = RelevanceSettings()
    language: LanguageSettings = LanguageSettings()
    tasks: TaskSettings = TaskSettings()
    mirror: bool = True
    tokens: TokenSettings = runtime_field(TokenSettings())
    model_files: dict[str, str] = Field(default_factory=dict)  # hashes, filled in by the job (jobs/model_files.py)
    runner: RunnerSettings = runtime_field(RunnerSettings())


def checked(settings: HumanVideoSettings) -> HumanVideoSettings:
    """The settings with absolute paths, refused before any work where every clip would fail.

    Raises:
        SettingsError: HaWoR without its checkout, a folder that is named and not there, or a relative path inside a
            Ray job.
    """
    if settings.hand_estimator == "hawor" and not settings.hawor.repo:
        raise SettingsError("hand_estimator is hawor: hawor.repo must name your checkout (--set hawor.repo=/path)")
    hands, hawor, read = settings.hands, settings.hawor, settings.hawor.read
    try:
        dataset = settings.dataset
        if dataset and dataset.endswith((".yaml", ".yml")):
            dataset = _absolute(dataset, "dataset")
        videos = _absolute(settings.videos, "videos")
        # named outright: workers on other machines need not have the driver's environment
        mano = _absolute(settings.mano_dir or os.environ.get("UNIHAND_MANO_DIR"), "mano_dir")
        read = read.model_copy(update={"mano_dir": _absolute(read.mano_dir, "hawor.read.mano_dir")})
        hawor = hawor.model_copy(update={"repo": _absolute(hawor.repo, "hawor.repo"), "read": read})
        hands = hands.model_copy(update={"model_path": _absolute(hands.model_path, "hands.model_path")})
    except ValueError as error:
        raise SettingsError(str(error)) from error
    need_folder(videos, "videos")
    need_folder(mano, "mano_dir")
    update = {"dataset": dataset, "videos": videos, "mano_dir": mano, "hands": hands, "hawor": hawor}
    return settings.model_copy(update=update)


def with_dataset(settings: HumanVideoSettings, spec: DatasetSpec) -> HumanVideoSettings:
    """The settings with ``dataset_id``: what the data set's YAML says, without what only people read.

    Raises:
        SettingsError: the user filled it in.
    """
    if settings.dataset_id:
        raise SettingsError("dataset_id: filled in by the job; name the data set with dataset")
    said = spec.model_dump_json(exclude={"title", "fingerprint", "peek", "quirks", "tried"})
    return settings.model_copy(update={"dataset_id": make_id("dataset", said)})


def _absolute(path: str | None, name: str) -> str | None:
    return paths.job_path(path, name) if path else None
