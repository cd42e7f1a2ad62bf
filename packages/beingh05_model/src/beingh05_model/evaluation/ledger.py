"""Outcomes on disk as they come, so that an evaluation of hours goes on where it was stopped.

One JSON object a line: first what is evaluated, then an outcome each. Episodes do not depend on one another, so the
outcomes of a run that was stopped are those of one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beingh05_model.evaluation.rollout import Episode, Outcome
from unihand_data.errors import DatasetRefused


class Ledger:
    """A file of outcomes.

    Args:
        about: What is evaluated (checkpoint, protocol); another evaluation's file is refused.

    Raises:
        DatasetRefused: the file belongs to another evaluation, or a line of it cannot be read.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.outcomes: dict[tuple[str, int, int], Outcome] = {}
        about = json.loads(json.dumps(about))
        if path.exists():
            self._read(about)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(about) + "\n")

    def _read(self, about: dict[str, Any]) -> None:
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]
        lines = whole.splitlines()
        try:
            first = json.loads(lines[0]) if lines else None
            found = [Outcome(**json.loads(line)) for line in lines[1:]]
        except (json.JSONDecodeError, TypeError) as error:
            raise DatasetRefused(f"{self.path}: not a file of outcomes ({error})") from error
        if first != about:
            raise DatasetRefused(f"{self.path}: holds outcomes of another evaluation; name another file or remove it")
        if whole != text:  # cut off in the middle of a line
            self.path.write_text(whole)
        self.outcomes = {(o.task, o.seed, o.trial): o for o in found}

    def left(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Those whose outcome is not there yet."""
        return [e for e in episodes if (e.task, e.seed, e.trial) not in self.outcomes]

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome; what ``Rollout`` calls as ``told``."""
        self.outcomes[outcome.task, outcome.seed, outcome.trial] = outcome
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")

    def of(self, episodes: Sequence[Episode]) -> list[Outcome]:
        """Outcomes in the order of the episodes."""
        return [self.outcomes[e.task, e.seed, e.trial] for e in episodes]
