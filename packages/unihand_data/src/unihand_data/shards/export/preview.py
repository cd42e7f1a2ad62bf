"""The layout of UniHand_Preview, as far as it is known: a LeRobot v3 variant with one data file per video file and
separate episode and task tables for instruction (motion generation) and description samples.

Known: the tree, the names of files and of the keys of ``info.json``, the two task registries. Not known, and therefore
ours: the columns of the data files (LeRobot's, with our slots) and of the episode tables, and how the mirrored half is
indexed (here: rows of the twin follow the parent's in the same data file, ``mirrored`` says so, and pixels are to be
flipped as ``mirror_video_transform`` says).
"""

from __future__ import annotations

import json
import os
from typing import Any

import pyarrow as pa

from unihand_data.shards.errors import ShardError
from unihand_data.shards.export import common, lerobot3
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import EpisodeRow
from unihand_data.shards.store import Store
from unihand_data.shards.window import frame_number

CHUNK = 1000
KINDS = ("instruction", "description")
TASK_OF = {"instruction": "motion_generation", "description": "motion_description"}


def export(
    reader: ShardReader,
    out_dir: str | os.PathLike[str],
    *,
    name: str = "unihand",
    embodiment: str | None = None,
    rate_hz: float | None = None,
) -> dict[str, int]:
    """Write the data set, mirror twins included; returns ``{"episodes", "frames", "videos"}``.

    Raises:
        ShardError: episodes do not fit one data set, or have not exactly one view.
    """
    out = Store(out_dir)
    chosen = common.select(reader, embodiment=embodiment, rate_hz=rate_hz, mirrored=True)
    if len(chosen.views) != 1:
        raise ShardError(f"this layout has one view, the episodes have {len(chosen.views)}: {', '.join(chosen.views)}")
    files: dict[str, list[EpisodeRow]] = {}
    for episode_id in chosen.episode_ids:
        e = reader.episode(episode_id)
        files.setdefault(e.cameras[0].media_id, []).append(e)
    asked = _samples(reader)
    registry = {kind: common.Tasks() for kind in KINDS}
    tables: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    frames, of = 0, lerobot3.data_schema(chosen)
    for number, (media_id, episodes) in enumerate(files.items()):
        chunk, rows = number // CHUNK, 0
        pieces: list[pa.Table] = []
        for e in sorted(episodes, key=lambda e: e.mirrored):
            columns = common.vectors(e, chosen)
            lines = [registry["instruction"].number(s) if s else -1 for s in common.sentence_of_frames(e)]
            pieces.append(lerobot3.frame_table(e, columns, len(pieces), frames + rows, lines, of))
            media, camera = reader.media(media_id), e.cameras[0]
            assert media.pts is not None  # select() has seen a video
            at = float(media.pts[frame_number(e, camera, media, 0.0)] - media.pts[0])
            for kind in KINDS:
                tables[kind] += _episode_rows(e, kind, asked, registry[kind], number, rows, at)
            rows += e.frames
        out.write(f"data/chunk-{chunk:03d}/file-{number:06d}.parquet", lerobot3.parquet(pa.concat_tables(pieces)))
        out.write(f"videos/ego-view/chunk-{chunk:03d}/file-{number:06d}.mp4", reader.media_bytes(media_id))
        frames += rows
    for kind in KINDS:
        words = [json.dumps({"task_index": n, "task": t}, ensure_ascii=False) for t, n in registry[kind].index.items()]
        out.write(f"meta/tasks_{kind}.jsonl", "".join(line + "\n" for line in words).encode())
        numbered = [row | {"episode_index": n} for n, row in enumerate(tables[kind])]
        table = pa.Table.from_pylist(numbered, schema=_EPISODES)
        out.write(f"meta/episodes/{kind}/chunk-000/file-000000.parquet", lerobot3.parquet(table))
    info = {
        "base_dataset": name, "dataset_variants": [name], "fps": float(chosen.fps), "action_stride": 1,
        "robot_type": "human hand", "layout": "file-centric-split-mirror-v4",
        "mirror_video_transform": "horizontal_flip", "mirror_text_transform_version": "left-right-clockwise-v1",
        "num_files": len(files), "num_episodes": sum(map(len, tables.values())),
        "features": common.features(chosen, codec="", fps=chosen.fps),
    }  # fmt: skip
    out.write("meta/info.json", json.dumps(info, indent=1).encode())
    return {"episodes": len(chosen.episode_ids), "frames": frames, "videos": len(files)}


_EPISODES = pa.schema(
    [
        ("episode_index", pa.int64()),
        ("file_index", pa.int64()),
        ("chunk_index", pa.int64()),
        ("from_index", pa.int64()),  # row within the data file
        ("to_index", pa.int64()),
        ("from_timestamp", pa.float64()),  # time within the video file
        ("to_timestamp", pa.float64()),
        ("task_index", pa.int64()),
        ("length", pa.int64()),
        ("mirrored", pa.bool_()),
        ("split", pa.string()),
        ("unihand/episode_id", pa.string()),
    ]
)


def _samples(reader: ShardReader) -> dict[str, set[tuple[str, int]]]:
    """Kind -> (episode id, sentence) that some sample of that task refers to."""
    names = ("task", "episode_id", "language_ref")
    out: dict[str, set[tuple[str, int]]] = {kind: set() for kind in KINDS}
    for batch in reader.sample_batches(names):
        for task, episode_id, ref in zip(*(batch[c].to_pylist() for c in names)):
            for kind in KINDS:
                if task == TASK_OF[kind] and ref >= 0:
                    out[kind].add((episode_id, ref))
    return out


def _episode_rows(
    e: EpisodeRow,
    kind: str,
    asked: dict[str, set[tuple[str, int]]],
    registry: common.Tasks,
    file: int,
    first: int,
    at: float,
) -> list[dict[str, Any]]:
    """One row per sentence that a sample of this kind refers to."""
    out = []
    for ref, line in enumerate(e.language):
        if (e.episode_id, ref) not in asked[kind]:
            continue
        a = int((e.timestamps < line.t0 - 1e-6).sum())
        b = max(a + 1, int((e.timestamps < line.t1 - 1e-6).sum()))
        out.append(
            {
                "file_index": file, "chunk_index": file // CHUNK,
                "from_index": first + a, "to_index": first + b, "from_timestamp": at + float(e.timestamps[a]),
                "to_timestamp": at + float(e.timestamps[b - 1]) + 1 / e.rate_hz, "length": b - a,
                "task_index": registry.number(line.text), "mirrored": e.mirrored, "split": e.split,
                "unihand/episode_id": e.episode_id,
            }
        )  # fmt: skip
    return out
