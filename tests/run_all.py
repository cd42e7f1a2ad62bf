"""Every test, in as many pytest processes at a time as there are cores (at most four).

    python tests/run_all.py [pytest arguments]

A process takes one folder of ``unihand_data`` or one file of ``pipelines``, the long ones first; what failed is printed
whole, and the exit code is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent


def pieces() -> list[Path]:
    """Files of whole jobs first (they start processes and wait), then the rooms."""
    jobs = sorted((HERE / "pipelines").glob("test_*.py"))
    rooms = sorted(p for p in (HERE / "unihand_data").iterdir() if p.is_dir() and any(p.rglob("test_*.py")))
    others = sorted(p for p in HERE.iterdir() if p.is_dir() and p.name not in ("pipelines", "unihand_data"))
    return [*jobs, *rooms, *(p for p in others if any(p.rglob("test_*.py")))]


def run(piece: Path, arguments: list[str]) -> bool:
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(piece), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    good = done.returncode in (0, 5)  # 5: everything in it was deselected
    said = [line for line in done.stdout.splitlines() if line.strip()]
    summary = said[-1] if said else f"exit code {done.returncode}"
    print(f"{piece.relative_to(HERE)}: {summary} ({time.monotonic() - started:.0f} s)", flush=True)
    if not good:
        print(done.stdout[-20_000:], done.stderr[-5_000:], sep="\n", flush=True)
    return good


def main(arguments: list[str]) -> int:
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        results = list(pool.map(lambda piece: run(piece, arguments), pieces()))
    failed = results.count(False)
    print(f"{len(results)} pieces, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
