"""``meta/info.json`` of a LeRobot data set, with everything publishers write differently (v2.0, v2.1, v3.0).

Counts and splits in the file are often wrong (``total_chunks`` 0, ``splits`` 0:100 for five episodes) and are not used:
the episode tables and the files decide. What forbids reading is a sentence in ``problems``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from unihand_data.errors import Reject
from unihand_data.untrusted import tables

#: columns every set has for its own bookkeeping; they are no features of the robot
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")
VERSIONS = re.compile(r"v?(2\.0|2\.1|3\.0)(\.\d+)?")
NUMERIC = re.compile(r"(float|double|u?int|bool)\d*")
_DEFAULTS = {
    2: ("data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"),
    3: ("data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"),
}  # fmt: skip
_FIELD = re.compile(r"\{(\w*)(?::0?(\d+)d)?\}")


@dataclass(frozen=True)
class Feature:
    """One entry of ``features``. ``names`` is empty where the file gives none that fit one name per number."""

    name: str
    dtype: str
    width: int
    names: tuple[str, ...] = ()
    depth: bool = False
    fps: float | None = None

    @property
    def is_view(self) -> bool:
        return self.dtype in ("video", "image")

    @property
    def is_number(self) -> bool:
        """A measurement or a command; point clouds and raw pictures are wider."""
        return NUMERIC.fullmatch(self.dtype) is not None and self.width <= 2048

    @property
    def is_pointer(self) -> bool:
        """Integers that point into a table of sentences or labels (``annotation.*``, ``subtask_annotation``,
        ``subtask_index``): words, not measurements."""
        return self.dtype.startswith(("int", "uint")) and (
            "annotation" in self.name or self.name.endswith("_index") or self.name == "index"
        )


@dataclass
class Info:
    """What a reader needs of ``info.json``."""

    version: str = ""
    robot_type: str = ""
    fps: float | None = None
    chunks_size: int = 1000
    data_path: str = ""
    video_path: str = ""
    episodes: int | None = None
    features: dict[str, Feature] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def major(self) -> int:
        return 3 if self.version.startswith("v3") else 2

    def columns(self) -> dict[str, Feature]:
        """Features that are numbers of the robot: no pictures, no bookkeeping, no pointers into tables."""
        return {
            n: f for n, f in self.features.items() if f.is_number and n not in BOOKKEEPING and not f.is_pointer
        }  # fmt: skip

    def views(self) -> dict[str, Feature]:
        return {n: f for n, f in self.features.items() if f.is_view}


def is_lerobot(raw: Any) -> bool:
    """Whether the content of a ``meta/info.json`` is LeRobot's at all."""
    return isinstance(raw, dict) and ("codebase_version" in raw or ("features" in raw and "fps" in raw))


def parse(raw: dict[str, Any]) -> Info:
    """Never raises; contradictions are in ``problems``."""
    out = Info()
    version = str(raw.get("codebase_version"))
    found = VERSIONS.fullmatch(version)
    if found is None:
        out.problems.append(
            f"meta/info.json: codebase_version is {version[:40]!r}; v2.0, v2.1 and v3.0 are read, convert the set first"
        )
    out.version = f"v{found.group(1)}" if found else version[:20]
    out.robot_type = raw["robot_type"] if isinstance(raw.get("robot_type"), str) else ""
    try:
        out.fps = tables.number(tables.need(raw, "fps", "meta/info.json"), "meta/info.json: fps")
        if not 0 < out.fps <= 1000:
            out.problems.append(f"meta/info.json: fps is {out.fps:g}; correct it to the recording rate")
    except Reject as reject:
        out.problems.append(reject.message)
    out.chunks_size = _count(raw.get("chunks_size")) or 1000
    out.episodes = _count(raw.get("total_episodes"))
    for attribute, default in zip(("data_path", "video_path"), _DEFAULTS[out.major]):
        template = raw.get(attribute) or default
        if not isinstance(template, str) or not _is_safe(template):
            out.problems.append(f"meta/info.json: {attribute} {str(template)[:80]!r} is no path inside the data set")
            template = default
        setattr(out, attribute, template)
    features = raw.get("features")
    if not isinstance(features, dict) or not features:
        out.problems.append("meta/info.json: features is no mapping; fetch the file again")
        return out
    for name, entry in features.items():
        try:
            out.features[name] = _feature(name, entry)
        except ValueError as error:
            out.problems.append(f"meta/info.json: {name}: {error}")
    return out


