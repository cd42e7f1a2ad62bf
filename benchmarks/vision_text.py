"""Rows per second of the vision-text job: text alone, and rows with a 640x480 JPEG each; plain loop and Ray.

    python benchmarks/vision_text.py [--rows 2000] [--engines local ray]

``list`` is the pass over the JSON that finds its blocks. ``job`` is listing to the last staging part, ``finish`` the
search for duplicates, the commit and the report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from unihand_data.sources.conversations.generate.files import ask
from unihand_data.sources.conversations.generate.still import still
from unihand_data.sources.conversations.json_rows import json_elements

PAGE = Path(__file__).parents[1] / "pipelines" / "vision_text.py"


def text_rows(folder: Path, rows: int) -> Path:
    data = [
        {"id": f"{i}", "conversations": ask(f"Question {i}: " + "why " * 40, f"Because {i}. " + "so " * 3)}
        for i in range(rows)
    ]
    folder.mkdir(parents=True)
    (folder / "llava_v1_5_mix665k.json").write_text(json.dumps(data))
    return folder


def picture_rows(folder: Path, rows: int) -> Path:
    data = []
    for i in range(rows):
        name = f"coco/train2017/{i + 1:012d}.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(still(i, (640, 480)).encoded(quality=85))
        data.append({"id": f"{i}", "image": name, "conversations": ask(f"<image>\nWhat is in picture {i}?", "Things.")})
    (folder / "llava_v1_5_mix665k.json").write_text(json.dumps(data))
    return folder


def run(source: Path, output: Path, engine: str) -> tuple[float, float]:
    """Seconds of the job, and of everything (imports and a Ray's start included)."""
    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    command = [sys.executable, str(PAGE), "--input", str(source), "--output", str(output), "--engine", engine]
    command += ["--set", "held_out.refcoco=waived"]  # the pictures are noise, no copies of COCO's
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    total = time.perf_counter() - started
    return float(done.stdout.split("this run took ")[1].split(" s")[0]), total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--engines", nargs="*", default=["local", "ray"])
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            "text alone": (text_rows(Path(folder, "text"), 20 * args.rows), 20 * args.rows),
            "640x480 JPEG": (picture_rows(Path(folder, "pictures"), args.rows), args.rows),
        }
        for name, (source, rows) in cases.items():
            file = source / "llava_v1_5_mix665k.json"
            started = time.perf_counter()
            assert sum(1 for _ in json_elements(file)) == rows
            seconds = time.perf_counter() - started
            print(f"{name:<14} list   {rows / seconds:>9.0f} rows/s, {file.stat().st_size / seconds / 1e6:.0f} MB/s")
            for engine in args.engines:
                job, total = run(source, Path(folder, "out"), engine)
                rate = f"{rows / job:>9.0f} rows/s in the job, {rows / total:.0f} with start and finish"
                print(f"{name:<14} {engine:<6} {rate}")


if __name__ == "__main__":
    main()
