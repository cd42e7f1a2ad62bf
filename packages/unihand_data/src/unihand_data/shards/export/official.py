"""The row forms that the released training code reads: LeRobot v2.1 for motion, JSONL conversations for text answers.

Motion::

    meta/info.json  meta/episodes.jsonl  meta/tasks.jsonl  meta/stats.json  meta/episodes_stats.jsonl
    data/chunk-000/episode_000000.parquet
    videos/chunk-000/observation.images.ego/episode_000000.mp4

``episodes.jsonl`` carries ``action_config`` (start_frame, end_frame, action_text) per sentence. A file of this layout
starts with its episode, so video with pre-roll or of a mirrored row is encoded anew.

Text: ``conversations.jsonl`` with ``image`` or ``video`` beside ``conversations`` of ``{from: human|gpt, value}``, and
the files under ``media/``.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pyarrow.compute as pc

from unihand_data.shards import codec
from unihand_data.shards.export import common, lerobot3
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import ConversationRow, EpisodeRow
from unihand_data.shards.store import Store

CHUNK = 1000
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def export_motion(
    reader: ShardReader,
    out_dir: str | os.PathLike[str],
    *,
    embodiment: str | None = None,
    rate_hz: float | None = None,
    mirrored: bool = False,
) -> dict[str, int]:
    """Write the LeRobot v2.1 data set; returns ``{"episodes", "frames", "videos"}``. Raises ``ShardError``."""
    out = Store(out_dir)
    chosen = common.select(reader, embodiment=embodiment, rate_hz=rate_hz, mirrored=mirrored)
    tasks, of = common.Tasks(), lerobot3.data_schema(chosen)
    stats: dict[str, list[tuple[np.ndarray, np.ndarray | None]]] = {common.STATE: [], common.ACTION: []}
    episodes, each, frames, videos = [], [], 0, 0
    for number, episode_id in enumerate(chosen.episode_ids):
        e = reader.episode(episode_id)
        columns = common.vectors(e, chosen)
        sentences = common.sentence_of_frames(e)
        at = {"episode_chunk": number // CHUNK, "episode_index": number}
        table = lerobot3.frame_table(e, columns, number, frames, [tasks.number(s) for s in sentences], of)
        out.write(DATA_PATH.format(**at), lerobot3.parquet(table))
        for camera in e.cameras:
            data, _ = common.video(reader, e, camera, whole=True)
            out.write(VIDEO_PATH.format(**at, video_key=common.image_key(camera.view)), data)
            videos += 1
        own = {}
        for name, mask in ((common.STATE, common.STATE_MASK), (common.ACTION, common.ACTION_MASK)):
            stats[name].append((columns[name], columns[mask]))
            own[name] = common.statistics(stats[name][-1:], len(chosen.slots[name]))
        each.append({"episode_index": number, "stats": own})
        episodes.append(
            {
                "episode_index": number, "tasks": list(dict.fromkeys(sentences)), "length": e.frames,
                "action_config": _action_config(e),
            }
        )  # fmt: skip
        frames += e.frames
    codec = "h264"
    info = {
        "codebase_version": "v2.1", "robot_type": chosen.embodiment, "total_episodes": len(episodes),
        "total_frames": frames, "total_tasks": len(tasks.index), "total_videos": videos,
        "total_chunks": -(-len(episodes) // CHUNK), "chunks_size": CHUNK, "fps": chosen.fps,
        "splits": common.splits(reader, chosen), "data_path": DATA_PATH, "video_path": VIDEO_PATH,
        "features": common.features(chosen, codec=codec, fps=chosen.fps),
    }  # fmt: skip
    whole = {name: common.statistics(pieces, len(chosen.slots[name])) for name, pieces in stats.items()}
    out.write("meta/stats.json", json.dumps(whole, indent=1).encode())
    out.write("meta/episodes.jsonl", _jsonl(episodes))
    out.write("meta/episodes_stats.jsonl", _jsonl(each))
    out.write("meta/tasks.jsonl", _jsonl([{"task_index": n, "task": t} for t, n in tasks.index.items()]))
    out.write("meta/info.json", json.dumps(info, indent=1).encode())
    return {"episodes": len(episodes), "frames": frames, "videos": videos}


def export_text(reader: ShardReader, out_dir: str | os.PathLike[str]) -> dict[str, int]:
    """Write conversations and motion descriptions as JSONL rows with their media beside them; returns
    ``{"rows", "media"}``. Descriptions are rendered by the reader's renderer; the action they describe stays out, since
    this form has no place for it."""
    out = Store(out_dir)
    rows: list[dict[str, Any]] = []
    written: dict[str, str] = {}
    for talk in map(reader.conversation, reader.conversation_ids):
        rows.append(_conversation(reader, out, talk, written))
    described = (
        codec.sample_from_record(record)
        for batch in reader.sample_batches()
        for record in batch.filter(pc.equal(batch["task"], "motion_description")).to_pylist()
    )
    for sample in described:
        window = reader.window(sample, views=())
        e = reader.episode(window.episode_id)
        if not e.cameras or e.cameras[0].mirrored:  # pixels of a twin are flipped, and this row cannot say so
            continue
        line = window.language
        assert line is not None  # a description has its sentence
        media = reader.media(e.cameras[0].media_id)
        start = line.t0 - e.cameras[0].t_offset - float(media.pts[0] if media.pts is not None else 0.0)
        turns = [
            {"from": "human", "value": f"<video>\n{window.question}"},
            {"from": "gpt", "value": window.answer or window.text},
        ]
        rows.append(
            {
                "id": sample.sample_id, "video": _media(reader, out, e.cameras[0].media_id, written), "fps": e.rate_hz,
                "start": start, "duration": line.t1 - line.t0, "conversations": turns,
            }
        )  # fmt: skip
    out.write("conversations.jsonl", _jsonl(rows))
    return {"rows": len(rows), "media": len(written)}


def _conversation(reader: ShardReader, out: Store, talk: ConversationRow, written: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": talk.conversation_id}
    names = [_media(reader, out, m["media_id"], written) for m in talk.media]
    video = bool(talk.media) and reader.media(talk.media[0]["media_id"]).kind == "video"
    if names:
        row["video" if video else "image"] = names[0] if len(names) == 1 else names
    who = {"user": "human", "human": "human", "assistant": "gpt", "gpt": "gpt", "system": "system"}
    row["conversations"] = [{"from": who.get(t["role"], t["role"]), "value": t["text"]} for t in talk.turns]
    return row


def _media(reader: ShardReader, out: Store, media_id: str, written: dict[str, str]) -> str:
    """Copy a media file once; returns its name relative to the export."""
    if media_id not in written:
        media = reader.media(media_id)
        ending = {"video": "mp4", "depth": "mkv"}.get(media.kind, {"mjpeg": "jpg"}.get(media.codec, media.codec))
        written[media_id] = f"media/{media_id}.{ending}"
        out.write(written[media_id], reader.media_bytes(media_id))
    return written[media_id]


def _action_config(e: EpisodeRow) -> list[dict[str, Any]]:
    out = []
    for line in e.language:
        a = int((e.timestamps < line.t0 - 1e-6).sum())
        b = int((e.timestamps < line.t1 - 1e-6).sum())
        out.append({"start_frame": a, "end_frame": max(a + 1, b), "action_text": line.text})
    return out


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
