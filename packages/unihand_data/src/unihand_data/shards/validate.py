"""Every promise of the contract that can be checked on a finished shard directory.

Rows are read a few at a time. Memory holds, besides these, about 60 bytes for each episode and 20 for each media; the
training index is read in pieces (:mod:`unihand_data.shards.validate_samples`).

Legend: T frames, S active slots.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from unihand_data.errors import Reason
from unihand_data.ids import hash_bytes
from unihand_data.shards import codec, parquet_files, schema, tables
from unihand_data.shards import manifest as mf
from unihand_data.shards.errors import MediaDamaged, ShardError, TableDamaged
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.reader import BLOBS_AT_ONCE, ShardReader
from unihand_data.shards.rows import EpisodeRow
from unihand_data.shards.store import Store
from unihand_data.shards.validate_samples import EpisodeFacts, check_samples, repeated_samples
from unihand_data.shards.validate_tables import check_counts, check_tables
from unihand_data.shards.window import frame_number

#: twins agree to this; estimated numbers of a row agree between runs to 1e-4
MIRROR_TOLERANCE = 1e-4
#: episode rows read at once: a long one has some megabytes
EPISODES_AT_ONCE = 16


def validate(
    directory: str | os.PathLike[str], *, decode: bool = True, storage_options: dict[str, Any] | None = None
) -> list[str]:
    """Problems found, each one sentence that names the row; empty when all is well.

    Args:
        decode: also decode every frame of every media, the expensive part.

    Raises:
        ShardError: this is no shard directory at all.
    """
    store = Store(directory, storage_options)
    manifest = mf.need(store)
    if manifest.state != "committed":
        return [f"the commit of run {manifest.run_id} did not finish; run that job again"]
    try:
        return list(_problems(store, manifest, decode))
    except ShardError as error:
        return [str(error)]


def _problems(store: Store, manifest: mf.Manifest, decode: bool) -> Iterator[str]:
    """A damaged file is one problem; what does not need its table is checked all the same."""
    with ShardReader(store.url, storage_options=store.storage_options, cache_episodes=64) as reader:
        lost: dict[str, ShardError] = {}
        yield from check_tables(reader, lost)
        yield from check_counts(reader, lost)
        if "episodes" not in lost and not any(reader.numbers("episodes").repeated()):
            facts = EpisodeFacts(reader.numbers("episodes"))
            try:
                yield from _episodes(reader, facts, with_media="media" not in lost)
            except TableDamaged as error:
                lost[error.table] = error
                yield str(error)
        if not lost.keys() & {"episodes", "conversations"} and not any(reader.numbers("episodes").repeated()):
            yield from check_samples(store, manifest.samples, facts, reader.numbers("conversations"))
        yield from repeated_samples(store, manifest.samples)
        if "media" not in lost:
            yield from _all_media(reader, decode)
    vocabulary = {str(r) for r in Reason}
    for file in manifest.rejects:
        unknown: set[str] = set()
        for rejects in parquet_files.batches(store, [file], None):
            unknown |= set(rejects["reason"].unique().to_pylist()) - vocabulary
        yield from (f"{file.name}: reason {r!r} is not in the vocabulary" for r in sorted(unknown))


def _episodes(reader: ShardReader, facts: EpisodeFacts, *, with_media: bool) -> Iterator[str]:
    """Every episode in row order; fills in ``facts`` of the valid ones. ``with_media`` False: that table is lost."""
    first_split, recordings = [], []
    for batch in reader.episode_batches(["recording_id", "split"]):
        first_split.append(np.array([facts.code(s) for s in batch["split"].to_pylist()], np.int8))
        recordings.append(batch["recording_id"])
    row_of, splits = IdIndex(recordings), np.concatenate([*first_split, np.zeros(0, np.int8)])
    recordings.clear()
    words = {code: word for word, code in facts.splits.items()}
    number = 0
    for batch in reader.episode_batches(schema.EPISODES.names, rows=EPISODES_AT_ONCE):
        _read_ahead(reader, batch, with_media)
        for record in codec.records(batch):
            who = f"episode {record['episode_id']}"
            try:
                row = reader.remember(codec.episode_from_record(record))
                codec.episode_to_record(row)  # shapes, words, masks against values, increasing timestamps
            except (ShardError, ValueError, TypeError, OverflowError) as error:
                yield str(error) if record["episode_id"] in str(error) else f"{who}: {error}"
            else:
                facts.frames[number], facts.sentences[number] = row.frames, len(row.language)
                facts.split[number] = facts.code(row.split)
                other = words[int(splits[row_of.find(row.recording_id, "recording")])]
                if row.split != other:
                    yield f"{who}: split {row.split}, but other clips of recording {row.recording_id} are in {other}"
                yield from _episode(reader, row, with_media)
            number += 1


def _read_ahead(reader: ShardReader, batch: pa.RecordBatch, with_media: bool) -> None:
    """Media and parents that the rows refer to, as far as they are there: in two requests instead of two a row."""
    media = batch["cameras"].flatten().field("media_id").drop_null().unique()
    # A row that cannot be read is named where it is needed.
    if with_media:
        with contextlib.suppress(ShardError):
            reader.media_rows(media.filter(pa.array(reader.numbers("media").rows(media) >= 0)).to_pylist())
    parents = batch["parent_id"].unique()
    with contextlib.suppress(ShardError, ValueError):
        reader.episodes(parents.filter(pa.array(reader.numbers("episodes").rows(parents) >= 0)).to_pylist())


def _episode(reader: ShardReader, row: EpisodeRow, with_media: bool) -> Iterator[str]:
    who, episode_id = f"episode {row.episode_id}", row.episode_id
    views = Counter(c.view for c in row.cameras)
    yield from (f"{who}: view {v} occurs {n} times" for v, n in views.items() if n > 1)
    for camera in row.cameras if with_media else ():
        try:
            media = reader.media(camera.media_id)
            for t in (row.timestamps[0], row.timestamps[-1]):
                frame_number(row, camera, media, float(t))
            if camera.depth_media_id:
                reader.media(camera.depth_media_id)
        except ShardError as error:
            yield str(error) if episode_id in str(error) else f"{who}, view {camera.view}: {error}"
            continue
        if (camera.width, camera.height) != (media.width, media.height):
            yield (
                f"{who}, view {camera.view}: is {camera.width}x{camera.height}, its media {media.width}x{media.height}"
            )
    end = row.timestamps[-1] + 1.5 / row.rate_hz
    for k, line in enumerate(row.language):
        if line.t0 < -1e-3 or line.t1 > end + 1e-3:
            yield f"{who}: language[{k}] spans {line.t0:.3f}..{line.t1:.3f} s, the row 0..{end:.3f} s"
    if row.mirrored:
        yield from _twin(reader, row)


def _twin(reader: ShardReader, twin: EpisodeRow) -> Iterator[str]:
    who = f"episode {twin.episode_id}"
    try:
        parent = reader.episode(twin.parent_id)
    except ShardError:
        yield f"{who}: its parent {twin.parent_id} is not in this directory"
        return
    if parent.mirrored:
        yield f"{who}: its parent {parent.episode_id} is itself a mirror twin"
    for name in ("split", "recording_id", "licence", "shareable", "source", "rate_hz", "frames", "setting", "domain"):
        if getattr(twin, name) != getattr(parent, name):
            yield f"{who}: {name} is {getattr(twin, name)!r}, its parent's {getattr(parent, name)!r}"
    if "mirror_version" not in twin.provenance:
        yield f"{who}: provenance has no mirror_version"
    if Counter(c.media_id for c in twin.cameras) != Counter(c.media_id for c in parent.cameras):
        yield f"{who}: its media are not its parent's"
    if any(a.mirrored == b.mirrored for a in twin.cameras for b in parent.cameras if a.media_id == b.media_id):
        yield f"{who}: a camera is not marked as mirrored against its parent's"
    if twin.domain == "human" and twin.frames == parent.frames:
        yield from _twin_numbers(who, twin, parent)


def _twin_numbers(who: str, twin: EpisodeRow, parent: EpisodeRow) -> Iterator[str]:
    """The mirror of the twin must be the parent, in slots, masks and (where the mask is set) values."""
    from unihand_data.space import mirror

    for kind in ("state", "action"):
        slots, mask = getattr(twin, f"{kind}_slots"), getattr(twin, f"{kind}_mask")
        values = np.where(mask, getattr(twin, kind), 0)
        try:
            back = mirror.mirror_row(values, slots, mask, kind)
        except ValueError as error:
            yield f"{who}: {kind} cannot be mirrored back: {error}"
            continue
        for name, found in ((f"{kind}_slots", back.slots), (f"{kind}_mask", back.mask)):
            if not np.array_equal(found, getattr(parent, name)):
                yield f"{who}: {name} is not the mirror of its parent's"
                break
        else:
            worst = _difference(back.values, getattr(parent, kind), back.mask, back.slots)
            if worst > MIRROR_TOLERANCE:
                yield f"{who}: {kind} differs from the mirror of its parent by up to {worst:.2g}"


def _difference(a: np.ndarray, b: np.ndarray, mask: np.ndarray, slots: np.ndarray) -> float:
    """Largest difference where masked: of numbers, of EEF rotations as an angle (the axis of a half turn may flip)."""
    from scipy.spatial.transform import Rotation

    plain = np.where(mask, np.abs(a - np.where(mask, b, 0)), 0.0)
    for first in (3, 12):
        columns = np.flatnonzero((slots >= first) & (slots < first + 3))
        if len(columns) == 3:
            plain[:, columns] = 0.0
            seen = mask[:, columns].all(axis=1)
            if seen.any():
                turn = Rotation.from_rotvec(a[seen][:, columns]) * Rotation.from_rotvec(b[seen][:, columns]).inv()
                plain[seen, columns[0]] = turn.magnitude()
    return float(plain.max(initial=0.0))


def _all_media(reader: ShardReader, decode: bool) -> Iterator[str]:
    """A file that cannot be read is told once, with the first of its media, however many it holds."""
    told: set[str] = set()
    for batch in tables.batches(tables.open_table(reader.store, "media"), ["media_id"], rows=BLOBS_AT_ONCE):
        ids = batch["media_id"].to_pylist()
        for media_id, content in zip(ids, _contents(reader, ids)):
            if not isinstance(content, TableDamaged):
                yield from _media(reader, media_id, content, decode)
            elif content.file not in told:
                told.add(content.file)
                yield f"media {media_id}: {content}"


def _contents(reader: ShardReader, media_ids: list[str]) -> Iterator[bytes | TableDamaged]:
    """Bytes of each, or why they cannot be read: together where all can, else one by one."""
    done = 0
    try:
        reader.media_rows(media_ids)
        for content in reader.media_contents(media_ids):
            yield content
            done += 1
    except TableDamaged:
        for media_id in media_ids[done:]:
            try:
                reader.media(media_id)
                yield reader.media_bytes(media_id)
            except TableDamaged as error:
                yield error


def _media(reader: ShardReader, media_id: str, content: bytes, decode: bool) -> Iterator[str]:
    who = f"media {media_id}"
    row = reader.media(media_id)
    if hash_bytes(content) != media_id:
        yield f"{who}: its bytes have another content hash"
    if not decode:
        return
    try:
        # One pass in order, a few frames in memory at a time.
        for start in range(0, row.frames, 32):
            numbers = range(start, min(start + 32, row.frames))
            pictures = reader.frames(media_id, numbers)
            if pictures[start].shape[:2] != (row.height, row.width):
                height, width = pictures[start].shape[:2]
                yield f"{who}: decodes to {width}x{height}, not {row.width}x{row.height}"
                return
    except MediaDamaged as error:
        yield str(error)
