"""What a track can support saying: the smallest change of place, grip and turn that stands out from its own errors.

Two kinds of error are kept apart. Noise is what a frame is off its neighbours before smoothing; it is measured per hand
and raises every limit. What one camera gets wrong about a pose (near against far, the same outline in two postures)
stays for as long as the pose does, so no jitter shows it: a hand read out of pictures has limits of its own, from a
comparison with exact truth, and its grip and turn are spoken of only where the estimator was sure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unihand_data.language.config import MotionRulesSettings
from unihand_data.values.hands import HandTrack

#: mean joint flexion (rad) of a fist over the four fingers: about 90, 100 and 70 degrees at the three joints
FIST_FLEXION = 1.5


@dataclass(frozen=True)
class HandTrust:
    """How far one hand of a clip is to be believed. The defaults are those of an exact recording.

    Attributes:
        estimated: the pose was read out of one camera's pictures.
        noise_pos, noise_rot, noise_closure: RMS of a frame against the middle of its neighbours before smoothing: m,
            rad, finger closure.
        reliability: 0..1, of the clip (``curate.motion_quality``), over the frames in which a hand was seen.
        confidence: (T,) 0..1 per frame, or None where nothing is known; NaN where a frame has none.
    """

    estimated: bool = False
    noise_pos: float = 0.0
    noise_rot: float = 0.0
    noise_closure: float = 0.0
    reliability: float = 1.0
    confidence: np.ndarray | None = None


@dataclass(frozen=True)
class Limits:
    """What a window's change must exceed to be stated. Infinite: such a change is not stated at all.

    Attributes:
        move: m, net displacement. axis: m, a component that is named. still: m, displacement up to which the hand is
            said to be still; 0 where the noise hides stillness. path: m. turn: rad. closure: of 0 open .. 1 fist.
    """

    move: float
    axis: float
    still: float
    path: float
    turn: float
    closure: float


def trust_of(track: HandTrack, figures: dict[str, float] | None = None) -> HandTrust:
    """The trust in ``track``; ``figures`` are its clip's (``reliability``, ``seen_ratio``), where they were taken.

    A data set's own hands have no figures of smoothing and no noise. The closure is a mean over twelve joints whose
    errors go together, so its noise is that of one joint.
    """
    known = {k: v for k, v in track.figures.items() if np.isfinite(v)}
    clip = figures or {}
    seen = clip.get("seen_ratio", 1.0)  # a hand that is away for half of a clip is not doubtful when it is there
    return HandTrust(
        estimated=not track.estimator.startswith("annotated"),
        noise_pos=known.get("jitter_pos_raw_m", 0.0),
        noise_rot=float(np.radians(known.get("jitter_rot_raw_deg", 0.0))),
        noise_closure=float(np.radians(known.get("jitter_theta_raw_deg", 0.0))) / FIST_FLEXION,
        reliability=min(1.0, clip["reliability"] / seen) if "reliability" in clip and seen > 0 else 1.0,
        confidence=track.confidence,
    )


def limits(trust: HandTrust, used: np.ndarray, inside: np.ndarray, settings: MotionRulesSettings) -> Limits | None:
    """Limits for the frames ``used`` (T,) of the window ``inside`` (T,); None where the hand is too doubtful there for
    any statement."""
    k = settings.noise_factor
    confidence = np.ones(1)
    if trust.estimated and trust.confidence is not None:
        of_used = trust.confidence[used]
        confidence = of_used[np.isfinite(of_used)]
        if not len(confidence) or confidence.mean() < settings.min_confidence:
            return None
    move, axis, turn, closure = settings.min_move_m, 0.0, settings.min_roll_deg, settings.min_closure
    if trust.estimated:
        move, axis = max(move, settings.estimate_move_m), settings.estimate_axis_m
        turn, closure = max(turn, settings.estimate_turn_deg), max(closure, settings.estimate_closure)
    pose = not trust.estimated or (
        trust.reliability >= settings.min_reliability
        and float(np.percentile(confidence, 10)) >= settings.pose_confidence
        and used.sum() >= settings.pose_valid * inside.sum()
    )
    return Limits(
        move=max(move, k * trust.noise_pos),
        axis=max(axis, k * trust.noise_pos) if trust.estimated else 0.0,
        still=settings.min_move_m if k * trust.noise_pos <= settings.min_move_m else 0.0,
        path=max(settings.min_path_m, k * trust.noise_pos),
        turn=max(float(np.radians(turn)), k * trust.noise_rot) if pose else np.inf,
        closure=max(closure, k * trust.noise_closure) if pose else np.inf,
    )
