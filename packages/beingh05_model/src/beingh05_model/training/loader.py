"""Packed rows of a rank in the order of its steps, read ahead by worker processes.

A worker owns some of the rank's streams and packs their rows; the training process takes rows in a fixed order, each
with the place of its stream behind it. So neither the samples nor a resume depend on how many workers read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from beingh05_model.network.tokens import Tokens
from beingh05_model.sequence.collate import pack
from beingh05_model.training.rows import Examples, RowStream, StreamState
from beingh05_model.training.settings import TrainSettings


@dataclass
class PackedRow:
    """A row as the network takes it.

    Attributes:
        stream, state: The stream that it came from, and where that stands after it.
        tokens: Places that hold something; the rest is padding.
        embodiments: Of its samples, by number; empty for conversations.
    """

    content: Tokens
    stream: int
    state: StreamState
    tokens: int
    embodiments: list[str]

    @property
    def samples(self) -> int:
        return self.content.samples


def turns(settings: TrainSettings, step: int, rank: int, world: int) -> list[int]:
    """Streams of a rank in the order of their rows, from a step on; then all over again.

    Raises:
        ValueError: the rows of a step cannot be shared evenly by the ranks.
    """
    rows, lanes = settings.packing.rows, settings.packing.lanes
    if rows % world:
        raise ValueError(f"packing.rows ({rows}) must be a multiple of the number of ranks ({world})")
    return [row + rows * ((step + turn) % lanes) for turn in range(lanes) for row in range(rank, rows, world)]


class _Rows(IterableDataset[PackedRow]):
    """Rows of the streams whose turn it is; with n workers each takes every n-th turn."""

    def __init__(
        self, source: Examples, settings: TrainSettings, order: list[int], states: Mapping[int, StreamState]
    ) -> None:
        self.source, self.settings, self.order, self.states = source, settings, order, states

    def __iter__(self) -> Iterator[PackedRow]:
        worker = get_worker_info()
        mine = self.order if worker is None else self.order[worker.id :: worker.num_workers]
        compat, packing = self.settings.model.compat, self.settings.packing
        delimiters = not compat.bare_actions
        streams = {n: RowStream(self.source, packing, n, delimiters, self.states.get(n)) for n in mine}
        while True:
            for number in mine:
                row = streams[number].next()
                content = pack(
                    row.examples,
                    packing.tokens if packing.pad else None,
                    full_actions=not compat.causal_actions,
                    delimiters=delimiters,
                )
                yield PackedRow(content, number, row.state, row.tokens, [e.embodiment for e in row.examples])


def loader(
    source: Examples,
    settings: TrainSettings,
    states: Mapping[int, StreamState],
    step: int,
    rank: int = 0,
    world: int = 1,
) -> Iterator[PackedRow]:
    """Rows without end, from a step on.

    Args:
        states: Where streams stand; one that is not named begins.

    Raises:
        ValueError: the workers cannot share the rank's streams evenly.
    """
    order, workers = turns(settings, step, rank, world), settings.data.workers
    if workers and len(order) % workers:
        raise ValueError(
            f"data.workers ({workers}) must divide the {len(order)} streams of a rank "
            "(packing.rows / ranks x packing.lanes)"
        )
    options: dict[str, Any] = {}
    if workers:  # spawned: the shard readers keep threads, which a forked process lacks
        options = {"multiprocessing_context": "spawn", "prefetch_factor": settings.data.ahead}
    # the samples of a rank fall to its workers in turn, which is the order of their turns
    return iter(
        DataLoader(
            _Rows(source, settings, order, states),
            batch_size=None,
            num_workers=workers,
            worker_init_fn=_one_thread,
            **options,
        )
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
