"""How far a result lies from the truth of a generated clip: wrists, fingers, sides, detection, jitter.

Takes a shard row (state slots of docs/contract.md section 1) or an estimator's :class:`HandResult`. Everything is
measured on frames matched by time stamp in which the truth says the hand can be seen and the result has a pose that
was seen, not filled in.

Legend: T matched frames, J = 21 keypoints. Millimetres and degrees in the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.demo.truth import SIDES, Truth
from unihand_data.hands.skeleton import forward
from unihand_data.shards.rows import EpisodeRow
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import FINGERS, WRIST, Side

EEF = {"right": 0, "left": 9}
THETA = {"right": 110, "left": 155}


@dataclass
class Observed:
    """One side of a result on its own frames. Camera frame unless named ``world``; NaN where there is no pose."""

    pos: np.ndarray  # (T, 3)
    rot: np.ndarray  # (T, 3, 3)
    theta: np.ndarray  # (T, 45)
    keypoints: np.ndarray  # (T, 21, 3)
    keypoints_px: np.ndarray  # (T, 21, 2), NaN where unknown
    seen: np.ndarray  # (T,) bool, a pose that was observed
    filled: np.ndarray  # (T,) bool, a pose that was filled in
    world_ok: np.ndarray  # (T,) bool, the pose in the world may be used


def compare(
    truth: Truth,
    result: EpisodeRow | HandResult,
    *,
    timestamps: np.ndarray | None = None,
    t_offset: float = 0.0,
    before: HandResult | None = None,
    window_s: float = 0.5,
) -> dict:
    """Errors of ``result`` against ``truth``.

    Args:
        timestamps: (T,) s of the result's frames on the video's clock; a row brings its own, a ``HandResult`` of the
            whole clip needs none.
        t_offset: where the row's clock starts on the video's clock (a clip cut from the middle).
        before: the same hands before smoothing, for ``jitter_before_mm``.
        window_s: length of the longer displacements that are compared besides single steps.

    Returns:
        ``{"frames", "matched", "world", "right": {...}, "left": {...}, "both": {...}}``. Per side: ``visible_frames``,
        ``detected_frames``, ``detection_rate``, ``filled_frames``, ``false_frames``; ``wrist_mm``, ``wrist_deg``
        (camera frame, median) with ``_mean`` and ``_p95``; ``depth_mm`` and ``lateral_mm`` parts of it;
        ``keypoint_px``; ``step_mm``, ``step_deg`` (error of one-step world displacements, median), ``step_true_mm``
        (their size), ``window_mm``, ``window_true_mm``, ``world_mm`` (position in the world after joining the first
        cameras); ``bend_deg`` (angle between neighbouring bones), ``theta_deg`` (rotation of each joint) with
        per-finger parts; ``jitter_before_mm``, ``jitter_mm``, ``jitter_true_mm``; ``side_accuracy``. A figure that
        cannot be computed is NaN.

    Raises: ValueError when not a single frame matches in time.
    """
    times, camera, sides, world = _observe(truth, result, timestamps)
    period = float(np.median(np.diff(truth.timestamps)))
    nearest = np.abs(truth.timestamps[None] - (times + t_offset)[:, None]).argmin(1)
    ok = np.abs(truth.timestamps[nearest] - (times + t_offset)) <= 0.51 * period
    if not ok.any():
        raise ValueError(
            f"no frame of the result ({times[0] + t_offset:.3f}..{times[-1] + t_offset:.3f} s) lies within half a "
            f"frame of the truth's {truth.timestamps[0]:.3f}..{truth.timestamps[-1]:.3f} s; pass t_offset for a clip "
            "that starts later"
        )
    at, idx = np.flatnonzero(ok), nearest[ok]
    raw = _observe(truth, before, timestamps)[2] if before is not None else None
    out: dict = {"frames": len(truth), "matched": len(at), "world": world}
    for s, side in enumerate(SIDES):
        figures = _side(truth, s, sides[side], at, idx, camera, window_s)
        figures["jitter_before_mm"] = (
            _jitter(raw[side].pos[at], truth.wrist_pos_cam[s, idx], raw[side].seen[at]) if raw else np.nan
        )
        out[side] = figures
    out["both"] = {k: _join(k, out["right"], out["left"]) for k in out["right"]}
    visible = truth.hand_visible[:, idx].all(0)
    both = sides["right"].seen[at] & sides["left"].seen[at]
    out["both"]["two_hand_rate"] = float(both[visible].mean()) if visible.any() else float("nan")
    return out


def _observe(
    truth: Truth, result: EpisodeRow | HandResult, timestamps: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, dict[Side, Observed], str]:
    if isinstance(result, EpisodeRow):
        return _observe_row(result)
    n = len(result.right)
    times = truth.timestamps if timestamps is None else np.asarray(timestamps, float)
    if len(times) != n:
        raise ValueError(f"the result has {n} frames and {len(times)} time stamps; pass timestamps=")
    camera = result.camera.pose if result.camera is not None and result.camera.method != "none" else None
    sides = {}
    for side in SIDES:
        track = result.right if side == "right" else result.left
        seen = track.valid & ~track.interpolated & np.isfinite(track.wrist_pos).all(1)
        world_ok = seen & (result.camera.valid if camera is not None and result.camera is not None else False)
        sides[side] = Observed(
            track.wrist_pos, _matrices(track.wrist_rot), track.theta, track.keypoints, track.keypoints_px, seen,
            track.valid & track.interpolated, world_ok,
        )  # fmt: skip
    return times, camera, sides, result.camera.world if result.camera else "camera"


def _observe_row(row: EpisodeRow) -> tuple[np.ndarray, np.ndarray | None, dict[Side, Observed], str]:
    n = row.frames
    state, mask = np.full((n, 200), np.nan), np.zeros((n, 200), bool)
    state[:, row.state_slots], mask[:, row.state_slots] = row.state, row.state_mask
    poses = row.cameras[0].poses if row.cameras else None
    camera = np.tile(np.eye(4), (n, 1, 1)) if poses is None else np.asarray(poses, float)
    quality = {h.side: h for h in row.hands}
    sides = {}
    for side in SIDES:
        e, f = EEF[side], THETA[side]
        hand = quality[side]
        seen, filled = hand.valid & ~hand.interpolated, hand.valid & hand.interpolated
        back = camera[:, :3, :3].transpose(0, 2, 1)
        pos = np.einsum("tij,tj->ti", back, state[:, e : e + 3] - camera[:, :3, 3])
        rot = back @ _matrices(state[:, e + 3 : e + 6])
        theta = state[:, f : f + 45]
        pos[~hand.valid], rot[~hand.valid] = np.nan, np.nan
        ok = hand.valid & np.isfinite(pos).all(1) & np.isfinite(rot).all((1, 2))
        points = np.full((n, 21, 3), np.nan)
        if hand.hand_model == "generic_v1" and ok.any():
            rv = Rotation.from_matrix(rot[ok]).as_rotvec()
            points[ok] = forward(theta[ok], pos[ok], rv, side, hand.hand_scale)
        world_ok = seen & mask[:, e : e + 6].all(1)
        sides[side] = Observed(pos, rot, theta, points, np.full((n, 21, 2), np.nan), seen & ok, filled, world_ok)
    return np.asarray(row.timestamps, float), camera, sides, row.world


def _matrices(rotvec: np.ndarray) -> np.ndarray:
    out = np.full((len(rotvec), 3, 3), np.nan)
    ok = np.isfinite(rotvec).all(1)
    if ok.any():
        out[ok] = Rotation.from_rotvec(rotvec[ok]).as_matrix()
    return out


def _side(
    truth: Truth, s: int, mine: Observed, at: np.ndarray, idx: np.ndarray, camera: np.ndarray | None, window_s: float
) -> dict[str, float]:
    visible = truth.hand_visible[s, idx]
    in_picture = truth.visible[s, idx].any(-1)
    seen = mine.seen[at]
    use = seen & visible
    true_pos, true_rot = truth.wrist_pos_cam[s, idx], truth.wrist_rot_cam[s, idx]
    error = mine.pos[at] - true_pos
    size = np.linalg.norm(error, axis=1) * 1e3
    ray = true_pos / np.linalg.norm(true_pos, axis=1, keepdims=True)
    depth = np.abs((error * ray).sum(1)) * 1e3
    lateral = np.linalg.norm(error - (error * ray).sum(1, keepdims=True) * ray, axis=1) * 1e3
    turn = _angle_deg(mine.rot[at], true_rot)
    px = np.linalg.norm(mine.keypoints_px[at] - truth.keypoints_px[s, idx], axis=-1).mean(-1)
    far = np.linalg.norm(mine.pos[at] - truth.wrist_pos_cam[1 - s, idx], axis=1) * 1e3
    out: dict[str, float] = {
        "visible_frames": int(visible.sum()),
        "detected_frames": int(use.sum()),
        "detection_rate": float(use.sum() / visible.sum()) if visible.any() else float("nan"),
        "filled_frames": int(mine.filled[at].sum()),
        "false_frames": int((seen & ~in_picture).sum()),
        "side_accuracy": float((size[use] < far[use]).mean()) if use.any() else float("nan"),
        "wrist_mm": _median(size[use]),
        "wrist_mm_mean": float(size[use].mean()) if use.any() else float("nan"),
        "wrist_mm_p95": float(np.percentile(size[use], 95)) if use.any() else float("nan"),
        "depth_mm": _median(depth[use]),
        "lateral_mm": _median(lateral[use]),
        "wrist_deg": _median(turn[use]),
        "wrist_deg_mean": float(turn[use].mean()) if use.any() else float("nan"),
        "wrist_deg_p95": float(np.percentile(turn[use], 95)) if use.any() else float("nan"),
        "keypoint_px": _median(px[use]),
    }
    out |= _fingers(truth, s, mine, at[use], idx[use])
    out |= _world(truth, s, mine, at, idx, use, camera, window_s)
    out["jitter_mm"] = _jitter(mine.pos[at], true_pos, use)
    out["jitter_true_mm"] = _jitter(true_pos, np.zeros_like(true_pos), use)
    return out


def bend_angles(points: np.ndarray) -> np.ndarray:
    """(T, 15) degrees between neighbouring bones of every finger (thumb, index, middle, ring, pinky), from (T, 21,
    3)."""
    out = []
    for chain in FINGERS.values():
        joints = [WRIST, *chain]
        bones = [points[:, b] - points[:, a] for a, b in pairwise(joints)]
        for u, v in pairwise(bones):
            c = np.linalg.norm(np.cross(u, v), axis=-1)
            out.append(np.rad2deg(np.arctan2(c, (u * v).sum(-1))))
    return np.stack(out, -1)


def _fingers(truth: Truth, s: int, mine: Observed, at: np.ndarray, idx: np.ndarray) -> dict[str, float]:
    bend = np.abs(bend_angles(mine.keypoints[at]) - bend_angles(truth.keypoints_cam[s, idx]))
    out = {"bend_deg": float(np.nanmean(bend)) if np.isfinite(bend).any() else float("nan")}
    for f, name in enumerate(FINGERS):
        part = bend[:, 3 * f : 3 * f + 3]
        out[f"bend_deg_{name}"] = float(np.nanmean(part)) if np.isfinite(part).any() else float("nan")
    ok = np.isfinite(mine.theta[at]).all(1)
    if not ok.any():
        return out | {"theta_deg": float("nan")}
    a = Rotation.from_rotvec(mine.theta[at][ok].reshape(-1, 3))
    b = Rotation.from_rotvec(truth.theta[s, idx[ok]].reshape(-1, 3))
    return out | {"theta_deg": float(np.rad2deg((a.inv() * b).magnitude()).mean())}


def _world(
    truth: Truth,
    s: int,
    mine: Observed,
    at: np.ndarray,
    idx: np.ndarray,
    use: np.ndarray,
    camera: np.ndarray | None,
    window_s: float,
) -> dict[str, float]:
    """Displacements in the world. Two worlds differ by where the first camera stood and looked; joining the cameras
    at the first
    frame that both know makes them one, so what is measured holds the camera's errors too."""
    names = ("step_mm", "step_deg", "step_true_mm", "window_mm", "window_true_mm", "world_mm")
    nothing = dict.fromkeys(names, float("nan"))
    ok = use & mine.world_ok[at]
    if camera is None or ok.sum() < 2:
        return nothing
    cam = camera[at]
    first = int(np.flatnonzero(np.isfinite(cam).all((1, 2)))[0])
    join = truth.camera[idx[first]] @ np.linalg.inv(cam[first])
    pose = join @ cam
    pos = np.einsum("tij,tj->ti", pose[:, :3, :3], mine.pos[at]) + pose[:, :3, 3]
    rot = pose[:, :3, :3] @ mine.rot[at]
    true_pos, true_rot = truth.wrist_pos[s, idx], truth.wrist_rot[s, idx]
    out = {"world_mm": _median(np.linalg.norm(pos - true_pos, axis=1)[ok] * 1e3)}
    period = float(np.median(np.diff(truth.timestamps)))
    for name, k in (("step", 1), ("window", max(1, round(window_s / period)))):
        pair = ok[k:] & ok[:-k] & (idx[k:] - idx[:-k] == k) if len(ok) > k else np.zeros(0, bool)
        if not pair.any():
            out |= {f"{name}_mm": float("nan"), f"{name}_true_mm": float("nan")}
            out |= {"step_deg": float("nan")} if name == "step" else {}
            continue
        d, true_d = (pos[k:] - pos[:-k])[pair], (true_pos[k:] - true_pos[:-k])[pair]
        out[f"{name}_mm"] = _median(np.linalg.norm(d - true_d, axis=1) * 1e3)
        out[f"{name}_true_mm"] = _median(np.linalg.norm(true_d, axis=1) * 1e3)
        if name == "step":
            turn = (rot[k:] @ rot[:-k].transpose(0, 2, 1))[pair]
            true_turn = (true_rot[k:] @ true_rot[:-k].transpose(0, 2, 1))[pair]
            out["step_deg"] = _median(_angle_deg(turn, true_turn))
    return nothing | out


