"""Staging: what workers leave behind for the one committer.

A part is one Parquet file with rows of five kinds (episode, media, sample, reject, conversation), each in its own
nullable struct column and its own row groups. One file, so that a part appears whole or not at all, on a disk as in a
bucket. Its name is the hash of the ids within: the same units give the same file whichever worker made it, and a unit
that is done a second time after a crash overwrites its part instead of doubling it.

Media rows carry the *path* of the encoded clip; bytes enter ``media.lance`` at the commit.
"""

from __future__ import annotations

import glob
import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unihand_data.ids import hash_bytes, make_id
from unihand_data.shards import codec, schema
from unihand_data.shards.errors import RowError, ShardError
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.rows import ConversationRow, EpisodeRow, MediaRow, RejectRow, SampleRow
from unihand_data.shards.store import Store

_MEDIA = pa.schema([*schema.MEDIA_INFO, ("path", pa.string())])
KINDS: dict[str, pa.Schema] = {
    "episode": schema.EPISODES,
    "media": _MEDIA,
    "sample": schema.SAMPLES,
    "reject": schema.REJECTS,
    "conversation": schema.CONVERSATIONS,
}
#: order rows are committed in within a table: neighbours of one recording stay neighbours on disk
_SORT = {
    "episode": ("source", "recording_id", "episode_id"),
    "media": ("media_id",),
    "sample": ("episode_id", "conversation_id", "task", "start_frame", "sample_id"),
    "reject": ("item", "level", "stage", "reason", "source_uri", "message"),
    "conversation": ("source", "conversation_id"),
}
OWNER = ("episode_id", "conversation_id")
STAGED = pa.schema(
    [("kind", pa.string()), ("id", pa.string()), *((k, pa.struct(list(s))) for k, s in KINDS.items())],
    metadata={"unihand.schema_version": str(schema.SCHEMA_VERSION)},
)


def write_part(
    staging_dir: str | os.PathLike[str],
    episodes: Sequence[EpisodeRow] = (),
    media: Sequence[MediaRow] = (),
    samples: Sequence[SampleRow] = (),
    rejects: Sequence[RejectRow] = (),
    *,
    conversations: Sequence[ConversationRow] = (),
    storage_options: dict[str, Any] | None = None,
) -> str:
    """Write one staging part; returns its path, or ``""`` when there is nothing to write.

    Two equal reject rows of one part are two losses and both count; the same row in two parts is one loss seen twice.
    So clips of one item that fail alike need something that tells them apart: put the time span into ``source_uri``
    (``file.mp4#t=10,20``) or into the message.

    Raises:
        RowError: a row does not fit the schema (named by row and field), or an id occurs twice with the part.
    """
    store = Store(staging_dir, storage_options)
    media = [_with_path(store, m) for m in media]
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "episode": [(e.episode_id, codec.episode_to_record(e)) for e in episodes],
        "media": [(m.media_id, codec.media_to_record(m) | {"path": _portable(store, m.path)}) for m in media],
        "sample": [(s.sample_id, codec.sample_to_record(s)) for s in samples],
        "reject": _number([codec.reject_to_record(r) for r in rejects]),
        "conversation": [(c.conversation_id, codec.conversation_to_record(c)) for c in conversations],
    }
    for kind, rows in found.items():
        twice = [i for i, n in Counter(i for i, _ in rows).items() if n > 1]
        if twice and kind != "media":  # a file two clips share may be listed with each
            raise RowError(f"{kind} {twice[0]} occurs more than once in one staging part; ids name one row")
    if not any(found.values()):
        return ""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, STAGED, compression="zstd") as writer:
        for kind, rows in found.items():
            if rows:
                writer.write_table(_wrap(kind, rows))
    names = [f"{kind}:{i}" for kind, rows in found.items() for i in sorted({i for i, _ in rows})]
    name = f"part-{make_id(*names)}.parquet"
    store.write(name, sink.getvalue())
    return store.uri(name) if not store.local else store.path(name)


