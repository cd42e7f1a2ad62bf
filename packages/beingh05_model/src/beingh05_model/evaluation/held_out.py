"""Rows that were not trained on: which episodes and start frames of a recipe's directories are judged.

A recipe draws training rows only. The directories it pins hold the others too (column ``split``), and those are what
this module reads. Which are taken depends on the seed and on their ids alone: episodes with the smallest hashes of
each group, then start frames with the smallest hashes within each. Memory grows with what is taken, not with the data.

Legend: T steps of a chunk, S 200 slots.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from beingh05_model.inference.policy import Observation
from beingh05_model.sequence.chunks import Chunk, ChunkSettings, merge_steps
from unihand_data.config import Settings
from unihand_data.errors import DatasetRefused
from unihand_data.language.templates import render
from unihand_data.recipe.reader import RecipeReader
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.window import Window

TASK = "motion_generation"
_COLUMNS = ["episode_id", "parent_id", "embodiment", "domain", "setting", "source", "rate_hz", "frames"]


class HeldOutSettings(Settings):
    """Which rows are judged.

    ``split``: ``train`` is there to see how far training and held-out rows differ, and for the mean of the recipe.
    ``episodes``: at most, of each group (an embodiment; for MWDS lab or wild). ``starts``: start frames of an episode,
    at most. ``twins``: mirrored rows too; they repeat their originals, so no interval narrows by them.
    ``places``: where a directory lies now, by the path that the recipe names.
    """

    recipe: str
    split: Literal["val", "test", "train"] = "test"
    embodiments: tuple[str, ...] = ()
    episodes: int = Field(default=100, ge=1)
    starts: int = Field(default=4, ge=1)
    twins: bool = False
    seed: int = 0
    places: dict[str, str] = Field(default_factory=dict)


@dataclass
class Case:
    """One start frame: what is seen, what was done from there, and what was done just before.

    Attributes:
        target: the recorded chunk [T, S]. before: [1, S], the step that ended at the start; masked where there is none.
    """

    sample_id: str
    episode_id: str
    group: str
    source: str
    observation: Observation
    target: Chunk
    before: Chunk


#: the group that a row of the episodes table belongs to; None leaves it out
Grouping = Callable[[Mapping[str, Any]], str | None]


def by_embodiment(row: Mapping[str, Any]) -> str | None:
    return str(row["embodiment"])


def _rank(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}|{name}".encode(), digest_size=8).digest())


class HeldOut:
    """Chosen start frames of a recipe's directories.

    Args:
        group: Of a row; by embodiment where not given.
        steps: Source steps a start must have after it, at the row's rate (0: any start, its missing steps are masked).
        needed: Whether it is an error that no row fits.

    Raises:
        DatasetRefused: no row of the split fits; the message says which splits there are.
    """

    def __init__(
        self,
        settings: HeldOutSettings,
        group: Grouping = by_embodiment,
        steps: Callable[[float], int] = lambda rate_hz: 0,
        needed: bool = True,
    ) -> None:
        self.settings = settings
        self._recipe = RecipeReader(settings.recipe, places=settings.places, render=render)
        self.hash = self._recipe.hash
        readers = list(self._recipe.shards())
        #: by group: (directory, row of the episodes table)
        self.episodes = self._choose_episodes(readers, group)
        self._taken = [(readers[d], numbers) for d, numbers in self._choose_starts(readers, steps).items()]
        if needed and not any(numbers for _, numbers in self._taken):
            raise DatasetRefused(
                f"{settings.recipe}: no {TASK} sample of split {settings.split!r} "
                f"{'of ' + ', '.join(settings.embodiments) + ' ' if settings.embodiments else ''}"
                f"can be judged; its directories hold {self._splits(readers)}"
            )

    def close(self) -> None:
        self._recipe.close()

    @property
    def counts(self) -> dict[str, int]:
        """Episodes chosen, by group."""
        return {group: len(rows) for group, rows in sorted(self.episodes.items())}

    def _choose_episodes(
        self, readers: list[ShardReader], group: Grouping
    ) -> dict[str, dict[str, tuple[int, Mapping[str, Any]]]]:
        s = self.settings
        heaps: dict[str, list[tuple[int, str, int, Mapping[str, Any]]]] = defaultdict(list)
        for number, reader in enumerate(readers):
            for batch in reader.episode_batches(_COLUMNS, where=f"split = '{s.split}'"):
                for row in batch.to_pylist():
                    if (row["parent_id"] and not s.twins) or (s.embodiments and row["embodiment"] not in s.embodiments):
                        continue
                    name = group(row)
                    if name is None:
                        continue
                    item = (-_rank(s.seed, row["episode_id"]), row["episode_id"], number, row)
                    heap = heaps[name]
                    (heapq.heappush if len(heap) < s.episodes else heapq.heappushpop)(heap, item)
        return {name: {e: (number, row) for _, e, number, row in heap} for name, heap in heaps.items()}

    def _choose_starts(
        self, readers: list[ShardReader], steps: Callable[[float], int]
    ) -> dict[int, list[tuple[int, str]]]:
        """By directory: (sample number, group), in the order of the numbers."""
        wanted: dict[int, dict[str, tuple[str, int]]] = defaultdict(dict)
        for group, rows in self.episodes.items():
            for episode_id, (number, row) in rows.items():
                wanted[number][episode_id] = group, steps(float(row["rate_hz"]))
        out: dict[int, list[tuple[int, str]]] = {}
        columns = ["sample_id", "task", "episode_id", "frames_available"]
        for number, here in wanted.items():
            heaps: dict[str, list[tuple[int, int]]] = defaultdict(list)
            first = 0
            ids = pa.array(list(here), pa.string())
            for batch in readers[number].sample_batches(columns):
                # few of many samples are of a chosen episode: only those become python objects
                mine = pc.and_(pc.equal(batch["task"], TASK), pc.is_in(batch["episode_id"], value_set=ids))
                numbers = first + np.flatnonzero(mine.to_numpy(zero_copy_only=False))
                first += batch.num_rows
                for at, row in zip(numbers.tolist(), batch.filter(mine).to_pylist(), strict=True):
                    if row["frames_available"] <= here[row["episode_id"]][1]:
                        continue
                    item = (-_rank(self.settings.seed, row["sample_id"]), at)
                    heap = heaps[row["episode_id"]]
                    (heapq.heappush if len(heap) < self.settings.starts else heapq.heappushpop)(heap, item)
            out[number] = sorted((at, here[e][0]) for e, heap in heaps.items() for _, at in heap)
        return out

    @staticmethod
    def _splits(readers: list[ShardReader]) -> str:
        found: Counter[str] = Counter()
        for reader in readers:
            for batch in reader.episode_batches(["split"]):
                found.update(batch.column("split").to_pylist())
        return ", ".join(f"{n} episodes of {split}" for split, n in sorted(found.items())) or "no episode"

    def cases(self, chunk: ChunkSettings, views: int, batch: int = 16, pictures: bool = True) -> Iterator[list[Case]]:
        """The chosen start frames, ``batch`` at a time; a directory after the other.

        Args:
            views: Pictures given, at most, in the order of the row.
            pictures: False decodes no video.
        """
        for reader, taken in self._taken:
            rows = reader.index.rows([number for number, _ in taken])
            groups = {row.sample_id: group for row, (_, group) in zip(rows, taken, strict=True)}
            rates = {e: float(row["rate_hz"]) for of in self.episodes.values() for e, (_, row) in of.items()}
            domains = {e: str(row["domain"]) for of in self.episodes.values() for e, (_, row) in of.items()}
            sources = {e: str(row["source"]) for of in self.episodes.values() for e, (_, row) in of.items()}
            alike = defaultdict(list)  # windows of one call are equally long
            for row in rows:
                alike[chunk.merge(rates[row.episode_id])].append(row)
            for merge, members in sorted(alike.items()):
                for at in range(0, len(members), batch):
                    windows = reader.windows(
                        members[at : at + batch],
                        horizon=chunk.steps * merge,
                        history=merge,
                        views=None if pictures and views else (),
                        image_offsets=(0,),
                        camera_pose=chunk.human_frame == "camera",
                    )
                    yield [
                        _case(w, chunk, domains[w.episode_id], views, groups[w.sample_id], sources[w.episode_id])
                        for w in windows
                    ]


def _case(window: Window, chunk: ChunkSettings, domain: str, views: int, group: str, source: str) -> Case:
    shown = {name: stack[-1] for name, stack in list(window.frames.items())[:views]}
    state, known = window.state[-1].astype(np.float32), window.state_mask[-1]
    merge = chunk.merge(window.rate_hz)
    target = merge_steps(window.action, window.action_mask, merge)
    before = merge_steps(window.history, window.history_mask, merge)
    frame = chunk.frame(domain, window.camera_pose, f"{window.episode_id} at {window.start}")
    if frame is not None:
        state, target, before = frame.state(state, known), frame.steps(target), frame.steps(before)
    observation = Observation(shown, window.text, state, known, window.embodiment)
    return Case(window.sample_id, window.episode_id, group, source, observation, target, before)
