"""Robot recordings whose numbers lie beside their pictures: BridgeData raw folders, NumPy archives with a video.

``bridge``: ``<scene>/<task>/<number>/<date>/raw/traj_group*/traj*/`` with ``obs_dict.pkl`` (arrays of T steps),
``policy_out.pkl`` (a list of T - 1 commands), ``images<i>/im_<t>.jpg``, ``depth_images<i>/im_<t>.png``, ``lang.txt``.
Columns are ``obs/<key>`` and ``policy/actions``; the last step has no command.

``npz``: ``<name>.npz`` whose member ``timestamps`` (T,) is in seconds (the teleoperation recordings of the BeingBeyond
D1 kit), with ``<name>.mp4`` or ``<name>_<camera>.mp4`` and ``<name>.json`` or ``<name>.txt`` beside it if they exist.
Columns are its members.

Pickles and archives go through the allow-list (``sources/unpickle.py``). ``find`` reads names, and the headers (not the
arrays) of one archive per folder. Keys of the data-set file that this reader knows: ``paths: {depth_unit_m}``.

Legend: T steps, n columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.listing import list_files
from unihand_data.sources.robot.columns import content_id_of_columns
from unihand_data.sources.robot.episode import Found, RobotEpisode, Text
from unihand_data.sources.robot.readers import sidecar_bridge as bridge
from unihand_data.sources.robot.readers import sidecar_npz as npz
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.values.recording import SourceItem

MAX_STEPS = 1_000_000


class VideoSidecarReader:
    """See the module."""

    container: ClassVar[str] = "video_sidecar"

    @classmethod
    def find(cls, root: str, files: list[str]) -> list[Found]:
        out = []
        for below, folders in bridge.roots(files).items():
            features, problems = bridge.features(root, folders)
            name = PurePosixPath(below).name or PurePosixPath(root).name
            found = Found("video_sidecar", below, name, layout="bridge", features=features, problems=problems)
            out.append(_with(found, episodes=len(folders), views=bridge.cameras(files, below)))
        for below, archives in npz.roots(files).items():
            features, problems = npz.features(root, archives)
            if features or problems:
                name = PurePosixPath(below).name or PurePosixPath(root).name
                found = Found("video_sidecar", below, name, layout="npz", features=features, problems=problems)
                out.append(_with(found, episodes=len(archives), views=npz.cameras(files, archives)))
        return out

    def __init__(self, root: str, found: Found, spec: RobotSpec) -> None:
        self.found, self.spec = found, spec
        self.base = f"{root}/{found.root}".rstrip("/")

    def items(self) -> Iterator[SourceItem]:
        prefix = f"{self.found.root}/".lstrip("/")
        listing = [f"{prefix}{name}" for name in list_files(self.base)]
        places = bridge.roots(listing) if self.found.layout == "bridge" else npz.roots(listing)
        for place in places.get(self.found.root, []):
            inside = place.removeprefix(prefix) if prefix else place
            yield SourceItem(place, f"{self.base}/{inside}", self.spec.name, {"place": inside})

    def claimed(self, files: list[str]) -> set[str]:
        prefix = f"{self.found.root}/".lstrip("/")
        mine = {f for f in files if f.startswith(prefix)}
        return mine if self.found.layout == "bridge" else {f for f in mine if "/" not in f[len(prefix) :]}

    def open(self, item: SourceItem) -> RobotEpisode:
        where = item.uri
        path = f"{self.base}/{item.payload['place']}"
        part = bridge.read(path) if self.found.layout == "bridge" else npz.read(path)
        self._check(part.columns, where)
        views, lost = part.views(self._ignored, float(self.spec.paths.get("depth_unit_m", "0.001")))
        losses = [*part.losses, *lost]
        if not part.texts and not any(loss.reason is not Reason.UNREADABLE for loss in part.losses):
            losses.append(
                Reject(Reason.NO_TEXT, f"{where}: the data set says no sentence about this episode", level="row")
            )
        return RobotEpisode(
            item=item,
            content_id=content_id_of_columns(part.columns, part.times),
            columns=part.columns,
            timestamps=part.times,
            views=views,
            texts=[Text(t.text, t.level, t.start, t.stop) for t in part.texts],
            task_id=part.task,
            losses=losses,
            facts={"layout": self.found.layout, "suite": self.found.name, **part.facts},
        )

    def _ignored(self, name: str) -> bool:
        return any(re.fullmatch(p, name) for p in self.spec.ignore)

    def _check(self, columns: dict[str, np.ndarray], where: str) -> None:
        """Widths as the data set was recognised by."""
        for name in sorted(self.spec.features()):
            width, expected = columns[name].shape[1] if name in columns else None, self.found.features.get(name)
            if width is not None and expected is not None and width != expected:
                raise Reject(
                    Reason.CONTRADICTION,
                    f"{where}: {name} has {width} columns, other recordings of the data set have {expected}",
                )


def _with(found: Found, **changes: Any) -> Found:
    from dataclasses import replace

    return replace(found, **changes)
