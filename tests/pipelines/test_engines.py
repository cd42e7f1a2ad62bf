"""The plain loop, Ray, and a submitted Ray job give the same ids and the same numbers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(600)  # starts and waits for whole jobs

BIN = Path(sys.executable).parent


def assert_the_same(job, one: Path, other: Path) -> None:
    """Ids and counts identical, estimated numbers to 1e-4."""
    a, b = job.holds(one), job.holds(other)
    assert (a.episodes, a.samples) == (b.episodes, b.samples)
    for part in ("inputs", "written", "rejected", "ignored", "episodes", "frames", "samples", "mirrored", "tokens"):
        assert a.summary[part] == b.summary[part], part
    left, right = job.rows_of(one), job.rows_of(other)
    for episode_id, row in left.items():
        twin = right[episode_id]
        for name in ("state_slots", "action_slots", "state_mask", "action_mask", "timestamps"):
            assert np.array_equal(getattr(row, name), getattr(twin, name)), name
        for name in ("state", "action", "raw_to_world"):
            assert np.allclose(getattr(row, name), getattr(twin, name), atol=1e-4), name
        assert np.allclose(row.cameras[0].poses, twin.cameras[0].poses, atol=1e-4)
        assert [(t.t0, t.t1, t.text, t.hand) for t in row.language] == [
            (t.t0, t.t1, t.text, t.hand) for t in twin.language
        ]
        assert set(row.quality) == set(twin.quality)
        for name, value in row.quality.items():
            assert value == pytest.approx(twin.quality[name], abs=1e-4, nan_ok=True), name


@pytest.mark.slow
def test_ray_gives_what_the_plain_loop_gives(job, whole, recordings, whole_settings, tmp_path):
    done = job.run_command(recordings, tmp_path / "ray", settings=whole_settings)
    assert done.code == 0, done.out + done.err
    assert_the_same(job, whole[0], tmp_path / "ray")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def cluster(job, tmp_path):
    """A Ray head of this test: environment for its clients, and its dashboard's address."""
    dashboard, temp = free_port(), Path("/tmp") / f"rp{os.getpid()}"  # short: Ray's socket paths have a length limit
    env = job.without_ray() | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 64}
    env["PATH"] = os.pathsep.join([str(BIN), env["PATH"]])
    command = f"{BIN}/ray start --head --block --port={free_port()} --dashboard-port={dashboard} --temp-dir={temp}"
    command += " --num-cpus=2 --object-store-memory=100000000 --node-ip-address=127.0.0.1 --include-dashboard=true"
    command += f" --ray-client-server-port={free_port()} --dashboard-agent-listen-port={free_port()}"
    with open(tmp_path / "ray.log", "w") as log:
        head = subprocess.Popen(command.split(), env=env, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{dashboard}"

    def up() -> bool:
        assert head.poll() is None, (tmp_path / "ray.log").read_text()
        request = urllib.request.Request(f"{address}/api/version", headers={"Authorization": f"Bearer {'b' * 64}"})
        try:
            return urllib.request.urlopen(request, timeout=2).status == 200
        except OSError:
            return False

    try:
        job.wait_until(up, 120)
        yield env, address
    finally:
        with suppress(ProcessLookupError):  # only what this test started
            os.killpg(head.pid, signal.SIGKILL)
        head.wait(20)
        shutil.rmtree(temp, ignore_errors=True)


@pytest.mark.slow
def test_a_submitted_job_gives_the_same(job, cluster, whole, recordings, whole_settings, tmp_path):
    env, address = cluster
    there = tmp_path / "there"
    command = [str(BIN / "ray"), "job", "submit", "--address", address, "--working-dir", ".", "--"]
    command += ["python", "pipelines/human_video.py", *job.arguments(recordings, there, whole_settings)]
    for _ in range(8):  # the agent that starts jobs may come up some seconds after the dashboard answers
        done = subprocess.run(command, env=env, cwd=job.ROOT, capture_output=True, text=True, timeout=400)
        if "No available agent" not in done.stdout + done.stderr:
            break
        time.sleep(2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_the_same(job, whole[0], there)
