"""What a data-set YAML may say. One file per data set in ``datasets/``; unknown keys are errors.

A YAML describes the data set *as its owner publishes it*: where files lie, which conventions its numbers follow, and
the owner's licence (never the licence tag of a copy). Readers are driven by it; they hold no data-set names.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from unihand_data.config import Settings

ReaderName = Literal[
    "video_folder",
    "video_table",
    "video_pose",
    "hdf5_skeleton",
    "webdataset",
    "frame_archive",
    "mano_folder",
    "episode_npy",
    "text_skeleton",
    "landmark_csv",
    "lerobot_human",
    "hawor_results",
]

#: how a data set writes its hands; every name is a converter of ``hands/mano_variants.py``
HandVariant = Literal[
    "axis_angle_45",  # root apart, 45 numbers
    "axis_angle_48",  # root in the first three numbers
    "pca",  # coefficients of the MANO file's hands_components
    "matrices",  # 3x3 per joint
    "quat_wxyz",
    "quat_xyzw",
    "keypoints_21",  # already wrist, thumb .. pinky from palm to tip
    "keypoints_fpha",  # wrist, five knuckles, then PIP DIP TIP per finger
    "keypoints_aria",  # five tips, wrist, thumb 2, three of each finger, palm
    "keypoints_arkit_25",  # ARKit hand skeleton with metacarpals
]


class HandSpec(Settings):
    """Conventions of the hand numbers."""

    variant: HandVariant
    left_in_right_model: bool = Field(False, description="left hands are written in the right model, mirrored back")
    mean: Literal["flat", "model"] = Field("flat", description="theta is relative to the flat hand or to hands_mean")
    pca_components: int | None = Field(None, ge=1, le=45, description="how many coefficients, for variant pca")
    translation: Literal["wrist", "mano"] = Field("mano", description="the wrist joint itself, or MANO's transl")
    frame: Literal["camera", "world", "device"] = "camera"
    unit_in_m: float = Field(1.0, gt=0)
    min_confidence: float | None = Field(None, description="below it a joint counts as untracked")
    sparse: bool = Field(False, description="frames without a hand were not annotated; they say nothing about hands")

    @model_validator(mode="after")
    def _count_coefficients_where_there_are_some(self) -> HandSpec:
        if (self.variant == "pca") != (self.pca_components is not None):
            raise ValueError("pca_components is given with variant pca, and with no other")
        return self

    @property
    def mano_use(self) -> str:
        """What the numbers cannot be read without the user's MANO files for; empty where they can."""
        if self.variant.startswith("keypoints"):
            return ""
        if self.variant == "pca":
            return "hand poses in PCA coefficients"
        if self.mean == "model":
            return "hand poses relative to the mean hand"
        return "wrists given as transl" if self.translation == "mano" else ""


class CameraSpec(Settings):
    """Conventions of the camera numbers. ``model`` is the distortion the data set publishes."""

    pose: Literal["camera_to_world", "world_to_camera", "none"] = "none"
    axes: Literal["opencv", "opengl"] = "opencv"
    turned: Literal[0, 90, 180, 270] = Field(
        0, description="degrees by which the video's picture is turned clockwise against the camera of these poses"
    )
    world_up: Literal["x", "y", "z", "-y", "unknown"] = "unknown"
    unit_in_m: float = Field(1.0, gt=0)
    model: Literal["none", "radtan", "kannala_brandt"] = "none"
    intrinsics: list[float] = Field(default_factory=list, description="fx fy cx cy width height, where one camera")
    hand_to_camera: list[list[float]] = Field(default_factory=list, description="4x4, m: constant, device to camera")

    @model_validator(mode="after")
    def _whole_constants(self) -> CameraSpec:
        if len(self.intrinsics) not in (0, 6):
            raise ValueError("intrinsics are fx, fy, cx, cy, width and height")
        if self.intrinsics and self.model != "none":
            raise ValueError("constant intrinsics have no place for the coefficients of a lens: model is none")
        if self.hand_to_camera and [len(row) for row in self.hand_to_camera] != [4] * 4:
            raise ValueError("hand_to_camera is a 4x4 matrix")
        return self


class TableSpec(Settings):
    """A side-car table of text. ``layout`` names the shape of the file; columns are given for ``rows``."""

    path: str
    layout: Literal["rows", "ego4d_narrations", "ego4d_fho", "atomic_descriptions"] = "rows"
    video: str = ""
    start: str = ""
    stop: str = ""
    text: str = ""
    time: Literal["seconds", "hms"] = "seconds"
    level: Literal["instruction", "intent", "task"] = "instruction"
    optional: bool = False
    columns: list[str] = Field(default_factory=list, description="header of a table that has none")


class Provenance(Settings):
    """What this reader was tried on; printed as the table of ``docs/sources.md``."""

    real: str = ""
    generated: str = ""
    unverified: list[str] = Field(default_factory=list)


class Peek(Settings):
    """What a fingerprint cannot tell from names: a file whose name fits must hold what the data set's files hold."""

    file: str = Field(description="regex over the relative path")
    beside: str = Field("", description="suffix of a file of the same name that must lie beside it")
    holds: str = Field(
        description="HDF5: the name of an object in it; an archive: regex over the names of its members; else: regex "
        "over its bytes"
    )


class DatasetSpec(Settings):
    """One data set."""

    name: str
    title: str
    reader: ReaderName
    licence: str = Field(description="the owner's licence")
    licence_class: Literal["permissive", "non_commercial", "no_redistribution", "unknown"]  # bounds ``shareable``
    shareable: bool = Field(description="may derived shards leave the machine")
    setting: Literal["lab", "wild"]
    origin: Literal["real", "sim"] = Field("real", description="filmed, or rendered")
    fps: float | None = Field(None, gt=0, description="published rate; None: the stream's own time decides")
    fingerprint: list[list[str]] = Field(
        default_factory=list, description="groups of globs; the folder is this data set if every glob of one group hits"
    )
    peek: Peek | None = Field(None, description="looked at where the names fit: a like name alone is no data set")
    videos: list[str] = Field(default_factory=list, description="globs of the video files")
    video_key: str = Field("", description="regex over the relative path; its group 'key' joins video and tables")
    tables: list[TableSpec] = Field(default_factory=list)
    hands: HandSpec | None = None
    camera: CameraSpec | None = None
    layout: str = Field("", description="which of its reader's folder layouts")
    paths: dict[str, str] = Field(default_factory=dict, description="further paths the reader needs, by its own names")
    quirks: list[str] = Field(default_factory=list, description="what people should know; no program reads it")
    tried: Provenance = Provenance()

    @model_validator(mode="after")
    def _share_only_what_may_be_shared(self) -> DatasetSpec:
        if self.shareable and self.licence_class != "permissive":
            raise ValueError(f"shareable needs a permissive licence, not {self.licence_class}")
        return self
