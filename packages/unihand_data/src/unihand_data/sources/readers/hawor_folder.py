"""Folders HaWoR wrote (``world_space_res.pth`` and what lies beside it), as a source of hands and camera motion.

The result folder is named after its video and lies beside it. Rows are frames of HaWoR's own 30 frames/s resampling.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import motion
from unihand_data.sources.base import FolderSource
from unihand_data.sources.listing import VIDEO_SUFFIXES, is_video
from unihand_data.untrusted import arrays, tables
from unihand_data.untrusted.unpickle import safe_load
from unihand_data.values.camera import Intrinsics
from unihand_data.values.recording import Recording, SourceItem

HAWOR_FPS = 30.0
#: what HaWoR takes when nobody gives it a focal length
_DEFAULT_FOCAL = 600.0


class HaworFolderSource(FolderSource):
    """Items: result folders with their videos, and videos without results (rejected when opened)."""

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        known = set(files)
        for name in files:
            folder, _, base = name.rpartition("/")
            if base != "world_space_res.pth":
                continue
            self.claim(*(f for f in files if f.startswith(f"{folder}/")))
            video = next((f"{folder}{s}" for s in (*VIDEO_SUFFIXES, ".MP4", ".MOV") if f"{folder}{s}" in known), None)
            if video:
                self.claim(video)
            yield self.item(folder, self.path(video or folder), folder=folder, video=video)
        for name in files:
            if is_video(name) and name not in self._claimed:
                self.claim(name)
                yield self.item(name, self.path(name), folder=None, video=name)

    def _open(self, item: SourceItem) -> Recording:
        folder, video = item.payload["folder"], item.payload["video"]
        if folder is None:
            raise Reject(Reason.MISSING_FILE, f"{item.uri}: no HaWoR results beside it; run HaWoR on it first")
        path = self.path(folder)
        recording = self.recording(
            item, self.path(video) if video else None, annotations=(f"{path}/world_space_res.pth",)
        )
        from unihand_data.hands.hawor_config import HaworReadSettings
        from unihand_data.hands.hawor_results import read_results

        result = read_results(Path(path), settings=HaworReadSettings(mano_dir=self.options.mano_dir))
        recording.intrinsics = _intrinsics(Path(path))
        rows = len(result.left)
        recording.hands = [result.left, result.right]
        recording.hands_t = recording.camera_t = np.arange(rows) / HAWOR_FPS
        recording.camera = result.camera
        recording.extra["figures"] = result.figures
        return recording


def _intrinsics(folder: Path) -> Intrinsics | None:
    """The one square focal length HaWoR worked with (``est_focal.txt``) and the centre its SLAM wrote."""
    focal, slam = folder / "est_focal.txt", sorted((folder / "SLAM").glob("hawor_slam_w_scale_*.npz"))
    if not focal.is_file() or not slam:
        return None
    f = tables.number(tables.read_text(focal, 1 << 10).strip(), str(focal))
    centre = arrays.array(tables.need(safe_load(slam[0]), "img_center", str(slam[0])), (2,), str(slam[0]))
    lens = motion.pinhole([[f, 0, centre[0]], [0, f, centre[1]], [0, 0, 1]], 0, 0, str(focal))
    lens.source = "assumed" if f == _DEFAULT_FOCAL else "given"
    return lens
