"""Tars that hold a sequence frame by frame: pictures, cameras and hands as members (HOT3D-Clips).

Members are ``<frame>.image_<stream>.jpg``, ``<frame>.cameras.json``, ``<frame>.hands.json``, ``<frame>.info.json`` and
once ``__hand_shapes.json__``. The wearer's view is the RGB stream where there is one, else the first mono stream.

Legend: T frames of the tar.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.hands.mano_variants import from_quaternions
from unihand_data.sources import archive, motion
from unihand_data.sources.annotated_sequence import AnnotatedSource, Pictures, Sequence, SideRows
from unihand_data.sources.layouts.common import SIDES
from unihand_data.untrusted import tables
from unihand_data.values.camera import Intrinsics
from unihand_data.values.recording import SourceItem

_STREAMS = ("214-1", "1201-1")
_SHAPES = "__hand_shapes.json__"


class FrameArchiveSource(AnnotatedSource):
    """Items: every tar; every VRS recording, rejected with the way out."""

    FIXED: ClassVar[dict[str, Any]] = {"hands.variant": "pca", "hands.min_confidence": None, "camera.model": "none"}

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        for name in self.select(files, [self.spec.paths["tars"]]):
            self.claim(name)
            yield self.item(name, self.path(name), tar=name)
        for name in self.select(files, ["**/*.vrs"]):
            self.claim(name)
            yield self.item(name, self.path(name), tar=None)

    def load(self, item: SourceItem) -> Sequence:
        if item.payload["tar"] is None:
            raise Reject(
                Reason.UNSUPPORTED, f"{item.uri}: VRS needs the owner's tools; fetch the same sequences as HOT3D-Clips"
            )
        tar = self.path(item.payload["tar"])
        content = {m.name: data for m, data in archive.iter_members(tar, max_read=32 << 20)}
        frames = sorted({n.split(".")[0] for n in content if n.endswith(".cameras.json")})
        stream = next((s for s in _STREAMS if f"{frames[0]}.image_{s}.jpg" in content), None) if frames else None
        if stream is None:
            raise Reject(Reason.MISSING_FILE, f"{tar}: no frames with a picture of stream {' or '.join(_STREAMS)}")

        def read(name: str) -> bytes:
            data = content.get(name)
            if data is None:
                raise Reject(Reason.MISSING_FILE, f"{tar}: no member {name}; fetch the tar again")
            return data

        def parsed(name: str) -> Any:
            where = f"{tar}!{name}"
            return tables.parse_json(tables.decode_text(read(name), where), where)

        cameras = [tables.need(parsed(f"{f}.cameras.json"), stream, f"{tar}!{f}.cameras.json") for f in frames]
        pose = np.stack([_transform(tables.need(c, "T_world_from_camera", tar), tar) for c in cameras])
        beta = np.zeros(10)
        if _SHAPES in content:
            beta = motion.array(tables.need(parsed(_SHAPES), "mano", f"{tar}!{_SHAPES}"), (10,), f"{tar}!{_SHAPES}")
        width = self.spec.hands.pca_components if self.spec.hands else None
        assert width is not None
        hands = [parsed(f"{f}.hands.json") if f"{f}.hands.json" in content else {} for f in frames]
        if not any(hands):
            raise Reject(Reason.MISSING_FIELD, f"{tar}: no hands in it (a test clip); take the training clips")
        times = self._times(
            [parsed(f"{f}.info.json") if f"{f}.info.json" in content else {} for f in frames], stream, tar
        )
        return Sequence(
            times,
            {
                side: _side([h.get(side) for h in hands if isinstance(h, dict)], beta, width, f"{tar}, {side}")
                for side in SIDES
            },
            pictures=Pictures([f"{f}.image_{stream}.jpg" for f in frames], read, times),
            camera=pose,
            intrinsics=_lens(tables.need(cameras[0], "calibration", tar), tar),
            annotations=(tar,),
            task_id=item.key,
        )

    def _times(self, infos: list[Any], stream: str, tar: str) -> np.ndarray:
        """Own times of the pictures (``image_timestamps_ns``) where they are given, else the published rate."""
        stamps = [i.get("image_timestamps_ns", {}) if isinstance(i, dict) else {} for i in infos]
        if all(isinstance(s, dict) and stream in s for s in stamps):
            ns = np.array([tables.number(s[stream], tar) for s in stamps])
            if (np.diff(ns) <= 0).any():
                raise Reject(Reason.BAD_VALUE, f"{tar}: image timestamps do not increase")
            return (ns - ns[0]) * 1e-9
        assert self.spec.fps is not None
        return np.arange(len(infos)) / self.spec.fps


def _transform(value: Any, source: str) -> np.ndarray:
    out = np.eye(4)
    quat = motion.array(tables.need(value, "quaternion_wxyz", source), (4,), source)
    rotvec = from_quaternions(quat[None], "wxyz", source)
    out[:3, :3] = Rotation.from_rotvec(rotvec[0]).as_matrix()
    out[:3, 3] = motion.array(tables.need(value, "translation_xyz", source), (3,), source)
    return out


def _side(hands: list[Any], beta: np.ndarray, width: int, source: str) -> SideRows:
    """``mano_pose``: ``thetas`` (``width`` PCA coefficients) and ``wrist_xform`` (axis-angle, translation; world)."""
    n = len(hands)
    rows = SideRows(np.zeros(n, bool), np.zeros((n, width)), np.zeros((n, 3)), np.zeros((n, 3)), beta)
    for i, hand in enumerate(hands):
        pose = hand.get("mano_pose") if isinstance(hand, dict) else None
        if pose is None:
            continue
        xform = motion.array(tables.need(pose, "wrist_xform", source), (6,), source)
        rows.pose[i] = motion.array(tables.need(pose, "thetas", source), (width,), source)  # type: ignore[index]
        rows.root[i], rows.transl[i] = xform[:3], xform[3:]  # type: ignore[index]
        rows.valid[i] = True
    return rows


def _lens(calibration: Any, source: str) -> Intrinsics | None:
    """Only lens models with a pinhole-plus-k1..k4 form; Aria's FISHEYE624 has none."""
    kind = str(tables.need(calibration, "projection_model_type", source))
    if "KANNALA_BRANDT_K3" not in kind:
        return None
    fx, fy, cx, cy, *k = motion.array(tables.need(calibration, "projection_params", source), (8,), source)
    width, height = (tables.number(tables.need(calibration, f"image_{d}", source), source) for d in ("width", "height"))
    return motion.pinhole([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], width, height, source, "kannala_brandt", k)
