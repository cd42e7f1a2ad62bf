"""Manipulation relevance of a clip (paper 3.1, stage 3): figures measured on a CPU, a model's verdict if there is one.

Each moment is one of: ``locomotion`` (the camera travels while the wrists rest in its picture, or are out of it),
``looking`` (the camera turns with the hands at rest or out of view), ``manipulation`` (a hand in view moves in the
world, or its fingers open or close), ``idle`` (hands in view, nothing moves), ``unclear`` (no hand, no camera motion).
The score is the share of manipulation plus a part of idle (a held object is not seen in the motion). The paper
publishes no thresholds; ours are settings, and every figure is kept. Give no camera whose translations are not metres.

Legend: T frames, camera axes OpenCV, metres, seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.language.backends import ClipAnswer
from unihand_data.language.config import RelevanceSettings
from unihand_data.language.motion_measure import closure_from_theta
from unihand_data.values.camera import CameraTrack
from unihand_data.values.estimator import HandResult

#: how much of an idle moment with hands in view counts: holding is manipulation that does not move
IDLE_CREDIT = 0.3


@dataclass
class WristView:
    """One hand as relevance looks at it: ``pos`` (T, 3) m in the camera frame (NaN where not ``valid``), ``closure``
    (T,) 0 open .. 1 fist or None."""

    pos: np.ndarray
    valid: np.ndarray
    closure: np.ndarray | None = None


@dataclass
class Relevance:
    """The verdict on one clip. ``decided_by``: ``figures`` | ``model`` | ``both``. ``shares``: of the clip's time."""

    score: float
    is_manipulation: bool
    dominant: str
    decided_by: str
    shares: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    model_status: str = ""
    min_score: float = float("nan")  # the thresholds it was held against
    min_visible_ratio: float = float("nan")

    @property
    def keep(self) -> bool:
        """Whether the clip stays."""
        return self.is_manipulation

    @property
    def why(self) -> str:
        """One sentence for a reject."""
        seen = f"{self.figures['visible_ratio']:.0%} of the frames"
        return (
            f"mostly {self.dominant}: manipulation score {self.score:.2f} against relevance.min_score "
            f"{self.min_score:g} (decided by {self.decided_by}), a hand in view in {seen} against "
            f"relevance.min_visible_ratio {self.min_visible_ratio:g}"
        )

    def reject(self, *, frames: int = 0, frames_with_hand: int = 0, duration_s: float = 0.0) -> Reject | None:
        """The clip's reject, or None when it stays."""
        if self.is_manipulation:
            return None
        return Reject(Reason.NOT_MANIPULATION, self.why, level="clip", frames=frames,
                      frames_with_hand=frames_with_hand, duration_s=duration_s)  # fmt: skip


def screen_motion(
    hands: HandResult, camera: CameraTrack | None, t: np.ndarray, settings: RelevanceSettings | None = None
) -> Relevance:
    """:func:`measure_relevance` of a clip's tracks. Filled-in poses do not count as seen; a camera without known or
    metric motion is no camera."""
    views = {}
    for track in (hands.left, hands.right):
        seen = track.valid & ~track.interpolated & np.isfinite(track.wrist_pos).all(axis=1)
        flexed = np.isfinite(track.theta).all(axis=1)
        closure = np.where(flexed, closure_from_theta(np.nan_to_num(track.theta)), np.nan)
        views[track.side] = WristView(track.wrist_pos, seen, closure)
    known = camera is not None and camera.method != "none" and camera.metric and bool(camera.valid.any())
    pose, valid = (camera.pose, camera.valid) if camera is not None and known else (None, None)
    return measure_relevance(t, views["left"], views["right"], pose, valid, settings)


