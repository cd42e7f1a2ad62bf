"""``make bench``: every benchmark at its short setting, one after the other, each in a process of its own.

python benchmarks/run.py [NAME ...]      # --help lists the names; none is all
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
SHORT: dict[str, list[str]] = {
    "pipeline": ["pipeline_throughput.py"],
    "overhead": ["pipeline_overhead.py", "--clips", "120"],
    "reader": ["shard_reader.py"],
    "robots": ["robot_data.py", "--episodes", "4", "--windows", "100"],
    "conversion": ["lerobot_conversion.py"],
    "text": ["vision_text.py", "--rows", "300", "--engines", "local"],
    "index": ["index_scale.py", "--samples", "20000", "200000"],
    "sampler": ["sampler_scale.py", "--index", "2000000", "--build", "100000"],
    "codec": ["video_codec.py", "--windows", "30"],
    "space": ["space.py"],
    "hands": ["hand_accuracy.py"],
    "camera": ["camera_accuracy.py"],
    "chunk": ["chunk_latency.py", "--repeats", "3"],
    "packing": ["packing.py"],
    "loader": ["model_loader.py", "--episodes", "20"],
    "gpu": ["gpu_model.py", "--dry-run"],
}


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(SHORT)}; default all")
    names = parser.parse_args(argv).names
    if unknown := sorted(set(names) - set(SHORT)):
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(SHORT)}")
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}", flush=True)
    failed = []
    for name in names or SHORT:
        print(f"\n== {name}", flush=True)
        script, *arguments = SHORT[name]
        if subprocess.run([sys.executable, str(HERE / script), *arguments], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
