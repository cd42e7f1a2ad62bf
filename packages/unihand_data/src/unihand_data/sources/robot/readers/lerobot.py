"""LeRobot v2.0, v2.1 and v3.0: a folder with ``meta/info.json``, Parquet tables and one video file per camera.

``find`` reads ``meta/`` only. An item is an episode of the table; its columns come from its own file (v2) or from its
rows of a shared file (v3), its videos are files or stretches of files that are named, not read. A declared camera
without a file, a sentence that cannot be found and the like cost one ``row`` loss; a table that contradicts itself
costs the episode.

A data-set file may take columns by their published name instead of their place: ``from: [observation.state:left_arm_1,
...]``. The feature is then handed over as its named columns (``observation.state:<name>``, each (T, 1)), since
publishers write the same columns in more than one order.

Sets that carry one recording re-drawn on several robots (OXE-AugE: ``observation.<robot>.joints``) are one find per
robot, each with its own columns and cameras.

Keys of the data-set file that this reader knows: ``language`` (:class:`~.lerobot_words.Language`) and ``paths``:
``clock: declared`` (the file's stamps are wrong, ``rate_hz`` holds), ``success`` (a column), ``error`` and
``error_limit`` (steps where any of its first ``error_columns`` columns is further from 0 are void), ``depth_unit_m``.

Legend: T steps, n columns of a feature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import isolated
from unihand_data.sources.robot.columns import content_id_of_columns
from unihand_data.sources.robot.episode import Found, RobotEpisode
from unihand_data.sources.robot.readers import lerobot_tables as meta
from unihand_data.sources.robot.readers.lerobot_info import BOOKKEEPING, Feature, Info
from unihand_data.sources.robot.readers.lerobot_units import verdict
from unihand_data.sources.robot.readers.lerobot_views import views_of
from unihand_data.sources.robot.readers.lerobot_words import Language, success_of, words_of
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.values.recording import SourceItem

_INFO = re.compile(r"(?P<root>(?:.*/)?)meta/info\.json")
_ROBOT_COLUMN = re.compile(r"observation\.(?P<robot>[A-Za-z0-9_]+)\.(?:joints|ee_pose)")
AUGMENTED = "augmented"


class LeRobotReader:
    """See the module."""

    container: ClassVar[str] = "lerobot"

    @classmethod
    def find(cls, root: str, files: list[str]) -> list[Found]:
        out: list[Found] = []
        for name in files:
            at = _INFO.fullmatch(name)
            if at is not None:
                out += _find_one(root, at["root"].rstrip("/"))
        return out

    def __init__(self, root: str, found: Found, spec: RobotSpec) -> None:
        self.root, self.found, self.spec = root, found, spec
        self.base = f"{root}/{found.root}".rstrip("/")
        self.robot = found.robot_type if found.layout == AUGMENTED else ""
        self.language = Language.model_validate(spec.language)
        self.named = {f.partition(":")[0] for f in spec.features() if ":" in f}

    def items(self) -> Iterator[SourceItem]:
        for entry in meta.entries(self.base, self._info()):
            place = f"{self.found.root}/episode_{entry.index:06d}".lstrip("/")
            uri = f"{self.base}/{entry.data}" + (f"#episode_{entry.index}" if entry.rows or self.robot else "")
            if self.robot:
                place, uri = f"{place}@{self.robot}", f"{uri}@{self.robot}"
            yield SourceItem(place, uri, self.spec.name, {"entry": vars(entry)})

    def claimed(self, files: list[str]) -> set[str]:
        prefix = f"{self.found.root}/".lstrip("/")
        return {f for f in files if f.startswith(prefix)}

    def open(self, item: SourceItem) -> RobotEpisode:
        info, entry = self._info(), meta.Entry(**item.payload["entry"])
        features = _of_robot(info, self.robot)
        pictures = {k: f for k, f in features.items() if f.dtype == "image" and self._wanted(k)}
        table = self._rows(info, entry, [*features, *BOOKKEEPING, *self.language.columns], item.uri, pictures)
        numbers, steps = table["numbers"], table["rows"]
        columns, absent = self._columns(features, numbers, item.uri)
        words = words_of(self.base, entry, numbers, table["text"], steps, self.language)
        void = [*words.invalid, *self._large_errors(columns)]
        times, clock = self._times(info, numbers, steps, item.uri)
        wanted = {k: f for k, f in features.items() if k in pictures or (f.dtype == "video" and not self._ignored(k))}
        views, lost = views_of(self.base, entry, wanted, table["blobs"], item.uri, self._depth_unit())
        rate = self.spec.rate_hz if self.spec.paths.get("clock") == "declared" else info.fps
        for key, view in views.items():  # a video may be stamped with another rate than its rows (OXE-AugE)
            view.pace = rate / (wanted[key].fps or info.fps or rate) if view.video and rate else 1.0
        if not words.texts and not words.losses:
            words.losses.append(_no_words(item.uri))
        other = sorted(k for k, f in features.items() if f.is_view and k not in wanted and not self._ignored(k))
        facts = {"codebase_version": info.version, "episode_index": entry.index, "fps_stamp": info.fps, **clock}
        facts["suite"] = self.found.name
        facts |= {"split_group": f"{self.found.name}/{entry.index}"} if self.robot else {}
        facts |= {"absent_columns": absent} if absent else {}
        facts |= {"other_views": other} if other else {}
        facts |= {"invalid_steps": sorted(void)} if void else {}
        return RobotEpisode(
            item=item,
            content_id=content_id_of_columns(columns, times),
            columns=self._by_name(columns, features, item.uri),
            timestamps=times,
            views=views,
            texts=words.texts,
            success=success_of(entry, numbers, self.spec.paths.get("success", "")),
            seed=entry.seed,
            task_id=entry.task_id,
            losses=[*words.losses, *lost],
            facts=facts,
        )

    # -- parts of open ---------------------------------------------------------------------------------------------

    def _info(self) -> Info:
        info = meta.info_of(self.base)
        if info is None or info.problems:
            raise Reject(
                Reason.CONTRADICTION, f"{self.base}: {info.problems[0] if info else 'meta/info.json has changed'}"
            )
        return info

    def _wanted(self, key: str) -> bool:
        return not self._ignored(key) and any(re.fullmatch(v.key, key) for v in self.spec.views)

    def _ignored(self, key: str) -> bool:
        return any(re.fullmatch(p, key) for p in self.spec.ignore)

    def _rows(
        self, info: Info, entry: meta.Entry, columns: list[str], uri: str, pictures: dict[str, Feature]
    ) -> dict[str, Any]:
        """The episode's rows of its data file, checked against the table."""
        path = f"{self.base}/{entry.data}"
        keep = [c for c in columns if c in pictures or c in BOOKKEEPING or not self._is_picture(info, c)]
        shared = info.major == 3
        table = isolated.parquet_rows(path, keep, where=("episode_index", entry.index) if shared else None)
        steps, mine = table["rows"], table["numbers"].get("episode_index")
        if steps == 0:
            raise Reject(Reason.EMPTY, f"{uri}: no rows of episode {entry.index}; fetch the file again")
        if mine is not None and (mine != entry.index).any():
            others = sorted({int(i) for i in mine[mine != entry.index]})[:3]
            raise Reject(Reason.CONTRADICTION, f"{uri}: holds rows of episode {others}, not only of {entry.index}")
        if entry.length is not None and steps != entry.length:
            reason = Reason.TRUNCATED if steps < entry.length else Reason.CONTRADICTION
            raise Reject(
                reason,
                f"{uri}: {steps} rows, the episode table announces length {entry.length}; fetch the file again",
                frames=max(steps, entry.length),
            )
        return table

    def _is_picture(self, info: Info, column: str) -> bool:
        feature = info.features.get(column)
        return feature is not None and feature.is_view

    def _columns(
        self, features: dict[str, Feature], numbers: dict[str, np.ndarray], uri: str
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        """Feature -> (T, n), and declared features that the file does not have."""
        out, absent = {}, []
        for name, feature in features.items():
            if not feature.is_number or feature.is_pointer or name in BOOKKEEPING:
                continue
            if name not in numbers:
                absent.append(name)
                continue
            x = numbers[name].reshape(len(numbers[name]), -1)
            if x.shape[1] != feature.width:
                raise Reject(
                    Reason.CONTRADICTION,
                    f"{uri}: {name} has {x.shape[1]} columns, meta/info.json says {feature.width}; correct the "
                    "wrong one",
                )
            out[name] = x
        if not out:
            raise Reject(Reason.MISSING_FIELD, f"{uri}: none of the features {', '.join(absent)[:200]} is in the file")
        return out, absent

    def _by_name(self, columns: dict[str, np.ndarray], features: dict[str, Feature], uri: str) -> dict[str, np.ndarray]:
        """The features that the data-set file takes by name, as their named columns."""
        out = {}
        for name, x in columns.items():
            if name not in self.named:
                out[name] = x
                continue
            names = features[name].names
            if len(set(names)) != x.shape[1]:
                raise Reject(
                    Reason.MISSING_FIELD,
                    f"{uri}: {name} is taken by column name, meta/info.json gives {len(set(names))} names for "
                    f"{x.shape[1]} columns; name them",
                )
            out |= {f"{name}:{n}": x[:, i : i + 1] for i, n in enumerate(names)}
        return out

    def _times(
        self, info: Info, numbers: dict[str, np.ndarray], steps: int, uri: str
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """(T,) s from the first step. Without the column: frame_index / fps, which is the format's definition of it."""
        frames = numbers.get("frame_index")
        if frames is not None and steps > 1 and not (np.diff(frames.ravel()) > 0).all():
            at = int(np.argmax(np.diff(frames.ravel()) <= 0)) + 1
            raise Reject(
                Reason.CONTRADICTION,
                f"{uri}: frame_index goes from {frames.ravel()[at - 1]:g} to {frames.ravel()[at]:g} at step {at}; sort "
                "or split the episode",
            )
        assert info.fps is not None
        stamps = numbers.get("timestamp")
        if stamps is None:
            index = np.arange(steps) if frames is None else frames.ravel() - frames.ravel()[0]
            return index / info.fps, {"clock": "frame_index" if frames is not None else "fps"}
        t = stamps.ravel().astype(np.float64)
        if len(t) != steps or not np.isfinite(t).all():
            raise Reject(Reason.BAD_VALUE, f"{uri}: timestamp holds {len(t)} values for {steps} rows, or gaps")
        gaps = np.diff(t)
        if (gaps <= 0).any():
            at = int(np.argmax(gaps <= 0))
            raise Reject(
                Reason.BAD_VALUE,
                f"{uri}: timestamp goes from {t[at]:.6g} to {t[at + 1]:.6g} s at step {at + 1}; split it there",
            )
        fact: dict[str, Any] = {"first_timestamp": float(t[0])} if t[0] != 0 else {}
        if len(gaps):
            fact["fps_clock"] = round(float(1 / np.median(gaps)), 3)
        return t - t[0], fact

    def _large_errors(self, columns: dict[str, np.ndarray]) -> list[tuple[int, int]]:
        """Spans where the re-drawn robot could not follow (``paths: {error, error_limit}``)."""
        name, limit = self.spec.paths.get("error", ""), self.spec.paths.get("error_limit", "")
        if name not in columns or not limit:
            return []
        first = int(self.spec.paths.get("error_columns") or columns[name].shape[1])
        far = (np.abs(np.nan_to_num(columns[name][:, :first], nan=np.inf)) > float(limit)).any(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], far.astype(int), [0]])))
        return list(zip(edges[::2].tolist(), edges[1::2].tolist()))

    def _depth_unit(self) -> float:
        return float(self.spec.paths.get("depth_unit_m", "0.001"))


