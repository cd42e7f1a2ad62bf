"""Training runs for tests: settings of a small one, and the processes that run it."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from beingh05_model.training.settings import DataSettings, OptimiserSettings, PackingSettings, TrainSettings
from helpers import training_run
from helpers.models import full

RUN = Path(training_run.__file__)


def settings(output, **changes):
    base = {
        "model": full(mof=None),
        "data": DataSettings(recipe="made", chunk={"steps": 4}),
        "output": str(output),
        "steps": 6,
        "packing": PackingSettings(rows=2, tokens=120, held=1),
        "optimiser": OptimiserSettings(rate=1e-3, warmup=2, ema=0.9),
        "precision": "fp32",
        "stage": 1,
        "save_every": 3,
        "log_every": 1,
    }
    return TrainSettings.model_validate({**base, **changes})


def run(chosen, where, world=1, *arguments):
    """Step and losses of a run; every rank is a process of its own."""
    return run_all([chosen], where, world, *arguments)[0]


def run_all(every, where, world=1, *arguments):
    """As :func:`run`, several runs one after the other in the same processes."""
    where.mkdir(exist_ok=True)
    (where / "settings.json").write_text(json.dumps([one.model_dump(mode="json") for one in every]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(world):
        environment = {
            **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu",
        }  # fmt: skip
        command = [sys.executable, RUN, where / "settings.json", where / "out.json", *arguments]
        with (where / f"rank{rank}.log").open("w") as said:
            ranks.append(
                subprocess.Popen([str(c) for c in command], env=environment, stdout=said, stderr=subprocess.STDOUT)
            )
    while None in (codes := [r.poll() for r in ranks]) and not any(codes):
        time.sleep(0.1)
    for one in ranks:  # the others of a rank that failed would wait for it
        one.kill()
        one.wait()
    assert not any(codes), "\n".join((where / f"rank{r}.log").read_text()[-3000:] for r in range(world))
    return json.loads((where / "out.json").read_text())


def losses(found):
    return [one["losses"] for one in found]
