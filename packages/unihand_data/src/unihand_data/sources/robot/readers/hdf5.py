"""Robot recordings in HDF5: RoboMIND 1 and 2, AgiBot World, DROID raw, ACT (ALOHA), robomimic, LIBERO, RoboCasa.

``find`` groups files by their tree (:mod:`~.hdf5_files`) and lists what one file of each task holds, without reading
numbers; tasks with the same columns are one data set. An item is an episode: a file, or a group of a file of many.
Columns keep their path in the file (``puppet/joint_position``), below the episode's group. Every touch of a file
happens in the killable worker (``sources/isolated.py``).

Keys of the data-set file that this reader knows: ``language`` (:class:`~.hdf5_words.Language`) and ``paths``:
``clock: declared`` (one frame per step at ``rate_hz``, the file's clock is only reported), ``clock: whole_seconds``
(the file's stamps are whole seconds, compared with ``rate_hz`` over the episode), ``seconds`` (the member with them),
``pixels: opencv`` and ``depth_unit_m`` (:mod:`~.hdf5_views`), ``void_steps`` (a member that is not 0 where a step is
void), ``success`` (a member that is positive once where the episode succeeded).

Legend: T steps, n columns of a member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import isolated
from unihand_data.sources.listing import list_files
from unihand_data.sources.robot.columns import content_id_of_columns
from unihand_data.sources.robot.episode import Found, RobotEpisode
from unihand_data.sources.robot.readers.hdf5_files import MANY, SIDE, File, Looked, files_of, look, places_of, refused
from unihand_data.sources.robot.readers.hdf5_layouts import BY_NAME, Contents, contents_of
from unihand_data.sources.robot.readers.hdf5_views import beside, views_of
from unihand_data.sources.robot.readers.hdf5_words import Language, words_of
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.values.recording import SourceItem


class Hdf5Reader:
    """See the module."""

    container: ClassVar[str] = "hdf5"

    @classmethod
    def find(cls, root: str, files: list[str]) -> list[Found]:
        return [
            replace(f, views=(*f.views, *beside(files, below))) if f.layout == "agibot" else f
            for below, mine in files_of(files).items()
            for f, _ in _sets(root, below, mine)
        ]

    def __init__(self, root: str, found: Found, spec: RobotSpec) -> None:
        self.root, self.found, self.spec = root, found, spec
        self.base = f"{root}/{found.root}".rstrip("/")
        self.language = Language.model_validate(spec.language)

    def items(self) -> Iterator[SourceItem]:
        prefix = f"{self.found.root}/".lstrip("/")
        mine = files_of([f"{prefix}{name}" for name in list_files(self.base)]).get(self.found.root, [])
        for found, looks in _sets(self.root, self.found.root, mine):
            if (found.layout, found.features) != (self.found.layout, self.found.features):
                continue
            for looked in looks:
                for file in looked.files:
                    yield from self._items_of(file, looked.groups.get(file.name, [""]))

    def _items_of(self, file: File, groups: list[str]) -> Iterator[SourceItem]:
        inside = file.name.removeprefix(f"{self.found.root}/") if self.found.root else file.name
        for group in groups:
            end = f"#{group}" if group else ""
            payload = {"file": inside, "group": group, "task": file.task, "episode": file.episode}
            payload |= {"status": file.status, "split": file.split}
            yield SourceItem(f"{file.name}{end}", f"{self.base}/{inside}{end}", self.spec.name, payload)

    def claimed(self, files: list[str]) -> set[str]:
        """HDF5 files of this root, what lies in the folders of their episodes, and the side files that speak of them;
        the pictures of an episode whose numbers are missing belong to nobody."""
        mine = files_of(files).get(self.found.root, [])
        prefix = f"{self.found.root}/".lstrip("/")
        folders = {place for file in mine for place in places_of(file)}
        sides = [prefix[: i + 1] for i, c in enumerate(prefix) if c == "/"] + [""]
        out = {file.name for file in mine}
        for name in files:
            parts = name.split("/")
            if (
                any("/".join(parts[:i]) in folders for i in range(1, len(parts)))
                or any(name.startswith(a) and SIDE.fullmatch(name[len(a) :]) for a in sides)
                or (not folders and name.rpartition("/")[0] == self.found.root)
            ):
                out.add(name)
        return out

    def open(self, item: SourceItem) -> RobotEpisode:
        payload, where = item.payload, item.uri
        path, group = f"{self.base}/{payload['file']}", payload["group"]
        contents = self._contents(path, group, where)
        columns, extra = self._numbers(path, group, contents, where)
        times, clock = self._times(path, group, contents, where)
        content_id = content_id_of_columns(columns, times)
        about = isolated.hdf5_list(path, MANY, 1)["attrs"].get("", {}) if group else {}
        words = words_of(self.root, self.base, payload, contents, about, self.language, where)
        row_times = np.arange(contents.steps) / (self.spec.rate_hz or 30.0) if times is None else times
        views, lost = views_of(self.base, payload, contents, row_times, self._ignored, self.spec.paths)
        absent = sorted(n for n, count in contents.absent.items() if count == 0)
        others = {n: count for n, count in contents.absent.items() if count and n not in extra}
        facts: dict[str, Any] = {"layout": contents.variant, "suite": self.found.name, **clock}
        facts |= {"absent_columns": absent} if absent else {}
        facts |= {"columns_of_other_length": others} if others else {}
        facts |= {"source_split": payload["split"]} if payload["split"] else {}
        void = _spans(extra.get(self.spec.paths.get("void_steps", "")))
        facts |= {"invalid_steps": void} if void else {}
        return RobotEpisode(
            item=item,
            content_id=content_id,
            columns=columns,
            timestamps=times,
            views=views,
            texts=words.texts,
            success=self._success(payload, extra),
            task_id=payload["task"] if self.found.layout != "robomimic" else payload["episode"],
            losses=[*words.losses, *lost],
            facts=facts,
        )

    # -- parts of open ---------------------------------------------------------------------------------------------

    def _ignored(self, name: str) -> bool:
        return any(re.fullmatch(p, name) for p in self.spec.ignore)

    def _contents(self, path: str, group: str, where: str) -> Contents:
        """The episode's listing, compared with what the data set was recognised by."""
        contents = contents_of(isolated.hdf5_list(path, group), where, BY_NAME["robomimic"] if group else None)
        if contents.variant != self.found.layout:
            raise Reject(
                Reason.CONTRADICTION, f"{where}: holds {contents.variant}, the data set is {self.found.layout}"
            )
        for name in sorted(self.spec.features()):
            count, width = contents.absent.get(name, 0), contents.columns.get(name)
            if count and count != contents.absent.get(
                f"{name.rpartition('/')[0]}/index"
            ):  # not one row per sent command
                reason = Reason.TRUNCATED if count < contents.steps else Reason.CONTRADICTION
                raise Reject(reason, f"{where}: {name} has {count} entries for {contents.steps} steps", frames=count)
            expected = self.found.features.get(name)
            if width is not None and expected is not None and width != expected:
                raise Reject(
                    Reason.CONTRADICTION,
                    f"{where}: {name} has {width} columns, other files of the data set have {expected}",
                )
        return contents

    def _numbers(
        self, path: str, group: str, contents: Contents, where: str
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Columns (T, n), and further members that this reader itself needs."""
        sent = [n for n in contents.absent if n.endswith("/index") and n.startswith("action/")]
        short = [n for n, count in contents.absent.items() if count and f"{n.rpartition('/')[0]}/index" in sent]
        wanted = [self.spec.paths.get("void_steps", ""), self.spec.paths.get("success", "")]
        extra_names = [*sent, *short, *(w for w in wanted if w)]
        names = [*contents.columns, *extra_names]
        prefix = f"{group}/".lstrip("/")
        arrays = isolated.hdf5(path, [], [f"{prefix}{n}" for n in dict.fromkeys(names)])["arrays"]
        got = {n: _numeric(arrays[f"{prefix}{n}"]) for n in names if f"{prefix}{n}" in arrays}
        columns = {n: got[n].reshape(contents.steps, -1) for n in contents.columns if n in got}
        if not columns:
            raise Reject(Reason.MISSING_FIELD, f"{where}: no columns of numbers; fetch the file again")
        for name in sent:
            if contents.absent[name]:
                _only_sent(columns, got, name, contents.steps, where)
        return columns, {n: got[n] for n in extra_names if n in got}

    def _times(self, path: str, group: str, contents: Contents, where: str) -> tuple[np.ndarray | None, dict[str, Any]]:
        """(T,) s from the first step, or None where the file has no clock that can be used."""
        how = self.spec.paths.get("clock", "")
        name, unit = contents.layout.clock or (self.spec.paths.get("seconds", ""), 1.0)
        if not name:
            return None, {}
        got = isolated.hdf5(path, [], [f"{group}/{name}".lstrip("/")])["arrays"]
        if not got:
            if how:
                return None, {}
            raise Reject(Reason.MISSING_FIELD, f"{where}: no clock {name}; fetch the file again")
        raw = _numeric(next(iter(got.values()))).reshape(-1)
        if len(raw) != contents.steps or not np.isfinite(raw).all():
            raise Reject(
                Reason.BAD_VALUE, f"{where}: {name} holds {len(raw)} times for {contents.steps} steps, or gaps"
            )
        t = (raw - raw[0]) / unit
        gaps = np.diff(t)
        back = gaps < 0 if how == "whole_seconds" else gaps <= 0
        if back.any():
            at = int(np.argmax(back))
            raise Reject(
                Reason.BAD_VALUE,
                f"{where}: {name} goes from {t[at]:.6g} to {t[at + 1]:.6g} s at step {at + 1}; split it there",
            )
        rate = self.spec.rate_hz
        if how == "whole_seconds":
            return None, _compared(t, rate, where)
        fact = {"fps_clock": round(float(1 / np.median(gaps)), 3)} if len(gaps) else {}
        if how == "declared":
            late = int((gaps > 1.5 / rate).sum()) if rate and len(gaps) else 0
            return None, {**fact, "clock": "declared", "late_steps": late}
        return t, fact

    def _success(self, payload: dict[str, Any], extra: dict[str, np.ndarray]) -> bool | None:
        if payload["status"]:
            return bool(payload["status"] == "success")
        said = extra.get(self.spec.paths.get("success", ""))
        return None if said is None or not said.size else bool((said > 0).any())


def _numeric(x: Any) -> np.ndarray:
    array = np.asarray(x)
    return array.astype(np.float64) if array.dtype.kind not in "f" or array.dtype.itemsize > 8 else array


def _only_sent(columns: dict[str, np.ndarray], got: dict[str, np.ndarray], name: str, steps: int, where: str) -> None:
    """Commands of the steps that ``index`` (M,) does not name are unknown: nothing was sent then. Members with one row
    per sent command are spread over the steps."""
    index, part = got[name].reshape(-1), name.rpartition("/")[0]
    if (index != np.round(index)).any() or (np.diff(index) <= 0).any() or index[0] < 0 or index[-1] >= steps:
        raise Reject(Reason.BAD_VALUE, f"{where}: {name} is no increasing list of steps below {steps}")
    at = index.astype(int)
    for member, x in got.items():
        if member == name or member.rpartition("/")[0] != part or len(x) not in (steps, len(at)):
            continue
        out = np.full((steps, int(np.prod(x.shape[1:]))), np.nan)
        out[at] = x.reshape(len(x), -1)[at] if len(x) == steps else x.reshape(len(x), -1)
        columns[member] = out


def _compared(t: np.ndarray, rate: float | None, where: str) -> dict[str, Any]:
    """Steps over whole seconds against the declared rate; both ends may be off by a second."""
    span, steps = float(t[-1]), len(t) - 1
    low, high = steps / (span + 1), steps / max(span - 1, 0.5)
    if rate is not None and span >= 5 and not 0.8 * low <= rate <= 1.25 * high:
        raise Reject(
            Reason.CONTRADICTION, f"{where}: {steps} steps in {span:g} s, the data-set file declares {rate:g} Hz"
        )
    return {"rate_by_whole_seconds": [round(low, 2), round(high, 2)]}


def _spans(flags: np.ndarray | None) -> list[tuple[int, int]]:
    if flags is None:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (flags.reshape(len(flags), -1) != 0).any(axis=1), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _sets(root: str, below: str, files: list[File]) -> list[tuple[Found, list[Looked]]]:
    """The data sets of one root: tasks by what they hold. Tasks of which nothing can be read go to the first."""
    by: dict[Any, list[Looked]] = {}
    broken: list[Looked] = []
    for looked in look(root, files):
        if looked.contents is None:
            broken.append(looked)
        else:
            by.setdefault(looked.contents.signature, []).append(looked)
    name = PurePosixPath(below).name or PurePosixPath(root).name
    if not by:
        unknown = [b for b in broken if refused(b).reason != Reason.UNSUPPORTED]
        first = refused((unknown or broken)[0])
        return [(Found("hdf5", below, name, problems=(first.message,)), broken)] if broken else []
    out = []
    for number, looks in enumerate(by.values()):
        contents = [x.contents for x in looks if x.contents is not None]
        looks = looks + broken if number == 0 else looks
        episodes = sum(len(x.groups.get(f.name, [""])) for x in looks for f in x.files)
        found = Found(
            container="hdf5",
            root=below,
            name=name,
            robot_type=name if contents[0].layout.name == "robomind" else "",
            features=dict(contents[0].columns),
            views=tuple(dict.fromkeys(v for c in contents for v in c.pictures)),
            episodes=episodes,
            layout=contents[0].variant,
        )
        out.append((found, looks))
    return out
