"""Who was being worked on when a worker died: one small file per unit in flight.

A line is written before a stage is called and the file is removed when the unit leaves the worker, so a file found
later tells which unit and stage a dead process was at, and how often. Beside it lies the trace that Python's
``faulthandler`` writes from C when the process takes a fatal signal or overstays a deadline; it needs no interpreter
lock, so a hung or crashed extension is reported with its place too.
"""

from __future__ import annotations

import faulthandler
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_BEGIN = "begin"


@dataclass(frozen=True)
class Deaths:
    """What earlier workers left about a unit.

    Attributes:
        silent: deaths without a trace (SIGKILL, out of memory, a lost machine).
        faults: deaths with a fatal signal of their own, ``timeouts``: ended at a deadline.
        stage: where the last one happened. ``place``: file, line and function, where known.
    """

    silent: int = 0
    faults: int = 0
    timeouts: int = 0
    stage: str = ""
    place: str = ""


class Journal:
    """Attempt notes in ``folder`` (local disk, or a disk the workers share)."""

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._note: IO[str] | None = None

    def deaths(self, key: str) -> Deaths:
        """Read what is there about ``key``; no file means no deaths."""
        try:
            lines = self._path(key).read_text().split("\n")
        except FileNotFoundError:
            return Deaths()
        runs: list[str] = []
        for line in lines:
            if line == _BEGIN:
                runs.append("")
            elif line and runs:
                runs[-1] = line
        traces = self._traces(key)
        timeouts = sum("Timeout (" in t for t in traces)
        faults = sum("Fatal Python error" in t for t in traces)
        last = traces[-1] if traces else ""
        return Deaths(max(0, len(runs) - timeouts - faults), faults, timeouts, runs[-1] if runs else "", _place(last))

    @contextmanager
    def working_on(self, key: str) -> Iterator[None]:
        """Note that ``key`` is in this process's hands. Leaving the block in any way but death removes the note."""
        path = self._path(key)
        try:
            with open(path, "a", buffering=1) as note:
                note.write(f"{_BEGIN}\n")
                with open(self._trace_path(key, self._runs(key)), "w") as trace:
                    faulthandler.enable(file=trace, all_threads=False)
                    self._note, self._trace = note, trace
                    try:
                        yield
                    finally:
                        self._note = None
                        faulthandler.disable()  # never leave it pointing at a closed file
                        with suppress(ValueError, OSError, AttributeError):  # a captured stderr has no descriptor
                            faulthandler.enable(all_threads=False)
        finally:
            self.forget(key)

    @contextmanager
    def at_stage(self, stage: str, timeout_s: float | None) -> Iterator[None]:
        """Inside :meth:`working_on`: the stage about to be called. After ``timeout_s`` the process ends itself."""
        assert self._note is not None
        self._note.write(f"{stage}\n")
        if timeout_s:
            faulthandler.dump_traceback_later(timeout_s, exit=True, file=self._trace)
        try:
            yield
        finally:
            if timeout_s:
                faulthandler.cancel_dump_traceback_later()

    def forget(self, key: str) -> None:
        """Remove what is noted about ``key``."""
        for path in [*self._trace_files(key), self._path(key)]:
            with suppress(FileNotFoundError):
                path.unlink()

    def _path(self, key: str) -> Path:
        return self.folder / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()

    def _trace_path(self, key: str, run: int) -> Path:
        path = self._path(key)
        return path.with_name(f"{path.name}.trace{run}")

    def _runs(self, key: str) -> int:
        try:
            return self._path(key).read_text().split("\n").count(_BEGIN)
        except FileNotFoundError:
            return 0

    def _trace_files(self, key: str) -> list[Path]:
        return [self._trace_path(key, run) for run in range(1, self._runs(key) + 1)]

    def _traces(self, key: str) -> list[str]:
        texts = []
        for path in self._trace_files(key):
            with suppress(FileNotFoundError):
                texts.append(path.read_text(errors="replace"))
        return [t for t in texts if t.strip()]


def _place(trace: str) -> str:
    """The innermost frame of the stage in a faulthandler trace, as ``file.py:12 in function``.

    Threads are listed newest first, so the main thread, which runs the stages, comes last.
    """
    main = trace[max(trace.rfind("Thread 0x"), trace.rfind("Current thread 0x"), 0) :]
    for line in main.split("\n"):
        text = line.strip()
        if text.startswith('File "'):
            file, _, rest = text[len('File "') :].partition('"')
            number, _, function = rest.removeprefix(", line ").partition(" in ")
            return f"{os.path.basename(file)}:{number} in {function}"
    return ""