def parts(store: Store) -> list[str]:
    """Names of the finished parts, sorted."""
    return [n for n in store.names("", ".parquet") if n.startswith("part-")]


def read_kind(store: Store, name: str, kind: str, fields: Sequence[str] | None = None) -> pa.Table:
    """Rows of one kind of one part, in the columns of ``KINDS[kind]`` (or only ``fields`` of them) plus ``id``.

    Raises:
        ShardError: the part is not readable or was written under another schema version.
    """
    try:
        with pq.ParquetFile(store.path(name), filesystem=store.filesystem) as file:
            version = (file.schema_arrow.metadata or {}).get(b"unihand.schema_version", b"?").decode()
            if version != str(schema.SCHEMA_VERSION):
                raise ShardError(
                    f"staging part {store.uri(name)} has schema version {version}, this code writes "
                    f"{schema.SCHEMA_VERSION}; remove the staging directory and run the job again"
                )
            column = file.schema_arrow.get_field_index("kind")
            groups = [
                g for g in range(file.num_row_groups) if _kind_of(file.metadata.row_group(g), column) in (kind, None)
            ]
            wanted = [kind] if fields is None else [f"{kind}.{f}" for f in fields]
            data = file.read_row_groups(groups, columns=["kind", "id", *wanted]) if groups else None
    except (pa.ArrowInvalid, OSError) as error:
        raise ShardError(
            f"staging part {store.uri(name)} cannot be read ({error}); remove it and run the job again"
        ) from error
    names = KINDS[kind].names if fields is None else list(fields)
    columns = pa.schema([*(KINDS[kind].field(n) for n in names), pa.field("id", pa.string())])
    if data is None:
        return columns.empty_table()
    data = data.filter(pc.equal(data["kind"], kind)).combine_chunks()
    arrays: list[pa.Array] = []
    if names:
        rows = data[kind].combine_chunks()
        have = {rows.type.field(i).name for i in range(rows.type.num_fields)}  # an older part lacks later columns
        arrays = [rows.field(n) if n in have else pa.nulls(len(rows), columns.field(n).type) for n in names]
    return pa.Table.from_arrays([*arrays, data["id"].combine_chunks()], schema=columns)


def collect(store: Store, kind: str, skip: IdIndex, *, rows_per_batch: int) -> Iterator[pa.Table]:
    """Every staged row of ``kind`` whose id is not in ``skip``, each id once, in one order that does not depend on how
    rows were spread over parts. Holds the sort keys of all rows and the content of a batch, not more.

    A recording's rows usually share a part, so reading in sorted order opens each part about once.
    """
    names = parts(store)
    # Two copies of one file give rows of one id that differ in their uri alone: the first uri has the row.
    order = [*_SORT[kind], "id", *(["source_uri"] if kind == "episode" else [])]
    places = []
    for p, name in enumerate(names):
        data = read_kind(store, name, kind, [c for c in order if c != "id"]).select(order)
        row = pa.array(np.arange(data.num_rows, dtype=np.int32))
        data = data.append_column("part", pa.array(np.full(data.num_rows, p, np.int32))).append_column("row", row)
        places.append(data.filter(pa.array(skip.rows(data["id"]) < 0)))
    if not places:
        return
    index = pa.concat_tables(places).sort_by([(c, "ascending") for c in (*order, "part", "row")])
    places.clear()
    first = IdIndex.of(index["id"]).rows(index["id"]) == np.arange(index.num_rows)
    where = np.stack([index["part"].to_numpy(), index["row"].to_numpy()], axis=1)[first]
    del index
    cache: dict[int, pa.Table] = {}
    for start in range(0, len(where), rows_per_batch):
        pieces = []
        for p, r in where[start : start + rows_per_batch].tolist():
            if p not in cache:
                while len(cache) >= 16:
                    cache.pop(next(iter(cache)))
                cache[p] = read_kind(store, names[p], kind)
            pieces.append(cache[p].slice(r, 1))
        yield pa.concat_tables(pieces).combine_chunks()


