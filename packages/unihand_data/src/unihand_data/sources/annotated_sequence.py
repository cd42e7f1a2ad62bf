"""The common part of readers whose data sets bring hands: one loaded sequence -> one recording.

A reader fills a :class:`Sequence` in the data set's own conventions; :class:`AnnotatedSource` turns it into canonical
tracks as the YAML says (variant, mean, side model, translation, frame, units).

Legend: T rows of the annotation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.hands import mano_variants as mv
from unihand_data.sources import image_sequence, motion
from unihand_data.sources.base import FolderSource
from unihand_data.values.camera import Intrinsics
from unihand_data.values.hands import HandTrack, Side
from unihand_data.values.recording import Narration, Recording, SourceItem

#: axis-angles may count whole turns, but not many
_MAX_ANGLE = 4 * np.pi


@dataclass
class SideRows:
    """One hand in the data set's conventions.

    Attributes:
        pose: (T, K), (T, J, 4) or (T, J, 3, 3), whatever the YAML's variant says; keypoint variants leave it None.
        root: wrist rotation apart from ``pose``: (T, 3), (T, 4) or (T, 3, 3); None where ``pose`` holds it.
        transl: (T, 3). beta: (10,). valid: (T,) bool. keypoints: (T, J, 3), confidence: (T,).
    """

    valid: np.ndarray
    pose: np.ndarray | None = None
    root: np.ndarray | None = None
    transl: np.ndarray | None = None
    beta: np.ndarray = field(default_factory=lambda: np.zeros(10))
    keypoints: np.ndarray | None = None
    confidence: np.ndarray | None = None


@dataclass
class Pictures:
    """A video kept as numbered pictures, with their times (s, strictly increasing)."""

    names: list[str]
    read: Callable[[str], bytes]
    times: np.ndarray


@dataclass
class Sequence:
    """One recording as the data set keeps it.

    Attributes:
        camera: (T, 4, 4) poses as published, or None for hands already in the camera.
        hand_to_camera: (4, 4) or (T, 4, 4) from the device's frame to the camera's, where hands are in that.
        static_camera: the camera stands still, its pose is not published.
        path, path_times: (N, 4, 4) poses as published and their times (N,), where the camera's trajectory has other
            rows than the hands.
    """

    times: np.ndarray
    sides: dict[Side, SideRows]
    video: str | None = None
    pictures: Pictures | None = None
    camera: np.ndarray | None = None
    hand_to_camera: np.ndarray | None = None
    static_camera: bool = False
    path: np.ndarray | None = None
    path_times: np.ndarray | None = None
    intrinsics: Intrinsics | None = None
    narrations: list[Narration] = field(default_factory=list)
    annotations: tuple[str, ...] = ()
    task_id: str = ""


class AnnotatedSource(FolderSource):
    """Base: subclasses list items and give ``load``."""

    FIXED: ClassVar[dict[str, Any]] = {"hands.min_confidence": None}

    def load(self, item: SourceItem) -> Sequence:
        raise NotImplementedError

    def _open(self, item: SourceItem) -> Recording:
        seq = self.load(item)
        if len(seq.times) < 2:
            raise Reject(Reason.TOO_SHORT, f"{item.uri}: {len(seq.times)} annotated frames; a motion needs two")
        recording = self._recording(item, seq)
        recording.split_group = item.payload.get("split_group", "")
        self.add_motion(recording, item, seq)
        recording.intrinsics = seq.intrinsics or self.fixed_intrinsics()
        recording.narrations = seq.narrations
        recording.task_id = seq.task_id
        return recording

    def add_motion(self, recording: Recording, item: SourceItem, seq: Sequence) -> None:
        """Hands and camera of the sequence, brought to the canonical conventions, into the recording."""
        rows, spec = len(seq.times), self.spec.hands
        assert spec is not None
        to_camera, camera_ok = np.tile(np.eye(4), (rows, 1, 1)), np.ones(rows, bool)
        if seq.camera is not None:
            assert self.spec.camera is not None
            pose, camera_ok = motion.camera_to_world(seq.camera, self.spec.camera, f"{item.uri}, camera poses")
            to_camera[camera_ok] = motion.inverse(pose[camera_ok])
            recording.camera = motion.camera_track(pose, camera_ok, self.spec.camera)
        elif seq.static_camera:
            from unihand_data.values.camera import CameraTrack

            recording.camera = CameraTrack(to_camera.copy(), camera_ok.copy(), method="static", world="camera")
        if recording.camera is not None:
            recording.camera_t = seq.times
        if spec.frame == "device":
            fixed = seq.hand_to_camera if seq.hand_to_camera is not None else self._fixed_device()
            to_camera = np.broadcast_to(fixed, (rows, 4, 4))
        for side in ("left", "right"):
            hand = seq.sides.get(side)
            if hand is None:
                recording.hands.append(HandTrack.empty(side, rows, estimator="annotated"))
                continue
            hand.valid = np.asarray(hand.valid, bool)
            if spec.frame == "world":
                hand.valid &= camera_ok
            track = self._track(side, hand, None if spec.frame == "camera" else to_camera, item.uri)
            motion.in_front(track.wrist_pos[:, 2], track.valid, item.uri)
            recording.hands.append(track)
        recording.hands_t, recording.hands_sparse = seq.times, spec.sparse
        self.add_path(recording, item, seq)

    def add_path(self, recording: Recording, item: SourceItem, seq: Sequence) -> None:
        """The camera's own trajectory, where the sequence has one apart from its hands."""
        if seq.path is not None:
            assert self.spec.camera is not None
            pose, ok = motion.camera_to_world(seq.path, self.spec.camera, f"{item.uri}, camera trajectory")
            recording.camera = motion.camera_track(pose, ok, self.spec.camera)
            recording.camera_t = seq.path_times

    def _fixed_device(self) -> np.ndarray:
        if self.spec.camera is None or not self.spec.camera.hand_to_camera:
            return np.eye(4)
        return np.array(self.spec.camera.hand_to_camera, float)

    def fixed_intrinsics(self) -> Intrinsics | None:
        """The one camera of the data set, where the YAML gives it."""
        if self.spec.camera is None or not self.spec.camera.intrinsics:
            return None
        fx, fy, cx, cy, width, height = self.spec.camera.intrinsics
        return Intrinsics(fx, fy, cx, cy, int(width), int(height))

    def _recording(self, item: SourceItem, seq: Sequence) -> Recording:
        if seq.pictures is None:
            return self.recording(item, seq.video, annotations=seq.annotations)
        p = seq.pictures
        content = image_sequence.hash_pictures(p.names, p.read)
        folder = Path(self.options.work_dir) if self.options.work_dir else image_sequence.default_work_dir()
        out = folder / image_sequence.joined_name(content, p.times)
        image_sequence.join(p.names, p.read, p.times, out, item.uri)
        recording = self.recording(item, str(out), content, seq.annotations)
        recording.extra["joined"] = True  # may be removed; opening the item makes it again
        return recording

    def _track(self, side: Side, hand: SideRows, to_camera: np.ndarray | None, source: str) -> HandTrack:
        spec = self.spec.hands
        assert spec is not None
        where = f"{source}, {side} hand"
        rows, ok = len(hand.valid), hand.valid
        points = None
        if hand.keypoints is not None:
            points = hand.keypoints * spec.unit_in_m
            points = mv.points_to_camera(points, to_camera) if to_camera is not None else points
        if spec.variant.startswith("keypoints"):
            assert points is not None
            return mv.keypoint_track(side, points, ok, confidence=hand.confidence)
        if not ok.any():
            return HandTrack.empty(side, rows, hand_model="mano", estimator="annotated")
        assert hand.pose is not None
        assert hand.transl is not None
        root, theta = self._angles(side, hand.pose[ok], None if hand.root is None else hand.root[ok], where)
        pos = hand.transl[ok] * spec.unit_in_m
        if spec.translation == "mano":
            numbers = mv.mano_numbers(self.options.mano_dir, side, f"{where}: the wrist from transl")
            pos = mv.wrist_from_transl(pos, hand.beta, numbers)
        if to_camera is not None:
            pos, root = mv.to_camera(pos, root, to_camera[ok])
        pos, root, theta = (_spread(v, ok) for v in (pos, root, theta))
        return mv.mano_track(side, pos, root, theta, hand.beta, ok, keypoints=points, confidence=hand.confidence)

    def _angles(
        self, side: Side, pose: np.ndarray, root: np.ndarray | None, where: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Wrist rotation (T, 3) in the data set's frame and canonical theta (T, 45)."""
        spec = self.spec.hands
        assert spec is not None
        n = len(pose)
        if spec.variant == "matrices":
            assert root is not None
            root, theta = mv.from_matrices(root, where), mv.from_matrices(pose, where).reshape(n, 45)
        elif spec.variant in ("quat_wxyz", "quat_xyzw"):
            turned = mv.from_quaternions(pose, "wxyz" if spec.variant == "quat_wxyz" else "xyzw", where)
            root, theta = turned[:, 0], turned[:, 1:].reshape(n, 45)
        elif root is None:
            root, theta = mv.split_root(pose, where)
        else:
            theta = pose
        if spec.variant == "pca":
            if theta.shape != (n, spec.pca_components):
                raise Reject(
                    Reason.WRONG_TYPE,
                    f"{where}: hand pose of shape {theta.shape}, the YAML says {spec.pca_components} PCA coefficients",
                )
            numbers = mv.mano_numbers(self.options.mano_dir, side, f"{where}: hand pose in PCA coefficients")
            theta = mv.from_pca(theta, numbers, mean=spec.mean)
        elif spec.mean == "model":
            numbers = mv.mano_numbers(self.options.mano_dir, side, f"{where}: hand pose relative to the mean hand")
            theta = theta + numbers.mean
        if theta.shape != (n, 45):
            raise Reject(Reason.WRONG_TYPE, f"{where}: hand pose of shape {theta.shape}, expected ({n}, 45)")
        if np.abs(theta).max(initial=0.0) > _MAX_ANGLE:
            raise Reject(Reason.BAD_VALUE, f"{where}: joint angles up to {np.abs(theta).max():.3g} rad; wrong numbers")
        if side == "left" and spec.left_in_right_model:
            theta = mv.own_side(theta)
        return root, theta


def _spread(values: np.ndarray, ok: np.ndarray) -> np.ndarray:
    """Values of the valid rows -> all rows, NaN elsewhere."""
    out = np.full((len(ok), *values.shape[1:]), np.nan)
    out[ok] = values
    return out
