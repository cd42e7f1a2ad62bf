"""SIGKILL of the driver, of Ray workers and of helper processes: a resumed run holds what an undisturbed one holds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from unihand_data.shards.catalogue import validate

pytestmark = pytest.mark.timeout(600)  # starts and waits for whole jobs

KILLED = Path(__file__).with_name("killed_driver.py")
#: a part per clip, so that a kill leaves some clips done and others not
SMALL_PARTS = ["--set", "runner.units_per_part=1"]


def assert_undisturbed(job, output: Path, undisturbed) -> None:
    held = job.holds(output)
    assert held.ids == undisturbed.ids, "the same ids, none twice, none missing"
    assert held.rejects == undisturbed.rejects
    assert held.summary == undisturbed.summary
    assert validate(str(output)) == []


@pytest.mark.parametrize(
    "moment",
    [
        "during_the_hands",
        "between_staging_and_commit",
        "inside_the_commit",
        pytest.param("after_the_split", marks=pytest.mark.soak),
        pytest.param("between_part_and_ledger", marks=pytest.mark.soak),
        pytest.param("before_the_report", marks=pytest.mark.soak),
    ],
)
def test_a_killed_driver_is_resumed_to_the_same_rows(job, one_recording, undisturbed, tmp_path, moment):
    out = tmp_path / "out"
    command = [sys.executable, str(KILLED), moment, *job.arguments(one_recording, out, None, *SMALL_PARTS)]
    done = subprocess.run([*command, "--engine", "local"], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert job.run_here(one_recording, out, *SMALL_PARTS).code == 0
    assert_undisturbed(job, out, undisturbed)


def test_a_killed_helper_process_costs_no_clip(job, one_recording, undisturbed, tmp_path):
    """The kernel ends the largest process first when memory is short: that is the decoder or the landmark models."""
    killed, stop = [], threading.Event()

    def kill() -> None:
        while not stop.is_set() and len(killed) < 2:
            helpers = [pid for pid, command in job.children_of(os.getpid()) if "killable_child" in command]
            fresh = [pid for pid in helpers if pid not in killed]
            # one that scans or finds hands, and later one that does the rest
            if fresh and (not killed or len(fresh) >= 3):
                with suppress(ProcessLookupError):
                    os.kill(fresh[-1], signal.SIGKILL)
                    killed.append(fresh[-1])
                    time.sleep(1.0)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        ran = job.run_here(one_recording, tmp_path / "out")
    finally:
        stop.set()
        thread.join()
    assert killed
    assert ran.code == 0
    assert_undisturbed(job, tmp_path / "out", undisturbed)


def start(job, one_recording, out: Path) -> subprocess.Popen:
    """The job on a Ray of its own, as a process."""
    command = [
        sys.executable,
        str(job.PIPELINE),
        *job.arguments(one_recording, out, None, *SMALL_PARTS),
        "--engine",
        "ray",
    ]
    return subprocess.Popen(
        [*command, "--set", "runner.num_cpus=2"],
        env=job.without_ray(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def at_stage(out: Path, stage: str) -> bool:
    """Whether some unit is in this stage now, by the journal of attempts."""
    notes = [p for p in out.glob("_job/*/attempts/*/*/*") if ".trace" not in p.name]
    for note in notes:
        with suppress(FileNotFoundError):
            if note.read_text().split()[-1:] == [stage]:
                return True
    return False


def working(job, driver: subprocess.Popen) -> list[int]:
    """Ray workers below the driver that run stages now."""
    return [pid for pid, command in job.children_of(driver.pid) if command.startswith("ray::MapBatches(_task_crew")]


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


@pytest.mark.slow
def test_ray_workers_killed_at_three_moments_lose_and_repeat_nothing(job, one_recording, undisturbed, tmp_path):
    out = tmp_path / "out"
    driver = start(job, one_recording, out)
    killed = []
    try:
        for stage in ("split", "hands", "encode"):
            job.wait_until(lambda s=stage: at_stage(out, s) or driver.poll() is not None, 200)
            for pid in working(job, driver):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
        assert driver.wait(300) == 0, driver.stderr.read()
    finally:
        end(driver)
    assert len(killed) >= 2
    assert_undisturbed(job, out, undisturbed)


@pytest.mark.slow
def test_a_driver_killed_after_the_split_on_ray_is_resumed_by_another_engine(job, one_recording, undisturbed, tmp_path):
    out = tmp_path / "out"
    driver = start(job, one_recording, out)
    try:
        parts = lambda: list(out.glob("_job/*/ledger/parts/*.parquet"))  # noqa: E731
        job.wait_until(lambda: parts() or driver.poll() is not None, 200)
        assert driver.poll() is None, driver.stderr.read()
    finally:
        end(driver)
    assert job.run_here(one_recording, out, *SMALL_PARTS).code == 0
    assert_undisturbed(job, out, undisturbed)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_twenty_random_moments(job, one_recording, undisturbed, tmp_path):
    """Driver and workers in turn, whatever they are at; each start is one moment, the last run is left alone."""
    rng, out, ended = random.Random(7), tmp_path / "out", 0
    for moment in range(20):
        driver = start(job, one_recording, out)
        try:
            with suppress(subprocess.TimeoutExpired):
                driver.wait(rng.uniform(6.0, 30.0))
            if moment % 2 and driver.poll() is None:
                for pid in working(job, driver):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                with suppress(subprocess.TimeoutExpired):
                    driver.wait(rng.uniform(1.0, 20.0))
            if driver.poll() is not None:
                assert driver.returncode == 0, driver.stderr.read()
                ended += 1
                out = tmp_path / f"out{ended}"  # it came to its end: go on with a fresh directory
        finally:
            end(driver)
    assert job.run_here(one_recording, out, *SMALL_PARTS).code == 0
    for done in [tmp_path / "out", *tmp_path.glob("out?")]:
        if (done / "manifest.json").exists():
            assert_undisturbed(job, done, undisturbed)
