"""Packed rows in a fixed number of streams, each resumable at any row.

Position p of the recipe belongs to stream p mod n. A step takes one row of each of ``rows`` streams, and the next step
of the next ones, until all ``lanes`` have had their turn. Ranks and workers share the streams, so the samples of a step
are the same for any number of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from beingh05_model.sequence.collate import length
from beingh05_model.sequence.segments import Example
from beingh05_model.training.settings import PackingSettings


class Examples(Protocol):
    """Anything with an example at each position."""

    def examples(self, positions: Sequence[int]) -> list[Example]: ...


#: positions that a stream asks for at once: rows of the shards are read together
AT_ONCE = 16


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
        if not 0 <= stream < settings.streams:
            raise ValueError(f"stream {stream} is not one of {settings.streams}")
        self.source, self.settings, self.stream, self.delimiters = source, settings, stream, delimiters
        self.state = state or StreamState()
        self._read: dict[int, tuple[Example, int]] = {}
        self._held = dict(zip(self.state.held, self._examples(self.state.held), strict=True))

    def _examples(self, positions: Sequence[int]) -> list[tuple[Example, int]]:
        found = self.source.examples(positions) if positions else []
        return [(example, length(example, self.delimiters)) for example in found]

    def _example(self, taken: int) -> tuple[Example, int]:
        """The stream's example of this number; some more are read with it."""
        if taken not in self._read:
            ahead = range(taken, taken + AT_ONCE)
            positions = [self.stream + n * self.settings.streams for n in ahead]
            self._read = dict(zip(ahead, self._examples(positions), strict=True))
        return self._read.pop(taken)

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
            position = self.stream + taken * self.settings.streams
            example, size = self._example(taken)
            taken += 1
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
