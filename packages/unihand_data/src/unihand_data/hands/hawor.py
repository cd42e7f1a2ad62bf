"""The ``hawor`` estimator: HaWoR (MANO hands, camera, metric scale) run by the user, on a GPU, as an external process.

Legend: T frames of the clip, N pictures HaWoR gets (at most 30 a second), of them [a, b) per window.

    write pictures per window -> hands -> is the camera static? -> SLAM, scale, infiller -> read, join windows -> clip

SLAM fails on a camera that does not move, so the background is followed first (hands and arms left out by HaWoR's own
boxes) and a static camera gets identity poses. Whatever goes wrong is a ``Reject`` of the clip.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.hands import hawor_files
from unihand_data.hands.hawor_config import HaworSettings
from unihand_data.hands.hawor_frames import as_seen, chosen_frames, hawor_camera, windows
from unihand_data.hands.hawor_join import join_cameras, join_tracks
from unihand_data.hands.hawor_results import SIDES, finished, read_results
from unihand_data.hands.hawor_run import HaworProcess, SlamFailed, version_of
from unihand_data.hands.mediapipe_estimator import view_camera
from unihand_data.values.camera import Intrinsics
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack
from unihand_data.video.clip_message import clip_to_message
from unihand_data.video.killable import KillableWorker

log = logging.getLogger(__name__)

_SHORTEST = 8  # pictures; DROID warms up over eight


class HaworEstimator:
    """Built once per worker; keeps one HaWoR process with its models on the GPU.

    Raises:
        SettingsError: when built, if the checkout or its weights are not there.
    """

    def __init__(self, settings: HaworSettings | None = None):
        self.settings = settings or HaworSettings()
        self._hawor = HaworProcess(self.settings)
        self.name = f"hawor-{version_of(self._hawor.repo)}"
        self._pictures = KillableWorker("unihand_data.hands.hawor_frames:build", {}, timeout_s=120.0)
        self._follow = KillableWorker(
            "unihand_data.geometry.feature_tracks:build", {"max_side_px": 960, "max_points": 600}, timeout_s=120.0
        )

    def estimate(self, clip: ClipRef) -> HandResult:
        """Hands of model ``mano`` and the camera.

        Figures: those of :func:`~unihand_data.hands.hawor_results.read_results`, ``background_shift`` (over the longer
        side), ``windows``, ``slam_failed`` (1: hands without a camera), ``stitch_m`` (windows' cameras at their seams).

        Raises:
            Reject: level ``clip``. TIMEOUT, CRASHED (also out of memory), MISSING_FILE, TRUNCATED, CORRUPT, BAD_VALUE
                and the others of reading; CAMERA_LOST if SLAM fails and ``on_slam_failure`` is ``reject``.
        """
        work = Path(tempfile.mkdtemp(prefix="unihand-hawor-", dir=self.settings.work_dir))
        try:
            return self._estimate(clip, work)
        except Reject as reject:
            if reject.level == "clip":
                raise
            raise Reject(
                reject.reason, f"{clip.path}: {reject.message}", level="clip", frames=len(clip.pts)
            ) from reject
        finally:
            if self.settings.keep_files:
                log.info("%s: HaWoR's files are in %s", clip.path, work)
            else:
                shutil.rmtree(work, ignore_errors=True)

    def close(self) -> None:
        for part in (self._hawor, self._pictures, self._follow):
            part.close()

    def _estimate(self, clip: ClipRef, work: Path) -> HandResult:
        settings = self.settings
        view = view_camera(clip, settings.assumed_hfov_deg)
        clip = clip if clip.intrinsics is not None else replace(clip, intrinsics=view)
        lens, warp = hawor_camera(view, settings.max_side_px)
        chosen = chosen_frames(clip.pts)
        rows = clip.pts[chosen]
        if len(rows) < _SHORTEST:
            raise Reject(Reason.TOO_SHORT, f"{clip.path}: {len(rows)} frames; HaWoR needs {_SHORTEST}", level="clip")
        seen = replace(as_seen(clip, warp), pts=rows)
        spans = windows(rows, settings.max_window_s, settings.overlap_s)
        # HaWoR names its folder after the video: everything before the first dot
        videos = [work / f"window{k}.mp4" for k in range(len(spans))]
        folders = [v.with_suffix("") for v in videos]
        pictures = [[a, b, str(f / "extracted_images")] for (a, b), f in zip(spans, folders)]
        self._pictures.call(
            {"clip": clip_to_message(seen), "size": [lens.width, lens.height], "folders": pictures}, name=clip.path
        )
        found = [self._hawor.hands(v, lens.fx, clip.path) for v in videos]
        if not any(f["detected"][side] for f in found for side in ("0", "1")):
            none = [HandTrack.empty(side, len(rows), hand_model="mano", estimator=self.name) for side in SIDES]
            return finished(none, None, rows, clip.pts, None, settings.read, False)
        figures = {"windows": float(len(spans))}
        static = self._is_static(seen, lens, spans, folders, figures)
        parts = [
            self._window(video, folder, lens, static, clip.path, figures) for video, folder in zip(videos, folders)
        ]
        tracks = join_tracks(parts, spans, len(rows))
        cameras = [p.camera for p in parts]
        camera = None if None in cameras else join_cameras(cameras, spans, len(rows), figures)  # type: ignore[arg-type]
        if camera is not None and "dba_px" in camera.figures:
            camera.figures["dba_px"] *= view.width / lens.width
        mean_shape = bool(parts[0].figures["wrist_mean_shape"])
        out = finished(tracks, camera, rows, clip.pts, view, settings.read, mean_shape)
        out.figures |= figures
        return out

    def _window(
        self, video: Path, folder: Path, lens: Intrinsics, static: bool, name: str, figures: dict[str, float]
    ) -> HandResult:
        """Second half of one window's work, and what it left, on the window's own rows."""
        read: dict[str, Any] = {"settings": self.settings.read, "estimator": self.name}
        try:
            answer = self._hawor.camera(video, lens.fx, name, static=static)
        except SlamFailed as error:
            if self.settings.on_slam_failure == "reject":
                raise Reject(Reason.CAMERA_LOST, f"{name}: HaWoR's SLAM failed with {error}", level="clip") from error
            log.warning("%s: no camera from HaWoR: %s", name, error)
            figures["slam_failed"] = 1.0
            return read_results(folder, with_camera=False, **read)
        return read_results(folder, dba_errors=answer.get("dba_errors"), **read)

    def _is_static(
        self,
        seen: ClipRef,
        lens: Intrinsics,
        spans: list[tuple[int, int]],
        folders: list[Path],
        figures: dict[str, float],
    ) -> bool:
        from unihand_data.geometry.point_tracks import background_shift

        limit = self.settings.static_px
        if limit is None:
            return False
        view = seen.view_intrinsics
        assert view is not None
        boxes = np.full((2, len(seen.pts), 4), np.nan)
        for (a, b), folder in zip(spans, folders):
            boxes[:, a:b] = hawor_files.read_boxes(hawor_files.tracks_folder(folder)[0], b - a)
        shape = np.stack([_box_as_hand(b, lens, view) for b in boxes])
        points = self._follow.call({"clip": clip_to_message(seen), "left": shape[0], "right": shape[1]}, name=seen.path)
        shift = background_shift(points["frame"], points["track"], points["xy"], len(seen.pts))
        figures["background_shift"] = shift / max(view.width, view.height)
        return figures["background_shift"] <= limit


def _box_as_hand(boxes: np.ndarray, lens: Intrinsics, view: Intrinsics) -> np.ndarray:
    """(N, 4) boxes in HaWoR's pictures -> (N, 21, 2) stand-ins for keypoints in the view: the wrist in the middle, the
    knuckle above it (so that the forearm is taken to hang down), the others around the border."""
    scale, shift = np.array([view.fx / lens.fx, view.fy / lens.fy]), np.array([lens.cx, lens.cy])
    corner = (boxes.reshape(-1, 2, 2) - 0.5 - shift) * scale + [view.cx, view.cy]
    low, high = corner[:, 0], corner[:, 1]
    middle, half = (low + high) / 2, (high - low) / 2
    angle = np.arange(21) * (2 * np.pi / 19)
    around = np.clip(1.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1), -1, 1)
    out = middle[:, None] + half[:, None] * around
    out[:, 0] = middle
    out[:, 9] = middle - half * [0.0, 0.5]
    return out
