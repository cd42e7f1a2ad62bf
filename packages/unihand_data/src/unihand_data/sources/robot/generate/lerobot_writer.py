"""LeRobot folders of v2.0, v2.1 and v3.0 as the format's documentation lays them out, with tiny real videos.

Layouts: ``lerobot_sets.py``; what publishers write differently: ``lerobot_drift.py``.

Legend: T steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SIZE = (64, 48)
_PATHS = {
    "v2": ("data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
           "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"),
    "v3": ("data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
           "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"),
}  # fmt: skip


@dataclass
class Episode:
    """One episode as it will be written.

    Attributes:
        columns: feature -> (T, n) numbers.
        task: the sentence; ``tasks``: further ones that the episode table lists.
        pointers: integer columns (T,) or (T, k) into tables of sentences.
        text: columns of sentences, one per step.
        pictures: view -> T encoded pictures inside the rows.
        row: further keys of the episode table (v2).
    """

    columns: dict[str, np.ndarray]
    task: str
    tasks: list[str] = field(default_factory=list)
    pointers: dict[str, np.ndarray] = field(default_factory=dict)
    text: dict[str, list[str]] = field(default_factory=dict)
    pictures: dict[str, list[bytes]] = field(default_factory=dict)
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(next(iter(self.columns.values())))


@dataclass
class SetInfo:
    """What all episodes share. ``names``: feature -> ``names`` as the file has them; ``video_fps``: stamp of the
    pictures where it is not ``fps``; ``sentences``: all tasks in the order of their index; ``files``: further files."""

    robot_type: str | None
    fps: float
    version: str
    views: tuple[str, ...]
    names: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    video_fps: float | None = None
    chunks_size: int = 1000
    sentences: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


Edit = Callable[[dict[str, Any]], None]


def write_set(
    out: Path, info: SetInfo, episodes: list[Episode], *, edit_info: Edit | None = None, edit_rows: Edit | None = None
) -> None:
    """Write the folder. ``edit_info`` changes ``info.json`` before it is written, ``edit_rows`` the columns of each
    episode (name -> list of cells)."""
    paths = _PATHS["v3" if info.version == "v3.0" else "v2"]
    sentences = list(dict.fromkeys([*info.sentences, *(t for e in episodes for t in (e.task, *e.tasks))]))
    shared: dict[str, Any] = {"paths": paths, "sentences": sentences, "edit": edit_rows}
    if info.version == "v3.0":
        _write_v3(out, info, episodes, **shared)
    else:
        _write_v2(out, info, episodes, **shared)
    raw = deepcopy(_info(info, episodes, paths, len(sentences)))  # names belong to the plans
    if edit_info is not None:
        edit_info(raw)
    _json(out / "meta" / "info.json", raw)
    for name, content in info.files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(content, encoding="utf-8")


def _info(info: SetInfo, episodes: list[Episode], paths: tuple[str, str], tasks: int) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for name, x in episodes[0].columns.items():
        features[name] = {"dtype": info.dtype, "shape": [x.shape[1]], "names": info.names.get(name)}
    for view in info.views:
        features[view] = {
            "dtype": "video", "shape": [SIZE[1], SIZE[0], 3], "names": ["height", "width", "channels"],
            "info": {"video.fps": info.video_fps or info.fps, "video.codec": "h264", "video.is_depth_map": False},
        }  # fmt: skip
    for view in episodes[0].pictures:
        features[view] = {"dtype": "image", "shape": [SIZE[1], SIZE[0], 3], "names": ["height", "width", "channels"]}
    for name, column in episodes[0].pointers.items():
        features[name] = {"dtype": "int64", "shape": [1 if column.ndim == 1 else column.shape[1]], "names": None}
    for name in episodes[0].text:
        features[name] = {"dtype": "string", "shape": [1], "names": None}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    return {
        "codebase_version": info.version, "robot_type": info.robot_type, "total_episodes": len(episodes),
        "total_frames": sum(e.steps for e in episodes), "total_tasks": tasks, "chunks_size": info.chunks_size,
        "fps": info.fps, "splits": {"train": f"0:{len(episodes)}"}, "data_path": paths[0], "video_path": paths[1],
        "features": features,
    }  # fmt: skip


def rows_of(e: Episode, number: int, start: int, fps: float, task: int, dtype: str) -> dict[str, Any]:
    """Column -> cells of one episode, the bookkeeping included."""
    cells: dict[str, Any] = {n: list(x.astype(dtype)) for n, x in e.columns.items()}
    for name, column in e.pointers.items():
        cells[name] = column.tolist()
    cells |= {n: list(t) for n, t in e.text.items()}
    for view, pictures in e.pictures.items():
        cells[view] = [{"bytes": b, "path": f"frame-{i:06d}.png"} for i, b in enumerate(pictures)]
    return cells | {
        "timestamp": np.arange(e.steps, dtype=np.float32) / np.float32(fps), "frame_index": list(range(e.steps)),
        "episode_index": [number] * e.steps, "index": list(range(start, start + e.steps)),
        "task_index": [task] * e.steps,
    }  # fmt: skip


def _write_v2(
    out: Path, info: SetInfo, episodes: list[Episode], paths: tuple[str, str], sentences: list[str], edit: Edit | None
) -> None:
    listed, start = [], 0
    for number, e in enumerate(episodes):
        cells = rows_of(e, number, start, info.fps, sentences.index(e.task), info.dtype)
        if edit is not None:
            edit(cells)
        chunk = number // info.chunks_size
        _parquet(out / paths[0].format(episode_chunk=chunk, episode_index=number), [cells])
        for view in info.views:
            name = paths[1].format(episode_chunk=chunk, episode_index=number, video_key=view)
            video(out / name, e.steps, info.video_fps or info.fps, seed=number)
        listed.append({"episode_index": number, "tasks": [e.task, *e.tasks], "length": e.steps, **e.row})
        start += e.steps
    _jsonl(out / "meta" / "episodes.jsonl", listed)
    _jsonl(out / "meta" / "tasks.jsonl", [{"task_index": i, "task": t} for i, t in enumerate(sentences)])
    stats = [_statistics([e]) for e in episodes]
    if info.version == "v2.0":
        _json(out / "meta" / "stats.json", _statistics(episodes))
    else:
        _jsonl(out / "meta" / "episodes_stats.jsonl", [{"episode_index": i, "stats": s} for i, s in enumerate(stats)])


def _write_v3(
    out: Path, info: SetInfo, episodes: list[Episode], paths: tuple[str, str], sentences: list[str], edit: Edit | None
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts, listed, start = [], [], 0
    for number, e in enumerate(episodes):
        cells = rows_of(e, number, start, info.fps, sentences.index(e.task), info.dtype)
        if edit is not None:
            edit(cells)
        parts.append(cells)
        row: dict[str, Any] = {
            "episode_index": number, "tasks": [e.task, *e.tasks], "length": e.steps, "data/chunk_index": 0,
            "data/file_index": 0, "dataset_from_index": start, "dataset_to_index": start + e.steps,
        }  # fmt: skip
        rate = info.video_fps or info.fps
        for view in info.views:
            row |= {
                f"videos/{view}/chunk_index": 0, f"videos/{view}/file_index": 0,
                f"videos/{view}/from_timestamp": start / rate, f"videos/{view}/to_timestamp": (start + e.steps) / rate,
            }  # fmt: skip
        listed.append(row)
        start += e.steps
    _parquet(out / paths[0].format(chunk_index=0, file_index=0), parts)
    for view in info.views:
        name = paths[1].format(chunk_index=0, file_index=0, video_key=view)
        video(out / name, start, info.video_fps or info.fps)
    meta = out / "meta"
    (meta / "episodes" / "chunk-000").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(listed), meta / "episodes" / "chunk-000" / "file-000.parquet")
    words = pa.table({"task_index": list(range(len(sentences))), "__index_level_0__": sentences})
    pq.write_table(words, meta / "tasks.parquet")  # the sentence is the pandas index
    _json(meta / "stats.json", _statistics(episodes))


def _statistics(episodes: list[Episode]) -> dict[str, Any]:
    out = {}
    for name in episodes[0].columns:
        x = np.concatenate([e.columns[name] for e in episodes])
        out[name] = {
            "min": x.min(axis=0).tolist(), "max": x.max(axis=0).tolist(), "mean": x.mean(axis=0).tolist(),
            "std": x.std(axis=0).tolist(), "count": [len(x)],
        }  # fmt: skip
    return out


def _parquet(path: Path, parts: list[dict[str, Any]]) -> None:
    """One row group per part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    tables = [pa.table({k: pa.array(v) for k, v in part.items()}) for part in parts]
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


def video(path: Path, frames: int, fps: float, seed: int = 0) -> None:
    """H.264 in MP4, 64x48, a moving bar; frame i is presented at i / fps."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = SIZE
    tint = np.random.default_rng(seed).integers(40, 160, 3)
    with av.open(str(path), "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "35"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", 8
        stream.thread_count = 1
        for i in range(frames):
            picture = np.full((height, width, 3), tint, np.uint8)
            picture[:, (2 * i) % width : (2 * i) % width + 6] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def png(height: int = SIZE[1], width: int = SIZE[0], value: int = 0, *, depth: bool = False) -> bytes:
    """A PNG, 8-bit colour or 16-bit depth."""
    import av

    picture = np.full((height, width) if depth else (height, width, 3), value, np.uint16 if depth else np.uint8)
    codec: Any = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.time_base = width, height, Fraction(1, 30)
    codec.pix_fmt = "gray16be" if depth else "rgb24"
    frame = av.VideoFrame.from_ndarray(picture, format=codec.pix_fmt)
    return b"".join(bytes(p) for p in [*codec.encode(frame), *codec.encode(None)])


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def _jsonl(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
