"""Generators of the sets that bring video and words: EPIC, Ego4D, HD-EPIC, TASTE-Rob, plain videos."""

from __future__ import annotations

import csv
import json
import uuid
from pathlib import Path
from typing import Any

from unihand_data.sources.generate.foreign_pickle import dump, table
from unihand_data.sources.generate.media import write_video
from unihand_data.sources.generate.scene import Scene

_EPIC_COLUMNS = [
    *("narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp"),
    *("start_frame", "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns"),
    "all_noun_classes",
]


def _spans(scene: Scene) -> list[tuple[float, float, str]]:
    """Two sentences that cover the scene."""
    half = len(scene.times) / scene.fps / 2
    return [(0.0, half, scene.text), (half, 2 * half, f"{scene.verb} other {scene.thing}")]


def _clock(t: float) -> str:
    return f"{int(t // 3600):02d}:{int(t % 3600 // 60):02d}:{t % 60:05.2f}"


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def rendered_clips(out: Path, scenes: list[Scene]) -> None:
    """Videos with the camera that rendered them beside."""
    for i, scene in enumerate(scenes):
        write_video(out / f"clip_{i}.mp4", scene)
        fx, fy, cx, cy = scene.K[0, 0], scene.K[1, 1], scene.K[0, 2], scene.K[1, 2]
        camera = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "width": scene.width, "height": scene.height}
        write_json(out / f"clip_{i}.camera.json", camera)


def video_folder(out: Path, scenes: list[Scene]) -> None:
    for i, scene in enumerate(scenes):
        write_video(out / scene.family / f"video_{i}.mp4", scene)


def epic_kitchens_100(out: Path, scenes: list[Scene]) -> None:
    rows = []
    for i, scene in enumerate(scenes):
        person, video = f"P{i + 1:02d}", f"P{i + 1:02d}_{101 + i}"
        write_video(out / person / "videos" / f"{video}.MP4", scene)
        for k, (t0, t1, text) in enumerate(_spans(scene)):
            frames = [round(t * scene.fps) for t in (t0, t1)]
            row = [f"{video}_{k}", person, video, _clock(t0), _clock(t0), _clock(t1), *frames, text]
            rows.append([*row, scene.verb, 0, scene.thing, 0, f"['{scene.thing}']", "[0]"])
    with open(out / "EPIC_100_train.csv", "w", newline="") as f:
        csv.writer(f).writerows([_EPIC_COLUMNS, *rows])


def take_uid(scene: Scene) -> str:
    return str(uuid.UUID(int=scene.seed + 0x1234_5678_0000))


def ego4d(out: Path, scenes: list[Scene]) -> None:
    narration: dict[str, Any] = {}
    fho = []
    for scene in scenes:
        uid = take_uid(scene)
        write_video(out / "v2" / "full_scale" / f"{uid}.mp4", scene)
        lines = [
            (0.1, f"#C C {scene.verb}s the {scene.thing}"),
            (0.2, "#O man X walks around"),
            (0.3, "#C C moves the #unsure in his left hand"),
            (0.4, f"#C C holds the {scene.thing} with his right hand"),
        ]
        passes = {
            "narrations": [
                {
                    "timestamp_sec": t,
                    "timestamp_frame": round(t * scene.fps),
                    "narration_text": text,
                    "annotation_uid": f"{uid}-{k}",
                }
                for k, (t, text) in enumerate(lines)
            ],
            "summaries": [],
        }
        narration[uid] = {"narration_pass_1": passes, "narration_pass_2": {"narrations": [], "summaries": []}}
        actions = [
            {
                "narration_text": f"#C C {scene.verb}s the {scene.thing}",
                "start_sec": 0.0,
                "end_sec": 0.3,
                "start_frame": 0,
                "end_frame": 9,
                "is_rejected": rejected,
                "is_valid_action": not rejected,
            }
            for rejected in (False, True)
        ]
        fho.append({"video_uid": uid, "annotated_intervals": [{"narrated_actions": actions}]})
    write_json(out / "v2" / "annotations" / "narration.json", narration)
    write_json(out / "v2" / "annotations" / "fho_main.json", {"version": "v2", "videos": fho})


def hd_epic(out: Path, scenes: list[Scene]) -> None:
    columns: dict[str, list[Any]] = {
        k: [] for k in ("unique_narration_id", "video_id", "narration", "start_timestamp", "end_timestamp", "hands")
    }
    for i, scene in enumerate(scenes):
        video = f"P{i + 1:02d}-20240202-{110000 + scene.seed}"
        write_video(out / "Videos" / f"P{i + 1:02d}" / f"{video}.mp4", scene)
        for k, (t0, t1, text) in enumerate(_spans(scene)):
            row = (f"{video}-{k}", video, f"{text} with the left hand.", float(t0), float(t1), ["left hand"])
            for name, value in zip(columns, row):
                columns[name].append(value)
    dump(out / "HD_EPIC_Narrations.pkl", table(columns))


def taste_rob(out: Path, scenes: list[Scene]) -> None:
    rows = [["video", "start", "stop", "caption"]]
    for i, scene in enumerate(scenes):
        key = f"{'SingleHand' if i % 2 else 'DoubleHand'}/Kitchen/{i}"
        write_video(out / f"{key}.mp4", scene)
        rows.append([key, "0", str(len(scene.times) / scene.fps), scene.text])
    with open(out / "captions.csv", "w", newline="") as f:
        csv.writer(f).writerows(rows)
