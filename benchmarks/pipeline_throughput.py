"""The real pipeline: frames/s of the Ray job against its own stage functions in one plain loop in one process.

    python benchmarks/pipeline_throughput.py [--recordings 8] [--frames 45] [--cores 1 2] [--passes fast]

Input: pieces of the shipped sample clip, each re-encoded from another first frame, so that every recording has its own
content. Peer: the same stages in a bare ``for`` loop (no ledger, no staging). Goals: at least 0.95 of the loop with one
CPU and 1.9 with two.

The loop and all its helper processes are pinned to one core: unpinned it uses parts of several, and "one core" would be
no unit. The Ray job of n CPUs, Ray's own processes included, is pinned to n cores. Two figures of each job:

- ``speed``: between the moment the last worker is warm and the moment the first one runs out of work, seconds of the
  loop's work done per second. This is what a job of hours sees. ``by_cpu`` is the same from CPU seconds alone, for a
  machine that others use too (``load_average``); what it is made of is said in ``pipeline_timing.Steady``.
- ``whole``: from the first unit to the last part, the workers' start (imports, models) included.

``ceiling`` is what as many pinned loops as cores, side by side and without any runner, reach at once: memory, caches
and clock are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "pipelines")]

from human_video import stages  # type: ignore[import-not-found]  # noqa: E402
from pipeline_timing import Call, Sampled, calls_in, cpu_seconds, steady, table, timed  # type: ignore[import-not-found]  # noqa: E402
from unihand_data.demo.truth import SHIPPED_VIDEO  # noqa: E402
from unihand_data.jobs.arguments import JobArguments  # noqa: E402
from unihand_data.jobs.human_config import HumanVideoSettings  # noqa: E402
from unihand_data.jobs.items import list_units  # noqa: E402
from unihand_data.runner import submit  # noqa: E402
from unihand_data.runner.job import run_job  # noqa: E402
from unihand_data.runner.settings import RunnerSettings  # noqa: E402
from unihand_data.runner.sink import SinkSpec  # noqa: E402
from unihand_data.runner.stage import StageSpec, Unit  # noqa: E402
from unihand_data.sources.registry import open_source  # noqa: E402
from unihand_data.video.encode import EncodeSettings, encode_clip  # noqa: E402
from unihand_data.video.probe import probe  # noqa: E402


def pieces(folder: Path, count: int, frames: int, first: int = 0) -> None:
    """``count`` recordings of ``frames`` frames with their camera beside them."""
    info = probe(str(SHIPPED_VIDEO))
    step = max(1, (info.frames - frames - first) // max(1, count - 1))
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        clip = info.clip(first + i * step, first + i * step + frames)
        encode_clip(clip, folder / f"piece{i:03d}.mp4", EncodeSettings(longest_side=None, crf=18))
        shutil.copy(SHIPPED_VIDEO.with_suffix(".camera.json"), folder / f"piece{i:03d}.camera.json")


def chain(folder: Path, passes: str, log: Path) -> list[StageSpec]:
    """The pipeline's stages on ``folder``, every call noted in ``log``."""
    settings = HumanVideoSettings.model_validate({"hands": {"detect": {"passes": passes}}})
    log.mkdir()
    source = partial(open_source, str(folder))
    return timed(stages(settings, source, JobArguments(str(folder), str(log / "out"))), log)


def write_nothing(units: list[Unit], losses: list) -> None:
    """The sink is not what is measured; the ledger part is written all the same."""


