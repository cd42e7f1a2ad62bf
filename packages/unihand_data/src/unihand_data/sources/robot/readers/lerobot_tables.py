"""The tables in ``meta/`` of a LeRobot data set: sentences and episodes, as jsonl (v2) or Parquet (v3).

Either form is read in either version, since converted sets mix them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import isolated
from unihand_data.sources.robot.readers.lerobot_info import Info, is_lerobot, parse, place
from unihand_data.untrusted import tables

_EPISODE_FILE = re.compile(r"episode_(\d+)\.parquet")
_VIDEO_FIELDS = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")


@dataclass
class Entry:
    """One episode as the tables announce it. ``videos``: key -> (path below the set, from_s, to_s)."""

    index: int
    data: str
    length: int | None = None
    tasks: list[str] = field(default_factory=list)
    segments: list[dict[str, Any]] = field(default_factory=list)
    success: bool | None = None
    seed: int | None = None  # of a simulated episode, where the table says it
    task_id: str = ""
    videos: dict[str, tuple[str, float, float | None]] = field(default_factory=dict)
    rows: tuple[int, int] | None = None  # v3: rows of its data file, by the table


@lru_cache(maxsize=8)
def _info(path: str, stamp: int) -> Info | None:
    raw = tables.read_json(path)
    if isinstance(raw, dict) and not is_lerobot(raw):
        return None
    if not isinstance(raw, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: no mapping; fetch it again")
    return parse(raw)


def info_of(base: str) -> Info | None:
    """``meta/info.json``; None where it is another format's. Raises ``Reject``."""
    path = f"{base}/meta/info.json"
    return _info(path, _stamp(path))


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error


def sentences(base: str, stem: str = "meta/tasks") -> dict[int, str]:
    """Index -> sentence of ``<stem>.parquet`` or ``<stem>.jsonl``; empty where neither exists.

    Raises:
        Reject: a damaged table, two sentences for one index."""
    for suffix in (".parquet", ".jsonl"):
        path = f"{base}/{stem}{suffix}"
        if os.path.isfile(path):
            return _sentences(path, _stamp(path))
    return {}


@lru_cache(maxsize=16)
def _sentences(path: str, stamp: int) -> dict[int, str]:
    out: dict[int, str] = {}
    if path.endswith(".parquet"):
        pairs = list(_parquet_sentences(path))
    else:
        pairs = [_pair(row, f"{path} line {i + 1}") for i, row in enumerate(tables.read_jsonl(path))]
    for index, text in pairs:
        if out.setdefault(index, text) != text:
            raise Reject(Reason.CONTRADICTION, f"{path}: index {index} is {out[index]!r} and {text!r}; correct one")
    return out


def _pair(row: Any, where: str) -> tuple[int, str]:
    """``{"task_index": 0, "task": "..."}``; tables of annotations use other words for the same."""
    if not isinstance(row, dict):
        raise Reject(Reason.WRONG_TYPE, f"{where}: no mapping; fetch the file again")
    key = next((k for k in row if k.endswith(("_index", "_id")) or k in ("index", "id")), None)
    number = None if key is None else row[key]
    words = next((row[k] for k in row if k != key and isinstance(row[k], str)), None)
    if words is None and any(v is None for v in row.values()):
        words = ""  # a label that says nothing
    if number is None or words is None:
        raise Reject(Reason.MISSING_FIELD, f"{where}: no index and sentence among {', '.join(map(str, row))[:120]}")
    return int(tables.number(number, where)), " ".join(words.split())


def _parquet_sentences(path: str) -> Iterator[tuple[int, str]]:
    """v3 keeps the sentence in the pandas index, which Parquet stores as a column of another name."""
    table = isolated.parquet_rows(path)
    numbers = next((v for k, v in table["numbers"].items() if k.endswith("_index") and not k.startswith("__")), None)
    words = next(iter(table["text"].values()), None)
    if numbers is None or words is None:
        have = ", ".join([*table["numbers"], *table["text"]])[:120]
        raise Reject(Reason.MISSING_FIELD, f"{path}: no index and sentence among the columns {have or 'none'}")
    for number, text in zip(numbers.ravel().tolist(), words):
        if not isinstance(text, str):
            raise Reject(Reason.WRONG_TYPE, f"{path}: index {number} has no sentence")
        yield int(number), " ".join(text.split())


def entries(base: str, info: Info) -> list[Entry]:
    """Every episode, in order of its index: those of the table, and data files that the table does not name (v2).

    Raises:
        Reject: a damaged table; MISSING_FILE (no table and no data)."""
    out = _from_jsonl(base, info) if os.path.isfile(f"{base}/meta/episodes.jsonl") else _from_parquet(base, info)
    if info.major == 2:
        for path in sorted(Path(base, "data").glob("**/episode_*.parquet")):
            found = _EPISODE_FILE.fullmatch(path.name)
            if found and int(found.group(1)) not in out:
                index = int(found.group(1))
                out[index] = Entry(index, path.relative_to(base).as_posix())
    if not out:
        raise Reject(
            Reason.MISSING_FILE, f"{base}: neither meta/episodes nor data/ holds an episode; fetch the data files"
        )
    return [out[i] for i in sorted(out)]


