"""RLDS data sets as TensorFlow Datasets writes them (Open X-Embodiment, DROID, BridgeData V2), without TensorFlow.

A version folder holds ``dataset_info.json``, ``features.json`` and ``<name>-<split>.tfrecord-XXXXX-of-YYYYY``. One
record is one episode: a ``tf.train.Example`` whose keys are ``steps/<feature>`` (values of all steps one after the
other; pictures and strings one per step; bools as integers) and the episode's own features. ``find`` reads the two meta
files; an item is a record (:mod:`~.rlds_shards` says how they are listed without touching the files).

Names of columns, cameras and texts are paths below ``steps`` (``observation/state``); features of the episode keep
their own path (``episode_metadata/has_image_1``) and are repeated for every step. Embeddings of sentences, maps and
other features of more than 256 numbers per step are no columns and are not taken apart.

Keys of the data-set file that this reader knows: ``language`` (:class:`~.rlds_words.Language`) and ``paths``:
``success`` (a feature whose last value says it, unless ``success_known`` is 0), ``success_text`` and
``success_pattern`` (a text feature of the episode and the regex that says success), ``void_steps`` (a feature that is
not 0 where a step is void), ``depth_unit_m``, and per camera ``intrinsics:CAMERA`` (3x3 matrices) and
``world_to_camera:CAMERA`` (4x4 matrices, OpenCV axes), with ``pixel_origin: corner`` where the centre of the first
pixel is (0.5, 0.5).

Legend: T steps, n columns of a feature.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.columns import content_id_of_columns
from unihand_data.sources.robot.episode import Found, RobotEpisode, View
from unihand_data.sources.robot.readers.rlds_features import STEPS, Feature, Info, read_info
from unihand_data.sources.robot.readers.rlds_shards import format_of, is_shard, offset_of, records, shards_of
from unihand_data.sources.robot.readers.rlds_values import (
    BOOKKEEPING,
    array_of,
    intrinsics_of,
    is_filler,
    poses_of,
    steps_of,
)
from unihand_data.sources.robot.readers.rlds_words import Language, words_of
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.sources.tfrecord import Values, parse_example, read_records_at
from unihand_data.values.recording import SourceItem

_EMBEDDING = re.compile(r".*embedding.*")


class RldsReader:
    """See the module."""

    container: ClassVar[str] = "rlds"

    @classmethod
    def find(cls, root: str, files: list[str]) -> list[Found]:
        folders: dict[str, list[str]] = {}
        for name in files:
            folder, _, base = name.rpartition("/")
            if base in ("features.json", "dataset_info.json") or is_shard(base):
                folders.setdefault(folder, []).append(base)
        return [f for folder, names in folders.items() for f in _find_one(root, folder, names)]

    def __init__(self, root: str, found: Found, spec: RobotSpec) -> None:
        self.found, self.spec = found, spec
        self.base = f"{root}/{found.root}".rstrip("/")
        self.language = Language.model_validate(spec.language)

    def items(self) -> Iterator[SourceItem]:
        for shard, payload in records(self.base, shards_of(self.base, self._info()), self._info()):
            number = payload.get("record")
            key = shard.name if number is None else f"{shard.name}#{number}"
            place = f"{self.found.root}/{key}".lstrip("/")
            yield SourceItem(
                place, f"{self.base}/{key}", self.spec.name, {"shard": shard.name, "split": shard.split, **payload}
            )

    def claimed(self, files: list[str]) -> set[str]:
        prefix = f"{self.found.root}/".lstrip("/")
        return {f for f in files if f.startswith(prefix) and "/" not in f[len(prefix) :]}

    def open(self, item: SourceItem) -> RobotEpisode:
        info, where, payload = self._info(), item.uri, item.payload
        if "reason" in payload:
            raise Reject(Reason(payload["reason"]), payload["why"])
        record = self._record(info, payload, where)
        steps = steps_of(info, record, where)
        numbers = self._numbers(info, record, steps, where)
        content_id = content_id_of_columns({k: v for k, v in numbers.items() if k in info.steps}, None)
        texts = {n: _bytes(record, n, info) for n, f in _all(info) if f.kind == "text" and _key(info, n) in record}
        words, losses = words_of(texts, numbers, steps, self.language, where)
        views, blank, lost = self._views(info, record, numbers, where)
        facts: dict[str, Any] = {
            "tfds_version": self.found.version,
            "suite": self.found.name,
            "tfds_split": payload["split"],
            "record": payload["record"],
        }
        said = {n: texts[n][0].decode("utf-8", "replace")[:500] for n in info.episode if texts.get(n)}
        facts |= {"episode_metadata": said} if said else {}
        flag = record.get(f"{STEPS}/is_terminal", [])
        facts |= {"is_terminal": bool(flag[-1])} if isinstance(flag, np.ndarray) and len(flag) else {}
        absent = sorted(n for n in info.steps if self._wanted(info.steps[n]) and _key(info, n) not in record)
        facts |= {"absent_features": absent} if absent else {}
        facts |= {"blank_views": blank} if blank else {}
        void = self._void(numbers)
        facts |= {"invalid_steps": void} if void else {}
        return RobotEpisode(
            item=item,
            content_id=content_id,
            columns={n: x for n, x in numbers.items() if self._is_column(n)},
            timestamps=None,
            views=views,
            texts=words,
            success=self._success(numbers, texts),
            losses=[*losses, *lost],
            facts=facts,
        )

    # -- parts of open ---------------------------------------------------------------------------------------------

    def _info(self) -> Info:
        info = _cached_info(self.base, _stamp(self.base))
        if info.problems:
            raise Reject(Reason.CONTRADICTION, f"{self.base}: {info.problems[0]}")
        return info

    def _wanted(self, feature: Feature) -> bool:
        """Whether a feature is taken apart at all; a map that nobody reads may be larger than the rest together."""
        if feature.path in self.language.code_points or feature.path in self.spec.features():
            return True
        if feature.kind == "other" or _EMBEDDING.fullmatch(feature.path):
            return False
        return feature.kind != "image" or not self._ignored(feature.path)

    def _is_column(self, path: str) -> bool:
        if path in self.spec.features() or path in {v.present for v in self.spec.views}:
            return True
        return path not in self.language.code_points and not self._ignored(path)

    def _ignored(self, path: str) -> bool:
        return any(re.fullmatch(p, path) for p in self.spec.ignore)

    def _record(self, info: Info, payload: dict[str, Any], where: str) -> dict[str, Values]:
        path = f"{self.base}/{payload['shard']}"
        offset = payload["offset"] if payload["offset"] is not None else offset_of(path, payload["record"])
        data = next((d for _, d in read_records_at(path, offset)), None)
        if data is None:
            raise Reject(Reason.TRUNCATED, f"{where}: the file ends before this record; fetch it again")
        keys = {_key(info, n) for n, f in _all(info) if self._wanted(f)}
        return parse_example(data, where, keys.__contains__)

    def _numbers(self, info: Info, record: dict[str, Values], steps: int, where: str) -> dict[str, np.ndarray]:
        out = {}
        for name, feature in _all(info):
            if feature.kind == "text" or feature.kind == "image" or _key(info, name) not in record:
                continue
            rows = steps if name in info.steps else 1
            x = array_of(record[_key(info, name)], feature, rows, f"{where}: {name}")
            if x is not None and name not in BOOKKEEPING:
                out[name] = x if name in info.steps else np.repeat(x, steps, axis=0)
        if not any(n in info.steps for n in out):
            raise Reject(Reason.MISSING_FIELD, f"{where}: none of the numeric features of features.json is there")
        return out

    def _views(
        self, info: Info, record: dict[str, Values], numbers: dict[str, np.ndarray], where: str
    ) -> tuple[dict[str, View], list[str], list[Reject]]:
        """Cameras; those that were not recorded and show one filler picture; those that cannot be read."""
        steps = len(next(iter(numbers.values())))
        views: dict[str, View] = {}
        blank: list[str] = []
        lost: list[Reject] = []
        for name, feature in info.steps.items():
            if feature.kind != "image" or not self._wanted(feature):
                continue
            values = record.get(_key(info, name))
            if not isinstance(values, list) or len(values) != steps:
                count = 0 if values is None else len(values)
                message = f"{where}: camera {name} has {count} pictures for {steps} steps"
                lost.append(Reject(Reason.TRUNCATED, message, level="row", frames=steps))
                continue
            there = np.array([len(v) > 0 for v in values])
            if not there.any():
                message = f"{where}: camera {name} has an empty string for every step"
                lost.append(Reject(Reason.MISSING_FIELD, message, level="row", frames=steps))
                continue
            if is_filler(values):
                blank.append(name)
                continue
            rate = self.spec.rate_hz or 1.0
            views[name] = View(
                name,
                pictures=[v for v in values if v],
                times=None if there.all() else np.flatnonzero(there) / rate,
                depth=feature.dtype == "uint16",
                depth_unit_m=float(self.spec.paths.get("depth_unit_m", "0.001")),
                intrinsics=intrinsics_of(
                    numbers.get(self.spec.paths.get(f"intrinsics:{name}", "")),
                    corner=self.spec.paths.get("pixel_origin") == "corner",
                ),
                poses=poses_of(numbers.get(self.spec.paths.get(f"world_to_camera:{name}", ""))),
            )
        return views, blank, lost

    def _success(self, numbers: dict[str, np.ndarray], texts: dict[str, list[bytes]]) -> bool | None:
        name, known = (self.spec.paths.get(k, "") for k in ("success", "success_known"))
        if known in numbers and numbers[known][-1, 0] == 0:
            return None
        if name in numbers:
            return bool(numbers[name][-1, 0] > 0.5)
        text = texts.get(self.spec.paths.get("success_text", ""))
        if text:
            return re.search(self.spec.paths["success_pattern"], text[0].decode("utf-8", "replace")) is not None
        return None

    def _void(self, numbers: dict[str, np.ndarray]) -> list[tuple[int, int]]:
        name = self.spec.paths.get("void_steps", "")
        if name not in numbers:
            return []
        edges = np.flatnonzero(np.diff(np.concatenate([[0], (numbers[name] != 0).any(axis=1).astype(int), [0]])))
        return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _find_one(root: str, folder: str, names: list[str]) -> list[Found]:
    shards = [n for n in names if is_shard(n)]
    meta = {n for n in names if not is_shard(n)}
    if not shards and meta != {"features.json", "dataset_info.json"}:
        return []  # a json of that name alone is no data set
    base = f"{root}/{folder}".rstrip("/")
    info = read_info(base)
    problems = list(info.problems)
    if meta != {"features.json", "dataset_info.json"} and not problems:
        problems = ["the data set is its whole folder, with features.json and dataset_info.json"]  # one file was given
    formats = {format_of(n) for n in shards}
    if "tfrecord" not in formats:
        problems.append(f"its records are {', '.join(sorted(formats)) or 'not there'}; only tfrecord files are read")
    numeric = {n: f.width or 0 for n, f in _all(info) if f.kind == "number" and n not in BOOKKEEPING}
    announced = sum(sum(v) for v in info.lengths.values())
    away = [s for s in info.lengths if not any(f"-{s}." in n for n in shards)]
    return [
        Found(
            container="rlds",
            root=folder,
            name=info.name,
            version=info.version,
            features=numeric,
            views=tuple(n for n, f in info.steps.items() if f.kind == "image"),
            episodes=announced if info.lengths and not away else None,
            note=f"no file of split {', '.join(sorted(away))[:200]} is here" if away else "",
            problems=tuple(problems),
        )
    ]


def _stamp(base: str) -> tuple[float, float]:
    def when(name: str) -> float:
        try:
            return os.stat(f"{base}/{name}").st_mtime
        except OSError:
            return 0.0

    return when("features.json"), when("dataset_info.json")


@lru_cache(maxsize=64)
def _cached_info(base: str, stamp: tuple[float, float]) -> Info:
    return read_info(base)


def _all(info: Info) -> list[tuple[str, Feature]]:
    return [*info.steps.items(), *info.episode.items()]


def _key(info: Info, name: str) -> str:
    return f"{STEPS}/{name}" if name in info.steps else name


def _bytes(record: dict[str, Values], name: str, info: Info) -> list[bytes]:
    values = record[_key(info, name)]
    return values if isinstance(values, list) else []
