"""ROS 1 bags, ROS 2 bags (db3, MCAP) without ROS: one bag, one episode.

A data set is a folder with bags of one ROS in it; a ROS 2 bag is a folder with ``metadata.yaml``, or a single ``.db3``
or ``.mcap`` file. ``find`` reads the index and the first message of each topic of the first bag. Types come from the
definitions inside the bag (:mod:`~.rosbag_types`); a process that may be killed does the parsing
(:mod:`~.rosbag_worker`).

Features are named ``topic:path`` (``/sensors_data_raw:joint_data.joint_q``, ``/hdas/feedback_arm_left:position``), or
``topic`` alone where the whole message is numbers; transforms ``/tf:parent>child`` (xyz, xyzw). A data-set file may
take a column by the name its message gives it: ``from: [/joint_states:position:elbow]``. Cameras are named by topic.

Topics have clocks of their own; :mod:`~.rosbag_clock` says which sample belongs to which row. A camera gives one
picture per row, chosen in the same way. Rows without a sample are NaN and a loss of level ``row``. What was met is
kept in the episode's facts: samples, rate, longest gap, furthest sample taken, and how the sensor's clock runs
against the recorder's.

Keys of the data-set file that this reader knows: ``paths`` (:class:`~.rosbag_clock.BagSettings`), ``language``
(:class:`~.rosbag_words.Language`); topics and features in ``ignore`` are not read.

Legend: T rows, n columns of a feature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.image_sequence import picture_size
from unihand_data.sources.robot.columns import content_id_of_columns
from unihand_data.sources.robot.episode import Found, RobotEpisode, View
from unihand_data.sources.robot.readers.rosbag_clock import BagSettings, Track, figures, join, row_clock, runaway, track
from unihand_data.sources.robot.readers.rosbag_words import Language, words_of
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.values.recording import SourceItem

_PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
TIMEOUT_S = 600.0  # a bag may hold many GB
MEMORY_MB = 16_384  # a chunk that unpacks to more ends the worker's call, not the machine
MAX_ROWS = 1_000_000


@lru_cache(maxsize=1)
def _worker() -> Any:
    from unihand_data.video.killable import KillableWorker

    build = "unihand_data.sources.robot.readers.rosbag_worker:build"
    return KillableWorker(build, {}, timeout_s=TIMEOUT_S, level="item", memory_mb=MEMORY_MB)


def _ask(path: str, definitions: str = "ros2_humble", **request: Any) -> dict[str, Any]:
    return _worker().call({"path": path, "definitions": definitions, **request}, name=path)


class RosbagReader:
    """See the module."""

    container: ClassVar[str] = "rosbag"

    @classmethod
    def find(cls, root: str, files: list[str]) -> list[Found]:
        sets: dict[tuple[str, bool], list[str]] = {}
        for bag in _bags(root, files):
            sets.setdefault((_parent(bag), bag.endswith(".bag")), []).append(bag)
        return [_find_one(root, below, bags) for (below, _), bags in sorted(sets.items())]

    def __init__(self, root: str, found: Found, spec: RobotSpec) -> None:
        self.root, self.found, self.spec = root, found, spec
        self.base = f"{root}/{found.root}".rstrip("/")
        self.settings = BagSettings.model_validate(spec.paths)
        self.language = Language.model_validate(spec.language)
        self.bags = list(found.files)

    def items(self) -> Iterator[SourceItem]:
        for bag in self.bags:
            yield SourceItem(bag or ".", f"{self.root}/{bag}".rstrip("/"), self.spec.name, {"bag": bag})

    def claimed(self, files: list[str]) -> set[str]:
        out = set()
        for bag in self.bags:
            labels = f"{bag.removesuffix('.bag')}{self.language.labels}" if self.language.labels else bag
            folder = f"{bag}/" if bag else ""
            storage = (".db3", ".mcap", ".zstd", "metadata.yaml")
            inside = Path(f"{self.root}/{bag}").is_dir()
            out |= {f for f in files if f in (bag, labels)}
            out |= {f for f in files if inside and f.startswith(folder) and f.endswith(storage)}
        return out

    def open(self, item: SourceItem) -> RobotEpisode:
        where = item.uri
        summary = _ask(where, self.settings.definitions, do="summary")
        topics = summary["topics"]
        cameras = [t for t, e in topics.items() if e["type"] in _PICTURES and e["count"] and self._wanted_camera(t)]
        wanted = sorted(t for t, e in topics.items() if e["type"] not in _PICTURES and self._wanted_topic(t, e))
        got = _ask(where, self.settings.definitions, do="numbers", topics=wanted)
        tracks = {t: self._track(t, e, where) for t, e in got["topics"].items()}
        rolls: dict[str, dict[str, Any]] = {}
        losses: list[Reject] = []
        for camera in cameras:
            try:
                rolls[camera] = _ask(where, self.settings.definitions, do="pictures", topic=camera)
                tracks[camera] = self._track(camera, {**rolls[camera], "stamped": True}, where)
            except Reject as reject:
                if camera == self.settings.rows or reject.reason in (Reason.TIMEOUT, Reason.CRASHED):
                    raise
                losses.append(Reject(reject.reason, reject.message, level="row"))
        features = self.spec.features()
        needed = {f.partition(":")[0] for f in features} | set(rolls) | {t for t in tracks if t in features}
        rows = row_clock(tracks, needed, self.settings, self.spec.rate_hz, where)
        if len(rows) > MAX_ROWS:
            raise Reject(Reason.OVERLENGTH, f"{where}: {len(rows)} rows in one episode; split it")
        aligned = {t: join(one, rows, self.settings) for t, one in tracks.items()}
        aligned |= {t: _latched(tracks[t], rows) for t in tracks if t.startswith("/tf_static:")}
        columns = self._columns(got["topics"], aligned, rows, losses, where)
        losses += [one for t in sorted(needed & tracks.keys()) if (one := runaway(tracks[t], self.settings, where))]
        times = (rows - rows[0]) / 1e9
        views = self._views(rolls, aligned, got["cameras"], losses, where)
        recorder = rows + round(1e9 * self._offset(tracks))
        texts, lost = words_of(where, self.found.name, recorder, (got["start"], got["end"]), self.language)
        facts = {
            "bag": summary["kind"],
            "definitions": "embedded" if summary["embedded"] else self.settings.definitions,
            "suite": self.found.name,
            "clock": {"rows": self.settings.rows, "stamp": self.settings.stamp, "join": self.settings.join,
                      "tolerance_s": self.settings.tolerance_s, "start_ns": int(rows[0])},
            "topics": {t: figures(tracks[t], aligned[t][1]) for t in sorted(tracks)},
        }  # fmt: skip
        unknown = sorted(t for t, e in topics.items() if not e.get("known", True) and not self._ignored(t))
        facts |= {"unknown_types": unknown} if unknown else {}
        other = sorted(t for t, e in topics.items() if e["type"] in _PICTURES and t not in cameras)
        facts |= {"other_views": other} if other else {}
        return RobotEpisode(
            item=item,
            content_id=content_id_of_columns(columns, times),
            columns=columns,
            timestamps=times,
            views=views,
            texts=texts,
            losses=[*losses, *lost],
            facts=facts,
        )

    # -- parts of open ---------------------------------------------------------------------------------------------

    def _ignored(self, name: str) -> bool:
        return any(re.fullmatch(p, name) for p in self.spec.ignore)

    def _wanted_camera(self, topic: str) -> bool:
        return topic == self.settings.rows or (
            not self._ignored(topic) and any(re.fullmatch(v.key, topic) for v in self.spec.views)
        )

    def _wanted_topic(self, topic: str, entry: dict[str, Any]) -> bool:
        if topic == self.settings.rows:
            return True
        return not self._ignored(topic) and any(not self._ignored(f) for f in entry["features"])

    def _track(self, topic: str, entry: dict[str, Any], where: str) -> Track:
        return track(topic, entry["bag"], entry["header"], entry["stamped"], self.settings, where)

    def _offset(self, tracks: dict[str, Track]) -> float:
        """Seconds from the rows' clock to the recorder's."""
        own = tracks.get(self.settings.rows)
        if self.settings.stamp == "bag":
            return 0.0
        offsets = [own.offset_s] if own is not None else [t.offset_s for t in tracks.values()]
        known = [o for o in offsets if o is not None]
        return float(np.median(known)) if known else 0.0

    def _columns(
        self, topics: dict[str, Any], aligned: dict[str, tuple[np.ndarray, np.ndarray]], rows: np.ndarray,
        losses: list[Reject], where: str,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """Feature -> (T, n); NaN where no sample belongs to a row."""
        used = self.spec.features()
        out: dict[str, np.ndarray] = {}
        for topic, entry in topics.items():
            pick = aligned[topic][0]
            mine = {f: x for f, x in entry["columns"].items() if not self._ignored(f) or f in used}
            for feature in entry["uneven"]:
                text = f"{where}: {feature} has another length from message to message"
                if feature in used:
                    raise Reject(Reason.CONTRADICTION, f"{text}; it has no columns")
                if not self._ignored(feature):
                    losses.append(Reject(Reason.CONTRADICTION, text, level="row"))
            for feature, x in mine.items():
                values = np.full((len(rows), x.shape[1]), np.nan)
                values[pick >= 0] = x[pick[pick >= 0]]
                out |= self._by_name(feature, values, entry["names"].get(feature, []), where)
            needs = any(f in used or any(u.startswith(f"{f}:") for u in used) for f in mine)
            if mine and needs and (pick < 0).any():  # of the others the facts tell
                self._gap(topic, pick < 0, losses, where)
        if not out:
            raise Reject(Reason.MISSING_FIELD, f"{where}: no topic has numbers that {self.spec.name} does not ignore")
        return out

    def _gap(self, topic: str, without: np.ndarray, losses: list[Reject], where: str) -> None:
        s, count = self.settings, int(without.sum())
        text = (
            f"{where}: {topic} has no sample within {s.tolerance_s:g} s of {count} of {len(without)} rows, the first "
            f"is row {int(np.argmax(without))}"
        )
        if without.all():
            raise Reject(Reason.CONTRADICTION, f"{text}; is its stamp the rows' clock? paths: {{stamp, bag_stamped}}")
        if s.gaps == "reject" or count > s.max_gap_share * len(without):
            raise Reject(Reason.BAD_VALUE, text, frames=count)
        losses.append(Reject(Reason.BAD_VALUE, f"{text}; they are masked", level="row", frames=count))

    def _by_name(self, feature: str, values: np.ndarray, names: list[str], where: str) -> dict[str, np.ndarray]:
        """The feature, or its named columns where the data-set file takes those."""
        if not any(u.startswith(f"{feature}:") for u in self.spec.features()):
            return {feature: values}
        if len(set(names)) != values.shape[1]:
            raise Reject(
                Reason.MISSING_FIELD, f"{where}: {feature} is taken by column name, its messages do not name columns"
            )
        return {f"{feature}:{n}": values[:, i : i + 1] for i, n in enumerate(names)}

    def _views(
        self, rolls: dict[str, dict[str, Any]], aligned: dict[str, tuple[np.ndarray, np.ndarray]],
        infos: dict[str, Any], losses: list[Reject], where: str,
    ) -> dict[str, View]:  # fmt: skip
        """One picture per row; a camera that lacks some is a loss."""
        out: dict[str, View] = {}
        for topic, roll in rolls.items():
            if not any(re.fullmatch(v.key, topic) for v in self.spec.views) or self._ignored(topic):
                continue
            pick = aligned[topic][0]
            if (pick < 0).any():
                text = (
                    f"{where}: {topic} has no picture within {self.settings.tolerance_s:g} s of {int((pick < 0).sum())}"
                    f" of {len(pick)} rows"
                )
                losses.append(Reject(Reason.TRUNCATED, text, level="row", frames=len(pick)))
                continue
            data, ends = roll["bytes"].tobytes(), [0, *(int(e) for e in roll["ends"])]
            pictures = [data[ends[i] : ends[i + 1]] for i in pick]
            view = View(topic, pictures=pictures, depth=bool(roll["depth"]), depth_unit_m=self.settings.depth_unit_m)
            try:
                view.intrinsics = _intrinsics(topic, infos, picture_size(pictures[0], topic), where)
            except Reject as reject:
                losses.append(Reject(reject.reason, reject.message, level="row"))
            out[topic] = view
        return out


def _latched(one: Track, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A static transform holds for the whole bag, whenever it was said."""
    index = int(one.order[-1]) if len(one.order) else -1
    return np.full(len(rows), index), np.full(len(rows), np.nan if index < 0 else 0.0)


