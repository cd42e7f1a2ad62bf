"""From loose hand detections to one left and one right hand over a clip.

Legend: T frames, M detections, J = 21 keypoints; pixels of the picture the detector was given as a whole.

Several passes see the same hand in one frame; their findings are merged (:func:`merge`), linked over time
(:func:`link`), given a side by a vote over the whole track (:func:`assign_sides`) and cleared of what is no hand
(:func:`believable`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

#: keypoints that tell where a hand is, whatever the fingers do
_BODY = np.array([0, 1, 5, 9, 13, 17])
_MERGE_DISTANCE = 0.4  # of the hand's size: two findings closer than this are one hand
_LINK_DISTANCE = 0.9  # of the hand's size, per frame
_LINK_GAP = 5  # frames a track survives unseen while linking
_SAME_PLACE = 0.65  # of the hand's size: two tracks whose centres stay closer are one hand
_JOIN_GAP = 15  # frames between two pieces of one hand's track


@dataclass
class Detection:
    """One hand in one frame, possibly seen by several passes.

    Attributes:
        px: (21, 2). world: (21, 3) m, the model's own metric landmarks, camera-like axes, origin in the hand.
        p_right: probability of a right hand. sources: names of the passes. spread: how far they disagreed, over size.
    """

    frame: int
    px: np.ndarray
    world: np.ndarray
    p_right: float
    sources: set[str] = field(default_factory=set)
    spread: float = 0.0

    @property
    def size(self) -> float:
        return hand_size(self.px)

    @property
    def centre(self) -> np.ndarray:
        return self.px[_BODY].mean(0)


@dataclass
class Track:
    """One hand over time: at most one detection per frame."""

    hits: dict[int, Detection] = field(default_factory=dict)

    @property
    def first(self) -> int:
        return min(self.hits)

    @property
    def last(self) -> int:
        return max(self.hits)

    def log_odds(self) -> float:
        """Evidence for a right hand: sum over detections, each clipped so that one sure frame does not decide."""
        p = np.clip([d.p_right for d in self.hits.values()], 0.02, 0.98)
        return float(np.clip(np.log(p / (1 - p)), -3, 3).sum())

    def predict(self, frame: int) -> tuple[np.ndarray, float]:
        """(21, 2) keypoints expected in ``frame`` and the time distance to what was really seen, in frames.

        Between two sightings linear, outside them with the last velocity, which is halved with every frame.
        """
        frames = np.array(sorted(self.hits))
        before, after = frames[frames <= frame], frames[frames >= frame]
        if len(before) and len(after):
            a, b = int(before[-1]), int(after[0])
            u = 0.0 if a == b else (frame - a) / (b - a)
            return (1 - u) * self.hits[a].px + u * self.hits[b].px, float(min(frame - a, b - frame))
        near, step = (int(before[-1]), -1) if len(before) else (int(after[0]), 1)
        other = near + step * 1
        px = self.hits[near].px
        gap = abs(frame - near)
        if other in self.hits:
            reach = 2.0 * (1.0 - 0.5**gap)  # 1 + 1/2 + 1/4 + ...
            px = px + (self.hits[near].centre - self.hits[other].centre) * reach * 0.5
        return px, float(gap)


def hand_size(px: np.ndarray) -> float:
    """Pixels from the wrist over the knuckles' spread: the longest distance between palm keypoints."""
    palm = px[_BODY]
    return float(np.linalg.norm(palm[:, None] - palm[None], axis=-1).max())


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of the palm keypoints over the smaller hand's size."""
    return float(np.linalg.norm(a[_BODY] - b[_BODY], axis=1).mean() / max(min(hand_size(a), hand_size(b)), 1e-6))


def same_place(a: np.ndarray, b: np.ndarray) -> bool:
    """Do two sets of keypoints lie on one hand, even if they disagree about its fingers or its side?"""
    gap = np.linalg.norm(a[_BODY].mean(0) - b[_BODY].mean(0))
    return bool(gap < _SAME_PLACE * max(hand_size(a), hand_size(b), 1e-6))


