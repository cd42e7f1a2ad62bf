"""Cameras of a robot episode become media: copied, encoded or joined, one file a view.

Legend: T steps of the row, N frames of a view.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from unihand_data.curate.robot.rows import RobotClip, StoredView
from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_file
from unihand_data.shards.rows import MediaRow
from unihand_data.sources import image_sequence
from unihand_data.sources.robot.episode import View
from unihand_data.sources.robot.spec import RobotSpec, ViewSpec
from unihand_data.values.camera import Intrinsics
from unihand_data.values.clip import ClipRef
from unihand_data.video.encode import EncodeSettings, replacing
from unihand_data.video.probe import VideoInfo
from unihand_data.video.remux import NotUsable, RemuxSettings
from unihand_data.video.worker import VideoWorker, VideoWorkerSettings


@dataclass
class StoredSources:
    """A converted episode with the encoded pictures that its views come from.

    ``present``: feature -> whether it ever says that its camera was recorded. ``announced``: raw names of all cameras
    of the data set (``Found.views``), of which the episode may lack some.
    """

    clip: RobotClip
    views: dict[str, View]
    present: dict[str, bool]
    set_number: int
    announced: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    word: str
    spec: ViewSpec
    view: View


class ViewStore:
    """Writes media files into a folder or bucket that the committer reaches; holds a killable decoder. Close it."""

    def __init__(
        self, folder: str, remux: RemuxSettings, encode: EncodeSettings, worker: VideoWorkerSettings | None = None
    ):
        self.folder, self.remux, self.encode = folder.rstrip("/"), remux, encode
        self.video = VideoWorker(worker)
        self._probe = lru_cache(maxsize=8)(self.video.probe)  # many episodes may share a file

    def close(self) -> None:
        self.video.close()

    def store(self, got: StoredSources, spec: RobotSpec) -> tuple[list[StoredView], list[Reject]]:
        """Stored colour views (with depth where there is), and a loss of level ``row`` for each that is not stored."""
        losses: list[Reject] = []
        colour: dict[str, StoredView] = {}
        depth: dict[str, tuple[_Plan, MediaRow]] = {}
        for plan in self._planned(got, spec, losses):
            out = f"{self.folder}/{got.clip.episode_id}-{plan.word}{'-depth.mkv' if plan.view.depth else '.mp4'}"
            try:
                if plan.view.depth:
                    depth[plan.word] = (plan, self._depth(plan.view, got.clip, out, spec.licence))
                else:
                    colour[plan.word] = self._colour(plan, got.clip, out, spec.licence)
            except Reject as reject:
                losses.append(Reject(reject.reason, f"{plan.view.key}: {reject.message}", level="row"))
        for word, (plan, media) in depth.items():
            if word in colour:
                colour[word].depth, colour[word].depth_unit_m = media, plan.view.depth_unit_m
            else:
                text = f"{plan.view.key}: depth of view {word}, which has no stored colour picture"
                losses.append(Reject(Reason.UNSUPPORTED, text, level="row"))
        return [colour[word] for word in sorted(colour)], losses

    def _planned(self, got: StoredSources, spec: RobotSpec, losses: list[Reject]) -> Iterator[_Plan]:
        """Views by the contract's word, in the order of the YAML."""
        taken: set[tuple[str, bool]] = set()
        left = dict(sorted(got.views.items()))
        words = view_words(spec, got.announced, tuple(got.views))
        for rule in spec.views:
            for key in [k for k in left if re.fullmatch(rule.key, k)]:
                view = left.pop(key)
                if rule.present and not got.present.get(rule.present, True):
                    continue  # the data set itself says that this camera was not there
                word = words[key]
                if (word, view.depth) in taken:
                    losses.append(Reject(Reason.CONTRADICTION, f"{key}: two cameras are called {word}", level="row"))
                    continue
                taken.add((word, view.depth))
                yield _Plan(word, rule, view)
        for key in left:
            if not any(re.fullmatch(pattern, key) for pattern in spec.ignore):
                text = f"{got.clip.uri}: camera {key} is not in {spec.name}.yaml; add it to views or to ignore"
                losses.append(Reject(Reason.UNSUPPORTED, text, level="row"))

    def _colour(self, plan: _Plan, clip: RobotClip, out: str, licence: str) -> StoredView:
        changes: list[str] = [c for c in (plan.spec.turn, plan.spec.channels) if c not in ("none", "rgb")]
        if plan.view.pictures is not None:
            with tempfile.TemporaryDirectory(prefix="unihand_view_") as folder:
                joined = self._joined(plan.view, clip, Path(folder) / "joined.mkv")
                media, raw = self._encoded(str(joined), (0.0, None), 1.0, changes, out, licence)
            first = 0.0 if plan.view.times is None else float(plan.view.times[0])
            if first and media.pts is not None:  # the file's first picture is not at row time 0
                media = replace(media, pts=media.pts + first, pts_start=first)
            how = "encoded from single pictures"
        elif plan.view.video is None:
            raise Reject(Reason.MISSING_FILE, "neither a video file nor pictures")
        else:
            media, raw, how = self._from_video(plan.view, plan.view.video, changes, out, licence)
        _every_step_has_a_frame(media, clip, plan.view.key)
        span = float(media.pts[-1] - media.pts[0]) if media.pts is not None and media.frames > 1 else 0.0
        return StoredView(
            view=plan.word,
            raw=plan.view.key,
            how=how,
            media=media,
            fps=(media.frames - 1) / span if span else clip.motion.rate_hz,
            intrinsics=_stored_intrinsics(plan.view.intrinsics, raw, (media.width, media.height), plan.spec.turn),
            poses=plan.view.poses,
        )

    def _from_video(
        self, view: View, path: str, changes: list[str], out: str, licence: str
    ) -> tuple[MediaRow, tuple[int, int], str]:
        try:
            if changes:
                raise NotUsable(f"declared {' and '.join(changes)}")
            media = self.video.remux(path, out, self.remux, t0=view.t0, t1=view.t1, pace=view.pace, licence=licence)
            return media, (media.width, media.height), "copied"
        except NotUsable as why:
            media, raw = self._encoded(path, (view.t0, view.t1), view.pace, changes, out, licence)
            return media, raw, f"encoded: {why}"

    def _encoded(
        self, path: str, span: tuple[float, float | None], pace: float, changes: list[str], out: str, licence: str
    ) -> tuple[MediaRow, tuple[int, int]]:
        t0, t1 = span
        info: VideoInfo = self._probe(path)
        half = info.pts[1] / 2 if info.frames > 1 else 0.0
        pick = (info.pts >= t0 - half) & ((info.pts < t1 - half) if t1 is not None else True)
        if not pick.any():
            raise Reject(
                Reason.TRUNCATED, f"{path}: no frame between {t0:.3f} and {t1} s; it ends at {info.pts[-1]:.3f} s"
            )
        extra = {"origin": info.origin, "change": changes, "pace": pace}
        ref = ClipRef(path, info.pts[pick], info.width, info.height, info.rotation, extra=extra)
        media = self.video.encode(ref, out, self.encode, licence=licence)
        late = (ref.t0 - t0) / pace  # of the first frame after row time 0
        if abs(late) > 1e-6 and media.pts is not None:
            media = replace(media, pts=media.pts + late, pts_start=late)
        return media, (info.width, info.height)

    def _joined(self, view: View, clip: RobotClip, out: Path) -> Path:
        pictures = view.pictures or []
        times = clip.motion.times if view.times is None else np.asarray(view.times, float)
        if len(times) != len(pictures):
            raise Reject(Reason.CONTRADICTION, f"{len(pictures)} pictures for {len(times)} times")
        if len(times) > 1 and not (np.diff(times) > 0).all():
            raise Reject(Reason.BAD_VALUE, "times of its pictures do not increase")
        names = [f"{view.key}[{i}]" for i in range(len(pictures))]
        at = dict(zip(names, pictures))
        return image_sequence.join(names, at.__getitem__, times - times[0], out, clip.uri)[0]

    def _depth(self, view: View, clip: RobotClip, out: str, licence: str) -> MediaRow:
        """16-bit PNG pictures as they are, one packet each."""
        if view.pictures is None:
            raise Reject(Reason.UNSUPPORTED, "depth in a lossy video is no measure; only 16-bit pictures are taken")
        if any(p[:4] != b"\x89PNG" or p[24] != 16 for p in view.pictures):
            raise Reject(Reason.UNSUPPORTED, "depth pictures that are not 16-bit PNG")
        times = clip.motion.times if view.times is None else np.asarray(view.times, float)
        with tempfile.TemporaryDirectory(prefix="unihand_depth_") as folder:
            joined = self._joined(view, clip, Path(folder) / "joined.mkv")
            info = self.video.probe(str(joined))
            with replacing(out) as temporary:
                temporary.write_bytes(joined.read_bytes())
                media_id = hash_file(temporary)
        return MediaRow(
            media_id=media_id,
            kind="depth",
            width=info.width,
            height=info.height,
            frames=info.frames,
            codec="png",
            gop=1,
            pts_start=float(times[0]),
            licence=licence,
            path=out,
            pts=info.pts + float(times[0]),
        )


