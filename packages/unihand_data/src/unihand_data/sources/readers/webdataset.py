"""WebDataset tars of ``{key}.mp4`` with ``{key}.json`` (Egocentric-10K), and worker-wide intrinsics beside the tars.

Fisheye intrinsics are given as fx, fy, cx, cy, k1..k4 of the Kannala-Brandt model for the video's full picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from unihand_data.errors import Reason, Reject
from unihand_data.sources import archive, motion
from unihand_data.sources.base import FolderSource
from unihand_data.untrusted import tables
from unihand_data.values.camera import Intrinsics
from unihand_data.values.recording import Recording, SourceItem


class WebDatasetSource(FolderSource):
    """Items: every video of every tar; a tar that cannot be listed is one item that is rejected when opened."""

    FIXED: ClassVar[dict[str, Any]] = {"hands": None, "camera.model": "kannala_brandt", "camera.pose": "none"}

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        known = set(files)
        for name in self.select(files, [self.spec.paths["tars"]]):
            self.claim(name)
            camera = self._camera_file(name, known)
            if camera:
                self.claim(camera)
            try:
                samples = list(archive.iter_samples(self.path(name)))
            except Reject as reject:
                yield self.broken(name, reject)
                continue
            for key, members in samples:
                if "mp4" in members:
                    side_car = members["json"].name if "json" in members else None
                    member = members["mp4"].name
                    uri = f"{self.path(name)}!{member}"
                    yield self.item(
                        f"{name}!{key}", uri, kind="member", tar=name, video=member, json=side_car, camera=camera
                    )

    def _camera_file(self, tar: str, known: set[str]) -> str | None:
        """The nearest ``intrinsics.json`` above the tar."""
        for parent in Path(tar).parents:
            candidate = str(parent / self.spec.paths["intrinsics"])
            if candidate in known:
                return candidate
            if self.only and Path(self.path(candidate)).is_file():
                return candidate
        return None

    def _open(self, item: SourceItem) -> Recording:
        payload = item.payload
        tar = self.path(payload["tar"])
        if payload["json"] is None:
            raise Reject(Reason.MISSING_FILE, f"{item.uri}: its side-car json is not in the tar; fetch the tar again")
        where = f"{tar}!{payload['json']}"
        text = archive.decode_json(tar, payload["json"])
        if not isinstance(text, dict):
            raise Reject(Reason.WRONG_TYPE, f"{where}: {type(text).__name__} where a mapping belongs")
        recording = self.recording(item, f"{tar}!{payload['video']}")
        width, height = (tables.number(tables.need(text, k, where), f"{where}, {k}") for k in ("width", "height"))
        announced = tables.number(tables.need(text, "size_bytes", where), f"{where}, size_bytes")
        actual = recording.extra["bytes"]
        if announced != actual:
            raise Reject(
                Reason.TRUNCATED, f"{item.uri}: {actual} bytes, {announced:.0f} announced by its json; fetch it again"
            )
        recording.fps_hint = tables.number(tables.need(text, "fps", where), f"{where}, fps")
        recording.suite = str(text.get("factory_id", recording.suite))
        recording.extra.update(worker=str(text.get("worker_id", "")), video_index=text.get("video_index"))
        if payload["camera"] is None:
            raise Reject(
                Reason.MISSING_FILE,
                f"{item.uri}: no {self.spec.paths['intrinsics']} beside its tar; a fisheye picture is useless without",
            )
        path = self.path(payload["camera"])
        recording.intrinsics = _intrinsics(path, Path(path).stat().st_mtime_ns, width, height)
        return recording


@lru_cache(maxsize=64)
def _intrinsics(path: str, _mtime: int, width: float, height: float) -> Intrinsics:
    raw: Any = tables.read_json(path)
    if isinstance(raw, dict) and isinstance(raw.get("intrinsics"), dict):
        raw = raw["intrinsics"]
    model = str(raw.get("model", "fisheye")) if isinstance(raw, dict) else ""
    if model != "fisheye":
        raise Reject(Reason.UNSUPPORTED, f"{path}: camera model {model!r}, known is 'fisheye' (Kannala-Brandt)")
    value = {k: tables.number(tables.need(raw, k, path), f"{path}, {k}") for k in ("fx", "fy", "cx", "cy")}
    k = [tables.number(tables.need(raw, f"k{i}", path), f"{path}, k{i}") for i in (1, 2, 3, 4)]
    matrix = [[value["fx"], 0, value["cx"]], [0, value["fy"], value["cy"]], [0, 0, 1]]
    return motion.pinhole(matrix, width, height, path, "kannala_brandt", k)
