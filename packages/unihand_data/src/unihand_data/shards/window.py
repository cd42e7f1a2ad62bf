"""One training window: what a sample is given and what it predicts, cut out of an episode.

Legend: K images of the window, N history steps, T action steps, D = 200 (dense) or the row's own slots, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from unihand_data.shards.errors import ShardError
from unihand_data.shards.rows import CameraRow, EpisodeRow, LanguageRow, MediaRow, SampleRow
from unihand_data.space.slots import N_SLOTS


@dataclass
class Window:
    """Attributes:

    frames: view -> (K, H, W, 3) uint8 RGB, at ``frame_times`` (K,) seconds on the row's clock.
    state, state_mask: (N + 1, D); the last row is the state at ``start``.
    action, action_mask: (T, D) from ``start`` on; ``history``, ``history_mask``: (N, D), the actions before it. N is
        T for a continuation and 0 for other tasks, unless it was asked for.
    slots: (D,) slot numbers of the columns.
    text, question, answer: the sentence of the sample, and question and answer as rendered from its template (the
        sentence itself and "" without a renderer).
    camera_pose: (4, 4) camera to world at ``start``, OpenCV axes, of the view ``ego`` or else of the row's first one;
        None where it was not asked for or the row does not know it.

    Where a mask is False the value is 0: the slot is inactive, the step is not known, or it lies outside the episode.
    """

    episode_id: str
    sample_id: str
    task: str
    start: int
    rate_hz: float
    embodiment: str
    mirrored: bool
    frames: dict[str, np.ndarray]
    frame_times: np.ndarray
    state: np.ndarray
    state_mask: np.ndarray
    action: np.ndarray
    action_mask: np.ndarray
    history: np.ndarray
    history_mask: np.ndarray
    state_slots: np.ndarray
    action_slots: np.ndarray
    text: str = ""
    question: str = ""
    answer: str = ""
    language: LanguageRow | None = None
    timestamps: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (T,) s, NaN outside the episode
    camera_pose: np.ndarray | None = None


def dense(values: np.ndarray, slots: np.ndarray | Sequence[int]) -> np.ndarray:
    """(..., S) over the active slots -> (..., 200), zero elsewhere (False for a mask)."""
    out = np.zeros((*np.shape(values)[:-1], N_SLOTS), np.asarray(values).dtype)
    out[..., np.asarray(slots, np.intp)] = values
    return out


def cut(values: np.ndarray, mask: np.ndarray, start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``start .. start + length`` of a (T, S) array, with zeros and a False mask outside and where masked."""
    out = np.zeros((length, values.shape[1]), np.float32)
    on = np.zeros((length, values.shape[1]), bool)
    lo, hi = max(start, 0), min(start + length, len(values))
    if lo < hi:
        on[lo - start : hi - start] = mask[lo:hi]
        out[lo - start : hi - start] = np.where(mask[lo:hi], values[lo:hi], 0)
    return out, on


def span_frames(episode: EpisodeRow, sample: SampleRow) -> int:
    """Frames of the span a description speaks about, from ``start_frame`` to its sentence's end."""
    if not 0 <= sample.language_ref < len(episode.language):
        raise ShardError(f"sample {sample.sample_id}: language_ref {sample.language_ref} is not in its episode")
    end = int(np.searchsorted(episode.timestamps, episode.language[sample.language_ref].t1 - 1e-6))
    return max(1, end - sample.start_frame)


def camera_pose(episode: EpisodeRow, start: int) -> np.ndarray | None:
    """(4, 4) float64 camera-to-world pose at a frame, of the view ``ego`` or else of the first one; None if unknown."""
    first = min(episode.cameras, key=lambda c: c.view != "ego", default=None)
    if first is None or first.poses is None:
        return None
    pose = np.asarray(first.poses[start], np.float64)
    known = first.pose_valid is None or bool(first.pose_valid[start])
    return pose if known and np.isfinite(pose).all() else None


def history_steps(task: str, horizon: int, asked: int | None) -> int:
    """Steps N before the start: as asked, else the contract's: T for a continuation (h = T), none for other tasks."""
    if asked is not None:
        return asked
    return horizon if task == "motion_continuation" else 0


def image_steps(task: str, start: int, history: int, length: int, asked: Sequence[int] | None) -> list[int]:
    """Row numbers of the images: as asked (offsets from ``start``), else those of the contract's task table. A history
    that reaches back before the episode gives its first frame."""
    if asked is not None:
        return [start + o for o in asked]
    if task == "motion_continuation":
        return [max(0, start - history), start] if history else [start]
    if task == "motion_description":
        return [start, start + length - 1] if length > 1 else [start]
    return [start]


def frame_number(episode: EpisodeRow, camera: CameraRow, media: MediaRow, t: float) -> int:
    """Which stored frame of ``media`` shows row time ``t``: the nearest one, pre-roll (before row time 0) left out.

    Raises:
        ShardError: none lies within half a frame of ``t``.
    """
    if media.kind == "image":
        return 0
    own = media.pts if camera.pts is None else camera.pts
    if own is None or media.pts is None or not len(own):
        raise ShardError(f"episode {episode.episode_id}, view {camera.view}: media {media.media_id} has no frame times")
    times = np.asarray(own) + camera.t_offset
    gap = float(np.median(np.diff(times))) if len(times) > 1 else 1.0 / episode.rate_hz
    first = int(np.searchsorted(times, -gap / 4))
    at = int(np.clip(np.searchsorted(times, t), first, len(times) - 1)) if first < len(times) else -1
    if at > first and abs(times[at - 1] - t) <= abs(times[at] - t):
        at -= 1
    if at < 0 or abs(times[at] - t) > max(gap, 1.0 / episode.rate_hz) / 2 + 1e-3:
        raise ShardError(f"episode {episode.episode_id}, view {camera.view}: no frame is stored for t = {t:.4f} s")
    if camera.pts is None:
        return at
    wanted = float(camera.pts[at])
    number = int(np.clip(np.searchsorted(media.pts, wanted - 1e-6), 0, len(media.pts) - 1))
    if abs(media.pts[number] - wanted) > gap / 2:
        raise ShardError(
            f"episode {episode.episode_id}, view {camera.view}: pts {wanted:.4f} s is not a frame of media "
            f"{media.media_id}"
        )
    return number
