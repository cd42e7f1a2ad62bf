"""Embedded pictures until the commit: the pictures of a block of rows one behind the other in one file.

Seventeen million pictures in parquet files would be seventeen million files to stage. A pack is only appended to; what
a killed worker leaves is referred to by nobody, and the content hash of every picture is checked when it is committed.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from typing import IO

from unihand_data.runner import paths
from unihand_data.shards.rows import MediaRow
from unihand_data.shards.staging import span_path

ENDING = ".pack"


class PicturePacks:
    """Writes packs below ``folder``, a new one for every block. Into a bucket nothing can be appended: there the bytes
    stay with their row, and staging puts each as an object of its own."""

    def __init__(self, folder: str):
        self.folder = folder
        self._block = ""
        self._path = ""
        self._file: IO[bytes] | None = None
        self._places: dict[str, str] = {}

    def put(self, media: MediaRow, block: str) -> MediaRow:
        """The row with a path instead of its bytes; a row that has a path is handed back."""
        if media.data is None or paths.is_remote(self.folder):
            return media
        if block != self._block:
            self.close()
            os.makedirs(self.folder, exist_ok=True)
            self._block, self._path = block, os.path.join(self.folder, f"{block}-{uuid.uuid4().hex[:8]}{ENDING}")
        if media.media_id not in self._places:
            if self._file is None:
                self._file = open(self._path, "ab")  # noqa: SIM115 (open from one row to the next)
            offset = self._file.tell()
            self._file.write(media.data)
            self._file.flush()
            self._places[media.media_id] = span_path(self._path, offset, len(media.data))
        return replace(media, path=self._places[media.media_id], data=None)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._block, self._places = None, "", {}
