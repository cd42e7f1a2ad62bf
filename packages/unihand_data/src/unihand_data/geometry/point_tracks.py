"""What followed points say by themselves: whether the camera moved, which frames to map, where a map would break.

Legend: N observations ``frame`` (N,), ``track`` (N,), ``xy`` (N, 2) px, sorted by frame; a track is one followed point.
"""

from __future__ import annotations

import numpy as np

_ENOUGH = 12  # points of a frame that can tell a moving camera from a moving thing


def background_shift(frame: np.ndarray, track: np.ndarray, xy: np.ndarray, frames: int) -> float:
    """Pixels: how far the background moved. A static camera gives noise only; moving things do not disturb a median.

    The larger of two, each over all frames: the median distance of points from where they were first seen (sees turns
    and zooms too), and the path of the median step from frame to frame (sees a drift that outlives every single point).
    Infinite where fewer than half of the frames have enough points to tell.
    """
    order = np.lexsort((frame, track))
    ids, first = np.unique(track[order], return_index=True)
    away = np.linalg.norm(xy - xy[order][first][np.searchsorted(ids, track)], axis=1)
    starts = np.searchsorted(frame, np.arange(frames + 1))
    furthest, told, place = 0.0, 0, np.zeros(2)
    for t in range(frames):
        now = slice(starts[t], starts[t + 1])
        if now.stop - now.start < _ENOUGH:
            continue
        told += 1
        furthest = max(furthest, float(np.median(away[now])))
        before = slice(starts[max(0, t - 1)], starts[max(0, t - 1) + 1])
        _, at, at_before = np.intersect1d(track[now], track[before], return_indices=True)
        if t and len(at) >= _ENOUGH:
            place = place + _common(xy[now][at] - xy[before][at_before])
            furthest = max(furthest, float(np.linalg.norm(place)))
    return furthest if told >= max(1, frames / 2) else float("inf")


def _common(steps: np.ndarray) -> np.ndarray:
    """The step (2,) most points make. A median alone leans towards those that move otherwise, which adds up in a clip;
    so they are left out and it is taken again."""
    middle = np.median(steps, axis=0)
    away = np.linalg.norm(steps - middle, axis=1)
    return np.median(steps[away <= 2 * np.median(away)], axis=0)


def keyframes(
    frame: np.ndarray, track: np.ndarray, xy: np.ndarray, span: tuple[int, int], *, shift: float, longest: int
) -> list[int]:
    """Frames of [a, b) far enough apart to measure depth: a new one when the median point moved ``shift`` px, half the
    points are gone, or ``longest`` frames have passed."""
    starts = np.searchsorted(frame, np.arange(span[1] + 1))
    keys = [span[0]]
    for t in range(span[0] + 1, span[1]):
        a, b = (slice(starts[k], starts[k + 1]) for k in (keys[-1], t))
        _, at_a, at_b = np.intersect1d(track[a], track[b], return_indices=True)
        moved = np.median(np.linalg.norm(xy[a][at_a] - xy[b][at_b], axis=1)) if len(at_a) else np.inf
        if t - keys[-1] >= 2 and (moved > shift or len(at_a) < 0.5 * (a.stop - a.start) or t - keys[-1] >= longest):
            keys.append(t)
    if keys[-1] != span[1] - 1:
        keys.append(span[1] - 1)
    return keys


def weakest_link(frame: np.ndarray, track: np.ndarray, span: tuple[int, int], margin: int) -> int:
    """The frame of (a + margin, b - margin) that the fewest points outlive by a few frames on both sides."""
    starts = np.searchsorted(frame, np.arange(span[1] + 1))
    reach = 4

    def shared(t: int) -> int:
        before, after = max(span[0], t - reach), min(span[1] - 1, t + reach)
        one, other = (track[starts[k] : starts[k + 1]] for k in (before, after))
        return len(np.intersect1d(one, other))

    middle = range(span[0] + max(1, margin), span[1] - max(1, margin))
    return min(middle, key=shared, default=(span[0] + span[1]) // 2)


def spread_tracks(
    frame: np.ndarray,
    track: np.ndarray,
    xy: np.ndarray,
    keys: list[int],
    size: tuple[int, int],
    *,
    per_cell: int = 3,
    most: int = 250,
) -> np.ndarray:
    """Ids of the longest-lived points, spread over a 16 x 10 grid of every keyframe: enough for a map, and fast."""
    in_key = np.isin(frame, keys)
    ids, lives = np.unique(track[in_key], return_counts=True)
    keep: set[int] = set()
    for k in keys:
        rows = np.flatnonzero(frame == k)
        rows = rows[np.argsort(-lives[np.searchsorted(ids, track[rows])], kind="stable")]
        cells: dict[tuple[int, int], int] = {}
        taken = 0
        for row in rows.tolist():
            cell = int(xy[row, 0] * 16 / size[0]), int(xy[row, 1] * 10 / size[1])
            if cells.get(cell, 0) < per_cell and taken < most:
                cells[cell] = cells.get(cell, 0) + 1
                keep.add(int(track[row]))
                taken += 1
    return np.array(sorted(keep), np.int64)
