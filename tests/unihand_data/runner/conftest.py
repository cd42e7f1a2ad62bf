"""Helpers of the runner's tests: the toy job in this process or as a driver process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # toy_job must be importable by name, in workers too
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])

TOY = Path(__file__).with_name("toy_job.py")


@pytest.fixture
def toy():
    """The module of the toy job."""
    import toy_job

    return toy_job


@pytest.fixture
def staged_ids() -> Callable[[Path], list[str]]:
    """Ids in the staging parts of a directory, with repeats."""

    def read(output: Path) -> list[str]:
        parts = sorted(Path(output, "_staging").glob("*.jsonl"))
        return sorted(json.loads(line)[0] for part in parts for line in part.read_text().splitlines())

    return read


@pytest.fixture
def ledger_ids() -> Callable[[Path], list[tuple[str, str]]]:
    """(id, status) of everything that counts in the ledger of a directory."""

    def read(output: Path) -> list[tuple[str, str]]:
        from unihand_data.runner.ledger import Ledger

        return sorted(Ledger(str(output), "c" * 32).rows(["id", "status"]).iter_rows())

    return read


@pytest.fixture
def driver() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start the toy job as a process of its own; whatever is left of it is killed at the end."""
    started: list[subprocess.Popen] = []

    def start(output: Path, toy: dict, settings: dict) -> subprocess.Popen:
        env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        command = [sys.executable, str(TOY), str(output), json.dumps(toy), json.dumps(settings)]
        started.append(
            subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Poll a condition; fails after ``limit_s``."""

    def wait(condition: Callable[[], bool], limit_s: float = 240.0) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, "the condition did not come true"
            time.sleep(0.02)

    return wait
