"""Robot data sets in tar files (packed as WebDataset shards or one tar.gz per task): a LeRobot folder in each tar.

InternData-M1 and Galaxea Open World are published so. ``find`` reads the ``meta`` members; an item is an episode of
the table in there; opening one lays the tar out in the work folder (:mod:`~.webdataset_trees`) and hands over to the
LeRobot reader, whose columns, cameras, sentences and ids are those of the unpacked set. Tars of other things are left
alone.

Keys of the data-set file that this reader knows: those of the LeRobot reader, and ``paths: {keep_gb: ...}``, how much
of laid-out tars stays on the disk (200).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import ClassVar

from unihand_data.errors import Reject
from unihand_data.sources.listing import list_files
from unihand_data.sources.robot.episode import Found, RobotEpisode
from unihand_data.sources.robot.readers.lerobot import LeRobotReader
from unihand_data.sources.robot.readers.webdataset_trees import TARS, meta_tree, whole_tree
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.values.recording import SourceItem


class WebDatasetReader:
    """See the module."""

    container: ClassVar[str] = "webdataset"

    @classmethod
    def find(cls, root: str, files: list[str]) -> list[Found]:
        return [found for name in files if name.lower().endswith(TARS) for found in _find_one(root, name)]

    def __init__(self, root: str, found: Found, spec: RobotSpec) -> None:
        self.found, self.spec = found, spec
        self.name, self.inner = found.files
        self.tar = f"{root}/{self.name}"
        self.keep_bytes = int(float(spec.paths.get("keep_gb", "200")) * 1e9)

    def items(self) -> Iterator[SourceItem]:
        tree, _ = meta_tree(self.tar)
        for item in self._reader(str(tree)).items():
            uri = item.uri.replace(str(tree), f"{self.tar}!", 1).replace("!/", "!", 1)
            yield SourceItem(f"{self.name}!{item.key}", uri, self.spec.name, item.payload)

    def claimed(self, files: list[str]) -> set[str]:
        return {self.name} & set(files)

    def open(self, item: SourceItem) -> RobotEpisode:
        tree = str(whole_tree(self.tar, self.keep_bytes))
        inside = SourceItem(item.key, item.uri.replace(f"{self.tar}!", f"{tree}/", 1), item.dataset, item.payload)
        with _in_the_tar(tree, self.tar):
            episode = self._reader(tree).open(inside)
        episode.item = item
        episode.losses = [Reject(r.reason, _named(r.message, tree, self.tar), level=r.level) for r in episode.losses]
        episode.facts["packed"] = PurePosixPath(self.name).name
        return episode

    def _reader(self, tree: str) -> LeRobotReader:
        return LeRobotReader(tree, replace(self.found, container="lerobot", root=self.inner), self.spec)


def _find_one(root: str, name: str) -> list[Found]:
    tar, base = f"{root}/{name}", PurePosixPath(name).name
    stem = base[: -len(next(s for s in TARS if base.lower().endswith(s)))]
    try:
        tree, folders = meta_tree(tar)
    except Reject as reject:
        return [Found("webdataset", name, stem, files=(name, ""), problems=(reject.message,))]
    out = []
    for found in LeRobotReader.find(str(tree), list_files(str(tree))) if folders else []:
        problems = tuple(_named(p, str(tree), tar) for p in found.problems)
        inner = found.root
        out.append(
            replace(
                found,
                container="webdataset",
                root=f"{name}!{inner}" if inner else name,
                name=PurePosixPath(inner).name or stem,
                files=(name, inner),
                problems=problems,
            )
        )
    return out


@contextmanager
def _in_the_tar(tree: str, tar: str) -> Iterator[None]:
    """Messages name the tar and its member, not the work folder."""
    try:
        yield
    except Reject as reject:
        raise Reject(
            reject.reason, _named(reject.message, tree, tar), level=reject.level, frames=reject.frames
        ) from reject


def _named(message: str, tree: str, tar: str) -> str:
    return message.replace(f"{tree}/", f"{tar}!").replace(tree, tar)
