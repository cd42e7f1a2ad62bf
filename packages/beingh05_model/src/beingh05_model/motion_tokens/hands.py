"""Hands of a recipe's human windows: those to train on in the order of the recipe, and those to measure on.

Position p of the recipe holds the same window whoever asks, so where a stream stands is two numbers. Legend: T steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from beingh05_model.motion_tokens import layout
from beingh05_model.motion_tokens.settings import PARTS, SIDES, TokenTrainSettings
from beingh05_model.sequence.chunks import Chunk, merge_steps
from unihand_data.ids import make_id, split_of
from unihand_data.recipe.reader import RecipeReader
from unihand_data.shards.window import Window

#: tasks whose window is a chunk; a description's is as long as its sentence
TASKS = ("motion_generation", "motion_continuation")


@dataclass
class Hand:
    """One hand of a window, a left one mirrored: [T, 6] and [T, 45] physical values by part, None where unknown."""

    parts: dict[str, np.ndarray | None]


@dataclass
class Place:
    """Where a stream stands: first position of the block being read, and hands of it that were taken."""

    position: int = 0
    taken: int = 0


class HandStream:
    """Hands to train on, without end.

    Raises:
        ValueError: the recipe draws no human samples, or a whole pass over it has no hand that is known long enough.
    """

    def __init__(self, reader: RecipeReader, settings: TokenTrainSettings, left_out: set[str], place: Place) -> None:
        if all(stratum["domain"] != "human" for stratum in reader.recipe["strata"]):
            raise ValueError(
                f"{settings.recipe}: the recipe draws no human samples, which motion tokens are learned from"
            )
        self.reader, self.settings, self.left_out, self.place = reader, settings, left_out, place
        self._block: list[Hand] | None = None
        self._empty = 0

    def take(self, count: int) -> list[Hand]:
        """The next hands."""
        found: list[Hand] = []
        while len(found) < count:
            if self._block is None:
                self._block = self._read(self.place.position)
            fresh = self._block[self.place.taken : self.place.taken + count - len(found)]
            found += fresh
            self.place.taken += len(fresh)
            if self.place.taken == len(self._block):
                self._empty = 0 if self._block else self._empty + self.settings.read
                if self._empty > self.reader.one_pass:
                    raise ValueError(
                        f"{self.settings.recipe}: no hand is known for {self.settings.tokenizer.chunk.steps} steps "
                        "of a chunk at the tokenizer's rate, so there is nothing to learn motion tokens from"
                    )
                self.place.position, self.place.taken, self._block = self.place.position + self.settings.read, 0, None
        return found

    def _read(self, position: int) -> list[Hand]:
        drawn = self.reader.draw(range(position, position + self.settings.read))
        wanted = [
            d.position
            for d in drawn
            if d.domain == "human" and d.sample.task in TASKS and d.sample.episode_id not in self.left_out
        ]
        if not wanted:
            return []
        horizon = self.settings.tokenizer.chunk.source_steps(self.settings.fastest_source_hz)
        camera = self.settings.tokenizer.chunk.human_frame == "camera"
        found = self.reader.read(wanted, horizon=horizon, history=0, views=(), camera_pose=camera)
        return [hand for _, one in found if isinstance(one, Window) for hand in hands(one, self.settings)]


def chunk_of(window: Window, settings: TokenTrainSettings) -> Chunk:
    """The chunk of a window, merged as a run merges it.

    Raises:
        ValueError: the window's source is faster than ``fastest_source_hz``.
    """
    chunk = settings.tokenizer.chunk
    merge = chunk.merge(window.rate_hz)
    needed = chunk.steps * merge
    if needed > len(window.action):
        raise ValueError(f"{window.episode_id} has {window.rate_hz:g} steps a second: set fastest_source_hz to that")
    merged = merge_steps(window.action[:needed], window.action_mask[:needed], merge)
    frame = chunk.frame("human", window.camera_pose, f"{window.episode_id} at {window.start}")
    return merged if frame is None else frame.steps(merged)


def hands(window: Window, settings: TokenTrainSettings) -> list[Hand]:
    """The hands of a window of which at least one part is known throughout. A source whose steps do not last as long as
    the tokenizer's (:meth:`ChunkSettings.on_rate`) has none, as in a run."""
    if not settings.tokenizer.chunk.on_rate(window.rate_hz):
        return []
    found = dict(zip(layout.BLOCKS, layout.blocks(chunk_of(window, settings), settings.tokenizer.chunk), strict=True))
    each = [Hand({part: found[side, part] for part in PARTS}) for side in SIDES]
    return [hand for hand in each if any(values is not None for values in hand.parts.values())]


@dataclass
class HeldOut:
    """Episodes that figures are measured on: number of their directory, and ids with their frames."""

    directory: int
    episodes: list[tuple[str, int, float]]


def held_out(reader: RecipeReader, settings: TokenTrainSettings) -> list[HeldOut]:
    """Episodes that are not trained on, in an order that does not depend on the shards'.

    Raises:
        ValueError: there are none.
    """
    every, columns = [], ["episode_id", "recording_id", "split", "frames", "rate_hz"]
    for number, shard in enumerate(reader.shards()):
        chosen = [
            (str(row["episode_id"]), int(row["frames"]), float(row["rate_hz"]))
            for batch in shard.episode_batches(columns, where="domain = 'human'")
            for row in batch.to_pylist()
            if is_held_out(row["recording_id"], row["split"], settings)
        ]
        every.append(HeldOut(number, sorted(chosen, key=lambda e: make_id("held out", e[0]))))
    if not any(one.episodes for one in every):
        raise ValueError(
            f"{settings.recipe}: no human row is held out by `held_out: {settings.held_out}`; set held_out to hash "
            "and held_out_share so high that a recording falls to it"
        )
    return every


def is_held_out(recording_id: str, split: str, settings: TokenTrainSettings) -> bool:
    """By the split of the row, or by hash of the recording, so that twins and clips of one stay together."""
    if settings.held_out == "split":
        return split != "train"
    return split_of(recording_id, val=settings.held_out_share, test=0) == "val"


def windows(reader: RecipeReader, held: list[HeldOut], settings: TokenTrainSettings) -> Iterator[Window]:
    """Windows of held-out episodes, one after the other without overlap, as many as are asked for."""
    return islice(_windows(reader, held, settings), settings.held_out_windows)


def _windows(reader: RecipeReader, held: list[HeldOut], settings: TokenTrainSettings) -> Iterator[Window]:
    chunk = settings.tokenizer.chunk
    horizon = chunk.source_steps(settings.fastest_source_hz)
    for shard, one in zip(reader.shards(), held, strict=True):
        for episode_id, frames, rate in one.episodes:
            starts = range(0, frames - 1, chunk.steps * chunk.merge(rate))
            yield from shard.windows(
                [(episode_id, start) for start in starts],
                horizon=horizon,
                history=0,
                views=(),
                camera_pose=chunk.human_frame == "camera",
            )
