"""Videos anywhere under a folder, loose or inside tar and zip archives. No annotation is expected; a calibrated camera
can lie beside a video as ``NAME.camera.json`` (``sources/camera_json.py``), wherever the video lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_bytes, make_id
from unihand_data.sources import archive, camera_json
from unihand_data.sources.base import FolderSource
from unihand_data.sources.listing import is_remote, is_video
from unihand_data.values.recording import Recording, SourceItem


class VideoFolderSource(FolderSource):
    """Items: every video file, every video in an archive, and every archive that cannot be opened. A camera file
    without its video is no item and counts as ignored."""

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        known = set(files)
        for name in files:
            if is_video(name):
                camera = self._camera_file(name, known)
                self.claim(name, *([camera] if camera else []))
                yield self.item(name, self.path(name), kind="file", video=name, camera=camera)
            elif archive.is_archive(name):
                yield from self._list_archive(name)

    def _camera_file(self, video: str, known: set[str]) -> str | None:
        """The camera file beside a video; where that is the only file that was named, it is looked for."""
        camera = camera_json.beside(video)
        if camera in known:
            return camera
        return camera if self.only and _exists(self.path(camera)) else None

    def _list_archive(self, name: str) -> Iterator[SourceItem]:
        path = self.path(name)
        if is_remote(path):
            self.claim(name)
            why = "archives are read from local disk only; copy it near, or unpack it there"
            yield self.broken(name, Reject(Reason.UNSUPPORTED, f"{path}: {why}"))
            return
        try:
            members = dict.fromkeys(m.name for m in archive.members(path))
        except Reject as reject:
            self.claim(name)
            yield self.broken(name, reject)
            return
        videos = [m for m in members if is_video(m)]
        if videos:
            self.claim(name)
        for member in videos:
            camera = camera_json.beside(member)
            yield self.item(
                f"{name}!{member}",
                f"{path}!{member}",
                kind="member",
                archive=name,
                member=member,
                camera=f"{name}!{camera}" if camera in members else None,
            )

    def _open(self, item: SourceItem) -> Recording:
        payload = item.payload
        inside = f"{payload['archive']}!{payload['member']}" if payload.get("kind") == "member" else payload["video"]
        recording = self.recording(item, self.path(inside))
        if payload["camera"]:
            path = self.path(payload["camera"])
            data = camera_json.read_bytes(path)
            recording.intrinsics = camera_json.parse(data, path)
            # as ``hash_files`` of a local file: the same camera has one id wherever it lies
            recording.extra["annotation_id"] = make_id("files", hash_bytes(data))
        return recording


def _exists(path: str) -> bool:
    if not is_remote(path):
        return Path(path).is_file()
    import fsspec

    fs, name = fsspec.core.url_to_fs(path)
    return bool(fs.exists(name))
