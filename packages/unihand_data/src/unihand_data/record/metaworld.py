"""Records Meta-World demonstrations of the scripted experts into a LeRobot v2.1 folder.

    python -m unihand_data.record.metaworld --output DIR [--tasks ...] [--episodes 50] [--workers 2]

A run that was killed goes on where it was when the command is given again; numbers depend on task, range and seed
alone.
Exit codes: 0 complete, 1 a task did not reach its episodes (the folder is written with those there are) or a worker
died, 2 refused.
"""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tyro

from unihand_data.config import SettingsError, content_dict, content_hash
from unihand_data.errors import Reject
from unihand_data.record import folder
from unihand_data.record.expert import CAMERAS, Attempt, Scene
from unihand_data.record.gl import NoHeadlessGL, choose_backend
from unihand_data.record.settings import Ranges, RecordSettings
from unihand_data.record.staging import FOLDER, Staged, Unit, Video, write_attempt
from unihand_data.record.workers import one_thread_each

log = logging.getLogger(__name__)
REPORT = "meta/recording.json"


@dataclass
class UnitReport:
    """What recording one (task, range) took. ``seconds``: of its attempts, over all runs."""

    task: str
    ranges: str
    episodes: int = 0
    attempts: int = 0
    successes: int = 0
    unstable: int = 0
    steps: int = 0
    seconds: float = 0.0

    @property
    def success_rate(self) -> float:
        return self.successes / self.attempts if self.attempts else 0.0


def record_unit(output: str, task: str, ranges: Ranges, settings: RecordSettings) -> None:
    """Attempts of one task and range by rising seed until enough of them succeeded, or the attempts are used up."""
    unit = Unit(Path(output), task, ranges)
    unit.sweep()
    done = unit.done()
    wanted, last = settings.episodes, settings.first_seed + int(settings.episodes * settings.max_attempts)
    if _first_enough(done, settings) is not None:
        return
    with Scene.opened(task, settings) as scene:
        successes = sum(done.values())
        for seed in range(settings.first_seed, last):
            if successes >= wanted:
                break
            if seed in done:
                continue
            successes += _attempt(scene, unit, ranges, seed, settings)


def _attempt(scene: Scene, unit: Unit, ranges: Ranges, seed: int, settings: RecordSettings) -> bool:
    start = time.perf_counter()
    try:
        judged = scene.attempt(ranges, seed)
    except Reject as reject:
        log.warning("%s", reject.message)
        unit.mark_unstable(scene.task, ranges, seed, reject.message, time.perf_counter() - start)
        return False
    if not judged.succeeded and not settings.keep_failures:
        unit.mark_failed(judged, time.perf_counter() - start)
        return False
    with unit.writing(seed) as place:
        videos = {name: Video(place / f"{name}.mp4", settings.size) for name in CAMERAS}
        try:
            seen = scene.attempt(ranges, seed, lambda name, picture: videos[name].add(picture))
        finally:
            for video in videos.values():
                video.close()
        if not _same(judged, seen):
            raise RuntimeError(f"{scene.task} ({ranges}), seed {seed}: the same seed gave two different episodes")
        write_attempt(place, seen, videos, time.perf_counter() - start)
    return seen.succeeded


def _same(a: Attempt, b: Attempt) -> bool:
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("state", "label", "executed", "success"))


def _first_enough(done: dict[int, bool], settings: RecordSettings) -> int | None:
    """The seed with which the wanted number of successes is reached without a gap before it; else None."""
    successes, seed = 0, settings.first_seed
    while seed in done:
        successes += done[seed]
        if successes == settings.episodes:
            return seed
        seed += 1
    return None


def record(output: Path, settings: RecordSettings) -> list[UnitReport]:
    """Everything: choose a renderer, record all units, assemble the folder.

    Raises:
        NoHeadlessGL
        SettingsError: the folder holds another recording or something else, or a run is at work in it.
        BrokenProcessPool: a worker died; the next call goes on."""
    if not _check_folder(output, settings):
        with _alone(output):
            choose_backend()
            _record_all(output, settings)
            _finish(output, settings)
    return [UnitReport(**u) for u in json.loads((output / REPORT).read_text())["units"]]


