"""Settings of the HaWoR estimator: where the user's checkout is (runtime) and what decides its numbers (content)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from unihand_data.config import Settings, runtime_field

#: HaWoR works on 30 frames a second
HAWOR_FPS = 30.0


class HaworReadSettings(Settings):
    """How result files become hands and a camera."""

    #: the wrist joint is HaWoR's ``trans`` + J0. ``auto``: J0 of the user's MANO files where their folder is named,
    #: else the published J0 of the mean shape (figure ``wrist_mean_shape`` is 1). ``mano``: without the files a reject
    wrist_joint: Literal["auto", "mano"] = "auto"
    #: keep what HaWoR's infiller wrote between two detections of a hand, marked ``interpolated``
    keep_infilled: bool = True
    #: folder of MANO_LEFT.pkl and MANO_RIGHT.pkl (None: UNIHAND_MANO_DIR)
    mano_dir: str | None = runtime_field(None)


class HaworSettings(Settings):
    """The estimator. HaWoR itself (CC BY-NC-ND) is never part of this project: it runs as the user's own process."""

    # what decides the numbers
    detection_threshold: float = Field(default=0.2, gt=0, lt=1)
    max_window_s: float = Field(default=20.0, ge=2)  # masks of a window cost 8 bytes a pixel and frame while HaWoR runs
    overlap_s: float = Field(default=1.0, gt=0)
    max_side_px: int = Field(default=1920, ge=256)  # longer side of the pictures HaWoR gets
    assumed_hfov_deg: float = Field(default=90.0, gt=10, lt=170)  # where the source brings no intrinsics
    #: background shift, over the longer side, up to which the camera counts as static; SLAM fails on those. None: never
    static_px: float | None = Field(default=0.0025, ge=0, le=1)
    #: SLAM that fails on good hands: ``hands_only`` gives the hands without a camera (the next stage may find one;
    #: frames filled in need the world and are lost), ``reject`` loses the clip
    on_slam_failure: Literal["hands_only", "reject"] = "hands_only"
    read: HaworReadSettings = Field(default_factory=HaworReadSettings)

    # where and how it runs
    repo: str | None = runtime_field(None)  # the checkout
    python: str = runtime_field("python")  # interpreter of HaWoR's environment
    checkpoint: str = "weights/hawor/checkpoints/hawor.ckpt"  # relative to the checkout, or absolute
    infiller_checkpoint: str = "weights/hawor/checkpoints/infiller.pt"
    device: str | None = runtime_field(None)  # CUDA_VISIBLE_DEVICES; None: as it is
    env: dict[str, str] = runtime_field(default_factory=dict)
    extra_args: dict[str, Any] = Field(default_factory=dict)  # more attributes of the demo's argument object
    timeout_s: float = runtime_field(1800.0, gt=0)  # one step of one window
    start_timeout_s: float = runtime_field(300.0, gt=0)  # importing torch and HaWoR
    recycle_after: int | None = runtime_field(100, ge=1)  # windows per process
    keep_models: bool = runtime_field(True)  # between clips, on the GPU
    work_dir: str | None = runtime_field(None)  # scratch; None: the system's
    keep_files: bool = runtime_field(False)  # leave HaWoR's folders for a look

    @model_validator(mode="after")
    def _overlap(self) -> HaworSettings:
        if self.overlap_s > self.max_window_s / 2:
            raise ValueError(f"overlap_s {self.overlap_s} is more than half of max_window_s {self.max_window_s}")
        return self
