"""Helpers of the end-to-end tests: short recordings cut from the shipped clip, the real job in this process or as one
of its own, and what a shard directory holds in a form that can be compared.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest

from unihand_data.demo.truth import SHIPPED_VIDEO
from unihand_data.shards.catalogue import inspect
from unihand_data.shards.reader import ShardReader

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "pipelines" / "human_video.py"
#: one forward pass over the pictures (less sure hands, spoken of all the same), a camera that need not be mapped,
#: clips of about 0.7 s
FAST = [
    "hands.detect.passes=fast",
    "language.motion.min_confidence=0.3",
    "camera.estimator=static",
    "video.segment.max_seconds=0.8",
    "video.segment.min_seconds=0.4",
]


def load(path: Path, name: str) -> ModuleType:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def cut(out: Path, first: int, last: int, source: Path = SHIPPED_VIDEO) -> Path:
    """Frames [first, last) of a video as a file of its own, at 30 frames per second."""
    with av.open(str(source)) as video, av.open(str(out), "w", options={"fflags": "+bitexact"}) as target:
        stream = video.streams.video[0]
        new: Any = target.add_stream("libx264", rate=30, options={"crf": "20", "preset": "veryfast", "threads": "1"})
        new.width, new.height, new.pix_fmt = stream.width, stream.height, "yuv420p"
        for number, frame in enumerate(video.decode(stream)):
            if number >= last:
                break
            if number >= first:
                frame = frame.reformat(format="yuv420p")
                frame.pts, frame.time_base, frame.pict_type = number - first, Fraction(1, 30), 0
                target.mux(new.encode(frame))
        target.mux(new.encode(None))
    return out


def no_hands(out: Path, frames: int = 20) -> Path:
    """A coloured pattern that drifts; no hand in it."""
    y, x = np.mgrid[:240, :320]
    with av.open(str(out), "w") as target:
        new: Any = target.add_stream("libx264", rate=30)
        new.width, new.height, new.pix_fmt = 320, 240, "yuv420p"
        for i in range(frames):
            wave = 127 + 120 * np.sin((x + 3 * i) / 17) * np.cos(y / 23)
            picture = np.stack([wave, 255 - wave, np.full_like(wave, 90)], axis=-1).astype(np.uint8)
            target.mux(new.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(new.encode(None))
    return out


@dataclass
class Ran:
    """A run of the job: exit code and everything it printed."""

    code: int
    out: str
    err: str


def arguments(source: str | Path, output: str | Path, settings: list[str] | None, *more: str) -> list[str]:
    chosen = FAST if settings is None else settings
    return ["--input", str(source), "--output", str(output), *[x for s in chosen for x in ("--set", s)], *more]


def run_here(source, output, *more: str, settings: list[str] | None = None, engine: str = "local") -> Ran:
    """``pipelines/human_video.py`` in this process, as its last lines call it."""
    from unihand_data.jobs.arguments import main_with

    module = sys.modules.get("human_video_page") or load(PIPELINE, "human_video_page")
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [str(PIPELINE)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            argv = [*arguments(source, output, settings, *more), "--engine", engine]
            code = main_with(
                module.HumanVideoSettings,
                module.run,
                default_config="human_video.yaml",
                description=module.__doc__,
                argv=argv,
            )
    finally:
        sys.argv = before
    return Ran(code, out.getvalue(), err.getvalue())


def without_ray() -> dict[str, str]:
    """This environment without anything that points to a Ray."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}


def run_command(source, output, *more: str, settings: list[str] | None = None, engine: str = "ray") -> Ran:
    """The same as a command of its own."""
    command = [sys.executable, str(PIPELINE), *arguments(source, output, settings, *more), "--engine", engine]
    done = subprocess.run(command, env=without_ray(), capture_output=True, text=True, timeout=400)
    return Ran(done.returncode, done.stdout, done.stderr)


