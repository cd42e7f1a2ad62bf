"""The tiny pipeline of the runner's tests: recordings of numbers become clips of numbers become parts of JSON lines.

A recording ``n`` splits into ``clips`` clips; a clip's value is ``1000 * n + i``. Misbehaviour is asked for by value
in ``Toy``. Run as a script it is the driver process that the fault tests kill.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.ids import make_id
from unihand_data.runner.job import run_job
from unihand_data.runner.settings import RunnerSettings
from unihand_data.runner.sink import SinkSpec
from unihand_data.runner.stage import StageSpec, Unit
from unihand_data.shards.rows import RejectRow


@dataclass
class Clip:
    value: int


@dataclass(frozen=True)
class Toy:
    """What the toy job does. Sets hold clip values, except ``bad_recordings``."""

    recordings: int = 4
    clips: int = 5
    bad_recordings: frozenset[int] = frozenset()
    reject: frozenset[int] = frozenset()
    filter: frozenset[int] = frozenset()
    fail: frozenset[int] = frozenset()
    flaky: frozenset[int] = frozenset()  # raise once per process folder
    segfault: frozenset[int] = frozenset()
    kill: frozenset[int] = frozenset()
    hang: frozenset[int] = frozenset()
    partial: frozenset[int] = frozenset()  # one loss that does not end the unit
    vanish: frozenset[int] = frozenset()
    budget: frozenset[int] = frozenset()
    disk_full: frozenset[int] = frozenset()  # the disk is full, once per process folder
    sleep_s: float = 0.0
    actor: bool = True
    workers: int | None = None
    once_dir: str = ""
    log: str = ""
    extra: dict = field(default_factory=dict)


def once(toy: Toy, name: str) -> bool:
    """True the first time, over all processes and runs."""
    try:
        os.close(os.open(Path(toy.once_dir, name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class Split:
    def __init__(self, toy: Toy):
        self.toy = toy

    def __call__(self, unit: Unit) -> list[Unit]:
        n = unit.body
        if self.toy.log:
            with open(self.toy.log, "a") as f:
                f.write(f"split {n}\n")
        if n in self.toy.bad_recordings:
            raise Reject(Reason.CORRUPT, f"recording {n} is damaged")
        return [
            Unit(make_id("clip", n, i), unit.item, f"{unit.uri}#{i}", Clip(1000 * n + i)) for i in range(self.toy.clips)
        ]

    def close(self) -> None: ...


class Work:
    def __init__(self, toy: Toy):
        self.toy = toy

    def __call__(self, unit: Unit) -> list[Unit]:
        toy, v = self.toy, unit.body.value
        if toy.log:
            with open(toy.log, "a") as f:
                f.write(f"work {v} {os.getpid()}\n")
        if toy.sleep_s:
            time.sleep(toy.sleep_s)
        unit.measures["tokens_output"] = 2.0
        if v in toy.reject:
            raise Reject(Reason.CORRUPT, f"clip {v} is damaged", frames=7)
        if v in toy.filter:
            raise Reject(Reason.JITTER, f"clip {v} shakes")
        if v in toy.budget and once(toy, f"budget{v}"):
            raise Reject(Reason.BUDGET, f"clip {v} waits for money")
        if v in toy.disk_full and once(toy, f"disk{v}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/clip.mp4")
        if v in toy.fail:
            raise ZeroDivisionError(f"clip {v}")
        if v in toy.flaky and once(toy, f"flaky{v}"):
            raise OSError("not this time")
        if v in toy.segfault:
            import ctypes

            ctypes.string_at(0)
        if v in toy.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if v in toy.hang:
            time.sleep(3600)
        if v in toy.vanish:
            return []
        if v in toy.partial:
            unit.rejects.append(Reject(Reason.NO_TEXT, f"clip {v} has no words", level="row"))
        return [unit, Unit(make_id(unit.id, "twin"), unit.item, unit.uri, Clip(-v))]

    def close(self) -> None: ...


def list_units(toy: Toy):
    for n in range(toy.recordings):
        yield Unit(make_id("recording", n), f"item{n}", f"mem://{n}", n)


class JsonParts:
    """Stands in for the shards' staging: one file per part, written atomically."""

    def __init__(self, output: str):
        self.folder = Path(output, "_staging")

    def __call__(self, units: list[Unit], losses: list[RejectRow]) -> None:
        part = make_id(*(u.id for u in units), *(r.message for r in losses))
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{part}.{os.getpid()}"
        temporary.write_text("".join(json.dumps([u.id, u.body.value]) + "\n" for u in units))
        os.replace(temporary, self.folder / f"{part}.jsonl")


def run_toy(toy: Toy, output: str, content_hash: str = "c" * 32, **settings):
    stages = [
        StageSpec("split", lambda: Split(toy), splits=True),
        StageSpec("work", lambda: Work(toy), actor=toy.actor, workers=toy.workers),
    ]
    settings = {"units_per_part": 3, "progress": "off", "max_reject_share": None, "object_store_mb": 100, **settings}
    return run_job(
        name="toy",
        units=list_units(toy),
        stages=stages,
        sink=SinkSpec(JsonParts(output), measure=lambda unit: {"frames": 1}),
        output=output,
        settings=RunnerSettings.model_validate(settings),
        content_hash=content_hash,
        restorable=("toy_job",),
    )


if __name__ == "__main__":
    # python toy_job.py OUTPUT '{"recordings": 4}' '{"engine": "local"}'
    import toy_job  # as an importable module, so that its classes can be restored on resume

    given: dict[str, Any] = {k: frozenset(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[2]).items()}
    done = toy_job.run_toy(toy_job.Toy(**given), sys.argv[1], **json.loads(sys.argv[3]))
    print(json.dumps({"status": done.status, "reasons": done.reasons, "skipped": done.skipped, "exit": done.exit_code}))
    sys.exit(done.exit_code)
