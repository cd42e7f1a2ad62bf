"""What a stage call took, in whichever process it ran, and what the calls of a job say about its steady state.

``timed`` wraps stages so that every call leaves one line: process, stage, unit, wall interval on the machine's common
monotonic clock, and CPU seconds of the process with its helper processes. The plain loop and Ray's workers use the same
wrapper. A busy machine stretches wall time and hardly CPU time, so both are kept.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from unihand_data.runner.stage import StageSpec, Unit


@dataclass(frozen=True)
class Call:
    """One stage call; ``start`` and ``end`` are ``time.monotonic()``, ``first`` in its process (models load then)."""

    pid: int
    stage: str
    unit: str
    start: float
    end: float
    cpu: float
    first: bool

    @property
    def wall(self) -> float:
        return self.end - self.start


class _Timed:
    def __init__(self, spec: StageSpec, folder: str):
        started, cpu = time.monotonic(), cpu_seconds()
        self.stage, self.name = spec.build(), spec.name
        self.log = Path(folder, f"{os.getpid()}.jsonl")
        self.began: tuple[float, float] | None = (started, cpu)  # building counts as part of the first call

    def __call__(self, unit: Unit) -> list[Unit]:
        started, cpu = self.began or (time.monotonic(), cpu_seconds())
        self.began = None
        out = self.stage(unit)
        call = Call(os.getpid(), self.name, unit.id, started, time.monotonic(), cpu_seconds() - cpu, first=False)
        with open(self.log, "a") as log:
            log.write(json.dumps(asdict(call)) + "\n")
        return out

    def close(self) -> None:
        self.stage.close()


def timed(stages: list[StageSpec], folder: Path) -> list[StageSpec]:
    """The same stages, their calls noted in ``folder``."""
    return [replace(spec, build=partial(_Timed, spec, str(folder))) for spec in stages]


def calls_in(folder: Path, since: float = 0.0) -> list[Call]:
    """What was noted, oldest first."""
    calls = []
    for path in folder.glob("*.jsonl"):
        seen: set[str] = set()
        for call in (Call(**json.loads(line)) for line in path.read_text().splitlines()):
            calls.append(replace(call, first=call.stage not in seen))  # a task's own stages are built for every call
            seen.add(call.stage)
    return sorted((c for c in calls if c.start >= since), key=lambda c: c.start)


def cpu_seconds() -> float:
    """User and system time of this process and everything below it, ended children included (Linux).

    A look costs a fraction of a millisecond; ``psutil`` reads every process of the machine and would be seen in the
    figures.
    """
    ticks, waiting = 0, [os.getpid()]
    while waiting:
        pid = waiting.pop()
        with suppress(FileNotFoundError, ProcessLookupError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK")


class Sampled:
    """CPU seconds of this process and everything below it over time, looked at every second while inside."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampled:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(1.0):
            self.samples.append((time.monotonic(), cpu_seconds()))


@dataclass(frozen=True)
class Steady:
    """A job between the moment its last worker was warm and the moment its first one had nothing left to do.

    Attributes:
        speed: seconds of the loop's work done per second.
        busy: share of the workers' time inside stages; the rest is Ray's and the runner's.
        stretch: CPU seconds of the calls inside over those of the same calls in the loop.
        beside: CPU seconds per second of everything that is not a stage: driver, raylet, Ray's services.
        by_cpu: the speed if nothing else ran on the machine: what ``beside`` and idle workers leave of the cores, over
            ``stretch``. Made of CPU seconds and of rates, it hardly depends on the machine's load (caches are shared).
    """

    seconds: float
    workers: int
    speed: float
    busy: float
    stretch: float
    beside: float
    by_cpu: float


def steady(calls: list[Call], loop: list[Call], samples: list[tuple[float, float]], cores: int) -> Steady:
    """Judge ``calls`` of a job by what the same calls took in the ``loop``. Calls on the edges count in proportion."""
    cost = {(c.stage, c.unit): c for c in loop}
    last_stage = loop[-1].stage
    of_pid: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        of_pid[call.pid].append(call)
    # a process that never finished a clip (it only split, or died) is no worker of the steady state
    workers = [own for own in of_pid.values() if any(c.stage == last_stage for c in own)]
    a = max(min(c.end for c in own if c.stage == last_stage) for own in workers)
    b = min(max(c.end for c in own) for own in workers)
    if b - a < 3.0:
        raise ValueError("a worker ended before another was warm: take more recordings")
    work = busy = ours = theirs = 0.0
    for call in calls:
        inside = max(0.0, min(call.end, b) - max(call.start, a))
        share = inside / max(call.wall, 1e-9)
        peer = cost[call.stage, call.unit]
        busy += inside
        work += share * peer.wall
        ours += share * call.cpu
        theirs += share * peer.cpu
    at, cpu = zip(*samples)
    total = float(np.diff(np.interp([a, b], at, cpu))[0])
    busy /= (b - a) * len(workers)
    return Steady(
        seconds=b - a,
        workers=len(workers),
        speed=work / (b - a),
        busy=busy,
        stretch=ours / theirs,
        beside=(total - ours) / (b - a),
        by_cpu=(cores * busy - (total - ours) / (b - a)) * theirs / ours,
    )


def table(loop: list[Call], jobs: dict[str, list[Call]], frames: int) -> str:
    """Milliseconds per frame of every stage, wall and CPU, without the calls in which models load."""
    names = list(dict.fromkeys(c.stage for c in loop))
    columns = {"loop": loop, **jobs}
    lines = [f"{'ms per frame':<12}" + "".join(f"{name:>20}" for name in columns)]
    lines.append(f"{'':<12}" + f"{'wall':>12}{'CPU':>8}" * len(columns))
    for stage in names:
        row = f"{stage:<12}"
        for calls in columns.values():
            mine = [c for c in calls if c.stage == stage and not c.first]
            # every unit of a stage stands for the same number of frames, so that left out calls can be filled in
            share = len([c for c in loop if c.stage == stage]) / max(1, len(mine)) * 1e3 / frames
            row += f"{share * sum(c.wall for c in mine):>12.2f}{share * sum(c.cpu for c in mine):>8.2f}"
        lines.append(row)
    return "\n".join(lines)
