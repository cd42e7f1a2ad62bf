"""What Ray and the runner cost: frames/s of the job against the same stages in one plain loop in one process.

    python benchmarks/pipeline_overhead.py [--clips 400] [--work-ms 50] [--cpus 1 2]

Peer: the stage functions called in a bare ``for`` loop, nothing else (no journal, no ledger, no staging). The synthetic
stages burn a fixed amount of CPU (numpy on 64x64 blocks, one thread), so the figure is the runner's own cost. Starting
Ray is paid once per job and is listed apart. On a machine with other load wall time says little, so CPU seconds are
given too: those of the loop over those of every process of the job (driver, workers, Ray's own). ``ceiling`` is what as
many loops in as many processes reach at once: two virtual CPUs are often two threads of one core. Goals: at least 0.95
of the loop with one CPU, 1.9 with two. Memory: the driver's peak for an input and for one ten times as long, with
stages that cost nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy: the loop and a worker must have the same one thread

import numpy as np  # noqa: E402

from pipeline_timing import cpu_seconds  # type: ignore[import-not-found]  # noqa: E402
from unihand_data.ids import make_id  # noqa: E402
from unihand_data.runner import paths, submit  # noqa: E402
from unihand_data.runner.job import run_job  # noqa: E402
from unihand_data.runner.settings import RunnerSettings  # noqa: E402
from unihand_data.runner.sink import SinkSpec  # noqa: E402
from unihand_data.runner.stage import StageSpec, Unit  # noqa: E402

FRAMES_PER_CLIP = 300


class Split:
    """A recording becomes clips."""

    def __init__(self, clips: int):
        self.clips = clips

    def __call__(self, unit: Unit) -> list[Unit]:
        return [Unit(make_id(unit.id, i), unit.item, unit.uri, {"n": i}) for i in range(self.clips)]

    def close(self) -> None: ...


class Burn:
    """A fixed amount of arithmetic, whatever the machine's load."""

    def __init__(self, rounds: int):
        self.rounds = rounds
        self.block = np.random.default_rng(0).standard_normal((64, 64))

    def __call__(self, unit: Unit) -> list[Unit]:
        block = self.block
        for _ in range(self.rounds):
            block = np.tanh(block @ self.block * 0.01)
        return [Unit(unit.id, unit.item, unit.uri, {**unit.body, "motion": np.resize(block, (300, 64))})]

    def close(self) -> None: ...


def write_nothing(units: list[Unit], losses: list) -> None:
    """The sink is not what is measured; the ledger part is written all the same."""


@dataclass(frozen=True)
class Setup:
    """Synthetic job: ``recordings`` of ``clips`` clips, two stages of ``rounds`` rounds each."""

    recordings: int
    clips: int
    rounds: int

    def units(self) -> Iterable[Unit]:
        for n in range(self.recordings):
            yield Unit(make_id("recording", n), f"item{n}", f"mem://{n}")

    def stages(self) -> list[StageSpec]:
        return [
            StageSpec("split", partial(Split, self.clips), splits=True),
            StageSpec("first", partial(Burn, self.rounds), actor=True),
            StageSpec("second", partial(Burn, self.rounds), actor=True),
        ]


@dataclass(frozen=True)
class Timing:
    """Units out, wall seconds, and CPU seconds of all processes."""

    units: int
    wall: float
    cpu: float


def plain_loop(stages: list[StageSpec], units: Iterable[Unit]) -> Timing:
    """The bare loop."""
    built = [spec.build() for spec in stages]
    cpu, started, out = cpu_seconds(), time.perf_counter(), 0
    for unit in units:
        now = [unit]
        for stage in built:
            now = [result for one in now for result in stage(one)]
        out += len(now)
    timing = Timing(out, time.perf_counter() - started, cpu_seconds() - cpu)
    for stage in built:
        stage.close()
    return timing


def loops_at_once(setup: Setup, number: int) -> float:
    """Wall seconds of ``number`` loops in as many processes: what this machine's CPUs give without any runner."""
    with multiprocessing.get_context("spawn").Pool(number) as pool:
        pool.map(_loop_wall, [Setup(1, 2, 10)] * number, chunksize=1)
        return max(pool.map(_loop_wall, [setup] * number, chunksize=1))


