"""Rows per second of the vision-text job: text alone, and rows with a 640x480 JPEG each; plain loop and Ray.

    python benchmarks/vision_text.py [--rows 2000] [--engines local ray]
    python benchmarks/vision_text.py --orders [--rows 200000]

``list`` is the pass over the JSON that finds its blocks. ``job`` is listing to the last staging part, ``finish`` the
search for duplicates, the commit and the report. ``--orders`` asks instead what a wrong order of a box's numbers does:
how many of 4,000 random boxes still pass as RoboPoint's centre and sides, what the first 2,000 of them tell about the
corpus, and how fast rows without any box are looked through.
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

import numpy as np

from unihand_data.sources.conversations.box_order import BoxOrderSettings, OrderVerdict, verdict
from unihand_data.sources.conversations.boxes import fits
from unihand_data.sources.conversations.generate.files import ask
from unihand_data.sources.conversations.generate.still import still
from unihand_data.sources.conversations.json_rows import json_elements
from unihand_data.sources.conversations.registry import Corpus, load_corpus

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


def box_orders(folder: Path, rows: int) -> None:
    spec = load_corpus("robopoint")
    corpus, file = Corpus(spec, str(folder), spec.name), folder / "robopoint_1432k.json"
    folder.mkdir(parents=True)

    def judged(answers: list[str]) -> OrderVerdict:
        talks = [{"id": f"{i}", "image": f"{i}.jpg", "conversations": ask("<image>\nWhere?", a)}
                 for i, a in enumerate(answers)]  # fmt: skip
        file.write_text(json.dumps(talks))
        return verdict(corpus, BoxOrderSettings())

    for largest in (0.05, 0.1, 0.15, 0.5, 1.0):
        rng = np.random.default_rng(0)
        w, h = rng.uniform(0.02, largest, (2, 4000))
        x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
        orders = {"cxcywh": (x + w / 2, y + h / 2, w, h), "xyxy": (x, y, x + w, y + h), "xywh": (x, y, w, h)}
        for order, numbers in orders.items():
            boxes = [tuple(box) for box in np.round(np.stack(numbers, axis=1), 3).tolist()]
            told = judged([f"[{box}]" for box in boxes])
            passes = sum(fits(box, "cxcywh") for box in boxes) / len(boxes)
            print(f"sides to {largest:<5} written {order:<7} {passes:>6.1%} pass as cxcywh; corpus: {told.result}")
    judged(["[(0.123, 0.456), (0.789, 0.123), (0.456, 0.789)]"] * rows)
    started = time.process_time()
    verdict(corpus, BoxOrderSettings())
    print(f"rows without boxes: {rows / (time.process_time() - started):.0f} rows per CPU second")


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
    parser.add_argument("--orders", action="store_true")
    parser.add_argument("--engines", nargs="*", default=["local", "ray"])
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        if args.orders:
            box_orders(Path(folder, "orders"), args.rows)
            return
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