def _check_folder(output: Path, settings: RecordSettings) -> bool:
    """Whether the folder is complete already; refuses what is not this recording."""
    mine, report = output / FOLDER / "settings.json", output / REPORT
    for path in (mine, report):
        if path.is_file():
            found = json.loads(path.read_text())
            if found["content_hash"] != content_hash(settings):
                raise SettingsError(
                    f"{output}: holds a recording with other settings ({path}); choose another --output"
                )
            if path == report and (output / "meta/info.json").is_file():
                return True
    if not mine.is_file():
        if output.is_dir() and any(output.iterdir()):
            raise SettingsError(f"{output}: is not empty and holds no recording; choose another --output")
        mine.parent.mkdir(parents=True)
        folder.write_json(mine, _identity(settings))
    return False


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """One run per folder; the lock goes with the process that holds it."""
    with open(output / FOLDER / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(f"{output}: another run is recording into it; wait for it or end it") from error
        yield


def _identity(settings: RecordSettings) -> dict[str, object]:
    return {"content_hash": content_hash(settings), "settings": content_dict(settings)}


def _record_all(output: Path, settings: RecordSettings) -> None:
    units, start = settings.units(), time.perf_counter()
    with one_thread_each(min(settings.workers, len(units))) as pool:
        running = {pool.submit(record_unit, str(output), *unit, settings): unit for unit in units}
        for future in as_completed(running):
            future.result()
            task, ranges = running[future]
            log.info("%s (%s) done at %.0f s", task, ranges, time.perf_counter() - start)


def _finish(output: Path, settings: RecordSettings) -> None:
    episodes: list[Staged] = []
    reports = []
    for task, ranges in settings.units():
        unit = Unit(output, task, ranges)
        last = _first_enough(unit.done(), settings)
        chosen = [e for e in unit.episodes() if last is None or e.facts["seed"] <= last]
        tried = [f for f in unit.attempts() if last is None or f["seed"] <= last]
        episodes += chosen
        reports.append(
            UnitReport(
                task=task,
                ranges=ranges,
                episodes=len(chosen),
                attempts=len(tried),
                successes=sum(f["success"] for f in tried),
                unstable=sum("unstable" in f for f in tried),
                steps=sum(e.facts["length"] for e in chosen),
                seconds=round(sum(f["seconds"] for f in tried), 2),
            )
        )
    if not episodes:
        raise SettingsError(f"{output}: no attempt succeeded, so there is nothing to write; --keep-failures keeps all")
    folder.assemble(output, settings, episodes)
    versions = {name: version(name) for name in ("metaworld", "mujoco", "unihand-data")}
    folder.write_json(
        output / REPORT, {**_identity(settings), "versions": versions, "units": [asdict(r) for r in reports]}
    )
    shutil.rmtree(output / FOLDER)


def main(
    output: Path,
    tasks: Sequence[str] = (),
    ranges: Sequence[Ranges] = ("stock", "widened"),
    episodes: int = 50,
    first_seed: int = 0,
    size: int = 224,
    noise: float = 0.3,
    keep_failures: bool = False,
    workers: int = 1,
) -> int:
    """Record scripted experts of Meta-World.

    Args:
        output: a new folder, or one of a recording that was killed.
        tasks: names without -v3; default: eight whose experts succeed in both ranges.
        ranges: where objects, goals and the hand start: the environment's own ranges, or objects twice as wide and the
            hand +-10 cm (x, y), +-5 cm (z).
        episodes: successful ones per task and range.
        first_seed: of the first attempt; the next attempt takes the next number.
        size: pixels of a side.
        noise: upper end of the noise level of executed commands.
        keep_failures: write attempts without success too.
        workers: processes; the result does not depend on it.
    """
    given = {"tasks": list(tasks)} if tasks else {}
    try:
        settings = RecordSettings.model_validate(
            {**given, "ranges": list(ranges), "episodes": episodes, "first_seed": first_seed, "size": size,
             "noise": noise, "keep_failures": keep_failures, "workers": workers}
        )  # fmt: skip
        reports = record(output.resolve(), settings)
    except (ValueError, NoHeadlessGL) as error:  # SettingsError and pydantic's are ValueErrors
        sys.stderr.write(f"{error}\n")
        return 2
    except BrokenProcessPool:
        sys.stderr.write(f"{output}: a worker died (memory, or the graphics driver); the same command goes on\n")
        return 1
    for r in reports:
        sys.stdout.write(
            f"{r.task:26} {r.ranges:8} {r.episodes:4} episodes, {r.successes} of {r.attempts} attempts succeeded "
            f"({100 * r.success_rate:.0f} %), {r.steps} steps, {r.seconds:.0f} s\n"
        )
    short = [r for r in reports if r.successes < settings.episodes]
    for r in short:
        sys.stderr.write(
            f"{r.task} ({r.ranges}): only {r.successes} of {settings.episodes} episodes after {r.attempts} attempts\n"
        )
    return 1 if short else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    raise SystemExit(tyro.cli(main, description=__doc__))