def run_loop(scratch: Path, passes: str, log: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """The bare loop, warmed by another recording; says so, and waits for a line on stdin before the timed part."""
    built = [spec.build() for spec in chain(scratch / "input", passes, log)]

    def through(units: list[Unit]) -> int:
        out = 0
        for unit in units:
            now = [unit]
            for stage in built:
                now = [result for one in now for result in stage(one)]
            out += len(now)
        return out

    through(list(list_units(open_source(str(scratch / "warm")))))
    say("warm")
    sys.stdin.readline()
    cpu, started = cpu_seconds(), time.monotonic()
    out = through(list(list_units(open_source(str(scratch / "input")))))
    took = {"out": out, "wall": time.monotonic() - started, "cpu": cpu_seconds() - cpu, "started": started}
    for stage in built:
        stage.close()
    return took


def run_ray(scratch: Path, passes: str, log: Path, cpus: int) -> dict[str, Any]:
    """The job, cold: its workers start and load their models inside."""
    settings = RunnerSettings(progress="off", max_reject_share=None, num_cpus=cpus)
    with submit.connected(settings), Sampled() as cpu:
        result = run_job(
            name="throughput",
            units=list_units(open_source(str(scratch / "input"))),
            stages=chain(scratch / "input", passes, log),
            sink=SinkSpec(write_nothing),
            output=str(log / "shards"),
            settings=settings,
            content_hash="b" * 32,
        )
    return {
        "out": result.status["written"],
        "wall": result.seconds,
        "cpu": cpu.samples[-1][1] - cpu.samples[0][1],
        "samples": cpu.samples,
        "started": 0.0,
    }


class Run:
    """One measured run in a process of its own, pinned to ``cores`` with everything it starts."""

    def __init__(self, kind: str, scratch: Path, passes: str, cores: list[int]):
        self.log = Path(tempfile.mkdtemp(dir=scratch)) / "calls"
        given = json.dumps([kind, str(scratch), passes, str(self.log), cores])
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--run", given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if kind == "loop":
            assert self._line() == "warm"

    def go(self) -> Run:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self

    def end(self) -> tuple[dict[str, Any], list[Call]]:
        """Figures and calls."""
        took = json.loads(self._line())
        self.process.communicate()
        return took, calls_in(self.log, took["started"])

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the measured process ended with exit code {self.process.wait()}")
        return line.strip()


def run_given(given: str) -> None:
    """The child process of one run."""
    kind, scratch, passes, log, cores = json.loads(given)
    os.sched_setaffinity(0, cores)  # before any thread or child: they inherit it
    say = partial(print, file=sys.stdout, flush=True)
    sys.stdout = sys.stderr  # whatever a library prints is no figure
    where = Path(scratch), passes, Path(log)
    say(json.dumps(run_loop(*where, say) if kind == "loop" else run_ray(*where, len(cores))))


def measure(names: argparse.Namespace) -> dict[str, Any]:
    """All runs, one after the other; prints the table of stages."""
    allowed = sorted(os.sched_getaffinity(0))
    frames = names.recordings * names.frames
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        pieces(scratch / "input", names.recordings, names.frames)
        pieces(scratch / "warm", 1, names.frames, first=1)
        start = partial(Run, scratch=scratch, passes=names.passes)
        loop, loop_calls = start("loop", cores=allowed[:1]).go().end()
        report: dict[str, Any] = {
            "recordings": names.recordings,
            "frames": frames,
            "passes": names.passes,
            "machine_cores": len(allowed),
            "load_average": load(),
            "loop": {"frames_per_s": frames / loop["wall"], "cpu_ms_per_frame": 1e3 * loop["cpu"] / frames},
        }
        jobs = {}
        for number in names.cores:
            cores = allowed[:number]
            ray, jobs[f"ray {number}"] = start("ray", cores=cores).end()
            assert ray["out"] == loop["out"], (ray["out"], loop["out"])
            loops = [start("loop", cores=[core]) for core in cores] if number > 1 else []
            pairs = [one.end()[0] for one in [one.go() for one in loops]] or [loop]
            found = steady(jobs[f"ray {number}"], loop_calls, ray["samples"], number)
            report[f"ray_{number}"] = {
                **asdict(found),
                "frames_per_s": found.speed * frames / loop["wall"],
                "whole": loop["wall"] / ray["wall"],
                "whole_cpu_ms_per_frame": 1e3 * ray["cpu"] / frames,
                "ceiling": number * loop["wall"] / max(one["wall"] for one in pairs),
                "ceiling_by_cpu": number * loop["cpu"] / max(one["cpu"] for one in pairs),
                "load_average": load(),
            }
    print(table(loop_calls, jobs, frames))
    return rounded(report)


def load() -> float:
    """Of the last minute; this benchmark alone makes about the number of cores it uses."""
    return os.getloadavg()[0]


def rounded(value: Any) -> Any:
    """Three digits of every number in it."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=8)
    parser.add_argument("--frames", type=int, default=45)
    parser.add_argument("--cores", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--passes", choices=("full", "fast"), default="fast")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    names = parser.parse_args()
    if names.run:
        run_given(names.run)
        return 0
    print(json.dumps(measure(names), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
