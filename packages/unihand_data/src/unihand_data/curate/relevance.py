"""The geometric half of step 3 of section 3.1: locomotion told from manipulation by measured motion."""

from __future__ import annotations

import numpy as np

from unihand_data.curate.clip_state import ClipState
from unihand_data.language.config import RelevanceSettings
from unihand_data.language.motion_rules import closure_from_theta
from unihand_data.language.relevance import Relevance, WristView, measure_relevance


def measured(clip: ClipState, settings: RelevanceSettings) -> Relevance:
    """The verdict on a clip from hands and camera alone."""
    if clip.hands is None:
        raise ValueError("relevance is judged after the hands")
    views = []
    for track in (clip.hands.left, clip.hands.right):
        seen = track.valid & ~track.interpolated
        closure = np.where(seen, closure_from_theta(np.nan_to_num(track.theta)), np.nan)
        views.append(WristView(track.wrist_pos, seen, closure))
    camera = clip.camera
    known = camera is not None and camera.method != "none"
    return measure_relevance(
        np.asarray(clip.clip.pts, float) - clip.clip.t0,
        views[0],
        views[1],
        camera.pose if known and camera is not None else None,
        camera.valid if known and camera is not None else None,
        settings,
    )
