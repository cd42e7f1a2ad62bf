"""Staged episodes as one LeRobot v2.1 folder; ``meta/info.json`` comes last, so a folder with it is complete.

Columns: ``observation.state`` (x, y, z m, gripper_distance_apart 0 closed .. 1 open), ``action`` (dx, dy, dz,
grab_effort: the clean clipped command, the label), ``action.executed`` (what was executed, noise included),
``next.success``, LeRobot's bookkeeping; cameras ``observation.images.corner2`` (upside down as rendered) and
``observation.images.gripperPOV``. ``meta/episodes.jsonl`` adds per episode: ``success``, ``seed``, ``task_id``,
``range``, ``noise_sigma``.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.record.expert import CAMERAS, RATE_HZ
from unihand_data.record.settings import RecordSettings
from unihand_data.record.staging import Staged
from unihand_data.record.tasks import SENTENCES

CHUNK = 1000
DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
STATE_NAMES = ["x", "y", "z", "gripper_distance_apart"]
ACTION_NAMES = ["dx", "dy", "dz", "grab_effort"]
_COLUMNS = {"observation.state": "state", "action": "label", "action.executed": "executed"}


def assemble(output: Path, settings: RecordSettings, episodes: list[Staged]) -> None:
    """Write the data set beside the staged episodes; videos are linked (or copied where links do not work).

    Calling it again after a kill starts over: nothing counts before ``meta/info.json``.
    """
    for name in ("data", "videos", "meta"):
        shutil.rmtree(output / name, ignore_errors=True)
    (output / "meta").mkdir(parents=True)
    sentences = list(dict.fromkeys(SENTENCES[e.facts["task"]] for e in episodes))
    lines: list[dict[str, Any]] = []
    stats: list[dict[str, Any]] = []
    first = 0
    for index, episode in enumerate(episodes):
        facts = episode.facts
        sentence = SENTENCES[facts["task"]]
        place = {"episode_chunk": index // CHUNK, "episode_index": index}
        numbers = episode.numbers()
        bookkeeping = _bookkeeping(facts["length"], index, first, sentences.index(sentence))
        _write_table(output / DATA.format(**place), numbers, bookkeeping)
        for camera in CAMERAS:
            target = output / VIDEO.format(video_key=f"observation.images.{camera}", **place)
            _link(episode.folder / f"{camera}.mp4", target)
        lines.append(
            {
                "episode_index": index,
                "tasks": [sentence],
                "length": facts["length"],
                "success": facts["success"],
                "seed": facts["seed"],
                "task_id": facts["task"],
                "range": facts["range"],
                "noise_sigma": facts["noise_sigma"],
            }
        )
        stats.append({"episode_index": index, "stats": _stats(numbers, bookkeeping, facts["pictures"])})
        first += facts["length"]
    _jsonl(output / "meta/tasks.jsonl", [{"task_index": i, "task": t} for i, t in enumerate(sentences)])
    _jsonl(output / "meta/episodes.jsonl", lines)
    _jsonl(output / "meta/episodes_stats.jsonl", stats)
    write_json(output / "meta/info.json", _info(settings, len(episodes), first, len(sentences)))


def write_json(path: Path, value: Any) -> None:
    """Under a temporary name, then renamed."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)


def _info(settings: RecordSettings, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    size = settings.size

    def vector(names: list[str]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": names}

    def scalar(dtype: str) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [1], "names": None}

    camera = {
        "dtype": "video",
        "shape": [size, size, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": size,
            "video.width": size,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": RATE_HZ,
            "video.channels": 3,
            "has_audio": False,
        },
    }
    return {
        "codebase_version": "v2.1",
        "robot_type": "sawyer_metaworld",
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "total_videos": episodes * len(CAMERAS),
        "total_chunks": -(-episodes // CHUNK),
        "chunks_size": CHUNK,
        "fps": RATE_HZ,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA,
        "video_path": VIDEO,
        "features": {
            "observation.state": vector(STATE_NAMES),
            "action": vector(ACTION_NAMES),
            "action.executed": vector([f"executed_{n}" for n in ACTION_NAMES]),
            "next.success": scalar("bool"),
            **{f"observation.images.{name}": camera for name in CAMERAS},
            "timestamp": scalar("float32"),
            **{n: scalar("int64") for n in ("frame_index", "episode_index", "index", "task_index")},
        },
    }


def _bookkeeping(length: int, episode: int, first: int, task: int) -> dict[str, np.ndarray]:
    steps = np.arange(length)
    return {
        "timestamp": (steps / RATE_HZ).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(length, episode),
        "index": first + steps,
        "task_index": np.full(length, task),
    }


def _write_table(path: Path, numbers: dict[str, np.ndarray], bookkeeping: dict[str, np.ndarray]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {}
    for name, source in _COLUMNS.items():
        values = numbers[source]
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), pa.float32()), values.shape[1])
    columns["next.success"] = pa.array(numbers["success"], pa.bool_())
    columns.update({k: pa.array(v) for k, v in bookkeeping.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def _stats(
    numbers: dict[str, np.ndarray], bookkeeping: dict[str, np.ndarray], pictures: dict[str, Any]
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    vectors = {name: numbers[source] for name, source in _COLUMNS.items()}
    for name, values in {**vectors, **{k: v[:, None] for k, v in bookkeeping.items()}}.items():
        v = values.astype(np.float64)
        named = {"min": v.min(0), "max": v.max(0), "mean": v.mean(0), "std": v.std(0)}
        out[name] = {k: x.tolist() for k, x in named.items()} | {"count": [len(v)]}
    out.update({f"observation.images.{name}": stats for name, stats in pictures.items()})
    return out


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
