"""Packed rows in a fixed number of streams, each resumable at any row.

Position p of the recipe belongs to stream p mod n. One optimiser step takes one row of every stream; ranks share the
streams. So the samples of a step are the same for any number of ranks that divides n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from beingh05_model.sequence.collate import length
from beingh05_model.sequence.segments import Example
from beingh05_model.training.settings import PackingSettings


class Examples(Protocol):
    """Anything with an example at each position."""

    def example(self, position: int) -> Example: ...


@dataclass
class StreamState:
    """Where a stream stands: positions taken so far, those held back for a later row, samples skipped as too long."""

    taken: int = 0
    held: list[int] = field(default_factory=list)
    skipped: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"taken": self.taken, "held": list(self.held), "skipped": self.skipped}


@dataclass
class Row:
    """Examples that fill one row, and where the stream stands after it."""

    examples: list[Example]
    tokens: int
    state: StreamState


class RowStream:
    """Rows of one stream, without end."""

    def __init__(
        self,
        source: Examples,
        settings: PackingSettings,
        stream: int,
        delimiters: bool,
        state: StreamState | None = None,
    ) -> None:
        if not 0 <= stream < settings.rows:
            raise ValueError(f"stream {stream} is not one of {settings.rows}")
        self.source, self.settings, self.stream, self.delimiters = source, settings, stream, delimiters
        self.state = state or StreamState()
        self._held = {position: self._example(position) for position in self.state.held}

    def _example(self, position: int) -> tuple[Example, int]:
        example = self.source.example(position)
        return example, length(example, self.delimiters)

    def __iter__(self) -> Iterator[Row]:
        while True:
            yield self.next()

    def next(self) -> Row:
        """Fill a row: held samples first, then new ones; one that does not fit is held until too many are."""
        limit, row, used = self.settings.tokens, [], 0
        held = dict(self._held)
        for position, (example, size) in self._held.items():
            if used + size <= limit:
                row.append(example)
                used += size
                del held[position]
        taken, skipped = self.state.taken, self.state.skipped
        while len(held) <= self.settings.held:
            position = self.stream + taken * self.settings.rows
            taken += 1
            example, size = self._example(position)
            if size > min(limit, self.settings.longest_sample):
                skipped += 1
                continue
            if used + size <= limit:
                row.append(example)
                used += size
            else:
                held[position] = example, size
        self._held = held
        self.state = StreamState(taken, list(held), skipped)
        return Row(row, used, self.state)
