"""Progress for people: a bar on a terminal, a plain line every half minute elsewhere (job logs, CI)."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)
_PLAIN_EVERY_S = 30.0


class Progress:
    """Counts what is in the ledger. ``total`` grows as items are listed and split."""

    def __init__(self, name: str, bar: Any = None, task: Any = None, plain: bool = True):
        self.name, self._bar, self._task, self._plain = name, bar, task, plain
        self._started = self._last = time.monotonic()
        self.listed = 0
        self.status: Counter[str] = Counter()

    def list_more(self, number: int) -> None:
        self.listed += number
        self._show()

    def add(self, status: Counter[str]) -> None:
        self.status.update(status)
        self._show()

    def line(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        done = sum(n for s, n in self.status.items() if s != "split")
        parts = ", ".join(f"{n} {s}" for s, n in sorted(self.status.items())) or "nothing yet"
        return f"{self.name}: {self.listed} handed out; {parts}; {done / seconds:.2f} units/s"

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=self.line())
        elif self._plain and time.monotonic() - self._last >= _PLAIN_EVERY_S:
            self._last = time.monotonic()
            log.info("%s", self.line())


@contextmanager
def progress(name: str, mode: str) -> Iterator[Progress]:
    """``mode``: auto (a bar on a terminal that rich can use), bar, plain, off."""
    if mode == "bar" or (mode == "auto" and sys.stderr.isatty()):
        try:
            from rich.console import Console
            from rich.progress import Progress as Bar
            from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
        except ImportError:  # rich comes with Ray's dashboard extra; without it lines do
            yield Progress(name)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            yield Progress(name, bar, bar.add_task(name, total=None), plain=False)
        return
    yield Progress(name, plain=mode != "off")
