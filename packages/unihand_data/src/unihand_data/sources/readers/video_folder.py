"""Videos anywhere under a folder, loose or inside tar and zip archives. No annotation is expected."""

from __future__ import annotations

from collections.abc import Iterator

from unihand_data.errors import Reason, Reject
from unihand_data.sources import archive
from unihand_data.sources.base import FolderSource
from unihand_data.sources.listing import is_remote, is_video
from unihand_data.sources.recording import Recording, SourceItem


class VideoFolderSource(FolderSource):
    """Items: every video file, every video in an archive, and every archive that cannot be opened."""

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        for name in files:
            if is_video(name):
                self.claim(name)
                yield self.item(name, self.path(name), kind="file", video=name)
            elif archive.is_archive(name) and not is_remote(self.root):
                yield from self._list_archive(name)

    def _list_archive(self, name: str) -> Iterator[SourceItem]:
        path = self.path(name)
        try:
            videos = [m.name for m in archive.members(path) if is_video(m.name)]
        except Reject as reject:
            self.claim(name)
            yield self.item(name, path, kind="broken", reason=str(reject.reason), message=reject.message)
            return
        if videos:
            self.claim(name)
        for member in videos:
            yield self.item(f"{name}!{member}", f"{path}!{member}", kind="member", archive=name, member=member)

    def open(self, item: SourceItem) -> Recording:
        kind = item.payload.get("kind")
        if kind == "broken":
            raise Reject(Reason(item.payload["reason"]), item.payload["message"])
        if kind == "member":
            return self.recording(item, f"{self.path(item.payload['archive'])}!{item.payload['member']}")
        return self.recording(item, self.path(item.payload["video"]))