def view_words(spec: RobotSpec, announced: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, str]:
    """Raw camera -> the contract's word.

    ``third_*`` is numbered over the cameras the data set announces, whichever of them an episode has, so that one
    camera has one name in all its rows: by rule, then by raw name, past the numbers that rules fix. ``more``: cameras
    of an episode; those that the set does not announce come last. A depth stream shares the number of the colour
    camera whose name is its own but for the word.
    """
    out: dict[str, str] = {}
    numbered: list[tuple[bool, bool, int, str]] = []
    for key in {*announced, *more}:
        at = next((i for i, rule in enumerate(spec.views) if re.fullmatch(rule.key, key)), None)
        if at is None:
            continue
        if spec.views[at].view != "third_*":
            out[key] = spec.views[at].view
        else:
            numbered.append((key not in announced, "depth" in key.lower(), at, key))
    fixed = set(out.values())
    colours: dict[str, str] = {}
    free = (word for i in range(1, len(numbered) + len(fixed) + 1) if (word := f"third_{i}") not in fixed)
    for _, depth, _, key in sorted(numbered):
        stem = re.sub(r"depth|rgb|colou?r|images?|[^a-z0-9]", "", key.lower())
        out[key] = colours[stem] if depth and stem in colours else next(free)
        if not depth:
            colours[stem] = out[key]
    return out