@dataclass
class Held:
    """What a shard directory holds. Lists, not sets, so that a repeat shows."""

    episodes: list[str]
    samples: list[str]
    media: list[str]
    rejects: list[tuple[str, str, str, str]]
    summary: dict[str, Any]

    @property
    def ids(self) -> tuple[list[str], list[str], list[str]]:
        return self.episodes, self.samples, self.media


def holds(output: str | Path) -> Held:
    with ShardReader(str(output)) as reader:
        return Held(
            sorted(reader.episode_ids),
            sorted(reader.samples().column("sample_id").to_pylist()),
            sorted({c.media_id for i in reader.episode_ids for c in reader.episode(i).cameras}),
            sorted((r["level"], r["stage"], r["reason"], Path(r["source_uri"]).name) for r in reject_rows(output)),
            inspect(str(output)),
        )


def reject_rows(output: str | Path) -> list[dict[str, Any]]:
    """Rows of ``rejects/*.parquet`` that the manifest lists."""
    from unihand_data.shards.append import read_parquet

    with ShardReader(str(output)) as reader:
        return [r for f in reader.manifest.rejects for r in read_parquet(reader.store, f.name, None).to_pylist()]


def rows_of(output: str | Path) -> dict[str, Any]:
    with ShardReader(str(output)) as reader:
        return {i: reader.episode(i) for i in reader.episode_ids}


def children_of(pid: int) -> list[tuple[int, str]]:
    """(pid, command line) of every process below ``pid``."""
    table: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                table.setdefault(parent, []).append(int(folder.name))
    found, todo = [], list(table.get(pid, []))
    while todo:
        child = todo.pop()
        todo += table.get(child, [])
        with contextlib.suppress(OSError):
            found.append((child, Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ").strip()))
    return found


def wait_until(condition: Callable[[], Any], limit_s: float = 240.0) -> Any:
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)
    return value


class Tools:
    """The functions above for the tests of this folder."""

    ROOT, PIPELINE, FAST, SHIPPED_VIDEO = ROOT, PIPELINE, FAST, SHIPPED_VIDEO
    cut, no_hands, arguments = staticmethod(cut), staticmethod(no_hands), staticmethod(arguments)
    run_here, run_command = staticmethod(run_here), staticmethod(run_command)
    holds, reject_rows, rows_of = staticmethod(holds), staticmethod(reject_rows), staticmethod(rows_of)
    children_of, wait_until, without_ray = (
        staticmethod(children_of),
        staticmethod(wait_until),
        staticmethod(without_ray),
    )
    load = staticmethod(load)


@pytest.fixture(scope="session")
def job() -> type[Tools]:
    return Tools


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> Path:
    """Two short recordings of the shipped clip: 45 and 40 frames, both hands in view."""
    folder = tmp_path_factory.mktemp("recordings")
    cut(folder / "reach.mp4", 30, 75)
    cut(folder / "place.mp4", 110, 150)
    return folder


@pytest.fixture(scope="session")
def one_recording(recordings, tmp_path_factory) -> Path:
    """One recording of 40 frames alone in a folder; two clips with the quick settings."""
    folder = tmp_path_factory.mktemp("one_recording")
    shutil.copy(recordings / "place.mp4", folder)
    return folder


@pytest.fixture(scope="session")
def whole(recordings, tmp_path_factory) -> tuple[Path, Ran]:
    """The job with its default camera on the two recordings, once: (output, run)."""
    output = tmp_path_factory.mktemp("whole") / "shards"
    return output, run_here(recordings, output, settings=WHOLE)


#: as the defaults, but for one pass over the pictures and short clips
WHOLE = ["hands.detect.passes=fast", "language.motion.min_confidence=0.3", "video.segment.max_seconds=1.5"]


@pytest.fixture(scope="session")
def whole_settings() -> list[str]:
    return WHOLE


@pytest.fixture(scope="session")
def undisturbed(one_recording, tmp_path_factory) -> Held:
    """What the quick settings make of the one recording when nothing goes wrong (plain loop)."""
    output = tmp_path_factory.mktemp("undisturbed") / "shards"
    assert run_here(one_recording, output).code == 0
    return holds(output)
