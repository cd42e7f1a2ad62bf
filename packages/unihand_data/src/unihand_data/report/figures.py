"""Which quality figures of a row the report draws, by stage of section 3.1, and the settings that bound them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_DEG = 180.0 / np.pi


@dataclass(frozen=True)
class Shown:
    """A figure as the report shows it: the stored value times ``factor`` is in ``unit``. ``limit`` is the dotted
    setting that bounds it, or a number; its value times ``limit_factor`` is in ``unit`` too (None: as ``factor``)."""

    title: str
    unit: str = ""
    factor: float = 1.0
    limit: str | float | None = None
    limit_factor: float | None = None

    def limits(self, config: Mapping[str, Any]) -> list[float]:
        """Thresholds in ``unit`` by the settings of the directory: none where switched off, two for a range."""
        value: Any = self.limit
        if isinstance(value, str):
            value = config
            for key in str(self.limit).split("."):
                value = value.get(key) if isinstance(value, Mapping) else None
            if not value:  # null and 0 switch a limit off
                return []
        if value is None:
            return []
        factor = self.factor if self.limit_factor is None else self.limit_factor
        return [float(v) * factor for v in (value if isinstance(value, (list, tuple)) else [value])]


#: stage of section 3.1 -> figure in ``episodes.quality`` -> how it is shown
STAGES: dict[str, dict[str, Shown]] = {
    "Language": {
        "sentences": Shown("sentences of a clip, paraphrases apart"),
        "paraphrases": Shown("paraphrases of a clip"),
        "paraphrases_refused": Shown("paraphrases refused: they changed the meaning"),
        "narrations_of_others": Shown("narrations about somebody else, left out"),
    },
    "Motion quality": {
        "seen_ratio": Shown("frames with a hand", limit="motion.min_seen_ratio"),
        "max_gap_s": Shown("longest gap without a hand", " s", limit="motion.max_gap_s"),
        "det_mean": Shown("detection confidence", limit="motion.min_confidence"),
        "det_p10": Shown("detection confidence, worst tenth of the frames"),
        "dba_px": Shown("DBA error", " px", limit="motion.max_dba_px"),
        "jitter_pos": Shown("wrist jitter", " mm", 1e3, "motion.max_jitter_pos_m"),
        "jitter_rot": Shown("wrist rotation jitter", "°", _DEG, "motion.max_jitter_rot_deg", 1.0),
        "smooth_pos_before": Shown("wrist against its neighbours, before smoothing", " mm", 1e3),
        "smooth_pos_after": Shown("wrist against its neighbours, after smoothing", " mm", 1e3),
        "jump_ratio": Shown("impossible steps", limit="motion.max_jump_ratio"),
        "world_jitter_pos": Shown("wrist jitter in the world (the camera goes)", " mm", 1e3, "motion.max_jitter_pos_m"),
        "world_jump_ratio": Shown("impossible steps in the world (the camera goes)", limit="motion.max_jump_ratio"),
        "spectral_hf": Shown("motion power above 6 Hz"),
        "depth_left": Shown("distance of the left wrist", " m", limit="motion.depth_m"),
        "depth_right": Shown("distance of the right wrist", " m", limit="motion.depth_m"),
        "travel": Shown("wrist travel", " m", limit="motion.min_travel_m"),
        "speed_left": Shown("mean speed of the left wrist", " m/s"),
        "speed_right": Shown("mean speed of the right wrist", " m/s"),
        "reliability": Shown("reliability"),
        "outlier_steps": Shown("steps masked as outliers"),
        "idle_share": Shown("share of the episode that is idle"),
        "rate_off": Shown("rate of the clock's median interval over the row's, less one", " %", 1e2),
        "gap_steps": Shown("steps over a gap of the clock, masked"),
    },
    "Relevance": {
        "score": Shown("manipulation score by motion", limit="relevance.min_score"),
        "relevance_model_score": Shown("manipulation score with the model's verdict", limit="relevance.min_score"),
        "visible_ratio": Shown("frames with a hand in view", limit="relevance.min_visible_ratio"),
        "share_manipulation": Shown("share of manipulation"),
        "share_idle": Shown("share of hands that hold still"),
        "share_locomotion": Shown("share of walking"),
        "share_looking": Shown("share of looking around"),
        "share_unclear": Shown("share of unclear moments"),
    },
    "Mirroring": {
        "sentences_not_mirrored": Shown("sentences whose side words cannot be exchanged (above 0: no twin)", limit=0.0),
    },
}
FIGURES: dict[str, Shown] = {name: shown for stage in STAGES.values() for name, shown in stage.items()}
