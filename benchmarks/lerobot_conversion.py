"""Our ingest of a LeRobot v2.1 set against LeRobot's own conversion of it to v3.0, on the same machine.

    LEROBOT_PYTHON=/path/to/venv/bin/python python benchmarks/lerobot_conversion.py [--recording DIR]

The peer is ``lerobot.datasets.v30.convert_dataset_v21_to_v30`` of the LeRobot that ``LEROBOT_PYTHON`` has installed
(0.4.4 was tried): it joins Parquet files and videos without decoding either. Ours reads every number, checks signs,
units and limits, finds idle spans and outliers, decodes each video for damage, and copies its packets into the shards.
Without ``--recording`` (a folder of ``unihand_data.record.metaworld``) a few episodes are recorded first.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PIPELINE = Path(__file__).parents[1] / "pipelines" / "robot_manipulation.py"


def timed(*command: object, **environment: str) -> float:
    """Seconds of a command; its output is shown where it fails."""
    begun = time.perf_counter()
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - begun


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--episodes", type=int, default=10, help="recorded per task, where no recording is given")
    chosen = parser.parse_args(argv)
    peer = os.environ.get("LEROBOT_PYTHON")
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), chosen.recording
        if source is None:
            source = folder / "raw"
            wanted = ("--tasks", "handle-press", "coffee-button", "--ranges", "stock", "--episodes", chosen.episodes)
            timed(sys.executable, "-m", "unihand_data.record.metaworld", "--output", source, *wanted, "--workers", 2)
        info: dict[str, Any] = json.loads((source / "meta/info.json").read_text())
        frames = int(info["total_frames"])
        line: dict[str, Any] = {
            "frames": frames,
            "episodes": info["total_episodes"],
            "videos": sum(1 for _ in source.rglob("*.mp4")),
            "load": os.getloadavg()[0],
        }
        ours = timed(sys.executable, PIPELINE, "--input", source, "--output", folder / "shards", "--engine", "local")
        line["ours_s"], line["ours_frames_per_s"] = round(ours, 1), round(frames / ours)
        if peer is None:
            line["peer"] = "not run: LEROBOT_PYTHON names no Python that has lerobot"
        else:
            shutil.copytree(source, folder / "peer/local/set")
            module = "lerobot.datasets.v30.convert_dataset_v21_to_v30"
            options = ("--repo-id", "local/set", "--root", folder / "peer", "--push-to-hub", "false")
            theirs = timed(peer, "-m", module, *options, HF_HUB_OFFLINE="1")
            line["peer_s"], line["peer_frames_per_s"] = round(theirs, 1), round(frames / theirs)
            line["ours_over_peer"] = round(theirs / ours, 2)
    print(json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
