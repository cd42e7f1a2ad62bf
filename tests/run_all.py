"""Every test, in as many pytest processes at a time as there are cores (at most four).

    python tests/run_all.py [--piece-minutes N] [--total-minutes N] [pytest arguments]

A process takes one folder of ``unihand_data``, one file of ``pipelines``, or one file that lies beside these folders,
the long ones first; what failed is printed whole, and the exit code is 1. Nothing can hang: a test ends after the
``timeout`` of pyproject.toml (one that needs more says so with ``@pytest.mark.timeout``), a piece and the whole run
after the limits here. A piece that is over its limit is killed with every process it started, and the test that it was
at is named.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent

#: the longest piece takes about 4 minutes on two busy cores, everything together about 15
PIECE_MINUTES, TOTAL_MINUTES = 15.0, 38.0
#: between "end" and "now", for what a test starts to clean up after itself
GRACE_S = 5.0
MARK = "UNIHAND_TEST_PIECE"
#: a line of ``pytest -v``: the test's id when it begins, its outcome behind it when it ended
_BEGAN = re.compile(r"^(\S+::.*?)(?: (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.*)?$")


def pieces(here: Path = HERE) -> list[Path]:
    """The model and what else is no room of the data, then files of whole jobs (they start processes and wait), then
    the rooms."""
    jobs = sorted((here / "pipelines").glob("test_*.py"))
    rooms = sorted(p for p in (here / "unihand_data").iterdir() if p.is_dir() and any(p.rglob("test_*.py")))
    others = sorted(p for p in here.iterdir() if p.is_dir() and p.name not in ("pipelines", "unihand_data"))
    loose = sorted([*here.glob("test_*.py"), *(here / "unihand_data").glob("test_*.py")])
    return [*(p for p in others if any(p.rglob("test_*.py"))), *jobs, *rooms, *loose]


def run(piece: Path, arguments: Sequence[str], seconds: float) -> bool:
    """One pytest process. True if nothing failed; a piece that takes longer than ``seconds`` failed."""
    name = os.path.relpath(piece, HERE)
    if seconds <= 0:
        print(f"{name}: not run, the time of the whole run is over", flush=True)
        return False
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-v", "--no-header", "-p", "no:cacheprovider", str(piece), *arguments]
    mark = uuid.uuid4().hex
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", MARK: mark}
    with tempfile.TemporaryFile("w+", errors="replace") as out:  # a file: a grandchild may hold a pipe open for ever
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        code: int | None = None
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            end(child)
            if code is None:
                end_marked(mark)
        out.seek(0)
        said = out.read()
    lines = [line for line in said.splitlines() if line.strip()]
    took = time.monotonic() - started
    good = code in (0, 5)  # 5: everything in it was deselected
    if code is None:
        summary = f"killed, it was still at {at_work(lines)}"
    else:
        summary = lines[-1].strip("= ") if lines else f"exit code {code}"
    print(f"{name}: {summary} ({took:.0f} s)", flush=True)
    if not good:
        told = [line for line in said.splitlines() if not re.search(r"::.* (PASSED|SKIPPED)", line)]
        print("\n".join(told)[-20_000:], flush=True)
    return good


def end(child: subprocess.Popen[str]) -> None:
    """End the process and whatever of its session is left, politely and then not. Its group is its own: nobody else's
    process can be in it."""
    for sign, wait in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        try:
            os.killpg(child.pid, sign)
        except (ProcessLookupError, PermissionError):
            break
        limit = time.monotonic() + wait
        while time.monotonic() < limit and _alive(child):
            time.sleep(0.05)
    child.wait()


def end_marked(mark: str) -> None:
    """End what a piece started in sessions of its own (workers, Ray): all of it has the piece's mark in its
    environment, and no other process has."""
    if not Path("/proc/self/environ").exists():
        return
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue  # it ended, or belongs to somebody else


def _alive(child: subprocess.Popen[str]) -> bool:
    child.poll()  # a dead child that was not waited for would still count as a member of the group
    try:
        os.killpg(child.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def at_work(lines: Sequence[str]) -> str:
    """The test that had begun last, of what ``pytest -v`` printed."""
    for line in reversed(lines):
        if (found := _BEGAN.match(line)) is not None:
            return found[1].strip() if found[2] is None else f"what follows {found[1]}"
    return "its start (imports and collection)"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--piece-minutes", type=float, default=PIECE_MINUTES, help="limit of one process")
    parser.add_argument("--total-minutes", type=float, default=TOTAL_MINUTES, help="limit of the whole run")
    limits, arguments = parser.parse_known_args(argv)
    ends = time.monotonic() + 60 * limits.total_minutes

    def one(piece: Path) -> bool:
        return run(piece, arguments, min(60 * limits.piece_minutes, ends - time.monotonic()))

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        results = list(pool.map(one, pieces()))
    failed = results.count(False)
    print(f"{len(results)} pieces, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
