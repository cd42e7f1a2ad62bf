"""A video with an HDF5 file of skeleton transforms beside it (EgoDex).

``transforms/<joint>`` (T, 4, 4) in the world, ``transforms/camera`` camera-to-world, ``camera/intrinsic`` (3, 3),
``confidences/<joint>`` (T,), text in the file's attributes. Row i belongs to frame i of the video.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.hands.mano_variants import ARKIT_21, keypoint_track, points_to_camera
from unihand_data.sources import motion
from unihand_data.sources.base import FolderSource
from unihand_data.sources.isolated import hdf5
from unihand_data.sources.narration_tables import hand_in
from unihand_data.untrusted import arrays
from unihand_data.values.hands import HandTrack, Side
from unihand_data.values.recording import Narration, Recording, SourceItem

_KNUCKLES = (0, 5, 9, 13, 17)


class Hdf5SkeletonSource(FolderSource):
    """Items: every ``.hdf5`` file that has a video of its name, and every video without one (rejected when opened)."""

    FIXED: ClassVar[dict[str, Any]] = {
        "hands.variant": "keypoints_arkit_25",
        "hands.frame": "world",
        "hands.translation": "wrist",
        "hands.left_in_right_model": False,
        "hands.mean": "flat",
        "hands.sparse": False,
        "camera.model": "none",
        "camera.intrinsics": [],
        "camera.hand_to_camera": [],
    }

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        known = set(files)
        for name in self.select(files, self.spec.videos):
            motion_file = str(Path(name).with_suffix(".hdf5"))
            self.claim(name)
            if motion_file in known:
                self.claim(motion_file)
            yield self.item(name, self.path(name), video=name, motion=motion_file)
        for name in files:
            if name.endswith(".hdf5") and name not in self._claimed:
                self.claim(name)
                yield self.item(name, self.path(name), video=str(Path(name).with_suffix(".mp4")), motion=name)

    def _open(self, item: SourceItem) -> Recording:
        path = self.path(item.payload["motion"])
        if not Path(path).is_file():
            raise Reject(Reason.MISSING_FILE, f"{item.uri}: {path} with its motion is not there; fetch it")
        video: str | None = self.path(item.payload["video"])
        if not Path(video or "").is_file():
            video = None
        recording = self.recording(item, video, annotations=(path,))
        data = hdf5(path, ["transforms", "confidences"], ["camera/intrinsic"])
        found = data["arrays"]
        pose, camera_ok, kept = self._camera(found, path)
        rows = len(pose)
        times = motion.row_times(video, rows, self.spec.fps, path)
        rows = len(times)
        hands = [self._hand(side, found, pose, camera_ok, path, rows) for side in ("left", "right")]
        depth = np.concatenate([h.keypoints[:, _KNUCKLES, 2].ravel() for h in hands])
        motion.in_front(depth, np.ones(len(depth), bool), path)
        recording.intrinsics = self._intrinsics(found, path)
        recording.hands, recording.hands_t = hands, times
        assert self.spec.camera is not None
        recording.camera = motion.camera_track(kept[:rows], camera_ok[:rows], self.spec.camera)
        recording.camera_t = times
        recording.task_id = Path(item.payload["motion"]).parent.name
        recording.narrations = self._text(data["attrs"], times)
        return recording

    def _camera(self, found: dict[str, np.ndarray], path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """World-to-camera and camera-to-world of every row."""
        assert self.spec.camera is not None
        if "transforms/camera" not in found:
            raise Reject(Reason.MISSING_FIELD, f"{path}: no transforms/camera; fetch the file again")
        pose, ok = motion.camera_to_world(found["transforms/camera"], self.spec.camera, f"{path}, transforms/camera")
        inverse = np.full_like(pose, np.nan)
        inverse[ok] = motion.inverse(pose[ok])
        return inverse, ok, pose

    def _hand(
        self,
        side: Side,
        found: dict[str, np.ndarray],
        to_camera: np.ndarray,
        camera_ok: np.ndarray,
        path: str,
        rows: int,
    ) -> HandTrack:
        spec = self.spec.hands
        assert spec is not None
        points = np.full((len(to_camera), 21, 3), np.nan)
        confidence = np.ones((len(to_camera), 21))
        for j, part in enumerate(ARKIT_21):
            name = f"transforms/{side}{part}"
            if name not in found:
                raise Reject(Reason.MISSING_FIELD, f"{path}: no {name}; fetch the file again")
            joint, ok = arrays.rigid(found[name], f"{path}, {name}")
            if len(joint) != len(points):
                raise Reject(Reason.CONTRADICTION, f"{path}: {name} has {len(joint)} rows, the camera {len(points)}")
            points[ok, j] = joint[ok, :3, 3] * spec.unit_in_m
            trust = found.get(f"confidences/{side}{part}")
            if trust is not None:
                confidence[:, j] = arrays.array(trust, (len(points),), f"{path}, confidences/{side}{part}")
        if spec.min_confidence is not None:
            points[confidence <= spec.min_confidence] = np.nan
        points = points_to_camera(points, to_camera)[:rows]
        seen = np.isfinite(points).all(-1)
        valid = camera_ok[:rows] & seen[:, 0] & (seen.sum(1) >= 12) & (seen[:, _KNUCKLES].sum(1) >= 4)
        return keypoint_track(side, points, valid, confidence=np.clip(confidence[:rows].mean(1), 0, 1))

    def _intrinsics(self, found: dict[str, np.ndarray], path: str) -> Any:
        if "camera/intrinsic" not in found:
            return None
        return motion.pinhole(found["camera/intrinsic"], 0, 0, f"{path}, camera/intrinsic")

    def _text(self, attrs: dict[str, str], times: np.ndarray) -> list[Narration]:
        """The description that fits this direction of a reversible task (``which_llm_description``: 1 or 2)."""
        which = attrs.get("which_llm_description", "1").strip()
        text = attrs.get("llm_description2" if which == "2" else "llm_description", "").strip()
        if not text or len(times) < 2:
            return []
        end = float(times[-1] + np.median(np.diff(times)))
        return [Narration(0.0, end, text, "task", hand_in(text))]
