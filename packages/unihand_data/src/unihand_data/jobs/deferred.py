"""Clips that wait for words: a batch that is not answered yet, a budget that ended.

Hands and camera are the expensive part of a clip, so its state is kept when the annotation is put off, and the next run
goes on from there. A state whose encoded video is gone is not used.
"""

from __future__ import annotations

from unihand_data.curate.clip_state import ClipState
from unihand_data.runner import paths
from unihand_data.runner.codec import pack, unpack


class Deferred:
    """States by clip id in ``<work_dir>/deferred``, a folder that all workers share."""

    def __init__(self, work_dir: str):
        self.folder = paths.join(work_dir, "deferred")

    def save(self, clip: ClipState) -> None:
        paths.write_atomic(self._path(clip.clip_id), pack(clip))

    def load(self, clip_id: str) -> ClipState | None:
        """The state as it was before the annotation, or None."""
        path = self._path(clip_id)
        if not paths.exists(path):
            return None
        clip = unpack(paths.read_bytes(path))
        if clip.media is None or not paths.exists(clip.media.path):
            return None
        return clip

    def drop(self, clip_id: str) -> None:
        if paths.exists(self._path(clip_id)):
            paths.remove(self._path(clip_id))

    def _path(self, clip_id: str) -> str:
        return paths.join(self.folder, f"{clip_id}.state")