def merge(found: list[Detection]) -> list[Detection]:
    """Detections of one frame, findings of the same hand merged: the one closest to all others stands for them."""
    groups: list[list[Detection]] = []
    for d in found:
        home = next((g for g in groups if any(distance(d.px, o.px) < _MERGE_DISTANCE for o in g)), None)
        if home is None:
            groups.append([d])
        else:
            home.append(d)
    out = []
    for g in groups:
        gaps = np.array([[np.linalg.norm(a.px - b.px, axis=1).mean() for b in g] for a in g])
        nearest = int(gaps.sum(1).argmin())
        best = g[nearest]
        out.append(
            Detection(
                best.frame, best.px, best.world, float(np.mean([d.p_right for d in g])),
                set().union(*(d.sources for d in g)), float(np.median(gaps[nearest]) / max(best.size, 1e-6)),
            )
        )  # fmt: skip
    return out


def link(per_frame: list[list[Detection]]) -> list[Track]:
    """Tracks through merged detections: an optimal assignment between neighbouring frames, gaps of a few allowed."""
    tracks: list[Track] = []
    for frame, found in enumerate(per_frame):
        open_tracks = [t for t in tracks if frame - t.last <= _LINK_GAP]
        if open_tracks and found:
            cost = np.full((len(open_tracks), len(found)), 1e6)
            for i, t in enumerate(open_tracks):
                px, gap = t.predict(frame)
                right = 1 / (1 + np.exp(-t.log_odds() / len(t.hits)))
                for j, d in enumerate(found):
                    ratio = d.size / max(hand_size(px), 1e-6)
                    far = distance(px, d.px)
                    if far < _LINK_DISTANCE * (1 + 0.3 * (gap - 1)) and 0.5 < ratio < 2.0:
                        cost[i, j] = far + 0.3 * abs(right - d.p_right)
            for i, j in zip(*linear_sum_assignment(cost)):
                if cost[i, j] < 1e5:
                    open_tracks[i].hits[frame] = found[j]
        taken = {id(t.hits[frame]) for t in open_tracks if frame in t.hits}
        tracks += [Track({frame: d}) for d in found if id(d) not in taken]
    return tracks


def unite(tracks: list[Track]) -> list[Track]:
    """Join pieces of one hand: tracks that lie on each other, and tracks that go on where another ended.

    A hand that is half outside the picture is often taken for one of the other side; joined with the track it came
    from, the whole decides.
    """
    out = sorted(tracks, key=lambda t: len(t.hits), reverse=True)
    while True:
        best: tuple[float, int, int] | None = None
        for i in range(len(out)):
            for j in range(i + 1, len(out)):
                cost = _join_cost(out[i], out[j])
                if cost is not None and (best is None or cost < best[0]):
                    best = cost, i, j
        if best is None:
            return out
        _, i, j = best
        kept = dict(out[j].hits)
        for frame, d in out[i].hits.items():
            if frame not in kept or len(d.sources) >= len(kept[frame].sources):
                kept[frame] = d
        out[i] = Track(kept)
        del out[j]


def _join_cost(a: Track, b: Track) -> float | None:
    """Below 0 for tracks on each other, else the mismatch over the gap between them; None when they are two hands."""
    if a.first > b.first:
        a, b = b, a
    if b.first <= a.last:  # at the same time: is one where the other is, or where it must be?
        apart = []
        for frame, d in b.hits.items():
            if frame <= a.last:
                px = a.hits[frame].px if frame in a.hits else a.predict(frame)[0]
                apart.append(np.linalg.norm(px[_BODY].mean(0) - d.centre) / max(d.size, hand_size(px), 1e-6))
        return -1.0 if np.quantile(apart, 0.8) < _SAME_PLACE else None
    gap = b.first - a.last
    if gap > _JOIN_GAP:
        return None
    old, new = a.hits[a.last], b.hits[b.first]
    speed = (_velocity(a, -1) + _velocity(b, 1)) / 2
    size = max(old.size, new.size, 1e-6)
    moved = new.centre - old.centre
    far = float(min(np.linalg.norm(moved), np.linalg.norm(moved - speed * gap))) / size
    if far > min(0.8 + 0.2 * gap, 2.5) or not 0.5 < new.size / max(old.size, 1e-6) < 2.0:
        return None
    return float(far + 0.05 * gap)


