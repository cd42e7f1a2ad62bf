"""Which robot data sets a folder holds, and which YAML says what their numbers mean.

``open_robot(folder)`` asks every container reader what it finds, compares each find with the fingerprints of all
YAMLs, and opens the readers. One find without a match, or with two, is refused with a proposal
(:func:`proposal`, printed by ``unihand probe``) that says what it is unsure of.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from unihand_data.errors import DatasetRefused
from unihand_data.sources.listing import is_remote, list_files
from unihand_data.sources.robot.episode import Found, RobotEpisode, RobotReader
from unihand_data.sources.robot.spec import RobotSpec, load_spec, spec_names
from unihand_data.values.recording import SourceItem

log = logging.getLogger(__name__)

READERS: dict[str, str] = {
    "lerobot": "lerobot:LeRobotReader",
    "hdf5": "hdf5:Hdf5Reader",
    "video_sidecar": "video_sidecar:VideoSidecarReader",
    "rlds": "rlds:RldsReader",
    "rosbag": "rosbag:RosbagReader",
    "webdataset": "webdataset:WebDatasetReader",
}


def reader_class(container: str) -> type[RobotReader]:
    module, _, name = READERS[container].partition(":")
    return getattr(importlib.import_module(f"unihand_data.sources.robot.readers.{module}"), name)


@lru_cache(maxsize=1)
def specs() -> tuple[RobotSpec, ...]:
    """All shipped YAMLs."""
    return tuple(load_spec(name) for name in spec_names())


def find(root: str, files: list[str]) -> list[Found]:
    """Every data set of every container below ``root``. A folder inside a data set that was found belongs to it."""
    out: list[Found] = []
    for container in READERS:
        out += reader_class(container).find(root, files)
    taken = {f.root for f in out if f.container == "lerobot"}  # its videos and side files are not other data sets
    return [f for f in out if f.container == "lerobot" or not any(_inside(f.root, t) for t in taken)]


def _inside(folder: str, other: str) -> bool:
    return folder == other or other == "" or folder.startswith(f"{other}/")


def misfits(spec: RobotSpec, found: Found) -> list[str]:
    """Why this YAML does not describe that find; empty where it does."""
    m, out = spec.match, []
    if spec.container != found.container:
        return [f"container {found.container}, not {spec.container}"]
    if m.names and not any(re.fullmatch(p, found.name) for p in m.names):
        out.append(f"name {found.name!r}")
    if m.robot_types and not any(re.fullmatch(p, found.robot_type) for p in m.robot_types):
        out.append(f"robot type {found.robot_type!r}")
    if m.layouts and found.layout not in m.layouts:
        out.append(f"layout {found.layout!r}")
    if m.fps is not None and found.fps is not None and abs(found.fps - m.fps) > 0.01 * m.fps:
        out.append(f"{found.fps:g} fps")
    for feature, width in m.features.items():
        have = found.features.get(feature)
        if have is None or (width is not None and have != width):
            out.append(f"{feature} has {'no columns' if have is None else f'{have} columns'}, not {width or 'any'}")
    out += [f"{feature} is there" for feature in m.absent if feature in found.features]
    for feature, pattern in m.columns.items():
        names = found.column_names.get(feature, ())
        if not names or not all(re.fullmatch(pattern, n) for n in names):
            out.append(f"column names of {feature}")
    return out


def unfit(spec: RobotSpec, found: Found) -> list[str]:
    """What of these files a YAML cannot read, whoever chose it: another container or tree, absent features, other
    widths or column names, columns it says nothing of. Labels (name, robot type, stamped rate) are not part of it: a
    person may know them better. Where a find tells what one file holds (HDF5, bags, side files), a feature that is
    absent may be that file's damage; whether the others lack it is seen when episodes are looked at.
    """
    sampled = found.container in ("hdf5", "rosbag", "video_sidecar")
    label = spec.match.model_copy(update={"names": [], "robot_types": [], "fps": None, "absent": []})
    label = label.model_copy(update={"layouts": []}) if found.container == "lerobot" else label
    if sampled:
        there = {f: width for f, width in label.features.items() if f in found.features}
        label = label.model_copy(update={"features": there, "columns": {}})
    out = misfits(spec.model_copy(update={"match": label}), found)
    if spec.container != found.container or not found.features:
        return out
    derived = {rule.column: rule.source for rule in spec.derive}
    taken: dict[str, set[int] | None] = {}  # None: all columns
    for kind in ("state", "action"):
        layout = {b.name: b for b in spec.layout_of_rows.blocks(kind)}
        for take in spec.takes(kind):
            features = [derived.get(f, f) for f in take.features]
            absent = [f for f in features if _width(found, f) is None]
            if absent and not take.optional and not sampled:
                out.append(f"no {absent[0]}, which block {take.block} is taken from")
            if absent:
                continue
            widths = [_width(found, f) or 0 for f in features]
            have = sum(widths) if take.columns is None else len(take.columns)
            if have != layout[take.block].width or (take.columns and max(take.columns) >= sum(widths)):
                out.append(f"{'+'.join(features)} has {sum(widths)} columns, block {take.block} takes others")
            for feature in features:
                every = take.columns is None or len(features) > 1 or taken.get(feature, ()) is None
                taken[feature] = None if every else {*(taken.get(feature) or ()), *(take.columns or ())}
    for feature, columns in taken.items() if found.container != "rosbag" else ():  # messages are as long as they are
        width = _width(found, feature)
        if columns is not None and width is not None and (left := width - len(columns)) > 0:
            out.append(f"{feature} has {width} columns, {left} of which it says nothing of")
    return list(dict.fromkeys(out))


def _width(found: Found, feature: str) -> int | None:
    """Of a feature, or of one named column of it (``feature:column``); None where it is not there."""
    if feature in found.features:
        return found.features[feature]
    whole, _, column = feature.rpartition(":")
    names = found.column_names.get(whole)
    return 1 if whole in found.features and (names is None or column in names) else None


def matches(found: Found) -> list[RobotSpec]:
    return [spec for spec in specs() if not misfits(spec, found)]


def proposal(found: Found) -> str:
    """What ``unihand probe`` prints for a find: what it is, the nearest YAMLs, and what only a person knows."""
    head = f"{found.root or '.'}: {found.container} {found.version} {found.name or ''}".rstrip()
    if found.problems:
        return f"{head}\n  cannot be read: " + "\n  cannot be read: ".join(found.problems)
    exact = matches(found)
    lines = [head, f"  robot type {found.robot_type or 'not said'}, {found.fps or 'no'} fps, views: "
             f"{', '.join(found.views) or 'none'}"]  # fmt: skip
    lines += [f"  {found.note}"] if found.note else []
    lines += [f"  {name}: {width}" for name, width in sorted(found.features.items())]
    if len(exact) == 1:
        return "\n".join([*lines, f"  is {exact[0].name}: {exact[0].title}"])
    if len(exact) > 1:
        return "\n".join([*lines, f"  is any of {', '.join(s.name for s in exact)}; say which with --dataset"])
    ranked = sorted(
        (s for s in specs() if s.container == found.container), key=lambda s: (len(misfits(s, found)), s.name)
    )
    for spec in ranked[:3]:
        lines.append(f"  not {spec.name}: {'; '.join(misfits(spec, found))[:200]}")
    lines += [
        "  unsure of: units and signs of every column; gripper range and sign, state and action apart; quaternion",
        "  order or Euler convention; whether actions are absolute, deltas or copies of the state; true rate; base",
        "  frame; what the pose point is; the owner's licence. Copy the nearest YAML, mend it, pass it with",
        "  --dataset FILE.yaml",
    ]
    return "\n".join(lines)


@dataclass
class Opened:
    """A find with its YAML and reader, or the sentence why it was refused.

    ``by_hand``: a person named the YAML. ``findings``: of the data-driven checks, once they ran.
    """

    found: Found
    spec: RobotSpec | None
    reader: Any
    refused: str = ""
    by_hand: bool = False
    findings: tuple[Any, ...] = ()


class RobotSource:
    """All data sets of one input folder. Small and picklable: it travels to workers."""

    def __init__(self, root: str, sets: list[Opened], files: list[str]):
        self.root, self.sets, self.files = root, sets, files

    def items(self) -> Iterator[SourceItem]:
        """Every item of every accepted data set; ``payload['set']`` says which. A refused set is one item whose
        ``payload['refused']`` says why."""
        for number, one in enumerate(self.sets):
            if one.refused:
                place = f"{self.root}/{one.found.root}".rstrip("/")
                yield SourceItem(one.found.root or ".", place, "", {"set": number, "refused": one.refused})
                continue
            for item in one.reader.items():
                item.payload["set"] = number
                yield item

    def open(self, item: SourceItem) -> tuple[RobotSpec, RobotEpisode]:
        """Raises ``Reject``."""
        one = self.sets[item.payload["set"]]
        return one.spec, one.reader.open(item)  # type: ignore[return-value]

    def without_files(self) -> RobotSource:
        """What workers need: the data sets as they were recognised, without the listing of the folder."""
        return RobotSource(self.root, self.sets, [])

    def ignored(self) -> int:
        """Files that belong to no data set."""
        mine: set[str] = set()
        for one in self.sets:
            mine |= one.reader.claimed(self.files) if one.reader is not None else set()
            if one.refused:
                mine |= {f for f in self.files if _inside(str(Path(f).parent).removeprefix("."), one.found.root)}
        return sum(1 for f in self.files if f not in mine)


def open_robot(input_path: str, dataset: str | None = None) -> RobotSource:
    """The data sets below a folder (or of one file).

    Args:
        dataset: name or YAML path that describes every data set in the folder; None: each is recognised.

    Raises:
        DatasetRefused: nothing there, nothing that a reader knows, or every data set of the folder is refused.
    """
    root, files = _listing(input_path)
    sets = _sets(root, files, dataset)
    if not sets:
        raise DatasetRefused(
            f"{input_path} holds no robot data that is known here (LeRobot, RLDS, HDF5, ROS bag, WebDataset, video "
            "with side files)."
        )
    if all(s.refused for s in sets):
        more = f" ({len(sets) - 1} more are refused too)" if len(sets) > 1 else ""
        raise DatasetRefused(f"{sets[0].refused}{more}")
    return RobotSource(root, sets, files)


def opened_sets(input_path: str, dataset: str | None = None) -> tuple[str, list[Opened]]:
    """Folder and every data set below it, refused ones with their sentence; for looking, where :func:`open_robot`
    would refuse."""
    root, files = _listing(input_path)
    return root, _sets(root, files, dataset)


def _sets(root: str, files: list[str], dataset: str | None) -> list[Opened]:
    return [_opened(root, f, dataset) for f in find(root, files)]


def _opened(root: str, found: Found, dataset: str | None) -> Opened:
    place = f"{root}/{found.root}".rstrip("/")
    if found.problems:
        return Opened(found, None, None, f"{place}: {found.problems[0]}")
    if dataset is not None:
        try:
            spec = load_spec(dataset)
        except FileNotFoundError as error:
            raise DatasetRefused(
                f"{error}; --dataset takes one of {', '.join(spec_names())}, or a YAML file."
            ) from error
        if reasons := unfit(spec, found):
            more = [m for m in misfits(spec, found) if m not in reasons]
            told = "; ".join([*reasons, *more])
            return Opened(found, None, None, f"{place} does not fit {spec.name}.yaml: {told[:600]}.")
        if labels := misfits(spec, found):
            log.warning("%s is read as %s by --dataset, although: %s", place, spec.name, "; ".join(labels))
        return Opened(found, spec, reader_class(found.container)(root, found, spec), by_hand=True)
    chosen = matches(found)
    if len(chosen) == 1:
        log.info("%s is read as %s", place, chosen[0].name)
        return Opened(found, chosen[0], reader_class(found.container)(root, found, chosen[0]))
    if chosen:
        names = " and ".join(s.name for s in chosen)
        return Opened(found, None, None, f"{place} looks like {names}; say which with --dataset.")
    what = f"{found.container} data of robot type {found.robot_type or 'unknown'}"
    what += f" ({found.note})" if found.note else ""
    return Opened(
        found, None, None, f"{place} is {what} that no data-set file describes; `unihand probe {place}` proposes one."
    )  # fmt: skip


def _listing(input_path: str) -> tuple[str, list[str]]:
    if is_remote(input_path):
        raise DatasetRefused(f"{input_path}: robot data is read from local disk; copy it first or mount the bucket.")
    path = Path(input_path.removeprefix("file://")).absolute()
    if path.is_dir():
        return str(path), list_files(str(path))
    if path.is_file():
        return str(path.parent), [path.name]
    raise DatasetRefused(f"{input_path} does not exist; --input takes a folder or a file.")