def collect_light(store: Store, kind: str, skip: IdIndex, *, rows_per_file: int) -> Iterator[pa.Table]:
    """As :func:`collect`, vectorised, for rows that are many and small: one table of about ``rows_per_file`` rows each.

    Rows are dealt to files by a hash of the episode (conversation, item) they belong to, so neither the number of parts
    nor their borders shows in the result. Every part is read once: where there are several files, their rows wait on
    disk.

    Args:
        skip: ids that are left out.
    """
    names = parts(store)
    total = sum(read_kind(store, n, kind, ()).num_rows for n in names)
    files = max(1, -(-total // rows_per_file))
    if files == 1:
        found = [read_kind(store, name, kind) for name in names]
        if found:
            yield from _one_file(pa.concat_tables(found), kind, skip)
        return
    with tempfile.TemporaryDirectory(prefix="unihand_commit_") as folder:
        _deal(store, names, kind, files, folder, at_once=2 * rows_per_file)
        for number in range(files):
            waiting = sorted(glob.glob(os.path.join(folder, f"{number}-*.arrow")))
            if waiting:
                yield from _one_file(pa.concat_tables([_waiting(path) for path in waiting]), kind, skip)


def _one_file(data: pa.Table, kind: str, skip: IdIndex) -> Iterator[pa.Table]:
    """Rows of one file: sorted, each id once, without ``skip``; nothing where none is left."""
    if len(skip):
        data = data.filter(pa.array(skip.rows(data["id"]) < 0))
    data = data.sort_by([(c, "ascending") for c in (*_SORT[kind], "id")]).combine_chunks()
    if data.num_rows > 1:  # equal ids have equal sort keys and now lie side by side
        ids = data["id"].combine_chunks()
        first = pa.concat_arrays([pa.array([True]), pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1))])
        data = data.filter(first)
    if data.num_rows:
        yield data


def _deal(store: Store, names: list[str], kind: str, files: int, folder: str, *, at_once: int) -> None:
    """The rows of all parts, dealt to ``<file>-<round>.arrow`` in ``folder``; memory holds ``at_once`` rows."""
    held: list[pa.Table] = []
    rows = rounds = 0
    for name in names:
        held.append(read_kind(store, name, kind))
        rows += held[-1].num_rows
        if rows < at_once and name != names[-1]:
            continue
        data = pa.concat_tables(held)
        numbers = _file_numbers(data, kind, files)
        data = data.append_column("file", numbers).sort_by("file")
        edges = np.searchsorted(data["file"].to_numpy(), np.arange(files + 1))
        data = data.drop_columns("file")
        for number in np.flatnonzero(np.diff(edges)).tolist():
            piece = data.slice(edges[number], edges[number + 1] - edges[number])
            path = os.path.join(folder, f"{number}-{rounds:06d}.arrow")
            with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, piece.schema) as writer:
                writer.write_table(piece)
        held, rows, rounds = [], 0, rounds + 1


def _waiting(path: str) -> pa.Table:
    with pa.OSFile(path, "rb") as source:
        return pa.ipc.open_file(source).read_all()


def _file_numbers(data: pa.Table, kind: str, files: int) -> pa.Array:
    """(rows,) int32: which file each row belongs to, by the hash of its owner."""
    own = {"reject": "item", "conversation": "conversation_id", "media": "media_id"}.get(kind)
    owner = data[own] if own else owner_of(data)
    encoded = owner.combine_chunks().dictionary_encode()
    number = [int(make_id(o)[:8], 16) % files for o in encoded.dictionary.to_pylist()]
    return pa.array(number, pa.int32()).take(encoded.indices)


def owner_of(samples: pa.Table | pa.RecordBatch) -> Any:
    """What a sample belongs to: its episode or its conversation."""
    return pc.binary_join_element_wise(*(samples[c] for c in OWNER), "")