def _velocity(t: Track, at: int, span: int = 4) -> np.ndarray:
    """(2,) pixels per frame at the end (-1) or the start (1) of a track."""
    frames = sorted(t.hits)[-span:] if at < 0 else sorted(t.hits)[:span]
    if len(frames) < 2:
        return np.zeros(2)
    return (t.hits[frames[-1]].centre - t.hits[frames[0]].centre) / (frames[-1] - frames[0])


def believable(track: Track, width: int, height: int, min_frames: int) -> bool:
    """Is this track a hand? Long enough, seen by more than chance, of a possible size, and not all outside the view."""
    hits = list(track.hits.values())
    if len(hits) < min_frames:
        return False
    sizes = np.array([d.size for d in hits])
    side = max(width, height)
    if not 0.015 * side < np.median(sizes) < 0.7 * side:
        return False
    inside = np.array([_inside(d.px, width, height) for d in hits])
    if np.median(inside) < 0.25:
        return False
    support = np.mean([len(d.sources) for d in hits])
    dense = len(hits) / (track.last - track.first + 1)
    # a chance find jumps about and is seen by one pass only, now and then
    return bool(dense * support >= 0.8 or len(hits) >= 3 * min_frames)


def _inside(px: np.ndarray, width: int, height: int) -> float:
    return float(((px[:, 0] >= 0) & (px[:, 0] < width) & (px[:, 1] >= 0) & (px[:, 1] < height)).mean())


def assign_sides(tracks: list[Track], width: int, height: int) -> dict[str, dict[int, Detection]]:
    """``{"left": {frame: detection}, "right": ...}``: every track has one side, no frame has two hands of one side.

    Tracks are taken by weight of evidence. A track whose side is already taken in its frames moves to the other side if
    that is free there and its own vote is weak, else its free frames are kept.
    """
    out: dict[str, dict[int, Detection]] = {"left": {}, "right": {}}

    def weight(t: Track) -> float:
        lowest = np.mean([d.centre[1] for d in t.hits.values()]) / height  # the wearer's hands come from below
        sure = 0.3 + min(abs(t.log_odds()) / len(t.hits), 3.0)  # of two of one side, the surer one keeps it
        return float(sum(min(len(d.sources), 3) for d in t.hits.values()) * (0.5 + lowest) * sure)

    for t in sorted(tracks, key=weight, reverse=True):
        vote = t.log_odds() / len(t.hits)
        # without evidence, the hand in the right half is the right one
        lateral = np.mean([d.centre[0] for d in t.hits.values()]) / width - 0.5
        side = "right" if vote + 1.5 * lateral > 0 else "left"
        other = "left" if side == "right" else "right"
        clash = [f for f in t.hits if f in out[side]]
        if len(clash) > 0.2 * len(t.hits):
            free = not any(f in out[other] for f in t.hits)
            if free and abs(vote) < 1.5:
                side = other
        for f, d in t.hits.items():
            out[side].setdefault(f, d)
    return out


def confidence(d: Detection, side: str, passes: int) -> float:
    """0..1: the model's certainty about the side of the track it belongs to, how many of the passes saw the hand, and
    how well they agreed about where it is."""
    p = d.p_right if side == "right" else 1.0 - d.p_right
    seen = 0.6 + 0.4 * min(1.0, (len(d.sources) - 1) / max(1, min(passes, 3) - 1))
    return float(np.clip((0.5 + 0.5 * p) * seen * np.exp(-d.spread / 0.3), 0.0, 1.0))
