"""A few demonstrations of one task out of a recording of the recorder (docs/metaworld.md).

Four of a hundred recordings are held out of training by hash, so five demonstrations of a task may be four to train
on: :func:`demonstrations` takes as many as are needed for the training split to hold the wanted number, no more.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from beingh05_model.experiments import shards
from unihand_data.config import SettingsError
from unihand_data.shards.reader import ShardReader

INFO = "meta/info.json"


def demonstrations(recording: Path, task: str, wanted: int, output: Path, pipelines: Path) -> Path:
    """Shards whose training split holds exactly ``wanted`` demonstrations of a task, the first by seed, widened range.

    Returns:
        The shard directory, below ``output``; its held-out episodes are rows that no recipe draws.

    Raises:
        SettingsError: the recording does not hold enough.
    """
    taken = wanted
    while True:
        folder = output / f"{task}-{taken}"
        cut(recording, task, taken, folder / "recording")
        made = shards.ingest(pipelines, "robot_manipulation", folder / "recording", folder / "shards")
        missing = wanted - trained(made)
        if not missing:
            return made
        taken += missing


def trained(directory: Path) -> int:
    """Episodes of a shard directory that are not held out, twins not counted."""
    rows = (
        row for batch in ShardReader(directory).episode_batches(["split", "parent_id"]) for row in batch.to_pylist()
    )
    return sum(row["split"] == "train" and not row["parent_id"] for row in rows)


def cut(recording: Path, task: str, count: int, output: Path) -> Path:
    """The first ``count`` widened demonstrations of a task, by seed, as a LeRobot folder; videos are linked.

    Raises:
        SettingsError: no such recording, or it holds fewer.
    """
    if not (recording / INFO).is_file():
        raise SettingsError(f"{recording / INFO}: not found; give a folder of the recorder (docs/metaworld.md)")
    if (output / INFO).is_file():
        return output
    shutil.rmtree(output, ignore_errors=True)
    lines = [json.loads(line) for line in (recording / "meta/episodes.jsonl").read_text().splitlines()]
    fitting = sorted(
        (one for one in lines if one["task_id"] == task and one["range"] == "widened" and one["success"]),
        key=lambda one: int(one["seed"]),
    )
    if len(fitting) < count:
        raise SettingsError(f"{recording}: {len(fitting)} widened demonstrations of {task}, {count} are needed")
    _write(recording, fitting[:count], output)
    return output


def _write(recording: Path, chosen: list[dict[str, Any]], output: Path) -> None:
    """Numbers of episodes stay, so that every row still says what it is of; ``meta/info.json`` comes last."""
    info = json.loads((recording / INFO).read_text())
    cameras = [name for name, feature in info["features"].items() if feature["dtype"] == "video"]
    numbers = {int(one["episode_index"]) for one in chosen}
    for number in sorted(numbers):
        place = {"episode_chunk": number // info["chunks_size"], "episode_index": number}
        _link(recording, output, info["data_path"].format(**place))
        for camera in cameras:
            _link(recording, output, info["video_path"].format(video_key=camera, **place))
    (output / "meta").mkdir()
    shutil.copy(recording / "meta/tasks.jsonl", output / "meta/tasks.jsonl")
    for name in ("episodes.jsonl", "episodes_stats.jsonl"):
        lines = (recording / "meta" / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if int(json.loads(line)["episode_index"]) in numbers]
        (output / "meta" / name).write_text("".join(kept))
    steps = sum(int(one["length"]) for one in chosen)
    info |= {
        "total_episodes": len(numbers), "total_frames": steps, "total_videos": len(numbers) * len(cameras),
        "splits": {"train": f"0:{max(numbers) + 1}"},
    }  # fmt: skip
    part = output / "meta/.info.json.part"
    part.write_text(json.dumps(info, indent=2) + "\n")
    os.replace(part, output / INFO)


def _link(recording: Path, output: Path, name: str) -> None:
    (output / name).parent.mkdir(parents=True, exist_ok=True)
    os.symlink((recording / name).resolve(), output / name)
