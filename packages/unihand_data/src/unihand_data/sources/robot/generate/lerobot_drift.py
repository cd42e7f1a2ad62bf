"""How publishers depart from the LeRobot format, as changes of a generated set.

``write_drift("names_motors", out)`` writes the base set with one departure; ``version`` chooses the container. Every
entry was met in a published set; which ones a reader takes and which it refuses is the business of its tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.sources.robot.generate.lerobot_sets import generate
from unihand_data.sources.robot.generate.lerobot_writer import Episode, png

BASE, STATE, VIEW = "own_fr3_inspire", "observation.state", "observation.images.camera_0"
Cells = dict[str, Any]
_NAMES = [f"fr3_joint{i}" for i in range(1, 8)] + ["pinky", "ring", "middle", "index", "thumb_bend", "thumb_rotation"]


@dataclass(frozen=True)
class Drift:
    """``info`` changes info.json, ``rows`` the cells of each episode, ``episode`` the episode, ``after`` the folder."""

    info: Callable[[dict[str, Any]], None] | None = None
    rows: Callable[[Cells], None] | None = None
    episode: Callable[[Episode], None] | None = None
    after: Callable[[Path], None] | None = None


def _names(value: Any) -> Drift:
    return Drift(info=lambda raw: raw["features"][STATE].update(names=value))


def _top(**values: Any) -> Drift:
    return Drift(info=lambda raw: raw.update(values))


def _stamps(change: Callable[[np.ndarray], Any]) -> Drift:
    return Drift(rows=lambda cells: cells.update(timestamp=change(np.asarray(cells["timestamp"], np.float64))))


def _without(column: str) -> Drift:
    def info(raw: dict[str, Any]) -> None:
        raw["features"].pop(column)

    return Drift(info, lambda cells: cells.pop(column))


def _pictures(make: Callable[[int], dict[str, Any] | None], depth: bool = False) -> Drift:
    key = "observation.depth.camera_0" if depth else "observation.images.still"

    def info(raw: dict[str, Any]) -> None:
        raw["features"][key] = {"dtype": "image", "shape": [3, 48, 64], "names": ["channels", "height", "width"]}

    return Drift(info, lambda cells: cells.update({key: [make(i) for i in range(len(cells["index"]))]}))


def _absent_view(raw: dict[str, Any]) -> None:
    raw["features"]["observation.images.camera_1_declared"] = {**raw["features"][VIEW]}


def _chw(raw: dict[str, Any]) -> None:
    raw["features"][VIEW].update(shape=[3, 48, 64], names=["channel", "height", "width"])


def _shapes(raw: dict[str, Any]) -> None:
    raw["features"][STATE]["shape"] = [13.0]
    raw["features"]["timestamp"]["shape"] = []


def _mismatch(raw: dict[str, Any]) -> None:
    raw["features"][STATE]["names"] = _NAMES[:11]


def _side_mismatch(raw: dict[str, Any]) -> None:
    raw["features"]["sensors.torque"] = {"dtype": "float32", "shape": [6], "names": ["a", "b"]}


def _validity(e: Episode) -> None:
    e.tasks = ["valid", "not valid"]
    labels = np.full(e.steps, 1)
    labels[-3:] = 2
    e.pointers = {"annotation.human.validity": labels}


def _twice(cells: Cells) -> None:
    cells["frame_index"] = [0, *cells["frame_index"][:-1]]


def _other_episode(cells: Cells) -> None:
    cells["episode_index"] = [*cells["episode_index"][:-1], 77]


def _nulls(cells: Cells) -> None:
    cells[STATE] = [None, *(x.tolist() for x in cells[STATE][1:])]


def _ragged(cells: Cells) -> None:
    cells[STATE] = [x.tolist()[: 12 if i == 2 else 13] for i, x in enumerate(cells[STATE])]


def _gone(pattern: str) -> Drift:
    def after(folder: Path) -> None:
        for path in sorted(folder.glob(pattern)):
            path.unlink()

    return Drift(after=after)


def _unlisted(folder: Path) -> None:
    path = folder / "meta" / "episodes.jsonl"
    path.write_text(path.read_text().splitlines()[0] + "\n")


def _longer(folder: Path) -> None:
    path = folder / "meta" / "episodes.jsonl"
    path.write_text(path.read_text().replace('"length": ', '"length": 9'))


def _other_sentence(folder: Path) -> None:
    path = folder / "meta" / "tasks.jsonl"
    path.write_text(path.read_text().replace("put it away", "wash it"))


def _segments(e: Episode) -> None:
    e.row = {
        "success": True,
        "seed": 12,
        "task_id": "put-away",
        "action_config": [
            {"start_frame": 0, "end_frame": 5, "action_text": "reach", "skill": "Pick"},
            {"start_frame": 5, "end_frame": 500, "action_text": "beyond the end"},
        ],
    }


DRIFTS: dict[str, Drift] = {
    "plain": Drift(),
    "names_nested": _names([_NAMES]),
    "names_motors": _names({"motors": _NAMES}),
    "names_axes": _names({"axes": _NAMES}),
    "names_state_names": _names({"state_names": _NAMES}),
    "names_by_number": _names({n: i for i, n in enumerate(_NAMES)}),
    "names_two_lists": _names({"arm": _NAMES[:7], "hand": _NAMES[7:]}),
    "names_null": _names(None),
    "names_of_the_vector": _names(["state"]),
    "names_mismatch": Drift(info=_mismatch),
    "names_mismatch_elsewhere": Drift(info=_side_mismatch),
    "shape_chw": Drift(info=_chw),
    "shape_floats_and_empty": Drift(info=_shapes),
    "fps_float": _top(fps=20.0),
    "version_without_v": Drift(info=lambda raw: raw.update(codebase_version=raw["codebase_version"][1:])),
    "robot_type_null": _top(robot_type=None),
    "wrong_counts": _top(
        total_episodes=99, total_chunks=0, total_videos=0, splits={"train": "0:100"}, chunks_size=None
    ),
    "view_without_files": Drift(info=_absent_view),
    "view_of_one_episode_gone": _gone("videos/**/observation.images.camera_1/*1.mp4"),
    "timestamp_float64": _stamps(lambda t: t),
    "timestamp_from_one_period": _stamps(lambda t: t + t[1]),
    "timestamp_global": _stamps(lambda t: t + 1000.0),
    "timestamp_resets": _stamps(lambda t: np.where(t > t[6], t - t[6], t)),
    "timestamp_gaps": _stamps(lambda t: np.where(t == t[3], np.nan, t)),
    "no_timestamp": _without("timestamp"),
    "no_frame_index": _without("frame_index"),
    "frame_index_twice": Drift(rows=_twice),
    "rows_of_another_episode": Drift(rows=_other_episode),
    "null_row": Drift(rows=_nulls),
    "ragged_rows": Drift(rows=_ragged),
    "wrong_fps_stamp": _top(fps=60),
    "validity": Drift(episode=_validity),
    "no_task_index": _without("task_index"),
    "tasks_gone": _gone("meta/tasks.*"),
    "task_that_is_not_listed": Drift(rows=lambda cells: cells.update(task_index=[7] * len(cells["index"]))),
    "other_sentence": Drift(after=_other_sentence),
    "episodes_gone": _gone("meta/episodes.jsonl"),
    "episode_not_listed": Drift(after=_unlisted),
    "length_too_long": Drift(after=_longer),
    "segments": Drift(episode=_segments),
    "pictures": _pictures(lambda i: {"bytes": png(value=i), "path": None}),
    "pictures_one_missing": _pictures(lambda i: None if i == 4 else {"bytes": png(value=i), "path": None}),
    "pictures_as_paths": _pictures(lambda i: {"bytes": None, "path": f"images/{i}.png"}),
    "pictures_outside": _pictures(lambda i: {"bytes": None, "path": "../../secret.png"}),
    "depth_pictures": _pictures(lambda i: {"bytes": png(value=500 + i, depth=True), "path": None}, depth=True),
    "data_path_outside": _top(data_path="../{episode_chunk:03d}/{episode_index:06d}.parquet"),
    "old_version": _top(codebase_version="v1.6"),
    "no_fps": Drift(info=lambda raw: raw.pop("fps")),
}


def write_drift(name: str, out: Path, version: str = "v2.1", steps: int = 12) -> None:
    """The base set with one departure. Raises ``KeyError``."""
    drift = DRIFTS[name]
    generate(
        BASE,
        out,
        seed=3,
        steps=steps,
        version=version,
        edit_info=drift.info,
        edit_rows=drift.rows,
        edit_episode=drift.episode,
    )
    if name == "pictures_as_paths":
        (out / "images").mkdir()
        for i in range(steps):
            (out / "images" / f"{i}.png").write_bytes(png(value=i))
    if drift.after is not None:
        drift.after(out)