def measure_relevance(
    t: np.ndarray,
    left: WristView | None,
    right: WristView | None,
    camera: np.ndarray | None,
    camera_valid: np.ndarray | None = None,
    settings: RelevanceSettings | None = None,
) -> Relevance:
    """Verdict from measured motion alone.

    Args:
        t: (T,) s. camera: (T, 4, 4) camera-to-world, or None where the camera's motion is unknown; then a wrist that
            moves in the picture counts as moving, and nothing is called locomotion or looking.
    """
    settings = settings or RelevanceSettings()
    hands = [h for h in (left, right) if h is not None and h.valid.any()]
    visible = np.zeros(len(t), bool)
    for hand in hands:
        visible |= hand.valid
    rest = np.ones(len(t), bool)  # every visible wrist rests in the picture
    active = np.zeros(len(t), bool)  # some visible hand does something
    cam_speed, cam_turn = _camera_speeds(t, camera, camera_valid, settings)
    for hand in hands:
        in_view = _speed(t, hand.pos, hand.valid, settings.smooth_s)
        rest &= ~(in_view > settings.wrist_rest_mps)
        if camera is not None:
            world = np.einsum("tij,tj->ti", camera[:, :3, :3], hand.pos) + camera[:, :3, 3]
            known = hand.valid & (camera_valid if camera_valid is not None else np.ones(len(t), bool))
            active |= _speed(t, world, known, settings.smooth_s) > settings.wrist_active_mps
        else:
            active |= in_view > settings.wrist_rest_mps
        if hand.closure is not None:
            rate = _speed(t, hand.closure[:, None], hand.valid & np.isfinite(hand.closure), settings.smooth_s)
            active |= rate > settings.closure_active_per_s
    travels, turns = cam_speed > settings.camera_speed_mps, cam_turn > settings.camera_turn_dps
    still_hands = ~visible | rest
    # a wrist that rests in a travelling camera's picture moves in the world: it is carried, it does nothing
    locomotion = travels & still_hands
    looking = turns & still_hands & ~locomotion
    manipulation = visible & active & ~locomotion & ~looking
    idle = visible & ~manipulation & ~locomotion & ~looking
    shares = {
        "manipulation": float(manipulation.mean()),
        "locomotion": float(locomotion.mean()),
        "looking": float(looking.mean()),
        "idle": float(idle.mean()),
    }
    shares["unclear"] = max(0.0, 1.0 - sum(shares.values()))
    score = shares["manipulation"] + IDLE_CREDIT * shares["idle"]
    figures = {
        "score": score,
        "visible_ratio": float(visible.mean()),
        "camera_speed_p50": _median(cam_speed),
        "camera_turn_p50": _median(cam_turn),
        **{f"share_{name}": share for name, share in shares.items()},
    }
    keep = score >= settings.min_score and figures["visible_ratio"] >= settings.min_visible_ratio
    dominant = max(shares, key=lambda k: shares[k])
    return Relevance(
        score, keep, dominant, "figures", shares, figures,
        min_score=settings.min_score, min_visible_ratio=settings.min_visible_ratio,
    )  # fmt: skip


def combine(measured: Relevance, answer: ClipAnswer | None, settings: RelevanceSettings | None = None) -> Relevance:
    """The verdict with a model's answer weighed in by its stated confidence.

    Only an ``ok`` answer counts. A blocked, failed or unpaid one says nothing about the clip: the figures decide.
    """
    settings = settings or RelevanceSettings()
    if answer is None or answer.status != "ok" or not settings.use_model:
        measured.model_status = answer.status if answer is not None else ""
        return measured
    weight = settings.model_weight.get(answer.confidence, 0.0)
    score = weight * float(bool(answer.is_manipulation)) + (1.0 - weight) * measured.score
    dominant = answer.dominant_activity if weight >= 0.5 else measured.dominant
    figures = {**measured.figures, "model_is_manipulation": float(bool(answer.is_manipulation)), "model_weight": weight}
    figures["score"] = score
    return replace(
        measured, score=score, is_manipulation=score >= settings.min_score, dominant=dominant,
        decided_by="both" if weight else "figures", figures=figures, model_status="ok",
    )  # fmt: skip


def _camera_speeds(
    t: np.ndarray, camera: np.ndarray | None, valid: np.ndarray | None, settings: RelevanceSettings
) -> tuple[np.ndarray, np.ndarray]:
    """(T,) m/s and (T,) deg/s; NaN where the camera is not known (no comparison with NaN is true)."""
    nothing = np.full(len(t), np.nan)
    if camera is None or len(t) < 2:
        return nothing, nothing
    ok = np.isfinite(camera).all(axis=(1, 2)) & (valid if valid is not None else True)
    speed = _speed(t, camera[:, :3, 3], ok, settings.smooth_s)
    # the view axis and the picture's up turn at least as fast as the camera over any one axis they do not share
    turn = [_speed(t, camera[:, :3, axis], ok, settings.smooth_s) for axis in (1, 2)]
    return speed, np.degrees(np.fmax(turn[0], turn[1]))


def _speed(t: np.ndarray, p: np.ndarray, valid: np.ndarray, smooth_s: float) -> np.ndarray:
    """(T,) speed of the moving average of (T, D) points over valid frames; NaN elsewhere."""
    out = np.full(len(t), np.nan)
    idx = np.flatnonzero(valid & np.isfinite(p).all(axis=1))
    if len(idx) < 2:
        return out
    step = float(np.median(np.diff(t)))
    # runs without a gap are smoothed and differentiated on their own
    for run in np.split(idx, np.flatnonzero(np.diff(t[idx]) > 2.5 * step) + 1):
        if len(run) < 2:
            continue
        width = max(1, min(len(run), round(smooth_s / step)))
        smooth = _moving_average(p[run], width)
        velocity = np.gradient(smooth, t[run], axis=0)
        out[run] = np.sqrt((velocity**2).sum(axis=1))
    return out


def _moving_average(p: np.ndarray, width: int) -> np.ndarray:
    """Centred mean; at the ends the window shrinks to what is symmetric, so that a constant speed stays constant."""
    total = np.vstack([np.zeros((1, p.shape[1])), np.cumsum(p, axis=0)])
    i = np.arange(len(p))
    half = np.minimum(np.minimum(i, len(p) - 1 - i), width // 2)
    return (total[i + half + 1] - total[i - half]) / (2 * half + 1)[:, None]


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
