"""MediaPipe's hand models on one clip, inside a worker process that may be killed.

``build`` is the target of :class:`unihand_data.video.killable.KillableWorker`. The worker decodes the clip itself; what
comes back are arrays of landmarks. Legend: T frames, J = 21 keypoints.

One pass of the model misses hands that are blurred, small or half outside the picture. So it looks several times, each
time at another threshold or another cut of the picture, and believes what agrees over time: following hands forwards
and backwards (the tracker finds again what the detector alone does not), squares of the frame where fewer than two
hands were found (the palm detector sees 192 pixels: a square shows it twice the detail of a 16:9 picture), and a crop
around where a known hand must be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.hands import association as assoc
from unihand_data.hands.association import Detection, Track
from unihand_data.hands.config import DetectSettings
from unihand_data.values.clip import ClipRef
from unihand_data.video.clip_message import clip_from_message

log = logging.getLogger(__name__)


def build(model_path: str, detect: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The worker's function: ``{"clip": ...}`` to landmarks (see :meth:`Worker.__call__`)."""
    return Worker(model_path, DetectSettings.model_validate(detect))


class Worker:
    """Finds both hands of a clip."""

    def __init__(self, model_path: str, settings: DetectSettings):
        self.settings = settings
        self.model_path = model_path
        self._image: dict[float, Any] = {}

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Args: request ``{"clip": message of the clip}``.

        Returns: ``frames`` T; per side (``left``, ``right``) ``px`` (T, 21, 2) in pixels of the clip's view, ``world``
        (T, 21, 3) m, ``confidence`` (T,), ``p_right`` (T,), ``passes`` (T,) how many passes saw it; rows without a hand
        are NaN (confidence 0). ``width``, ``height`` of the view.
        """
        clip = clip_from_message(request["clip"])
        frames = _Frames(clip, self.settings.max_side_px)
        if len(frames) != len(clip.pts):
            raise Reject(
                Reason.TRUNCATED,
                f"{clip.path}: {len(frames)} of {len(clip.pts)} frames of the clip at {clip.t0:.3f} s could be decoded",
                level="clip",
                frames=len(frames),
            )
        per_frame = self._search(frames)
        tracks = assoc.link(per_frame)
        if self.settings.passes == "full":
            self._crops(frames, tracks)
        tracks = assoc.unite(tracks)
        keep = [t for t in tracks if assoc.believable(t, frames.width, frames.height, self.settings.min_track_frames)]
        sides = assoc.assign_sides(keep, frames.width, frames.height)
        return self._answer(frames, sides)

    # -- the passes ----------------------------------------------------------------------------------------------

    def _search(self, frames: _Frames) -> list[list[Detection]]:
        found: list[list[Detection]] = [[] for _ in range(len(frames))]
        full = self.settings.passes == "full"
        for name, order in (("forward", range(len(frames))), ("backward", range(len(frames) - 1, -1, -1))):
            if name == "backward" and not full:
                break
            landmarker = self._create(self.settings.track_confidence, video=True)
            try:
                for step, index in enumerate(order):
                    _beat()
                    picture = frames[index]
                    # 33 ms apart whatever the clip's rate: the tracker's filter expects a steady clock
                    answer = landmarker.detect_for_video(_mp_image(picture), 33 * step)
                    found[index] += _detections(answer, index, name, picture, (0, 0))
            finally:
                landmarker.close()
        if full:
            for index in range(len(frames)):
                if len(assoc.merge(found[index])) < 2:
                    _beat()
                    picture = frames[index]
                    for x, y, side in _tiles(frames.width, frames.height):
                        cut = picture[y : y + side, x : x + side]
                        answer = self._still(self.settings.tile_confidence).detect(_mp_image(cut))
                        found[index] += _detections(answer, index, "tile", cut, (x, y))
        return [assoc.merge(f) for f in found]

    def _crops(self, frames: _Frames, tracks: list[Track]) -> None:
        """Follow every track into the frames around it, one frame at a time, in a crop around the expected place."""
        good = [t for t in tracks if assoc.believable(t, frames.width, frames.height, self.settings.min_track_frames)]
        for track in sorted(good, key=lambda t: len(t.hits), reverse=True):
            for step in (1, -1):
                misses = 0
                index = track.first if step > 0 else track.last
                while 0 <= index < len(frames) and misses <= self.settings.max_search_frames:
                    if index in track.hits:
                        misses = 0
                    else:
                        hit = self._crop(frames, track, index)
                        if hit is not None and not _belongs_to_another(hit, tracks, track):
                            track.hits[index] = hit
                            misses = 0
                        else:
                            misses += 1
                    index += step

    def _crop(self, frames: _Frames, track: Track, index: int) -> Detection | None:
        _beat()
        expected, gap = track.predict(index)
        size = assoc.hand_size(expected)
        centre = expected.mean(0)
        picture = frames[index]
        best: tuple[float, Detection] | None = None
        for factor in (3.0, 4.5):
            half = max(factor * size / 2, 48)
            x0, y0 = (int(v) for v in np.maximum(centre - half, 0))
            x1, y1 = int(min(centre[0] + half, frames.width)), int(min(centre[1] + half, frames.height))
            if x1 - x0 < 32 or y1 - y0 < 32:
                return None
            cut = picture[y0:y1, x0:x1]
            answer = self._still(self.settings.crop_confidence).detect(_mp_image(cut))
            for d in _detections(answer, index, "crop", cut, (x0, y0)):
                far = assoc.distance(expected, d.px)
                ratio = d.size / max(size, 1e-6)
                if far < min(0.4 + 0.15 * gap, 1.0) and 0.6 < ratio < 1.6 and (best is None or far < best[0]):
                    best = far, d
            if best is not None:
                return best[1]
        return None

    # -- MediaPipe -----------------------------------------------------------------------------------------------

    def _still(self, threshold: float) -> Any:
        if threshold not in self._image:
            self._image[threshold] = self._create(threshold, video=False)
        return self._image[threshold]

    def _create(self, threshold: float, *, video: bool) -> Any:
        from mediapipe.tasks.python import BaseOptions, vision

        mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
        options = vision.HandLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=self.model_path),
            running_mode=mode,
            num_hands=2,
            min_hand_detection_confidence=threshold,
            min_hand_presence_confidence=threshold,
            min_tracking_confidence=threshold,
        )
        return vision.HandLandmarker.create_from_options(options)

    def _answer(self, frames: _Frames, sides: dict[str, dict[int, Detection]]) -> dict[str, Any]:
        total = len(frames)
        out: dict[str, Any] = {"frames": total, "width": frames.full_width, "height": frames.full_height}
        passes = 2 if self.settings.passes == "full" else 1
        for side, hits in sides.items():
            px, world = np.full((total, 21, 2), np.nan), np.full((total, 21, 3), np.nan)
            conf, right, seen = np.zeros(total), np.full(total, np.nan), np.zeros(total, np.int64)
            for index, d in hits.items():
                px[index], world[index] = (d.px + 0.5) * frames.shrink - 0.5, d.world
                conf[index], right[index] = assoc.confidence(d, side, passes), d.p_right
                seen[index] = len(d.sources)
            out[side] = {"px": px, "world": world, "confidence": conf, "p_right": right, "passes": seen}
        return out


class _Frames:
    """Pictures of a clip, shrunk and held as JPEG: 300 frames of 720p are 60 MB instead of 830 MB."""

    def __init__(self, clip: ClipRef, max_side: int):
        import cv2

        from unihand_data.video.decode import iter_frames

        view = clip.undistort_to or clip
        self.full_width, self.full_height = view.width, view.height
        factor = min(1.0, max_side / max(view.width, view.height))
        # even sizes: some colour conversions halve the chroma
        self.width = max(2, 2 * round(self.full_width * factor / 2)) if factor < 1 else self.full_width
        self.height = max(2, 2 * round(self.full_height * factor / 2)) if factor < 1 else self.full_height
        self._jpeg: list[Any] = []
        self._last: tuple[int, np.ndarray] | None = None
        for _, _, rgb in iter_frames(clip, size=(self.width, self.height)):
            _beat()
            done, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
            if not done:
                raise RuntimeError(f"a picture of {rgb.shape} could not be held as JPEG")
            self._jpeg.append(data)

    @property
    def shrink(self) -> np.ndarray:
        """(2,) full pixels per held pixel."""
        return np.array([self.full_width / self.width, self.full_height / self.height])

    def __len__(self) -> int:
        return len(self._jpeg)

    def __getitem__(self, index: int) -> np.ndarray:
        import cv2

        if self._last is None or self._last[0] != index:
            bgr = cv2.imdecode(self._jpeg[index], cv2.IMREAD_COLOR)
            assert bgr is not None  # we encoded it
            self._last = index, np.ascontiguousarray(bgr[..., ::-1])
        return self._last[1]


def _beat() -> None:
    from unihand_data.video.killable_child import heartbeat

    heartbeat()


def _tiles(width: int, height: int) -> list[tuple[int, int, int]]:
    """(x, y, side) of three overlapping squares along the longer side."""
    side = min(width, height)
    rest = max(width, height) - side
    steps = (0, rest // 2, rest) if rest >= side // 8 else (0,)
    return [(s, 0, side) if width >= height else (0, s, side) for s in steps]


def _mp_image(rgb: np.ndarray) -> Any:
    import mediapipe as mp

    return mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(rgb))


def _detections(answer: Any, frame: int, source: str, picture: np.ndarray, corner: tuple[int, int]) -> list[Detection]:
    """MediaPipe's answer in pixels of the whole held picture (pixel centres at integers).

    The Tasks API names the person's own side for a picture that is not mirrored (the legacy API assumed a selfie).
    """
    height, width = picture.shape[:2]
    out = []
    for landmarks, world, handedness in zip(answer.hand_landmarks, answer.hand_world_landmarks, answer.handedness):
        px = np.array([(p.x * width + corner[0] - 0.5, p.y * height + corner[1] - 0.5) for p in landmarks])
        metric = np.array([(p.x, p.y, p.z) for p in world])
        if not (np.isfinite(px).all() and np.isfinite(metric).all()):
            continue
        best = handedness[0]
        p_right = best.score if best.category_name == "Right" else 1.0 - best.score
        out.append(Detection(frame, px, metric, float(p_right), {source}))
    return out


def _belongs_to_another(hit: Detection, tracks: list[Track], own: Track) -> bool:
    """Would this crop only find the other hand again?"""
    for other in tracks:
        if other is own:
            continue
        near, gap = other.predict(hit.frame)
        if gap <= 3 and assoc.same_place(near, hit.px):
            return True
    return False