def _every_step_has_a_frame(media: MediaRow, clip: RobotClip, key: str) -> None:
    """Raises ``Reject`` TRUNCATED where a step has no frame within half a frame: a window there could not be shown."""
    times, pts = clip.motion.times, media.pts
    assert pts is not None
    pts = pts[pts >= -1e-6 - (pts[1] - pts[0]) / 4] if len(pts) > 1 else pts
    if not len(pts):
        raise Reject(Reason.TRUNCATED, "no frame at or after the episode's start")
    gap = float(np.median(np.diff(pts))) if len(pts) > 1 else 1.0 / clip.motion.rate_hz
    at = np.clip(np.searchsorted(pts, times), 1, max(1, len(pts) - 1)) if len(pts) > 1 else np.zeros(len(times), int)
    off = np.minimum(np.abs(pts[at] - times), np.abs(pts[np.maximum(at - 1, 0)] - times))
    late = off > max(gap, 1.0 / clip.motion.rate_hz) / 2 + 1e-3
    if late.any():
        step = int(np.argmax(late))
        raise Reject(
            Reason.TRUNCATED,
            f"{int(late.sum())} of {len(times)} steps have no frame, the first at step {step} ({times[step]:.3f} s; "
            f"the view has {len(pts)} frames up to {pts[-1]:.3f} s)",
            frames=len(times),
        )


def _stored_intrinsics(
    raw: np.ndarray | None, size: tuple[int, int], stored: tuple[int, int], turn: str
) -> np.ndarray | None:
    """(4,) fx fy cx cy in pixels of the stored picture (pixel centres at integers)."""
    if raw is None:
        return None
    fx, fy, cx, cy = (float(v) for v in raw)
    if turn == "rotate_180":
        cx, cy = size[0] - 1 - cx, size[1] - 1 - cy
    elif turn == "flip_vertical":
        cy = size[1] - 1 - cy
    return Intrinsics(fx, fy, cx, cy, *size).resized(*stored).vector