def owners(store: Store) -> pa.Array:
    """Episodes and conversations that have a staged sample."""
    found = [pc.unique(owner_of(read_kind(store, name, "sample", OWNER))) for name in parts(store)]
    return pc.unique(pa.chunked_array(found)) if found else pa.array([], pa.string())


def span_path(path: str, offset: int, size: int) -> str:
    """The path of a medium that is a stretch of a file: many small pictures staged in one."""
    return f"{path}#bytes={offset}+{size}"


def split_span(path: str) -> tuple[str, int, int | None]:
    """``(file, offset, size)``; size None for a whole file."""
    file, mark, span = path.rpartition("#bytes=")
    if not mark:
        return path, 0, None
    offset, _, size = span.partition("+")
    return file, int(offset), int(size)


def media_path(store: Store, path: str) -> str:
    """Absolute form of a staged media path."""
    return path if "://" in path or os.path.isabs(path) else (store.path(path) if store.local else store.uri(path))


def _with_path(store: Store, row: MediaRow) -> MediaRow:
    """Bytes given directly (small images, tests) are put beside the parts."""
    if row.path:
        return row
    if row.data is None:
        raise RowError(f"media {row.media_id}: neither path nor data is given")
    if hash_bytes(row.data) != row.media_id:
        raise RowError(f"media {row.media_id}: media_id is not the content hash of data")
    name = f"media/{row.media_id}"
    if not store.exists(name):
        store.write(name, row.data)
    return MediaRow(**{**row.__dict__, "path": store.uri(name), "data": None})


def _portable(store: Store, path: str) -> str:
    """Paths inside the staging directory are kept relative, so that it can be moved or mounted elsewhere."""
    absolute = path if "://" in path else os.path.abspath(path)
    return absolute[len(store.url) + 1 :] if absolute.startswith(store.url + "/") else absolute


def _number(rejects: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """A reject has no id of its own: its content without the attempt, and its ordinal among equals."""
    counts: Counter[str] = Counter()
    return [(_next_id(record, counts), record) for record in rejects]


def _next_id(record: dict[str, Any], counts: Counter[str]) -> str:
    base = reject_key(record)
    counts[base] += 1
    return make_id(base, counts[base] - 1)


#: what tells rejects apart
REJECT_KEY = ("item", "level", "stage", "reason", "message", "source_uri")


def reject_key(record: dict[str, Any]) -> str:
    return make_id(*(record[k] for k in REJECT_KEY))


def reject_ids(data: pa.Table) -> list[str]:
    """Ids of the reject rows of one table that holds each loss once."""
    counts: Counter[str] = Counter()
    keys = data.select(list(REJECT_KEY))
    return [_next_id(row, counts) for batch in keys.to_batches(max_chunksize=8192) for row in batch.to_pylist()]


def _wrap(kind: str, rows: list[tuple[str, dict[str, Any]]]) -> pa.Table:
    rows = sorted(dict(rows).items())
    inner = codec.table([r for _, r in rows], KINDS[kind]).combine_chunks()
    columns: list[pa.Array] = []
    for field in STAGED:
        if field.name == "kind":
            columns.append(pa.array([kind] * len(rows)))
        elif field.name == "id":
            columns.append(pa.array([i for i, _ in rows]))
        elif field.name == kind:
            arrays = [inner.column(n).combine_chunks() for n in inner.schema.names]
            columns.append(pa.StructArray.from_arrays(arrays, fields=list(KINDS[kind])))
        else:
            columns.append(pa.nulls(len(rows), field.type))
    return pa.Table.from_arrays(columns, schema=STAGED)


def _kind_of(group: Any, column: int) -> str | None:
    """The kind a row group holds; None when the statistics do not say."""
    stats = group.column(column).statistics
    if stats is None or not stats.has_min_max or stats.min != stats.max:
        return None
    return stats.min
