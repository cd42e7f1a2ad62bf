"""LeRobot v3.0: many episodes per Parquet file, one row group per episode, tables of tasks and episodes.

Layout::

    meta/info.json  meta/stats.json  meta/tasks.parquet  meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet
    videos/observation.images.ego/chunk-000/file-000.mp4

The format lets an episode name a stretch of its video file, so stored files are copied as they are and shared by the
clips that share them. Masked values are 0 and the masks are columns of their own. LeRobot checks ``timestamp`` against
``frame_index / fps``; rows of a variable-rate video fail that check and are refused unless ``keep_uneven``.
"""

from __future__ import annotations

import io
import json
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.shards.errors import ShardError
from unihand_data.shards.export import common
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import EpisodeRow
from unihand_data.shards.store import Store

DATA_MB, VIDEO_MB, CHUNK = 100, 200, 1000
#: LeRobot's own default tolerance of a timestamp
TOLERANCE_S = 1e-4
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def export(
    reader: ShardReader,
    out_dir: str | os.PathLike[str],
    *,
    embodiment: str | None = None,
    rate_hz: float | None = None,
    mirrored: bool = False,
    keep_uneven: bool = False,
) -> dict[str, int]:
    """Write the data set; returns ``{"episodes": n, "frames": n, "videos": n}``.

    Raises:
        ShardError: episodes do not fit one data set, or have uneven timestamps.
    """
    out = Store(out_dir)
    chosen = common.select(reader, embodiment=embodiment, rate_hz=rate_hz, mirrored=mirrored)
    tasks, videos, data = common.Tasks(), _Videos(reader, out), _Data(out, data_schema(chosen))
    episodes: list[dict[str, Any]] = []
    stats: dict[str, list[tuple[np.ndarray, np.ndarray | None]]] = {common.STATE: [], common.ACTION: []}
    start = 0
    for number, episode_id in enumerate(chosen.episode_ids):
        e = reader.episode(episode_id)
        if not keep_uneven:
            _check_even(e)
        columns = common.vectors(e, chosen)
        for name, mask in ((common.STATE, common.STATE_MASK), (common.ACTION, common.ACTION_MASK)):
            stats[name].append((columns[name], columns[mask]))
        sentences = common.sentence_of_frames(e)
        data.add(frame_table(e, columns, number, start, [tasks.number(s) for s in sentences], data.schema))
        row: dict[str, Any] = {
            "episode_index": number, "tasks": list(dict.fromkeys(sentences)), "length": e.frames,
            "data/chunk_index": data.file // CHUNK, "data/file_index": data.file % CHUNK,
            "dataset_from_index": start, "dataset_to_index": start + e.frames,
            "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0,
            "unihand/episode_id": e.episode_id, "unihand/split": e.split, "unihand/licence": e.licence,
        }  # fmt: skip
        for camera in e.cameras:
            key, (file, at) = common.image_key(camera.view), videos.add(e, camera)
            row |= {
                f"videos/{key}/chunk_index": file // CHUNK, f"videos/{key}/file_index": file % CHUNK,
                f"videos/{key}/from_timestamp": at, f"videos/{key}/to_timestamp": at + e.frames / e.rate_hz,
            }  # fmt: skip
        for name in stats:
            for key, values in common.statistics(stats[name][-1:], len(chosen.slots[name])).items():
                row[f"stats/{name}/{key}"] = values
        episodes.append(row)
        start += e.frames
    data.close()
    _write_meta(reader, out, chosen, tasks, episodes, stats, start, videos.codec)
    return {"episodes": len(episodes), "frames": start, "videos": videos.count}


def _check_even(e: EpisodeRow) -> None:
    off = np.abs(e.timestamps - np.arange(e.frames) / e.rate_hz)
    if off.max() > TOLERANCE_S:
        raise ShardError(
            f"episode {e.episode_id}: its timestamps leave frame / {e.rate_hz} Hz by up to {off.max():.4f} s, which "
            "LeRobot refuses; --keep-uneven writes them as they are"
        )


def data_schema(chosen: common.Selection) -> pa.Schema:
    n, m = len(chosen.slots[common.STATE]), len(chosen.slots[common.ACTION])
    return pa.schema(
        [
            (common.STATE, pa.list_(pa.float32(), n)),
            (common.STATE_MASK, pa.list_(pa.bool_(), n)),
            (common.ACTION, pa.list_(pa.float32(), m)),
            (common.ACTION_MASK, pa.list_(pa.bool_(), m)),
            ("timestamp", pa.float32()),
            *((name, pa.int64()) for name in ("frame_index", "episode_index", "index", "task_index")),
        ]
    )


