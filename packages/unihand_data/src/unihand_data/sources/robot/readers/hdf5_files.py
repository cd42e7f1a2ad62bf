"""The HDF5 files of a folder, grouped into data sets by their tree and by what one file of each task holds.

Trees: RoboMIND ``<robot>/<task>/success_episodes/[train|val/]<episode>/data/trajectory.hdf5``; AgiBot World
``proprio_stats/<task>/<episode>/proprio_stats.h5``; DROID ``<lab>/<success|failure>/<date>/<episode>/trajectory.h5``;
everything else is a folder of files, each one episode (ACT) or many (robomimic, LIBERO, RoboCasa: ``data/demo_N``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources import isolated
from unihand_data.sources.robot.readers.hdf5_layouts import BY_NAME, Contents, contents_of

_TREES = (
    re.compile(r"(?:(?P<root>.*)/)?(?P<task>[^/]+)/(?P<status>success|failure)_episodes/(?:(?P<split>train|val)/)?"
               r"(?P<episode>[^/]+)/data/trajectory\.hdf5"),
    re.compile(r"(?:(?P<root>.*)/)?proprio_stats/(?P<task>[^/]+)/(?P<episode>[^/]+)/proprio_stats\.h5"),
    re.compile(r"(?:(?P<root>.*)/)?(?P<task>[^/]+)/(?P<status>success|failure)/(?P<date>[^/]+)/(?P<episode>[^/]+)/"
               r"trajectory\.h5"),
    re.compile(r"(?:(?P<root>.*)/)?(?P<episode>[^/]+)/trajectory\.h5"),
)  # fmt: skip
_SUFFIXES = (".hdf5", ".h5")
#: files beside or above a data set that say something about its episodes
SIDE = re.compile(
    r"(language_description_annotation_json/[^/]+|RoboMIND[^/]*\.csv|aggregated-annotations-[^/]*\.json"
    r"|task_info/task_[^/]+\.json)"
)
MANY = "data"  # group of the episodes in a file of many
#: files of one task that are looked at until one can be read
TRIES = 8


@dataclass(frozen=True)
class File:
    """One HDF5 file; ``task`` and ``episode`` as the tree names them (a file of a plain folder is its own task)."""

    name: str
    root: str
    task: str
    episode: str
    status: str = ""
    split: str = ""
    tree: bool = True


@dataclass
class Looked:
    """A task's files, and what one of them holds; ``groups``: episodes of a file of many."""

    files: list[File]
    contents: Contents | None = None
    groups: dict[str, list[str]] = field(default_factory=dict)
    why: Reject | None = None


def files_of(names: list[str]) -> dict[str, list[File]]:
    """Root -> its files, in order of their names."""
    out: dict[str, list[File]] = {}
    for name in names:
        if not name.lower().endswith(_SUFFIXES) or name.rpartition("/")[2].startswith("."):
            continue
        at = next((m for tree in _TREES if (m := tree.fullmatch(name))), None)
        if at is None:
            folder, _, base = name.rpartition("/")
            file = File(name, folder, folder.rpartition("/")[2], Path(base).stem, tree=False)
        else:
            got = at.groupdict()
            episode = "/".join(p for p in (got.get("date"), got["episode"]) if p)
            file = File(
                name, got["root"] or "", got.get("task") or "", episode, got.get("status") or "", got.get("split") or ""
            )
        out.setdefault(file.root, []).append(file)
    return out


def places_of(file: File) -> list[str]:
    """Folders whose files belong to a file's episode; none for a file of a plain folder."""
    if not file.tree:
        return []
    folder = file.name.rpartition("/")[0]
    above = f"{file.root}/".lstrip("/")
    if folder != f"{above}proprio_stats/{file.task}/{file.episode}":
        return [folder]
    return [folder, *(f"{above}{part}/{file.task}/{file.episode}" for part in ("observations", "parameters"))]


def look(root: str, files: list[File]) -> Iterator[Looked]:
    """One entry per task: its files with what the first readable one holds. Files of many episodes are looked at one
    by one, since a folder may hold several kinds (with and without pictures)."""
    tasks: dict[str, list[File]] = {}
    for file in files:
        tasks.setdefault(file.task, []).append(file)
    for group in tasks.values():
        yield from _look_at(root, group)


def _look_at(root: str, files: list[File]) -> Iterator[Looked]:
    broken: list[File] = []
    why: Reject | None = None
    for number, file in enumerate(files):
        try:
            contents, groups = _peek(f"{root}/{file.name}")
        except Reject as reject:
            broken.append(file)
            why = why or reject
            if len(broken) >= TRIES or file is files[-1]:
                yield Looked([*broken, *files[number + 1 :]], why=why)
                return
            continue
        if not groups:
            yield Looked([*broken, *files[number:]], contents)
            return
        yield Looked([*broken, file], contents, {file.name: groups})
        broken = []


def _peek(path: str) -> tuple[Contents, list[str]]:
    """What a file holds (its first episode, where it holds many) and the groups of its episodes."""
    listing = isolated.hdf5_list(path, "", 2)
    names = [n for n, (kind, _) in listing["members"].items() if n.startswith(f"{MANY}/") and kind == "group"]
    if not names:
        return contents_of(isolated.hdf5_list(path), path), []
    names.sort(key=_numbers)
    first = isolated.hdf5_list(path, names[0])
    return contents_of(first, f"{path}#{names[0]}", BY_NAME["robomimic"]), names


def _numbers(name: str) -> list[Any]:
    """``demo_10`` behind ``demo_9``."""
    return [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)]


def refused(looked: Looked) -> Reject:
    """Why nothing of a task can be said."""
    return looked.why or Reject(Reason.UNREADABLE, f"{looked.files[0].name}: cannot be read")
