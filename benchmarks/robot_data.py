"""Robot data in: copying packets against encoding; and out: random training windows against a LeRobot-style loader.

    python benchmarks/robot_data.py [--episodes 8] [--steps 300] [--windows 200]

Two kinds of published LeRobot sets, generated with moving texture: H.264 with a key frame every 250 frames at 256x256
(FFmpeg's defaults; the GR00T sets) and AV1 with a key frame every 2 frames at 640x480 (LeRobot's own encoder settings).
In: frames per second of the whole robot job, one plain loop, as configured (packets copied where they are usable) and
with everything encoded. Out: windows of one 224-pixel frame per view, state, action [16] and masks; the peer reads the
same windows from the LeRobot folder, numbers already in memory, opening the video for each window and decoding from the
key frame before it, as LeRobotDataset does with its PyAV backend. Prints one JSON line per case, the machine first.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import platform
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from unihand_data.jobs.arguments import main_with
from unihand_data.shards.reader import ShardReader
from unihand_data.sources.robot.generate import lerobot_sets

PAGE = Path(__file__).parents[1] / "pipelines" / "robot_manipulation.py"
FPS = 20
KINDS: dict[str, tuple[str, int, tuple[int, int], dict[str, str]]] = {
    "h264 gop 250 256x256": ("libx264", 250, (256, 256), {"crf": "23", "preset": "veryfast"}),
    "av1 gop 2 640x480": ("libsvtav1", 2, (640, 480), {"crf": "30", "preset": "12", "svtav1-params": "lp=1"}),
}


def film(path: Path, frames: int, seed: int, kind: str) -> None:
    """Moving texture with sensor noise at ``FPS``."""
    codec, gop, (width, height), options = KINDS[kind]
    rng = np.random.default_rng(seed)
    side = max(width, height) // 8 + 80
    texture = rng.integers(0, 255, (side, side, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", gop
        for t in range(frames):
            picture = texture[t % 300 : t % 300 + height, (2 * t) % 300 : (2 * t) % 300 + width]
            noisy = np.clip(picture.astype(np.int16) + rng.integers(-3, 4, picture.shape, np.int16), 0, 255)
            frame = av.VideoFrame.from_ndarray(noisy.astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = t, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def build(folder: Path, episodes: int, steps: int, kind: str) -> None:
    lerobot_sets.generate("gr00t_gr1", folder, seed=1, episodes=episodes, steps=steps)
    for n, path in enumerate(sorted(folder.rglob("*.mp4"))):
        film(path, steps, n, kind)


def ingest(source: Path, output: Path, *settings: str) -> float:
    """Seconds of the whole job."""
    spec = importlib.util.spec_from_file_location("robot_page", PAGE)
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    argv = ["--input", str(source), "--output", str(output), "--engine", "local", *settings]
    sys.argv = [str(PAGE)]
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = main_with(
            page.RobotSettings, page.run, default_config="robot_manipulation.yaml", description="", argv=argv
        )
    if code:
        raise SystemExit(f"the job ended with {code}")
    return time.perf_counter() - started


def plain_frame(path: Path, step: int, size: int) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        tick = float(stream.time_base or 1)
        container.seek(int(step / FPS / tick), stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts * tick >= step / FPS - 1e-4:
                return frame.to_ndarray(format="rgb24", width=size, height=size)
    raise LookupError(f"{path} ends before step {step}")


def windows(source: Path, output: Path, count: int) -> dict[str, float]:
    videos = sorted(source.rglob("*.mp4"))
    with ShardReader(str(output), open_media=4, cache_episodes=4) as reader:
        rows = reader.episodes(reader.episode_ids)
        order = {Path(r.source_uri.split("#")[0]).stem: r for r in rows.values()}
        rng = np.random.default_rng(0)
        asked = [(videos[e], int(s)) for e, s in zip(rng.integers(0, len(videos), count),
                 rng.integers(0, next(iter(rows.values())).frames - 16, count))]  # fmt: skip
        ids = [(order[v.stem].episode_id, s) for v, s in asked]
        reader.windows(ids[:8], size=224)
        out = {}
        for name, run in {
            "ours_batch_64": lambda: [reader.windows(ids[k : k + 64], size=224) for k in range(0, count, 64)],
            "lerobot_style": lambda: [plain_frame(v, s, 224) for v, s in asked],
        }.items():
            started = time.perf_counter()
            run()
            out[name] = round(count / (time.perf_counter() - started), 1)
    return out | {"ratio": round(out["ours_batch_64"] / out["lerobot_style"], 2)}


def main() -> None:
    p = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    p.add_argument("--episodes", type=int, default=8)
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--windows", type=int, default=200)
    a = p.parse_args()
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(machine | {"python": platform.python_version(), "av": av.__version__}))
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            build(folder / "in", a.episodes, a.steps, kind)
            frames = a.episodes * a.steps
            cases = {
                "as_configured": [],
                "all_copied": ["--set", "video.remux.max_reach_pixels=1000000000"],
                "all_encoded": ["--set", "video.remux.enabled=false"],
            }
            seconds = {c: ingest(folder / "in", folder / c, *settings) for c, settings in cases.items()}
            rates = {c: round(frames / s, 1) for c, s in seconds.items()}
            line: dict[str, Any] = {"source": kind, "frames": frames, "ingest_frames_per_s": rates}
            line["copied_over_encoded"] = round(rates["all_copied"] / rates["all_encoded"], 2)
            line["windows_per_s"] = {c: windows(folder / "in", folder / c, a.windows) for c in cases}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
