"""Takes: videos with tables of text, and for some of them hand keypoints and a camera trajectory in files beside.

The words are those of :mod:`video_table`; the YAML's ``layout`` names the module of ``sources/layouts`` that finds the
pose files of a listing and reads those of one video. A take without pose files is a video with words.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, ClassVar

from unihand_data.errors import Reject
from unihand_data.sources.annotated_sequence import AnnotatedSource, Sequence
from unihand_data.sources.base import hash_files
from unihand_data.sources.readers.video_table import VideoTableSource
from unihand_data.values.recording import Recording, SourceItem


class VideoPoseSource(VideoTableSource, AnnotatedSource):
    """Items: as :class:`VideoTableSource`."""

    FIXED: ClassVar[dict[str, Any]] = AnnotatedSource.FIXED

    def _layout(self) -> Any:
        return importlib.import_module(f"unihand_data.sources.layouts.{self.spec.layout}")

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        poses = self._layout().find(self, files)
        for item in super()._list(files):
            if video := item.payload.get("video"):
                item.payload["poses"] = poses(video)
            yield item

    def _open(self, item: SourceItem) -> Recording:
        recording = super()._open(item)
        if recording.video is None or not recording.extra["join"]:
            return recording
        rejects: list[Reject] = recording.extra["rejects"]
        seq: Sequence | None = self._layout().load(self, item, recording, rejects)
        if seq is None:
            return recording
        recording.extra["annotation_id"] = hash_files(seq.annotations)
        if seq.sides:
            self.add_motion(recording, item, seq)
        else:
            self.add_path(recording, item, seq)
        return recording
