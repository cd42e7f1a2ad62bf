"""Training windows in a recipe's order: recipe.yaml + its index + the shard readers.

Every rank (and data-loader worker) opens the recipe itself and asks for its own positions; what a position holds does
not depend on who asks. Nothing of the size of the data is held in memory: records are mapped, rows and video are read
when they are drawn.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unihand_data.recipe import recipe_file
from unihand_data.recipe.build import INDEX
from unihand_data.recipe.index import open_index, sample_row
from unihand_data.shards.errors import ShardError
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import ConversationRow, SampleRow
from unihand_data.shards.window import Window
from unihand_data.shards.window_plan import Renderer

#: a number of steps, or the number of them for a row with so many a second
Steps = int | Callable[[float], int]
#: tasks whose samples begin at every frame that the shards list; a description begins with its sentence
MOVING = ("motion_generation", "motion_continuation")
#: records looked at in one go for the next one of a stride
SCAN = 1024


@dataclass(frozen=True)
class Drawn:
    """What stands at a position. ``epoch`` counts passes over its stratum, ``sample.weight`` is for the loss."""

    position: int
    stratum: str
    domain: str
    source: str
    epoch: int
    directory: int
    sample: SampleRow


@dataclass(frozen=True)
class Talk:
    """A conversation with its pictures: (H, W, 3) uint8, in the order of its media and their times."""

    conversation: ConversationRow
    pictures: list[np.ndarray]


class RecipeReader:
    """See the module.

    Args:
        path: folder of a recipe, or a ``recipe-<hash>.yaml`` in it.
        places: where a directory lies now, by the path the recipe names; the others are taken from there.
        reader: options of :class:`ShardReader` (render, open_media, cache_episodes, threads, storage_options).

    Raises:
        ShardError: no recipe, an incomplete index, or a directory that no longer has the pinned state.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, places: Mapping[str, str] | None = None, render: Renderer | None = None,
        **reader: Any,
    ):  # fmt: skip
        self._arguments = (os.fspath(path), dict(places or {}), {"render": render, **reader})
        self.folder, self.recipe = recipe_file.read(path)
        self.order = recipe_file.order_of(self.recipe)
        self._index = self.folder / INDEX / self.hash[:12]
        self._strata = self.recipe["strata"]
        self._records: dict[int, np.ndarray] = {}
        _, self._places, self._options = self._arguments
        self._readers: dict[int, ShardReader] = {}

    def __reduce__(self) -> Any:  # a spawned data-loader worker opens its own
        return (_open, self._arguments)

    @property
    def hash(self) -> str:
        return str(self.recipe["recipe"])

    @property
    def one_pass(self) -> int:
        """Draws that are as many as there are samples."""
        return int(sum(s["samples"] for s in self._strata))

    def state(self, position: int) -> dict[str, Any]:
        """What a checkpoint holds: the job's position and the recipe it belongs to."""
        return {"recipe": self.hash, "position": position}

    def resume(self, state: Mapping[str, Any]) -> int:
        """The position to go on at. Raises ``ShardError`` where the state is another recipe's."""
        if state["recipe"] != self.hash:
            raise ShardError(
                f"this position belongs to recipe {str(state['recipe'])[:12]}, {self.folder} is {self.hash[:12]}; open "
                f"recipe-{str(state['recipe'])[:12]}.yaml there, or start anew"
            )
        return int(state["position"])

    def draw(self, positions: Sequence[int] | np.ndarray, *, stride: int = 1) -> list[Drawn]:
        """The samples at these positions; reads their records and nothing else.

        Args:
            stride: of the starts of motion generation and continuation only those at a multiple of so many frames are
                drawn: where another one stands, the last of them before it in its stratum does. Shares do not change.

        Raises:
            ShardError: a stratum has no such start.
        """
        positions = np.asarray(positions, np.int64).reshape(-1)
        draws = self.order.at(positions)
        out = []
        for position, number, at, epoch in zip(positions, draws.stratum, draws.sample, draws.epoch):
            stratum = self._strata[number]
            records = self._stratum(int(number))
            record = records[
                at if stride == 1 or stratum["task"] not in MOVING else self._on_stride(records, at, stride)
            ]
            sample = sample_row(record, stratum["task"], self.recipe["templates"])
            names = stratum["name"], stratum["domain"], stratum["source"]
            out.append(Drawn(int(position), *names, int(epoch), int(record["directory"]), sample))
        return out

    def read(
        self,
        positions: Sequence[int] | np.ndarray,
        *,
        horizon: Steps = 16,
        history: Steps | None = None,
        size: int | tuple[int, int] | None = None,
        stride: int = 1,
        **options: Any,
    ) -> list[tuple[Drawn, Window | Talk]]:
        """The samples at these positions with their numbers and pictures, in this order.

        A continuation sees ``history`` steps (default ``horizon``); where its episode has fewer before the start, the
        earlier image is the episode's first of them and the steps before it are masked.

        Args:
            horizon, history: the same for all rows, or a function of a row's ``rate_hz``.
            stride: as in :meth:`draw`.
            options: of :meth:`ShardReader.windows`.
        """
        drawn = self.draw(positions, stride=stride)
        history = horizon if history is None else history
        rates = self._rates(drawn) if callable(horizon) or callable(history) else {}
        groups: dict[tuple[int, int, int, int], list[int]] = defaultdict(list)
        out: dict[int, Window | Talk] = {}
        for i, d in enumerate(drawn):
            if d.sample.conversation_id:
                out[i] = self._talk(self._reader(d.directory), d.sample.conversation_id, size)
            else:
                ahead, behind = (n(rates[d.sample.episode_id]) if callable(n) else n for n in (horizon, history))
                back = min(behind, d.sample.history_available) if d.sample.task == "motion_continuation" else 0
                groups[d.directory, ahead, behind, back].append(i)
        for (directory, ahead, behind, back), members in groups.items():
            asked = {"history": behind, **({"image_offsets": (-back, 0)} if back else {}), **options}
            rows = [drawn[i].sample for i in members]
            windows = self._reader(directory).windows(rows, horizon=ahead, size=size, **asked)
            out |= zip(members, windows)
        return [(d, out[i]) for i, d in enumerate(drawn)]

    def _rates(self, drawn: Sequence[Drawn]) -> dict[str, float]:
        """Steps a second of the rows of these samples."""
        asked: dict[int, list[str]] = defaultdict(list)
        for d in drawn:
            if not d.sample.conversation_id:
                asked[d.directory].append(d.sample.episode_id)
        found = [self._reader(directory).episodes(ids) for directory, ids in asked.items()]
        return {name: row.rate_hz for rows in found for name, row in rows.items()}

    def _on_stride(self, records: np.ndarray, at: int, stride: int) -> int:
        """The last record up to ``at``, or else up to the end, whose start is a multiple of ``stride``."""
        for taken in range(0, len(records), SCAN):
            numbers = (at - taken - np.arange(min(SCAN, len(records) - taken))) % len(records)
            found = np.flatnonzero(records[numbers]["start_frame"] % stride == 0)
            if len(found):
                return int(numbers[found[0]])
        raise ShardError(f"{self.folder}: no sample of a stratum starts at a multiple of {stride} frames")

    def batches(
        self, batch: int, *, rank: int = 0, world: int = 1, position: int = 0, **options: Any
    ) -> Iterator[list[tuple[Drawn, Window | Talk]]]:
        """Endless batches of one rank, from the job's position on; see :meth:`read`."""
        for positions in self.order.shard(rank, world, position, batch):
            yield self.read(positions, **options)

    def shards(self) -> Iterator[ShardReader]:
        """The directories as the recipe pins them, in its order: all their rows, those of ``val`` and ``test`` too,
        which no position draws."""
        for number in range(len(self.recipe["directories"])):
            yield self._reader(number)

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def __enter__(self) -> RecipeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stratum(self, number: int) -> np.ndarray:
        if number not in self._records:
            stratum = self._strata[number]
            self._records[number] = open_index(self._index, stratum["name"], stratum["samples"])
        return self._records[number]

    def _reader(self, number: int) -> ShardReader:
        if number not in self._readers:
            wanted = self.recipe["directories"][number]
            place = self._places.get(wanted["path"], wanted["path"])
            reader = ShardReader(place, wanted["tag"], **self._options)
            pinned = {t.name: t.state for t in reader.manifest.tags}
            if pinned[wanted["tag"]] != wanted["state"]:
                raise ShardError(f"{place}: tag {wanted['tag']} is another state than the recipe was built from")
            self._readers[number] = reader
        return self._readers[number]

    def _talk(self, reader: ShardReader, conversation_id: str, size: int | tuple[int, int] | None) -> Talk:
        talk = reader.conversation(conversation_id)
        pictures: list[np.ndarray] = []
        for medium in talk.media:
            times, stored = medium.get("times"), reader.media(medium["media_id"]).pts
            numbers = [0]
            if times is not None and len(times) and stored is not None:
                numbers = [int(np.argmin(np.abs(stored - t))) for t in times]
            found = reader.frames(medium["media_id"], numbers, size)
            pictures += [found[n] for n in numbers]
        return Talk(talk, pictures)


def _open(path: str, places: dict[str, str], options: dict[str, Any]) -> RecipeReader:
    return RecipeReader(path, places=places, **options)