def _loop_wall(setup: Setup) -> float:
    return plain_loop(setup.stages(), setup.units()).wall


def ray_job(stages: list[StageSpec], units: Callable[[], Iterable[Unit]], warm: Iterable[Unit]) -> Timing:
    """The job on the Ray this process is connected to; workers are started by ``warm``."""
    settings = RunnerSettings(progress="off", max_reject_share=None)
    timing = Timing(0, 0.0, 0.0)
    for source in (warm, units()):
        with tempfile.TemporaryDirectory() as out:
            cpu = cpu_seconds()
            result = run_job(
                name="overhead",
                units=source,
                stages=stages,
                sink=SinkSpec(write_nothing),
                output=out,
                settings=settings,
                content_hash="b" * 32,
            )
            timing = Timing(result.status["written"], result.seconds, cpu_seconds() - cpu)
    return timing


def calibrate(work_ms: float) -> int:
    """Rounds of one stage that take half of ``work_ms`` on this machine."""
    probe = Burn(200)
    unit = Unit("u", "u", "u", {})
    best = min(_timed(probe, unit) for _ in range(5))
    return max(1, round(work_ms / 2000 / (best / 200)))


def _timed(stage: Burn, unit: Unit) -> float:
    started = time.perf_counter()
    stage(unit)
    return time.perf_counter() - started


def measure_throughput(clips: int, work_ms: float, cpus: list[int]) -> dict:
    """Frames/s of the loop and of Ray with each number of CPUs; the loop is timed before and after each, best taken."""
    rounds = calibrate(work_ms)
    setup = Setup(max(1, clips // 50), 50, rounds)
    report: dict = {"clips": setup.recordings * 50, "work_ms_per_clip": work_ms, "machine_cpus": os.cpu_count()}
    for number in cpus:
        before = plain_loop(setup.stages(), setup.units())
        ceiling = loops_at_once(setup, number)
        started = time.perf_counter()
        with submit.connected(RunnerSettings(num_cpus=number)):
            start = time.perf_counter() - started
            ray = ray_job(setup.stages(), setup.units, Setup(2, 4, 10).units())
        after = plain_loop(setup.stages(), setup.units())
        loop_wall, loop_cpu = min(before.wall, after.wall), min(before.cpu, after.cpu)
        frames = ray.units * FRAMES_PER_CLIP
        report[f"cpus_{number}"] = {
            "loop_frames_per_s": round(frames / loop_wall),
            "ray_frames_per_s": round(frames / ray.wall),
            "ratio": round(loop_wall / ray.wall, 3),
            "ceiling": round(number * loop_wall / ceiling, 3),
            "cpu_ratio": round(loop_cpu / ray.cpu, 3),
            "ray_start_s": round(start, 1),
            "load_average": os.getloadavg()[0],
        }
    return report


def measure_memory(recordings: int) -> dict:
    """Peak resident MiB of the driver process and clips/s for ``recordings`` x 50 clips that cost nothing."""
    setup = Setup(recordings, 50, 0)
    with submit.connected(RunnerSettings()):
        ray = ray_job(setup.stages(), setup.units, Setup(1, 2, 0).units())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"clips": ray.units, "driver_peak_mib": peak, "clips_per_s": round(ray.units / ray.wall)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--work-ms", type=float, default=100.0, help="CPU time of a clip; real ones take seconds")
    parser.add_argument("--cpus", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--memory", type=int, nargs="*", default=[4, 40], help="recordings of 50 clips; [] skips")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)  # the child process of one figure
    given = parser.parse_args()
    if given.memory_of:
        print(json.dumps(measure_memory(given.memory_of)))
        return
    report: dict = {"throughput": measure_throughput(given.clips, given.work_ms, given.cpus), "memory": []}
    for recordings in given.memory:  # a fresh process each: a peak never goes down
        command = [sys.executable, paths.job_path(__file__), "--memory-of", str(recordings)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        report["memory"].append(json.loads(done.stdout.splitlines()[-1]))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
