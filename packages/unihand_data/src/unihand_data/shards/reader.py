"""Reading a shard directory: rows by id, and random training windows with their frames.

numpy only. Safe to hand to spawned data-loader workers (it reopens itself there); in a forked one it refuses to work.

Legend: see ``window.py``.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from unihand_data.shards import codec, parquet_files, schema, tables
from unihand_data.shards import manifest as mf
from unihand_data.shards import window as w
from unihand_data.shards.damage import reading
from unihand_data.shards.errors import MediaDamaged, ShardError
from unihand_data.shards.guard import use_lance
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.media_reader import DecoderCache, open_blob
from unihand_data.shards.rows import ConversationRow, EpisodeRow, MediaRow, SampleRow
from unihand_data.shards.sample_index import SampleIndex
from unihand_data.shards.store import Store
from unihand_data.shards.window import Window, dense
from unihand_data.shards.window_plan import Renderer, plan_window, view_names

__all__ = ["ShardReader", "Window", "dense"]

#: a sample id, a sample row, or (episode id, start frame)
What = str | SampleRow | tuple[str, int]

#: blobs fetched in one request, and media rows (frame times, no bytes) kept in memory
BLOBS_AT_ONCE = 32
MEDIA_ROWS_KEPT = 8192

_INFO = [f.name for f in schema.MEDIA_INFO]


class ShardReader:
    """A shard directory, as it is now or as a tag pins it.

    Opening reads the manifest alone. Row numbers by id (20 bytes a row) come with the first row that is asked for; the
    training index stays on disk, see :attr:`index`.

    Args:
        directory: local path or URL.
        tag: read the tables and samples of that commit.
        render: turns template and sentence into question and answer.
        open_media: decoders kept open. cache_episodes: episode rows kept in memory.
        threads: media decoded at once within :meth:`windows`.

    Raises:
        ShardError: no shard directory, or no such tag.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        tag: str | None = None,
        *,
        render: Renderer | None = None,
        open_media: int = 16,
        cache_episodes: int = 64,
        threads: int = 1,
        storage_options: dict[str, Any] | None = None,
    ):
        self._arguments = {
            "directory": os.fspath(directory), "tag": tag, "render": render, "open_media": open_media,
            "cache_episodes": cache_episodes, "threads": threads, "storage_options": storage_options,
        }  # fmt: skip
        self.store = Store(directory, storage_options)
        self.manifest = mf.need(self.store)
        self._files = self.manifest.samples
        if tag is not None:
            pinned = {t.name: t for t in self.manifest.tags}
            if tag not in pinned:
                raise ShardError(f"{self.store.url} has no tag {tag!r}; it has {', '.join(pinned) or 'none'}")
            self._files = self._files[: pinned[tag].state["samples"]]
        self._tables = {t: tables.open_table(self.store, t, version=tag) for t in tables.TABLES}
        self._numbers: dict[str, IdIndex] = {}
        #: the training index by sample number, a row group at a time
        self.index = SampleIndex(self.store, self._files)
        self._render, self._threads, self._cache_episodes = render, threads, cache_episodes
        self._episodes: OrderedDict[str, EpisodeRow] = OrderedDict()
        self._media: OrderedDict[str, MediaRow] = OrderedDict()
        self._files_ahead: dict[str, Any] = {}
        self._decoders = DecoderCache(open_media, self._open_media)
        self._samples: pa.Table | None = None

    def __reduce__(self) -> Any:  # a spawned worker opens its own
        return (_open, (self._arguments,))

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close open decoders."""
        self._decoders.close()

    @property
    def episode_ids(self) -> list[str]:
        """In row order."""
        return tables.ids(self._tables["episodes"], "episode_id")

    @property
    def conversation_ids(self) -> list[str]:
        """In row order."""
        return tables.ids(self._tables["conversations"], "conversation_id")

    def episode_columns(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some columns of every episode at once, in row order; for choosing, without trajectories or video."""
        return [row for batch in self.episode_batches(columns) for row in batch.to_pylist()]

    def episode_batches(
        self, columns: Sequence[str], *, where: str | None = None, rows: int = 4096
    ) -> Iterator[pa.RecordBatch]:
        """As :meth:`episode_columns`, ``rows`` at a time; ``where`` is a filter in SQL."""
        yield from tables.batches(self._tables["episodes"], columns, where=where, rows=rows)

    def has(self, table: str, row_id: str) -> bool:
        """Whether ``episodes``, ``media`` or ``conversations`` holds the id."""
        return row_id in self.numbers(table)

    def numbers(self, table: str) -> IdIndex:
        """Row numbers by id of ``episodes``, ``media`` or ``conversations``."""
        if table not in self._numbers:
            self._numbers[table] = tables.id_index(self._tables[table], tables.TABLES[table])
        return self._numbers[table]

    def samples(self) -> pa.Table:
        """The whole training index (schema ``SAMPLES``), some 150 bytes a sample, kept in memory after the first call.
        For small directories and for tests; :attr:`index` and :meth:`sample_batches` do not grow with it."""
        if self._samples is None:
            found = list(parquet_files.batches(self.store, self._files, None))
            self._samples = pa.Table.from_batches(found, schema=found[0].schema if found else schema.SAMPLES)
            self._samples = self._samples.combine_chunks()
        return self._samples

    def sample_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The training index in order, a piece at a time; the first row of all is sample number 0."""
        yield from self.index.batches(columns)

    def sample(self, sample_id: str) -> SampleRow:
        """Raises ``ShardError`` when there is no such sample. By id costs 8 bytes for each sample of the directory;
        ``reader.index.row(number)`` does not."""
        return self.index.row(self.index.numbers([sample_id])[0])

    def episodes(self, episode_ids: Sequence[str]) -> dict[str, EpisodeRow]:
        """As :meth:`episode`, many in one request; the last ``cache_episodes`` are kept."""
        return self._fetch(episode_ids)

    def episode(self, episode_id: str) -> EpisodeRow:
        """Raises ``ShardError`` when there is no such episode. Treat it as read-only: it is cached."""
        return self._fetch([episode_id])[episode_id]

    def conversation(self, conversation_id: str) -> ConversationRow:
        """Raises ``ShardError`` when there is no such conversation."""
        dataset = self._tables["conversations"]
        row = self.numbers("conversations").find(conversation_id, "conversation")
        with reading(dataset, [row]):
            return codec.conversation_from_record(next(iter(codec.records(tables.take(dataset, [row])))))

    def media(self, media_id: str) -> MediaRow:
        """The media row without its bytes."""
        return self.media_rows([media_id])[media_id]

    def media_rows(self, media_ids: Collection[str]) -> dict[str, MediaRow]:
        """As :meth:`media`, many in one request. The last some thousand are kept."""
        missing = sorted(i for i in media_ids if i not in self._media)
        if missing:
            dataset = self._tables["media"]
            rows = [self.numbers("media").find(i, "media") for i in missing]
            with reading(dataset, rows):
                found = codec.records(tables.take(dataset, rows, _INFO))
                self._media |= {i: codec.media_from_record(record) for i, record in zip(missing, found)}
        out = {i: self._media[i] for i in media_ids}
        while len(self._media) > MEDIA_ROWS_KEPT:
            self._media.popitem(last=False)
        return out

    def remember(self, row: EpisodeRow) -> EpisodeRow:
        """Keep a row that was read elsewhere, in a scan, as if :meth:`episode` had read it; returns it."""
        self._episodes[row.episode_id] = row
        while len(self._episodes) > self._cache_episodes:
            self._episodes.popitem(last=False)
        return row

    def media_bytes(self, media_id: str) -> bytes:
        """The encoded bytes."""
        return next(self.media_contents([media_id]))

    def media_contents(self, media_ids: Sequence[str]) -> Iterator[bytes]:
        """As :meth:`media_bytes`, located in one request and read one after the other."""
        rows = [self.numbers("media").find(i, "media") for i in media_ids]
        for row, blob in zip(rows, tables.blobs(self._tables["media"], rows)):
            with reading(self._tables["media"], [row]):
                content = blob.readall()
            yield content

    def frames(
        self, media_id: str, numbers: Sequence[int], size: int | tuple[int, int] | None = None
    ) -> dict[int, np.ndarray]:
        """Stored frames by number in presentation order, pre-roll included, never flipped. Raises ``MediaDamaged``."""
        use_lance()
        try:
            return self._decoders.get(media_id).read(numbers, _size(size))
        except MediaDamaged:
            self._decoders.drop(media_id)
            raise

    def window(self, what: What, **options: Any) -> Window:
        """One window; see :meth:`windows`."""
        return self.windows([what], **options)[0]

    def windows(
        self,
        what: Sequence[What],
        *,
        horizon: int = 16,
        history: int | None = None,
        views: Sequence[str] | int | None = None,
        size: int | tuple[int, int] | None = None,
        image_offsets: Sequence[int] | None = None,
        sparse: bool = False,
        camera_pose: bool = False,
    ) -> list[Window]:
        """Windows in the order asked for. Media shared by several windows are opened and walked once.

        Args:
            horizon: action steps T; a description takes the steps of its span instead.
            history: steps N before the start. Steps outside the episode are zero and masked. None follows the task:
                ``horizon`` for a continuation, which is given the clean actions before its start, else 0.
            views: views to decode, by name; None takes all, a number the first ones of each row, ``()`` none.
            size: side or (height, width) frames are scaled to; None keeps the stored size.
            image_offsets: rows of the images relative to the start; default by task: (0,), for a continuation
                (-history, 0), from the episode's first frame where the history is shorter (``Window.frame_times``
                says which it became), for a description both ends.
            sparse: columns are the row's own slots instead of all 200.
            camera_pose: also the pose of the camera at the start (:attr:`Window.camera_pose`).

        Raises:
            ShardError: unknown id, view or a frame outside the episode. MediaDamaged: names the media.
        """
        use_lance()
        asked = self._samples_of(what)
        episodes = self._fetch([s.episode_id for s in asked])
        self.media_rows({c.media_id for e in episodes.values() for c in e.cameras if c.view in view_names(e, views)})
        steps = [w.history_steps(s.task, horizon, history) for s in asked]
        plans = [
            plan_window(episodes[s.episode_id], s, horizon, n, views, image_offsets, self.media)
            for s, n in zip(asked, steps)
        ]
        need: dict[str, set[int]] = {}
        for plan in plans:
            for media_id, numbers, _ in plan.wanted.values():
                need.setdefault(media_id, set()).update(numbers)
        pictures = self._decode(need, _size(size))
        return [p.window(pictures, sparse=sparse, render=self._render, camera_pose=camera_pose) for p in plans]

    def _samples_of(self, what: Sequence[What]) -> list[SampleRow]:
        ids = list(dict.fromkeys(x for x in what if isinstance(x, str)))
        by_id = dict(zip(ids, self.index.rows(self.index.numbers(ids)))) if ids else {}
        out = []
        for x in what:
            if isinstance(x, str):
                sample = by_id[x]
            else:
                sample = x if isinstance(x, SampleRow) else SampleRow("", "", episode_id=x[0], start_frame=int(x[1]))
            if not sample.episode_id:
                raise ShardError(f"sample {sample.sample_id} is a conversation; read it with conversation()")
            out.append(sample)
        return out

    def _decode(self, need: dict[str, set[int]], size: tuple[int, int] | None) -> dict[str, dict[int, np.ndarray]]:
        """Frames of every media. Blobs are fetched a group at a time, in one request each."""
        out: dict[str, dict[int, np.ndarray]] = {}
        for start in range(0, len(need), BLOBS_AT_ONCE):
            group = list(need)[start : start + BLOBS_AT_ONCE]
            self._read_ahead([m for m in group if m not in self._decoders])
            if self._threads <= 1 or len(group) <= 1:
                out |= {m: self.frames(m, sorted(need[m]), size) for m in group}
                continue
            # Threads get decoders of their own: the cache is for one thread.
            with ThreadPoolExecutor(self._threads) as pool:
                out |= zip(group, pool.map(lambda m: self._decode_alone(m, sorted(need[m]), size), group))
            self._files_ahead.clear()
        return out

    def _read_ahead(self, media_ids: list[str]) -> None:
        rows = [self.numbers("media").find(m, "media") for m in media_ids]
        blobs = tables.blobs(self._tables["media"], rows)
        self._files_ahead = {m: self._open_blob(row, b) for m, row, b in zip(media_ids, rows, blobs)}

    def _open_blob(self, row: int, blob: Any) -> Any:
        with reading(self._tables["media"], [row]):
            return open_blob(blob)

    def _decode_alone(self, media_id: str, numbers: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        cache = DecoderCache(1, self._open_media)
        try:
            return cache.get(media_id).read(numbers, size)
        finally:
            cache.close()

    def _fetch(self, ids: Sequence[str]) -> dict[str, EpisodeRow]:
        use_lance()
        out = {i: self._episodes[i] for i in set(ids) if i in self._episodes}
        missing = [i for i in dict.fromkeys(ids) if i not in out]
        if missing:
            rows = [self.numbers("episodes").find(i, "episode") for i in missing]
            dataset = self._tables["episodes"]
            with reading(dataset, rows):
                for i, record in zip(missing, codec.records(tables.take(dataset, rows))):
                    out[i] = self._episodes[i] = codec.episode_from_record(record)
        for i in out:
            self._episodes.move_to_end(i)
        while len(self._episodes) > self._cache_episodes:
            self._episodes.popitem(last=False)
        return out

    def _open_media(self, media_id: str) -> tuple[MediaRow, Any]:
        file = self._files_ahead.pop(media_id, None)
        if file is None:
            row = self.numbers("media").find(media_id, "media")
            file = self._open_blob(row, tables.blobs(self._tables["media"], [row])[0])
        return self.media(media_id), file


def _size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else size


def _open(arguments: dict[str, Any]) -> ShardReader:
    arguments = dict(arguments)
    return ShardReader(arguments.pop("directory"), arguments.pop("tag"), **arguments)