def place(template: str, **values: int | str) -> str:
    """A path template filled in; only plain fields with a zero-padded width, as LeRobot writes them.

    Raises:
        KeyError: a field that the template's version does not have."""

    def fill(found: re.Match[str]) -> str:
        value = values[found.group(1)]
        return f"{value:0{found.group(2)}d}" if found.group(2) and isinstance(value, int) else str(value)

    return _FIELD.sub(fill, template)


def _is_safe(template: str) -> bool:
    plain = _FIELD.sub("0", template)
    known = {"episode_chunk", "episode_index", "video_key", "chunk_index", "file_index", "image_key", "frame_index"}
    inside = not template.startswith(("/", "\\")) and ".." not in template.split("/") and "\0" not in template
    return inside and "{" not in plain and "}" not in plain and {m[0] for m in _FIELD.findall(template)} <= known


def _feature(name: str, entry: Any) -> Feature:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        raise ValueError("dtype is missing; correct the entry")
    dtype = entry["dtype"].lower()
    info = {**_mapping(entry.get("video_info")), **_mapping(entry.get("info"))}
    if dtype in ("video", "image"):
        is_depth = info.get("video.is_depth_map", info.get("is_depth_map", entry.get("is_depth_map", False)))
        fps = info.get("video.fps")
        good = isinstance(fps, int | float) and not isinstance(fps, bool) and 0 < fps <= 1000
        words = re.split(r"[._/\-]", name.lower())
        return Feature(
            name,
            dtype,
            0,
            depth=bool(is_depth) or "depth" in words,
            fps=float(fps) if good and fps is not None else None,
        )
    shape = entry.get("shape", [1])
    shape = [shape] if isinstance(shape, int) else shape
    ok = isinstance(shape, list | tuple) and all(
        isinstance(s, int | float) and not isinstance(s, bool) and s == int(s) and 0 <= s < 1 << 24 for s in shape
    )
    if not ok or math.prod(shape) > 1 << 28:
        raise ValueError(f"shape {str(shape)[:60]!r} is no list of sizes; correct the entry")
    sizes = [int(s) for s in shape]
    try:
        names = _names(entry.get("names"), math.prod(sizes), sizes)
    except ValueError:
        if name.startswith(("observation", "action", "state", "eef_sim_pose")):
            raise
        names = ()  # side information: without names nobody can take its columns by name
    return Feature(name, dtype, math.prod(sizes), names)


def _count(value: Any) -> int | None:
    """A whole number, written as an integer or as a float."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 40
    return int(value) if good and value == int(value) else None


def _names(names: Any, width: int, shape: list[int]) -> tuple[str, ...]:
    """One name per number, from a list, nested lists, ``{"motors": [...]}``, ``{"axes": [...]}``, ``{"state_names":
    [...]}``, several lists side by side, ``{"x": 0, "y": 1}``, or null.

    Raises:
        ValueError: names for another number of columns: nobody can say which column is which."""
    if isinstance(names, dict) and names and all(isinstance(v, int) for v in names.values()):
        names = sorted(names, key=lambda n: names[n])
    flat = tuple(_flatten(names))
    if not flat or len(flat) == width:
        return flat
    if len(shape) > 1 and len(flat) == len(shape):  # names of the axes
        return ()
    if len(flat) == 1:  # the name of the whole vector
        return ()
    raise ValueError(
        f"{len(flat)} names for {width} columns, so which column is which is unknown; ask the publisher and "
        "correct the entry"
    )


def _flatten(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [n for v in value for n in _flatten(v)]
    return [] if value is None else [str(value)]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