def _no_words(uri: str) -> Reject:
    return Reject(Reason.NO_TEXT, f"{uri}: the data set says no sentence about this episode", level="row")


def _find_one(root: str, below: str) -> list[Found]:
    base = f"{root}/{below}".rstrip("/")
    name = PurePosixPath(below).name or Path(root).name
    try:
        info = meta.info_of(base)
    except Reject as reject:
        return [Found("lerobot", below, name, problems=(reject.message,))]
    if info is None:
        return []
    problems, units = list(info.problems), None
    if not problems:
        try:
            meta.sentences(base)
            listed = len(meta.entries(base, info))
            units = verdict(base, info)
        except Reject as reject:
            problems.append(reject.message.removeprefix(f"{base}/"))
            listed = info.episodes or 0
    robots = _robots(info)
    out = []
    for robot in robots or [""]:
        features = _of_robot(info, robot)
        numeric = {n: f for n, f in features.items() if f.is_number and n not in BOOKKEEPING}
        out.append(
            Found(
                container="lerobot",
                root=below,
                name=name,
                robot_type=robot or info.robot_type,
                version=info.version,
                fps=info.fps,
                features={n: f.width for n, f in numeric.items()},
                column_names={n: f.names for n, f in numeric.items() if f.names},
                views=tuple(n for n, f in features.items() if f.is_view),
                episodes=info.episodes if problems else listed,
                layout=AUGMENTED if robot else f"so100_{units.regime}" if units else "",
                note=units.evidence if units else "",
                problems=tuple(problems),
            )
        )
    return out


def _robots(info: Info) -> list[str]:
    """Robots of a set that re-draws each recording on several; empty for an ordinary one."""
    found = [m["robot"] for n in info.columns() if (m := _ROBOT_COLUMN.fullmatch(n))]
    names = sorted(set(found))
    return names if len(names) > 1 else []


def _of_robot(info: Info, robot: str) -> dict[str, Feature]:
    """Features of one robot of an augmented set (its own and the shared ones); all features of an ordinary set."""
    others = [r for r in _robots(info) if r != robot]
    if not robot:
        return info.features
    return {
        n: f for n, f in info.features.items() if not any(o in n.split(".") for o in others)
    }  # fmt: skip