def frame_table(
    e: EpisodeRow, columns: dict[str, np.ndarray], number: int, start: int, tasks: list[int], of: pa.Schema
) -> pa.Table:
    arrays: list[pa.Array] = []
    for field in of:
        if field.name in columns:
            flat = pa.array(columns[field.name].ravel(), field.type.value_type)
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, field.type.list_size))
        else:
            values = {
                "timestamp": e.timestamps, "frame_index": np.arange(e.frames),
                "episode_index": np.full(e.frames, number), "index": start + np.arange(e.frames), "task_index": tasks,
            }[field.name]  # fmt: skip
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=of)


class _Data:
    """Data files of about ``DATA_MB``, each written whole."""

    def __init__(self, out: Store, of: pa.Schema):
        self.out, self.schema, self.file = out, of, 0
        self._tables: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        if self._tables and sum(t.nbytes for t in (*self._tables, table)) > DATA_MB << 20:
            self.close()
            self.file += 1
        self._tables.append(table)

    def close(self) -> None:
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, self.schema) as writer:
            for table in self._tables:
                writer.write_table(table, row_group_size=max(1, table.num_rows))
        name = DATA_PATH.format(chunk_index=self.file // CHUNK, file_index=self.file % CHUNK)
        self.out.write(name, sink.getvalue())
        self._tables = []


class _Videos:
    """One file per stored media and view (and one per mirrored row)."""

    def __init__(self, reader: ShardReader, out: Store):
        self.reader, self.out, self.count, self.codec = reader, out, 0, ""
        self._next: dict[str, int] = {}
        self._known: dict[tuple[str, str], int] = {}

    def add(self, e: EpisodeRow, camera: Any) -> tuple[int, float]:
        """(file number within the view, file time of the row's first frame)."""
        data, at = common.video(self.reader, e, camera, whole=False)
        key = (camera.view, f"{camera.media_id}{e.episode_id if camera.mirrored else ''}")
        if key not in self._known:
            file = self._next.get(camera.view, 0)
            self._known[key], self._next[camera.view] = file, file + 1
            name = VIDEO_PATH.format(
                video_key=common.image_key(camera.view), chunk_index=file // CHUNK, file_index=file % CHUNK
            )
            self.out.write(name, data)
            self.count += 1
            self.codec = self.reader.media(camera.media_id).codec
        return self._known[key], at


def _write_meta(
    reader: ShardReader,
    out: Store,
    chosen: common.Selection,
    tasks: common.Tasks,
    episodes: list[dict[str, Any]],
    stats: dict[str, list[tuple[np.ndarray, np.ndarray | None]]],
    frames: int,
    codec: str,
) -> None:
    info = {
        "codebase_version": "v3.0", "robot_type": chosen.embodiment, "total_episodes": len(episodes),
        "total_frames": frames, "total_tasks": len(tasks.index), "chunks_size": CHUNK,
        "data_files_size_in_mb": DATA_MB, "video_files_size_in_mb": VIDEO_MB, "fps": chosen.fps,
        "splits": common.splits(reader, chosen), "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if chosen.views else None,
        "features": common.features(chosen, codec=codec, fps=chosen.fps),
    }  # fmt: skip
    out.write("meta/tasks.parquet", parquet(tasks_table(tasks)))
    out.write("meta/episodes/chunk-000/file-000.parquet", parquet(pa.Table.from_pylist(episodes)))
    whole = {name: common.statistics(pieces, len(chosen.slots[name])) for name, pieces in stats.items()}
    out.write("meta/stats.json", json.dumps(whole, indent=1).encode())
    out.write("meta/info.json", json.dumps(info, indent=1).encode())  # last: a data set with it is complete


def tasks_table(tasks: common.Tasks) -> pa.Table:
    """LeRobot keeps the sentence in the pandas index of this table."""
    index = "__index_level_0__"
    pandas = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64",
             "metadata": None},
            {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }  # fmt: skip
    of = pa.schema([("task_index", pa.int64()), (index, pa.string())], metadata={"pandas": json.dumps(pandas)})
    return pa.Table.from_arrays(
        [pa.array(tasks.index.values(), pa.int64()), pa.array(tasks.index.keys(), pa.string())], schema=of
    )


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
