"""Episodes of a recording that is under way: one folder each, complete or not there; and attempts that failed.

``DIR/.recording/<task>.<range>/seed_000012/`` holds ``numbers.npz``, a video per camera and ``episode.json``;
``seed_000013.json`` says that the attempt had no success, so that a resumed run does not try it again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.record.expert import RATE_HZ, Attempt

FOLDER = ".recording"
_DONE = re.compile(r"seed_(\d{6,})(\.json)?")


class Video:
    """H.264 in MP4 in groups of eight frames without B-frames: the robot job then copies the packets. One frame per
    step, frame i at i / 80 s. ``sums`` collects what the statistics of a camera need."""

    def __init__(self, path: Path, size: int) -> None:
        import av

        self._av, self.frames = av, 0
        self.low, self.high = np.full(3, 255.0), np.zeros(3)
        self.sum, self.squares, self.pixels = np.zeros(3), np.zeros(3), 0
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        self._out = av.open(f"file:{path}", "w", format="mp4", options=options)
        params = "keyint=8:min-keyint=8:scenecut=0:bframes=0:open-gop=0:threads=1:lookahead-threads=1"
        self._stream: Any = self._out.add_stream(
            "libx264", rate=RATE_HZ, options={"preset": "veryfast", "crf": "20", "x264-params": params}
        )
        self._stream.width, self._stream.height, self._stream.pix_fmt = size, size, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, RATE_HZ)

    def add(self, picture: np.ndarray) -> None:
        """(H, W, 3) uint8 RGB."""
        if self.frames % 10 == 0:
            seen = picture.reshape(-1, 3).astype(np.float64) / 255
            self.low, self.high = np.minimum(self.low, seen.min(0)), np.maximum(self.high, seen.max(0))
            self.sum, self.squares = self.sum + seen.sum(0), self.squares + (seen**2).sum(0)
            self.pixels += len(seen)
        frame = self._av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = self.frames, Fraction(1, RATE_HZ)
        self._out.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        self._out.mux(self._stream.encode(None))
        self._out.close()

    def stats(self) -> dict[str, Any]:
        """Of every tenth frame, per channel, 0..1, in LeRobot's nesting (3, 1, 1)."""
        mean = self.sum / self.pixels
        std = np.sqrt(np.maximum(self.squares / self.pixels - mean**2, 0))
        named = {"min": self.low, "max": self.high, "mean": mean, "std": std}
        return {k: v.reshape(3, 1, 1).tolist() for k, v in named.items()} | {"count": [-(-self.frames // 10)]}


@dataclass(frozen=True)
class Staged:
    """A complete episode on disk."""

    folder: Path
    facts: dict[str, Any]

    def numbers(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "numbers.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


class Unit:
    """The staged attempts of one (task, range)."""

    def __init__(self, output: Path, task: str, ranges: str) -> None:
        self.folder = output / FOLDER / f"{task}.{ranges}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def done(self) -> dict[int, bool]:
        """Seed -> whether it succeeded, of all attempts that are finished."""
        out: dict[int, bool] = {}
        for path in self.folder.iterdir():
            if (at := _DONE.fullmatch(path.name)) is not None:
                out[int(at[1])] = self._facts(path)["success"]
        return out

    def episodes(self) -> list[Staged]:
        """By seed."""
        found = sorted(p for p in self.folder.iterdir() if _DONE.fullmatch(p.name) and p.is_dir())
        return [Staged(p, self._facts(p)) for p in sorted(found, key=lambda p: int(p.name[5:]))]

    @staticmethod
    def _facts(path: Path) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((path / "episode.json" if path.is_dir() else path).read_text())
        return facts

    def attempts(self) -> list[dict[str, Any]]:
        """Facts of every finished attempt, by seed."""
        found = [self._facts(p) for p in self.folder.iterdir() if _DONE.fullmatch(p.name)]
        return sorted(found, key=lambda facts: int(facts["seed"]))

    def mark_failed(self, attempt: Attempt, seconds: float) -> None:
        self._mark(attempt.seed, {**facts_of(attempt), "seconds": round(seconds, 3)})

    def mark_unstable(self, task: str, ranges: str, seed: int, message: str, seconds: float) -> None:
        facts = {"task": task, "range": ranges, "seed": seed, "success": False, "unstable": message}
        self._mark(seed, {**facts, "seconds": round(seconds, 3)})

    def _mark(self, seed: int, facts: dict[str, Any]) -> None:
        path = self.folder / f"seed_{seed:06d}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(facts))
        os.replace(temporary, path)

    @contextmanager
    def writing(self, seed: int) -> Iterator[Path]:
        """A folder to fill, which becomes the episode's own when the block ends well."""
        temporary, final = self.folder / f"tmp_{seed:06d}_{os.getpid()}", self.folder / f"seed_{seed:06d}"
        temporary.mkdir()
        try:
            yield temporary
            os.replace(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what a killed run left half written."""
        for path in self.folder.glob("tmp_*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob("*.tmp"):
            path.unlink()


def facts_of(attempt: Attempt) -> dict[str, Any]:
    return {
        "task": attempt.task,
        "range": attempt.ranges,
        "seed": attempt.seed,
        "noise_sigma": attempt.sigma,
        "length": len(attempt.state),
        "success": attempt.succeeded,
    }


def write_attempt(folder: Path, attempt: Attempt, videos: dict[str, Video], seconds: float) -> None:
    """Numbers and facts beside the videos that are already there."""
    np.savez(
        folder / "numbers.npz", state=attempt.state, label=attempt.label, executed=attempt.executed,
        success=attempt.success,
    )  # fmt: skip
    facts = {
        **facts_of(attempt),
        "seconds": round(seconds, 3),
        "pictures": {name: video.stats() for name, video in videos.items()},
    }
    (folder / "episode.json").write_text(json.dumps(facts))
