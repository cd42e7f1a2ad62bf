"""Stage 2 of section 3.1: figures of a clip's motion and the verdict over them.

The paper names the signals (detection confidence, DBA error, jitter and discontinuity in wrist space) and no
numbers; every threshold here is a setting, every figure is kept in the shard, and filled-in frames do not vote.
Figures are in SI units and independent of the frame rate. T frames.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, field_validator
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation

from unihand_data.config import Settings
from unihand_data.errors import Reason
from unihand_data.values.camera import CameraTrack
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack


class MotionSettings(Settings):
    """Thresholds; null switches one off. Defaults are ours (the paper's are unpublished, see docs/curate.md)."""

    min_seen_ratio: float | None = Field(default=0.3, ge=0, le=1)  # share of frames in which some hand was seen
    min_confidence: float | None = Field(default=0.3, ge=0, le=1)  # mean detection confidence over seen frames
    max_gap_s: float | None = Field(default=2.5, ge=0)  # longest stretch inside the clip without any hand
    max_dba_px: float | None = Field(default=8.0, gt=0)  # dense bundle adjustment residual in pixels of the source
    max_jitter_pos_m: float | None = Field(default=0.03, gt=0)  # RMS of wrist minus its smoothed path
    max_jitter_rot_deg: float | None = Field(default=15.0, gt=0, le=180)
    max_jump_ratio: float | None = Field(default=0.05, ge=0, le=1)  # share of steps that no hand can make
    jump_speed_m_s: float = Field(default=4.0, gt=0)
    jump_rate_deg_s: float = Field(default=1200.0, gt=0)
    depth_m: tuple[float, float] | None = (0.08, 1.3)  # plausible median distance of a wrist from the head
    min_travel_m: float | None = Field(default=0.0, ge=0)  # of both wrists; above 0 drops clips whose hands rest
    smooth_window_s: float = Field(default=0.37, gt=0, le=10)
    outlier_mad: float = Field(default=6.0, gt=0)  # a step beyond median + k MAD (and beyond the floor) masks that step
    outlier_floor_m_s: float = Field(default=2.5, gt=0)

    @field_validator("depth_m")
    @classmethod
    def _near_before_far(cls, depth: tuple[float, float] | None) -> tuple[float, float] | None:
        if depth is not None and not 0 <= depth[0] < depth[1]:
            raise ValueError(f"{list(depth)}: the nearest distance first, then the furthest, both from 0 m up")
        return depth


#: figures that some limit (of motion or relevance) is held against: what is kept of a clip that a filter dropped
JUDGED_FIGURES = (
    "seen_ratio", "max_gap_s", "det_mean", "dba_px", "jitter_pos", "jitter_rot", "jump_ratio", "world_jitter_pos",
    "world_jump_ratio", "depth_left", "depth_right", "travel", "score", "relevance_model_score", "visible_ratio",
)  # fmt: skip
#: figures that are also taken in the world
WORLD_FIGURES = ("jitter_pos", "jump_ratio")
#: RMS distance of a frame from the middle of its neighbours before and after smoothing, m and rad; without suffix that
#: of the worse hand -> the figure of tracks that were smoothed (``hands/smooth.py``), factor to SI
SMOOTHING_FIGURES = {
    "smooth_pos_before": ("jitter_pos_raw_m", 1.0),
    "smooth_pos_after": ("jitter_pos_m", 1.0),
    "smooth_rot_before": ("jitter_rot_raw_deg", np.pi / 180),
    "smooth_rot_after": ("jitter_rot_deg", np.pi / 180),
}


def wrist_in_world(track: HandTrack, camera: CameraTrack | None) -> np.ndarray:
    """(T, 3) wrist positions in the camera track's world; in the camera frame where no motion is known."""
    if camera is None or camera.method == "none":
        return track.wrist_pos
    world = np.einsum("tij,tj->ti", camera.pose[:, :3, :3], track.wrist_pos) + camera.pose[:, :3, 3]
    return np.where(camera.valid[:, None], world, np.nan)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Half-open index ranges where ``mask`` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    return savgol_filter(values, window, min(3, window - 1), axis=0, mode="interp")


def hand_figures(track: HandTrack, wrist: np.ndarray, times: np.ndarray, settings: MotionSettings) -> dict[str, float]:
    """Figures of one hand over its seen stretches.

    Args:
        wrist: (T, 3) m, wrist path to judge (world where known).
        times: (T,) s.

    Returns:
        jitter_pos (m), jitter_rot (rad), spectral_hf (share of wrist speed power above 6 Hz), jump_ratio, travel (m),
        depth (m, median distance from the camera), speed (m/s, mean); NaN where there is too little to say.
    """
    seen = track.valid & ~track.interpolated & np.isfinite(wrist).all(axis=1)
    out = dict.fromkeys(("jitter_pos", "jitter_rot", "spectral_hf", "jump_ratio", "travel", "depth", "speed"), np.nan)
    if seen.sum() < 3:
        return out
    out["depth"] = float(np.median(np.linalg.norm(track.wrist_pos[seen], axis=1)))
    residual_pos: list[np.ndarray] = []
    residual_rot: list[np.ndarray] = []
    speed: list[np.ndarray] = []
    high = total = travel = 0.0
    jumps = steps = 0
    for first, last in _runs(seen):
        n = last - first
        if n < 2:
            continue
        t, p = times[first:last], wrist[first:last]
        dt = np.maximum(np.diff(t), 1e-6)
        rot = Rotation.from_rotvec(track.wrist_rot[first:last])
        v = np.linalg.norm(np.diff(p, axis=0), axis=1) / dt
        w = (rot[1:] * rot[:-1].inv()).magnitude() / dt
        jumps += int(((v > settings.jump_speed_m_s) | (w > np.radians(settings.jump_rate_deg_s))).sum())
        steps += n - 1
        travel += float((v * dt).sum())
        speed.append(v)
        window = min(round(settings.smooth_window_s / float(np.median(dt))) // 2 * 2 + 1, (n - 1) // 2 * 2 + 1)
        if window >= 5:
            smooth = _smooth(p, window)
            residual_pos.append(np.linalg.norm(p - smooth, axis=1))
            quat = rot.as_quat()
            quat *= np.where(np.cumprod(np.r_[1, np.sign((quat[1:] * quat[:-1]).sum(1))]) < 0, -1, 1)[:, None]
            mean = _smooth(quat, window)
            mean /= np.linalg.norm(mean, axis=1, keepdims=True)
            residual_rot.append((Rotation.from_quat(mean).inv() * rot).magnitude())
        if n >= 16:
            velocity = np.diff(p, axis=0) / dt[:, None]
            power = (np.abs(np.fft.rfft(velocity - velocity.mean(0), axis=0)) ** 2).sum(1)
            freq = np.fft.rfftfreq(n - 1, float(np.median(dt)))
            high += float(power[freq > 6.0].sum())
            total += float(power.sum())
    if residual_pos:
        out["jitter_pos"] = float(np.sqrt(np.mean(np.concatenate(residual_pos) ** 2)))
        out["jitter_rot"] = float(np.sqrt(np.mean(np.concatenate(residual_rot) ** 2)))
    if steps:
        out["jump_ratio"] = jumps / steps
        out["travel"] = travel
        out["speed"] = float(np.mean(np.concatenate(speed)))
    if total > 0:
        out["spectral_hf"] = high / total
    return out


def clip_figures(
    hands: HandResult, camera: CameraTrack | None, times: np.ndarray, settings: MotionSettings
) -> dict[str, float]:
    """All figures of a clip, per hand with the suffix ``_left`` / ``_right`` and pooled without.

    Hands are judged in the camera frame, where only their own estimate shows; ``world_jitter_pos`` and
    ``world_jump_ratio`` judge hands and camera together (see :func:`camera_verdict`).

    ``reliability`` in [0, 1] is the product of soft scores: a recipe may weight by it where this filter keeps a clip.
    """
    frames = len(times)
    tracks = {"left": hands.left, "right": hands.right}
    figures: dict[str, float] = {k: float(v) for k, v in hands.figures.items()}
    if camera is not None:
        figures.update({f"camera_{k}" if k != "dba_px" else k: float(v) for k, v in camera.figures.items()})
    any_seen = np.zeros(frames, bool)
    confidence: list[np.ndarray] = []
    for side, track in tracks.items():
        seen = track.valid & ~track.interpolated
        any_seen |= seen
        per_hand = hand_figures(track, track.wrist_pos, times, settings)
        if camera is not None and camera.method != "none":
            world = hand_figures(track, wrist_in_world(track, camera), times, settings)
            per_hand |= {f"world_{name}": world[name] for name in WORLD_FIGURES}
            per_hand |= {name: world[name] for name in ("travel", "speed")}
        per_hand["seen_ratio"] = float(seen.mean())
        per_hand["interp_ratio"] = float((track.valid & track.interpolated).mean())
        per_hand["det_mean"] = float(np.mean(track.confidence[seen])) if seen.any() else np.nan
        per_hand["det_p10"] = float(np.percentile(track.confidence[seen], 10)) if seen.any() else np.nan
        if seen.any():
            confidence.append(track.confidence[seen])
        for name, (theirs, factor) in SMOOTHING_FIGURES.items():
            if theirs in track.figures:
                per_hand[name] = track.figures[theirs] * factor
        figures.update({f"{name}_{side}": value for name, value in per_hand.items()})
    figures["seen_ratio"] = float(any_seen.mean())
    figures["det_mean"] = float(np.mean(np.concatenate(confidence))) if confidence else np.nan
    figures["det_p10"] = float(np.percentile(np.concatenate(confidence), 10)) if confidence else np.nan
    step = float(np.median(np.diff(times))) if frames > 1 else 0.0
    figures["max_gap_s"] = max(((b - a) * step for a, b in _runs(~any_seen)), default=0.0)
    for name, pool in (("jitter_pos", np.nanmax), ("jitter_rot", np.nanmax), ("jump_ratio", np.nanmax),
                       ("spectral_hf", np.nanmax), ("travel", np.nansum)):  # fmt: skip
        values = np.array([figures[f"{name}_left"], figures[f"{name}_right"]])
        figures[name] = float(pool(values)) if np.isfinite(values).any() else np.nan
    for name in (*(f"world_{name}" for name in WORLD_FIGURES), *SMOOTHING_FIGURES):
        values = np.array([figures.get(f"{name}_{side}", np.nan) for side in tracks])
        if np.isfinite(values).any():
            figures[name] = float(np.nanmax(values))
    figures["reliability"] = _reliability(figures, settings)
    return figures


def camera_verdict(figures: dict[str, float], settings: MotionSettings) -> str:
    """Why the camera's track cannot be used with these hands, or empty. Hands that are steady in the camera frame and
    jump in the world are carried by a wrong camera: then the clip stays and its EEF slots are masked."""
    jitter, jumps = figures.get("world_jitter_pos", 0.0), figures.get("world_jump_ratio", 0.0)
    if settings.max_jitter_pos_m is not None and jitter > settings.max_jitter_pos_m:
        return f"wrist jitter in the world {jitter:.3g} m against {settings.max_jitter_pos_m}"
    if settings.max_jump_ratio is not None and jumps > settings.max_jump_ratio:
        return f"share of impossible steps in the world {jumps:.3g} against {settings.max_jump_ratio}"
    return ""


def _reliability(figures: dict[str, float], settings: MotionSettings) -> float:
    """Product of [0, 1] scores that are 1 for a perfect figure and 0.5 at the threshold."""
    score = figures["seen_ratio"]
    if np.isfinite(figures["det_mean"]):
        score *= min(1.0, figures["det_mean"])
    for name, limit in (
        ("jitter_pos", settings.max_jitter_pos_m),
        ("jitter_rot", settings.max_jitter_rot_deg and np.radians(settings.max_jitter_rot_deg)),
        ("dba_px", settings.max_dba_px),
    ):
        value = figures.get(name, np.nan)
        if limit and np.isfinite(value):
            score *= 1.0 / (1.0 + (value / limit) ** 2)
    return float(np.clip(score, 0.0, 1.0))


def verdict(
    figures: dict[str, float], settings: MotionSettings, *, camera_known: bool = True
) -> list[tuple[Reason, str]]:
    """Every reason to drop the clip, with the figure and its threshold; an empty list keeps it.

    Args:
        camera_known: False where the camera's motion is still to be found: then travel, the one limit that needs it, is
            not judged. All others are of the hands in the camera frame, so the camera will not change them.
    """
    out: list[tuple[Reason, str]] = []

    def check(reason: Reason, name: str, bad: bool, limit: object) -> None:
        if bad:
            out.append((reason, f"motion.{name}: {figures.get(name, float('nan')):.4g} against {limit}"))

    seen = figures["seen_ratio"]
    if seen == 0.0:
        return [(Reason.NO_HANDS, "no hand was seen in any frame of the clip")]
    s = settings
    check(Reason.HAND_GAPS, "seen_ratio", s.min_seen_ratio is not None and seen < s.min_seen_ratio, s.min_seen_ratio)
    check(Reason.HAND_GAPS, "max_gap_s", s.max_gap_s is not None and figures["max_gap_s"] > s.max_gap_s, s.max_gap_s)
    check(Reason.LOW_CONFIDENCE, "det_mean",
          s.min_confidence is not None and figures["det_mean"] < s.min_confidence, s.min_confidence)  # fmt: skip
    check(Reason.DBA_ERROR, "dba_px",
          s.max_dba_px is not None and figures.get("dba_px", 0.0) > s.max_dba_px, s.max_dba_px)  # fmt: skip
    noisy = s.max_jitter_pos_m is not None and figures["jitter_pos"] > s.max_jitter_pos_m
    check(Reason.JITTER, "jitter_pos", noisy, s.max_jitter_pos_m)
    if s.max_jitter_rot_deg is not None:
        limit = np.radians(s.max_jitter_rot_deg)
        check(Reason.JITTER, "jitter_rot", figures["jitter_rot"] > limit, f"{limit:.4g} rad")
    check(Reason.DISCONTINUITY, "jump_ratio",
          s.max_jump_ratio is not None and figures["jump_ratio"] > s.max_jump_ratio, s.max_jump_ratio)  # fmt: skip
    if s.depth_m is not None:
        near, far = s.depth_m
        depths = [figures[f"depth_{side}"] for side in ("left", "right")]
        known = [d for d in depths if np.isfinite(d)]
        if known and not any(near <= d <= far for d in known):
            out.append((Reason.OUT_OF_RANGE_DEPTH, f"median wrist distance {known} m outside {near}..{far} m"))
    if s.min_travel_m and camera_known:
        check(Reason.STATIC_HANDS, "travel", figures["travel"] < s.min_travel_m, s.min_travel_m)
    return out


def step_outliers(positions: np.ndarray, valid: np.ndarray, times: np.ndarray, settings: MotionSettings) -> np.ndarray:
    """(T,) bool: step t (from t to t+1) is faster than median + k MAD *and* than the absolute floor.

    The floor keeps a still hand (MAD near zero) from losing its first real movement. Values are never changed, the
    step is masked (docs/contract.md, section 2).
    """
    frames = len(times)
    bad = np.zeros(frames, bool)
    pair = valid[:-1] & valid[1:]
    if pair.sum() < 3:
        return bad
    dt = np.maximum(np.diff(times), 1e-6)
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=1) / dt
    sample = speed[pair]
    median = np.median(sample)
    mad = 1.4826 * np.median(np.abs(sample - median))
    limit = max(median + settings.outlier_mad * mad, settings.outlier_floor_m_s)
    bad[:-1] = pair & (speed > limit)
    return bad