def _intrinsics(topic: str, infos: dict[str, Any], size: tuple[int, int], where: str) -> np.ndarray | None:
    """(4,) fx fy cx cy of the camera_info nearest above the picture's topic. A pinhole without distortion only."""
    for folder in PurePosixPath(topic).parents:
        info = infos.get(str(folder / "camera_info")) or infos.get(str(folder / "info" / "camera_info"))
        if info is None:
            continue
        if tuple(info["size"]) != size:
            raise Reject(
                Reason.CONTRADICTION, f"{where}: {topic} is {size}, its camera_info is of {tuple(info['size'])} pixels"
            )
        k = info["k"].reshape(3, 3)
        if k[0, 0] <= 0 or k[1, 1] <= 0:
            return None  # an uncalibrated driver sends zeros
        if np.abs(info["d"]).max(initial=0.0) > 0:
            text = (
                f"{where}: {topic} has lens distortion {np.round(info['d'], 4).tolist()}, which intrinsics cannot hold"
            )
            raise Reject(Reason.UNSUPPORTED, text)
        return np.array([k[0, 0], k[1, 1], k[0, 2], k[1, 2]])
    return None


def _bags(root: str, files: list[str]) -> list[str]:
    """Every bag below the folder: ROS 1 files, ROS 2 folders, and single ROS 2 files outside such folders."""
    folders = {_parent(f) for f in files if PurePosixPath(f).name == "metadata.yaml"}
    storage = [f for f in files if f.endswith((".db3", ".mcap", ".db3.zstd", ".mcap.zstd"))]
    folders &= {_parent(f) for f in storage}
    single = [f for f in storage if _parent(f) not in folders and not f.endswith(".zstd")]
    return sorted([f for f in files if f.endswith(".bag")] + single + list(folders))


def _parent(path: str) -> str:
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


def _find_one(root: str, below: str, bags: list[str]) -> Found:
    name = PurePosixPath(below).name or Path(root).name
    problem, summary = "", None
    for bag in bags[:8]:  # a damaged one says nothing about the others
        try:
            summary = _ask(f"{root}/{bag}".rstrip("/"), do="summary")
            break
        except Reject as reject:
            problem = problem or reject.message
    if summary is None:
        return Found("rosbag", below, name, files=tuple(bags), episodes=len(bags), problems=(problem,))
    topics = summary["topics"]
    names = {f: tuple(n) for e in topics.values() for f, n in e["names"].items() if n}
    unknown = [t for t, e in topics.items() if not e.get("known", True)]
    return Found(
        container="rosbag",
        root=below,
        name=name,
        version=summary["kind"],
        features={f: w for e in topics.values() for f, w in e["features"].items()},
        column_names=names,
        files=tuple(bags),
        views=tuple(t for t, e in topics.items() if e["type"] in _PICTURES and e["count"]),
        episodes=len(bags),
        layout=summary["kind"],
        note=f"types without a definition: {', '.join(unknown)}" if unknown else "",
    )
