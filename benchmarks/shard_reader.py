"""Random training windows per second from a generated shard directory, against the same reads from plain files.

    python benchmarks/shard_reader.py [--episodes 40] [--seconds 10] [--size 256] [--gop 2 8] [--windows 300]

A window is one decoded frame, state, action [16, 200] and masks at a random start of a random episode; the decoder
cache is far smaller than the set, as in training. The peer is a Parquet row and an MP4 file per episode, opened with
PyAV for every window: what a plain folder of clips costs. Prints one JSON line per case, the machine first.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq

from unihand_data.ids import hash_bytes
from unihand_data.shards import codec, schema, staging, writer
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import CameraRow, EpisodeRow, HandRow, LanguageRow, MediaRow

FPS = 30


def clip(seed: int, frames: int, size: int, gop: int) -> bytes:
    """H.264 of moving texture with noise: about the bytes of real video, unlike flat colours."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 255, (size // 8 + 40, size // 8 + 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    buffer, base = io.BytesIO(), Fraction(1, 90000)
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast", "bf": "0"})
        stream.width = stream.height = size
        stream.pix_fmt, stream.gop_size = "yuv420p", gop
        stream.codec_context.time_base = stream.time_base = base
        for t in range(frames):
            picture = texture[t % 300 : t % 300 + size, (2 * t) % 300 : (2 * t) % 300 + size]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = 3000 * t, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def build(folder: Path, episodes: int, frames: int, size: int, gop: int) -> int:
    """A shard directory and the peer's files; returns bytes of video."""
    slots = np.array([*range(6), *range(9, 15), *range(90, 200)], np.int16)
    total = 0
    for i in range(episodes):
        data = clip(i, frames, size, gop)
        total += len(data)
        media = MediaRow(hash_bytes(data), "video", size, size, frames, "h264", gop, 0.0, "CC0-1.0", data=data,
                         pts=np.arange(frames) / FPS)  # fmt: skip
        values = np.random.default_rng(i).normal(size=(2, frames, len(slots))).astype(np.float32)
        mask = np.ones((frames, len(slots)), bool)
        sure = np.ones(frames, np.float32)
        hands = [HandRow(s, "generic_v1", "b", sure, mask[:, 0], ~mask[:, 0]) for s in ("left", "right")]
        poses = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
        row = EpisodeRow(
            f"{i:032x}", f"rec{i}", "bench", "", "human_hands", "0", "human", "real", "lab", "train", FPS,
            np.arange(frames) / FPS, "gravity", np.eye(4), slots, slots, values[0], values[1], mask, mask, "CC0-1.0",
            True, cameras=[CameraRow("ego", media.media_id, size, size, FPS, poses=poses)],
            hands=hands, language=[LanguageRow("intent", 0.0, frames / FPS, "put the cup on the shelf")],
        )  # fmt: skip
        staging.write_part(folder / "staging", [row], [media])
        (folder / "plain").mkdir(exist_ok=True)
        (folder / f"plain/{i}.mp4").write_bytes(data)
        pq.write_table(codec.table([codec.episode_to_record(row)], schema.EPISODES), folder / f"plain/{i}.parquet")
    writer.commit(folder / "staging", folder / "out", content_hash="b", config={}, run_id="b", clean=True)
    return total


def plain_window(folder: Path, episode: int, start: int, size: int) -> np.ndarray:
    record = next(iter(codec.records(pq.read_table(folder / f"plain/{episode}.parquet"))))
    codec.episode_from_record(record)
    with av.open(str(folder / f"plain/{episode}.mp4")) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        container.seek(3000 * start, stream=stream)
        for frame in container.decode(stream):
            if frame.pts >= 3000 * start:
                return frame.to_ndarray(format="rgb24", width=size, height=size)
    raise LookupError(f"{episode}.mp4 ends before frame {start}")


def rate(do: Callable[[], object], n: int) -> float:
    started = time.perf_counter()
    do()
    return round(n / (time.perf_counter() - started), 1)


def measure(folder: Path, asked: list[tuple[int, int]]) -> dict[str, float]:
    """Windows per second of each way of reading the same list."""
    ids = [(f"{e:032x}", s) for e, s in asked]
    batches = [ids[k : k + 64] for k in range(0, len(ids), 64)]
    cache = {"open_media": 8, "cache_episodes": 8}
    with ShardReader(folder / "out", **cache) as one, ShardReader(folder / "out", threads=2, **cache) as two:
        one.windows(ids[:8], size=224)
        n = len(ids)
        return {
            "single": rate(lambda: [one.window(i, size=224) for i in ids], n),
            "batch_64": rate(lambda: [one.windows(b, size=224) for b in batches], n),
            "batch_64_two_threads": rate(lambda: [two.windows(b, size=224) for b in batches], n),
            "numbers_only_batch_64": rate(lambda: [one.windows(b, views=()) for b in batches], n),
            "plain_files": rate(lambda: [plain_window(folder, e, s, 224) for e, s in asked], n),
        }


def main() -> None:
    p = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    p.add_argument("--episodes", type=int, default=40)
    p.add_argument("--seconds", type=float, default=10.0)
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--gop", type=int, nargs="+", default=[2, 8, 30])
    p.add_argument("--windows", type=int, default=320)
    a = p.parse_args()
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(machine | {"python": platform.python_version(), "av": av.__version__}))
    frames = round(a.seconds * FPS)
    for gop in a.gop:
        with tempfile.TemporaryDirectory() as name:
            video = build(Path(name), a.episodes, frames, a.size, gop)
            rng = np.random.default_rng(0)
            episodes, starts = rng.integers(0, a.episodes, a.windows), rng.integers(0, frames - 16, a.windows)
            figures = measure(Path(name), list(zip(episodes.tolist(), starts.tolist())))
        line = {"gop": gop, "stored": f"{a.size}x{a.size}", "episodes": a.episodes, "windows_per_s": figures}
        print(json.dumps(line | {"video_kB_per_s": round(video / a.episodes / a.seconds / 1e3)}), flush=True)


if __name__ == "__main__":
    main()