def _jitter(pos: np.ndarray, true_pos: np.ndarray, use: np.ndarray) -> float:
    """RMS (mm) of the second difference of the position error over runs of three used frames: noise, whatever the
    motion."""
    e = (pos - true_pos) * 1e3
    run = use[2:] & use[1:-1] & use[:-2]
    d = (e[2:] - 2 * e[1:-1] + e[:-2])[run]
    return float(np.sqrt((d**2).sum(1).mean())) if len(d) else float("nan")


def _angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.full(len(a), np.nan)
    ok = np.isfinite(a).all((1, 2))
    if ok.any():
        out[ok] = np.rad2deg(Rotation.from_matrix(a[ok].transpose(0, 2, 1) @ b[ok]).magnitude())
    return out


def _median(x: np.ndarray) -> float:
    x = x[np.isfinite(x)]
    return float(np.median(x)) if len(x) else float("nan")


def _join(key: str, right: dict, left: dict) -> float:
    """Counts add up; figures are the mean of both sides weighted with their frames."""
    if key.endswith("_frames"):
        return right[key] + left[key]
    frames = "visible_frames" if key == "detection_rate" else "detected_frames"
    pairs = [(d[key], d[frames]) for d in (right, left) if np.isfinite(d[key]) and d[frames]]
    return float(sum(v * w for v, w in pairs) / sum(w for _, w in pairs)) if pairs else float("nan")


