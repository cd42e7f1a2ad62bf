"""``ray start`` and ``ray job submit`` on private ports: the same ids as in this process, metrics to be scraped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)  # starts and waits for whole jobs

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def cluster(tmp_path, wait_until):
    """A Ray head of this test: its environment, dashboard address and metrics address."""
    gcs, dashboard, metrics = free_port(), free_port(), free_port()
    temp = Path("/tmp") / f"rt{os.getpid()}"  # short: Ray's socket paths have a length limit
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64, "RAY_METRICS_REPORT_INTERVAL_MS": "500"}
    env["RAY_metrics_report_interval_ms"] = "500"
    command = f"{BIN}/ray start --head --block --port={gcs} --dashboard-port={dashboard} --temp-dir={temp}"
    command += f" --metrics-export-port={metrics} --num-cpus=2 --object-store-memory=100000000"
    command += f" --include-dashboard=true --node-ip-address=127.0.0.1 --ray-client-server-port={free_port()}"
    command += f" --dashboard-agent-listen-port={free_port()}"  # another Ray of this machine may hold the default
    with open(tmp_path / "ray.log", "w") as log:
        head = subprocess.Popen(command.split(), env=env, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{dashboard}"

    def up() -> bool:
        assert head.poll() is None, (tmp_path / "ray.log").read_text()
        try:
            request = urllib.request.Request(f"{address}/api/version", headers={"Authorization": f"Bearer {'a' * 64}"})
            return urllib.request.urlopen(request, timeout=2).status == 200
        except OSError:
            return False

    try:
        wait_until(up, 90)
        yield env, address, f"http://127.0.0.1:{metrics}/metrics"
    finally:
        # Only what this test started (`ray stop` would end every Ray of the machine): its session's processes.
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait(20)
        shutil.rmtree(temp, ignore_errors=True)


@pytest.mark.slow
def test_a_submitted_job_writes_the_same_ids_and_its_metrics_can_be_scraped(
    cluster, toy, tmp_path, staged_ids, ledger_ids, wait_until
):
    env, address, metrics = cluster
    toy.run_toy(toy.Toy(), str(tmp_path / "here"), engine="local")
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(HERE / "toy_job.py", work)

    def submit(output: str) -> subprocess.CompletedProcess:
        command = [str(BIN / "ray"), "job", "submit", "--address", address, "--working-dir", str(work), "--"]
        command += [sys.executable, "toy_job.py", output, "{}", "{}"]
        for _ in range(5):  # the agent that starts jobs may come up some seconds after the dashboard answers
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
            if "No available agent" not in done.stdout + done.stderr:
                break
            time.sleep(2)
        return done

    done = submit(str(tmp_path / "there"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert staged_ids(tmp_path / "there") == staged_ids(tmp_path / "here")
    assert ledger_ids(tmp_path / "there") == ledger_ids(tmp_path / "here")
    seen: set[str] = set()

    def exported() -> bool:
        text = urllib.request.urlopen(metrics, timeout=5).read().decode()
        seen.update(re.findall(r"^(ray_unihand_\w+)", text, re.M))
        return {"ray_unihand_units_total", "ray_unihand_tokens_total"} <= seen

    wait_until(exported, 20)
    assert {"ray_unihand_stage_calls_total", "ray_unihand_stage_seconds_bucket"} <= seen

    relative = submit("there")
    assert relative.returncode != 0
    assert "$PWD/there" in relative.stdout + relative.stderr