def _from_jsonl(base: str, info: Info) -> dict[int, Entry]:
    path, out = f"{base}/meta/episodes.jsonl", dict[int, Entry]()
    for number, row in enumerate(tables.read_jsonl(path)):
        where = f"{path} line {number + 1}"
        index = _whole(tables.need(row, "episode_index", where), f"{where}, episode_index")
        length = _whole(row["length"], f"{where}, length") if row.get("length") is not None else None
        if index in out:
            raise Reject(Reason.CONTRADICTION, f"{where}: episode {index} is listed twice; remove one line")
        chunk = index // info.chunks_size
        at = {"episode_chunk": chunk, "chunk_index": chunk, "episode_index": index}
        data = _place(base, "data_path", info.data_path, **at)
        entry = Entry(index, data, length, _texts(row.get("tasks"), where), _segments(row))
        entry.success = row["success"] if isinstance(row.get("success"), bool) else None
        entry.seed = _whole(row["seed"], f"{where}, seed") if row.get("seed") is not None else None
        entry.task_id = row["task_id"] if isinstance(row.get("task_id"), str) else ""
        for key in info.views():
            video = _place(base, "video_path", info.video_path, **at, video_key=key)
            entry.videos[key] = (video, 0.0, None)
        out[index] = entry
    return out


def _from_parquet(base: str, info: Info) -> dict[int, Entry]:
    out: dict[int, Entry] = {}
    for path in sorted(Path(base, "meta", "episodes").glob("**/*.parquet")):
        keys = list(info.views())
        columns = [
            "episode_index", "tasks", "length", "data/chunk_index", "data/file_index", "dataset_from_index",
            "dataset_to_index", "success", *(f"videos/{k}/{f}" for k in keys for f in _VIDEO_FIELDS),
        ]  # fmt: skip
        table = isolated.parquet_rows(str(path), columns)
        numbers: dict[str, np.ndarray] = table["numbers"]
        for needed in ("episode_index", "length", "data/chunk_index", "data/file_index"):
            if needed not in numbers or not np.isfinite(numbers[needed]).all():
                raise Reject(Reason.MISSING_FIELD, f"{path}: column {needed} is missing or has gaps; fetch it again")
        for row in range(table["rows"]):
            cell = {k: v[row] for k, v in numbers.items()}
            index = int(cell["episode_index"])
            if index in out:
                raise Reject(Reason.CONTRADICTION, f"{path}: episode {index} is listed twice; remove one row")
            words = table["text"].get("tasks")
            at = {"chunk_index": int(cell["data/chunk_index"]), "file_index": int(cell["data/file_index"])}
            data = _place(base, "data_path", info.data_path, **at)
            entry = Entry(index, data, int(cell["length"]), _texts(words[row] if words else None, str(path)))
            if "dataset_from_index" in cell and "dataset_to_index" in cell:
                entry.rows = (int(cell["dataset_from_index"]), int(cell["dataset_to_index"]))
            entry.success = bool(cell["success"]) if "success" in cell else None
            for key in keys:
                chunk, file, t0, t1 = (float(cell.get(f"videos/{key}/{f}", np.nan)) for f in _VIDEO_FIELDS)
                if np.isfinite([chunk, file, t0]).all():
                    at = {"chunk_index": int(chunk), "file_index": int(file)}
                    video = _place(base, "video_path", info.video_path, video_key=key, **at)
                    entry.videos[key] = (video, t0, t1 if np.isfinite(t1) else None)
            out[index] = entry
    starts: dict[str, int] = {}
    for entry in out.values():
        if entry.rows is not None:
            starts[entry.data] = min(starts.get(entry.data, entry.rows[0]), entry.rows[0])
    for entry in out.values():
        if entry.rows is not None:
            entry.rows = (entry.rows[0] - starts[entry.data], entry.rows[1] - starts[entry.data])
    return out


def _place(base: str, name: str, template: str, **values: int | str) -> str:
    try:
        return place(template, **values)
    except KeyError as error:
        raise Reject(
            Reason.CONTRADICTION,
            f"{base}/meta/info.json: {name} {template!r} has the field {error.args[0]!r}, which this version's episode "
            "table does not give; correct the path",
        ) from error


def _whole(value: Any, where: str) -> int:
    number = tables.number(value, where)
    if number != int(number) or number < 0 or number > 1 << 40:
        raise Reject(Reason.BAD_VALUE, f"{where}: {value} is no count")
    return int(number)


def _texts(value: Any, where: str) -> list[str]:
    """A list of sentences or one; numbers (an index instead of the sentence) are left to ``task_index``."""
    if isinstance(value, str):
        value = [value]
    if value is not None and not isinstance(value, list):
        raise Reject(Reason.WRONG_TYPE, f"{where}: tasks is {type(value).__name__}, a list of sentences belongs there")
    return [" ".join(t.split()) for t in value or [] if isinstance(t, str) and t.strip()]


def _segments(row: dict[str, Any]) -> list[dict[str, Any]]:
    """``action_config`` of AgiBot and Being-H sets, at the top or below ``label_info``; broken ones stay as they are
    and cost one row each when the episode is opened."""
    found = row.get("action_config")
    if found is None and isinstance(row.get("label_info"), dict):
        found = row["label_info"].get("action_config")
    keys = ("start_frame", "end_frame", "action_text")
    return (
        [{k: s.get(k) for k in keys} if isinstance(s, dict) else {} for s in found] if isinstance(found, list) else []
    )