_LINES = (
    ("frames in which the hand can be seen", "visible_frames", "", 0),
    ("found in", "detection_rate", "%", 1),
    ("on the right side (handedness)", "side_accuracy", "%", 1),
    ("found where there is none (frames)", "false_frames", "", 0),
    ("wrist position, camera frame (median)", "wrist_mm", "mm", 1),
    ("  of it along the ray (depth)", "depth_mm", "mm", 1),
    ("  of it across the ray", "lateral_mm", "mm", 1),
    ("wrist rotation, camera frame (median)", "wrist_deg", "deg", 1),
    ("wrist displacement per step, world (median)", "step_mm", "mm", 2),
    ("  true size of a step", "step_true_mm", "mm", 2),
    ("wrist turn per step, world (median)", "step_deg", "deg", 2),
    ("wrist displacement over 0.5 s, world (median)", "window_mm", "mm", 1),
    ("  true size", "window_true_mm", "mm", 1),
    ("wrist position, world (median)", "world_mm", "mm", 1),
    ("finger joints, angle between bones (mean)", "bend_deg", "deg", 1),
    ("finger joints, theta (mean)", "theta_deg", "deg", 1),
    ("keypoints in the picture (median)", "keypoint_px", "px", 1),
    ("wrist jitter before smoothing (RMS)", "jitter_before_mm", "mm", 2),
    ("wrist jitter (RMS)", "jitter_mm", "mm", 2),
)


def format_table(figures: dict) -> str:
    """The comparison as a table for people; figures that are not known are left out or shown as ``-``."""
    width = max(len(label) for label, *_ in _LINES)
    frames = f"{figures['matched']} of {figures['frames']} frames, world: {figures['world']}"
    head = f"recovered against true wrist motion ({frames})"
    lines = [head, f"{'':{width}}  {'right':>10}  {'left':>10}  {'both':>10}"]
    for label, key, unit, digits in _LINES:
        values = [figures[c].get(key, float("nan")) for c in ("right", "left", "both")]
        if not np.isfinite(values).any():
            continue
        cells = []
        for v in values:
            v = v * 100 if unit == "%" else v
            cells.append(f"{v:.{digits}f} {unit}".strip() if np.isfinite(v) else "-")
        lines.append(f"{label:{width}}  " + "  ".join(f"{c:>10}" for c in cells))
    return "\n".join(lines)
