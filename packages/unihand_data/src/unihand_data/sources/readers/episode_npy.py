"""One object ``.npy`` per episode, several episodes per video, the video elsewhere (VITRA-1M).

An item is the video: its episodes, found by the name before ``_ep_``, become one recording. Rows carry the number of
their video frame, so their times are that frame's own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.hands.mano_variants import from_matrices, mano_track, own_side, points_to_camera
from unihand_data.sources import motion
from unihand_data.sources.base import FolderSource
from unihand_data.untrusted import arrays, tables
from unihand_data.untrusted.unpickle import safe_load
from unihand_data.values.camera import CameraTrack
from unihand_data.values.hands import HandTrack, Side
from unihand_data.values.recording import Narration, Recording, SourceItem

_NAME = re.compile(r"^(?:.*/)?(?P<video>[^/]+)_ep_[^/]*\.npy$")


@dataclass
class _Episode:
    path: str
    frames: np.ndarray  # (T,) int, numbers of video frames
    to_camera: np.ndarray  # (T, 4, 4)
    data: dict[str, Any]


class EpisodeNpySource(FolderSource):
    """Items: videos named by the episode files, found under ``video_root`` or the folder."""

    FIXED: ClassVar[dict[str, Any]] = {
        "hands.variant": "matrices",
        "hands.frame": "world",
        "hands.translation": "wrist",
        "hands.mean": "flat",
        "hands.sparse": False,
        "hands.min_confidence": None,
        "camera.model": "none",
        "camera.intrinsics": [],
        "camera.hand_to_camera": [],
    }

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        groups: dict[str, list[str]] = defaultdict(list)
        for name in files:
            found = _NAME.match(name)
            if found:
                groups[found.group("video")].append(name)
        for key, names in sorted(groups.items()):
            self.claim(*names)
            short = re.sub(r"^[^_]+_", "", key)  # Ego4D_<uid> -> <uid>
            wanted = {f"{n}{suffix}" for n in (key, short) for suffix in (".mp4", ".MP4")}
            beside = [f for f in files if f.rpartition("/")[2] in wanted]
            self.claim(*beside)
            video = self.path(beside[0]) if beside else self.find_video(*sorted(wanted))
            yield self.item(key, video or self.path(names[0]), video=video, episodes=names)

    def _open(self, item: SourceItem) -> Recording:
        paths = [self.path(n) for n in item.payload["episodes"]]
        recording = self.recording(item, item.payload["video"], annotations=tuple(paths))
        episodes, rejects = [], []
        for path in paths:
            try:
                episodes.append(self._read(path))
            except Reject as reject:
                rejects.append(Reject(reject.reason, reject.message, level="row"))
        if not episodes:
            raise Reject(rejects[0].reason, rejects[0].message)
        last = max(int(e.frames.max()) for e in episodes)
        times = motion.row_times(recording.video, last + 1, self.spec.fps, paths[0])
        episodes = [e for e in episodes if e.frames.max() < len(times)]
        if not episodes:
            raise Reject(Reason.CONTRADICTION, f"{paths[0]}: its frames lie behind the end of the video")
        # one row without values behind each episode, so that nothing is interpolated from one episode to the next
        ends = np.array([min(int(e.frames.max()) + 1, len(times) - 1) for e in episodes])
        used = np.unique(np.concatenate([ends, *(e.frames for e in episodes)]))
        row_of = np.full(int(used.max()) + 1, -1)
        row_of[used] = np.arange(len(used))
        recording.hands = [self._hand(side, episodes, row_of, len(used)) for side in ("left", "right")]
        recording.hands_t = recording.camera_t = times[used]
        recording.camera = self._camera(episodes, row_of, len(used))
        recording.intrinsics = motion.pinhole(
            tables.need(episodes[0].data, "intrinsics", paths[0]), 0, 0, f"{paths[0]}, intrinsics"
        )
        recording.narrations = [n for e in episodes for n in _texts(e, times)]
        recording.extra["rejects"] = rejects
        return recording

    def _read(self, path: str) -> _Episode:
        data = safe_load(path)
        raw = arrays.array(tables.need(data, "video_decode_frame", path), (None,), f"{path}, video_decode_frame")
        frames = raw.astype(np.int64)
        if not len(frames) or frames.min() < 0 or frames.max() > 100_000_000 or (np.diff(frames) <= 0).any():
            raise Reject(Reason.BAD_VALUE, f"{path}: video_decode_frame does not count upwards from 0 or more")
        matrices, ok = arrays.rigid(tables.need(data, "extrinsics", path), f"{path}, extrinsics")
        if len(matrices) != len(frames) or not ok.all():
            raise Reject(Reason.BAD_VALUE, f"{path}: extrinsics are not one rigid transform per frame")
        assert self.spec.camera is not None
        pose, _ = motion.camera_to_world(matrices, self.spec.camera, path)
        return _Episode(path, frames, motion.inverse(pose), data)

    def _camera(self, episodes: list[_Episode], row_of: np.ndarray, rows: int) -> CameraTrack:
        """One trajectory. Episodes have worlds of their own: where one follows another without a gap, its first pose is
        left out, so that no displacement crosses from world to world."""
        assert self.spec.camera is not None
        pose, ok = np.tile(np.eye(4), (rows, 1, 1)), np.zeros(rows, bool)
        last = -2
        for e in sorted(episodes, key=lambda e: int(e.frames[0])):
            at = row_of[e.frames]
            pose[at], ok[at] = motion.inverse(e.to_camera), True
            if e.frames[0] <= last + 1:
                ok[at[0]] = False
            last = int(e.frames[-1])
        return motion.camera_track(pose, ok, self.spec.camera)

    def _hand(self, side: Side, episodes: list[_Episode], row_of: np.ndarray, rows: int) -> HandTrack:
        spec = self.spec.hands
        assert spec is not None
        pos, rot = np.full((rows, 3), np.nan), np.full((rows, 3), np.nan)
        theta, points = np.full((rows, 45), np.nan), np.full((rows, 21, 3), np.nan)
        valid, betas = np.zeros(rows, bool), []
        for e in episodes:
            hand = tables.need(e.data, side, e.path)
            where, n = f"{e.path}, {side}", len(e.frames)
            kept = arrays.array(tables.need(hand, "kept_frames", where), (n,), f"{where}.kept_frames") > 0
            if not kept.any():
                continue
            joints = arrays.array(tables.need(hand, "joints_worldspace", where), (n, 21, 3), where, finite=False)
            orient = arrays.array(tables.need(hand, "global_orient_worldspace", where), (n, 3, 3), where, finite=False)
            pose = arrays.array(tables.need(hand, "hand_pose", where), (n, 15, 3, 3), where, finite=False)
            beta = arrays.array(tables.need(hand, "beta", where), (10,), f"{where}.beta")
            at = row_of[e.frames[kept]]
            turned = e.to_camera[kept, :3, :3] @ orient[kept]
            points[at] = points_to_camera(joints[kept] * spec.unit_in_m, e.to_camera[kept])
            pos[at] = points[at, 0]
            rot[at] = from_matrices(turned, f"{where}.global_orient_worldspace")
            local = from_matrices(pose[kept], f"{where}.hand_pose").reshape(-1, 45)
            theta[at] = own_side(local) if side == "left" and spec.left_in_right_model else local
            valid[at] = True
            betas.append(beta)
            motion.in_front(pos[at, 2], np.ones(len(at), bool), where)
        beta = np.mean(betas, axis=0) if betas else np.zeros(10)
        return mano_track(side, pos, rot, theta, beta, valid, keypoints=points)


def _texts(e: _Episode, times: np.ndarray) -> list[Narration]:
    """``text[side] = [(sentence, (first row, last row))]``; empty spans are the other hand's context, left out."""
    out = []
    text = e.data.get("text")
    for side in ("left", "right"):
        for entry in text.get(side) or [] if isinstance(text, dict) else []:
            try:
                sentence, (first, last) = entry
                a, b = int(first), min(int(last), len(e.frames)) - 1
            except (TypeError, ValueError) as error:
                raise Reject(Reason.WRONG_TYPE, f"{e.path}: text.{side} is no (sentence, (first, last))") from error
            if not 0 <= a < b < len(e.frames):
                continue
            words = tables.text_of(sentence, f"{e.path}, text.{side}")
            out.append(Narration(float(times[e.frames[a]]), float(times[e.frames[b]]), words, hand=side))  # type: ignore[arg-type]
    return out
