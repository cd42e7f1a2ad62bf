"""Words of a clip, from the best source there is: a language model, the data set's narrations, else the measured motion.

A model's answer carries its verdict on manipulation too (3.1, step 3). A clip that the model refused to look at is
``blocked``, never "irrelevant": it keeps its narrations or its motion description.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unihand_data.curate.clip_state import ClipState
from unihand_data.curate.human_rows import wrist_motion
from unihand_data.errors import Reason, Reject
from unihand_data.language import motion_rules
from unihand_data.language.config import LanguageSettings, RelevanceSettings
from unihand_data.shards.rows import LanguageRow
from unihand_data.sources.recording import Narration


@dataclass
class Words:
    """Rows of a clip and what a model thought of it. ``reject`` ends the clip."""

    rows: list[LanguageRow]
    figures: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    reject: Reject | None = None


def narration_rows(narrations: list[Narration]) -> list[LanguageRow]:
    """The data set's own sentences, with their spans on the clip's clock."""
    from unihand_data.language.mirror_words import canonical_spelling

    return [
        LanguageRow(n.level, n.t0, n.t1, canonical_spelling(n.text.strip()), n.hand, "narration")
        for n in narrations
        if n.text.strip()
    ]


class Annotator:
    """Built once per worker. ``work_dir`` holds the answer cache and the ledger of what was spent."""

    def __init__(self, language: LanguageSettings, relevance: RelevanceSettings, work_dir: str):
        self.language, self.relevance = language, relevance
        self.backend = None

    def annotate(self, clip: ClipState) -> Words:
        rows = narration_rows(clip.narrations)
        if not rows and self.language.motion_rules:
            rows = self._describe(clip)
        if not rows:
            return Words([], reject=Reject(Reason.NO_TEXT, "no narration, no model and nothing measured to describe"))
        return Words(rows)

    def _describe(self, clip: ClipState) -> list[LanguageRow]:
        times = np.asarray(clip.clip.pts, float) - clip.clip.t0
        hands = wrist_motion(clip)
        motions = {
            side: motion_rules.HandMotion(pos, valid, closure=closure, rot=rot)
            for side, (pos, rot, valid, closure) in hands.items()
        }
        return motion_rules.describe_clip(
            times,
            motions["left"],
            motions["right"],
            key=clip.clip_id,
            settings=self.language.motion,
            max_chunk_s=self.language.max_chunk_s,
        )

    def close(self) -> None:
        if self.backend is not None:
            self.backend.close()
