"""Settings of the hand stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from unihand_data.config import Settings, runtime_field


class DetectSettings(Settings):
    """How hands are looked for in the pictures (MediaPipe)."""

    #: longer side of the picture the models see; more costs memory (frames are held as JPEG) and finds smaller hands
    max_side_px: int = Field(default=1280, ge=192, le=4096)
    #: MediaPipe's three thresholds while it follows hands through the clip, forwards and backwards
    track_confidence: float = Field(default=0.3, gt=0, lt=1)
    #: threshold on square tiles of frames where fewer than two hands were found
    tile_confidence: float = Field(default=0.3, gt=0, lt=1)
    #: threshold on a crop around where a known hand must be; what it finds must also lie there
    crop_confidence: float = Field(default=0.15, gt=0, lt=1)
    #: ``full``: both directions, tiles and crops; ``fast``: one forward pass
    passes: Literal["full", "fast"] = "full"
    #: a hand must be seen in at least so many frames of one track to be believed
    min_track_frames: int = Field(default=5, ge=1)
    #: a crop search gives up after so many frames in a row without the hand
    max_search_frames: int = Field(default=6, ge=0)


class SmoothSettings(Settings):
    """Gap filling and smoothing of one hand's motion."""

    max_gap_s: float = Field(default=0.2, ge=0)  # longer gaps stay gaps
    window_s: float = Field(default=0.3, ge=0, le=10)  # Savitzky-Golay window; 0 switches smoothing off
    order: int = Field(default=2, ge=1, le=5)
    outlier_mad: float = Field(default=5.0, gt=0)  # times 1.4826 MAD from the running median ...
    outlier_floor_m: float = Field(default=0.03, gt=0)  # ... and at least this far (a still hand has MAD near 0)
    outlier_floor_deg: float = Field(default=30.0, gt=0, le=180)


class HandsSettings(Settings):
    """The MediaPipe estimator."""

    detect: DetectSettings = DetectSettings()
    smooth: SmoothSettings = SmoothSettings()
    #: horizontal field of view where the source brings no intrinsics (degrees); recorded as ``assumed``
    assumed_hfov_deg: float = Field(default=90.0, gt=10, lt=170)
    #: length of the wearer's hand from wrist to middle finger tip (m). A single camera cannot tell a small near hand
    #: from a large far one, so this sets the metric scale.
    hand_length_m: float = Field(default=0.185, gt=0.1, lt=0.26)
    #: a pose whose reprojection is worse than this share of the hand's size in the picture is not valid
    max_reprojection: float = Field(default=0.25, gt=0, le=1)
    #: seconds one clip may take before its worker process is ended
    timeout_s: float = runtime_field(600.0, gt=0)
    #: bundle with the landmark models (None: UNIHAND_HAND_MODELS, the cache, else fetched)
    model_path: str | None = runtime_field(None)
