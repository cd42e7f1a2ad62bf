"""``make soak``: the job is killed at twenty moments, driver and workers in turn, and resumed to the same ids."""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import suppress

import pytest


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(3))
def test_twenty_kills_lose_and_repeat_nothing(toy, tmp_path, driver, wait_until, staged_ids, ledger_ids, seed):
    """Every start of the driver is one moment: after a random number of clips a worker dies, then the driver."""
    rng = random.Random(seed)
    size = {"recordings": 40, "clips": 10}
    toy.run_toy(toy.Toy(**size), str(tmp_path / "undisturbed"), engine="local")
    out, log = tmp_path / "out", tmp_path / "log"
    spec, settings = {**size, "sleep_s": 0.05, "log": str(log)}, {"engine": "ray", "num_cpus": 2, "wave_units": 15}
    for _ in range(20):
        log.write_text("")
        process = driver(out, spec, settings)

        def reached(number: int, process=process) -> bool:
            return process.poll() is not None or log.read_text().count("work") >= number

        first, second = sorted(rng.randrange(1, 25) for _ in range(2))
        wait_until(lambda n=first, r=reached: r(n), 120)
        worker = next((int(x.split()[2]) for x in reversed(log.read_text().splitlines()) if x.startswith("work")), None)
        if worker is not None and process.poll() is None:
            with suppress(ProcessLookupError):  # its driver ended first
                os.kill(worker, signal.SIGKILL)
        wait_until(lambda n=second, r=reached: r(n), 120)
        if process.poll() is not None:
            assert process.returncode == 0, process.communicate()
            break
        process.kill()
        process.wait()
    last = driver(out, {**size}, settings)
    printed, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    assert json.loads(printed)["reasons"] == {}
    assert ledger_ids(out) == ledger_ids(tmp_path / "undisturbed")
    assert set(staged_ids(out)) == set(staged_ids(tmp_path / "undisturbed"))
