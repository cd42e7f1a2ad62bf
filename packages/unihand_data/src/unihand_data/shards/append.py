"""The steps of a commit that add rows: to the Lance tables, and to the Parquet folders."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unihand_data.ids import hash_bytes, make_id
from unihand_data.shards import manifest as mf
from unihand_data.shards import parquet_files, reject_files, schema, staging, tables
from unihand_data.shards.errors import ShardError
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.sample_index import SampleIndex
from unihand_data.shards.store import Store, read_anywhere

EPISODES_PER_BATCH = 64
#: rows of media (without bytes) and of conversations that are sorted in memory at once
ROWS_AT_ONCE = 50_000
MEDIA_BYTES_PER_BATCH = 64 << 20
SAMPLES_PER_FILE = 1_000_000


def commit_media(stage: Store, out: Store, run_id: str) -> int:
    """Bytes of staged media that are not stored yet. One Lance version, however much it is; memory holds a batch."""
    import lance

    have = tables.id_index(tables.open_table(out, "media"), "media_id")
    of = schema.media_schema()

    def batches() -> Iterator[pa.RecordBatch]:
        for info in staging.collect_light(stage, "media", have, rows_per_file=ROWS_AT_ONCE):
            start, blobs, held = 0, [], 0
            paths, ids = info["path"].to_pylist(), info["media_id"].to_pylist()
            for i, (path, media_id) in enumerate(zip(paths, ids)):
                blobs.append(_media_bytes(stage, path, media_id))
                held += len(blobs[-1])
                if held >= MEDIA_BYTES_PER_BATCH or i + 1 == len(ids):
                    piece = info.slice(start, len(blobs)).combine_chunks()
                    columns = [
                        lance.blob_array(blobs) if f.name == schema.BLOB_COLUMN else piece[f.name].combine_chunks()
                        for f in of
                    ]
                    yield pa.RecordBatch.from_arrays(columns, schema=of)
                    start, blobs, held = i + 1, [], 0

    return _append(out, "media", batches, run_id, of)


def _media_bytes(stage: Store, path: str, media_id: str) -> bytes:
    file, offset, size = staging.split_span(path)
    where = staging.media_path(stage, file)
    try:
        if size is None:
            data = read_anywhere(where, stage.storage_options)
        else:
            with open(where, "rb") as pack:
                pack.seek(offset)
                data = pack.read(size)
    except OSError as error:
        raise ShardError(f"media {media_id}: its staged file {where} cannot be read: {error}") from error
    if hash_bytes(data) != media_id:
        raise ShardError(f"media {media_id}: the staged file {where} has other content; run its clip again")
    return data


def commit_rows(stage: Store, out: Store, table: str, kind: str, run_id: str) -> int:
    """Staged episodes or conversations whose id is not in the table yet; media they refer to must be stored."""
    column = tables.TABLES[table]
    have = tables.id_index(tables.open_table(out, table), column)
    media = tables.id_index(tables.open_table(out, "media"), "media_id")
    of = tables.table_schema(table)

    def batches() -> Iterator[pa.RecordBatch]:
        if table == "conversations":  # many small ones, of which a part's rows are no neighbours in any order
            found = staging.collect_light(stage, kind, have, rows_per_file=ROWS_AT_ONCE)
        else:
            found = staging.collect(stage, kind, have, rows_per_batch=EPISODES_PER_BATCH)
        for data in found:
            _check_media(data, "cameras" if table == "episodes" else "media", column, media)
            yield from data.select(of.names).cast(of).combine_chunks().to_batches()

    return _append(out, table, batches, run_id, of)


def _check_media(data: pa.Table, field: str, id_column: str, media: IdIndex) -> None:
    lists = data[field].combine_chunks()
    owners, each = pc.list_parent_indices(lists), lists.flatten()
    for name in ("media_id", "depth_media_id")[: 2 if field == "cameras" else 1]:
        used = each.field(name).fill_null("")
        lost = (media.rows(used) < 0) & pc.not_equal(used, "").to_numpy(zero_copy_only=False)
        for i in np.flatnonzero(lost)[:1].tolist():
            owner = data[id_column][owners[i].as_py()]
            raise ShardError(f"{id_column} {owner}: media {used[i]} is neither staged nor stored")


def _append(out: Store, table: str, batches: Callable[[], Iterator[pa.RecordBatch]], run_id: str, of: pa.Schema) -> int:
    """Append as one Lance version; nothing is written when there is no row. Returns the number of rows."""
    import lance

    source = batches()
    first = next(source, None)
    if first is None:
        return 0
    rows, failure = 0, []

    def stream() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        try:
            for batch in _chain(first, source):
                rows += batch.num_rows
                yield batch
        except BaseException as error:  # Lance would wrap it in text; keep the exception itself
            failure.append(error)
            raise

    try:
        lance.write_dataset(
            pa.RecordBatchReader.from_batches(of, stream()),
            out.uri(f"{table}.lance"),
            mode="append",
            commit_message=f"run {run_id}",
            transaction_properties={"run_id": run_id},
            storage_options=tables.lance_options(out),
        )
    except Exception as error:
        if failure:
            raise failure[0] from None
        raise ShardError(f"{out.url}: append to {table} failed: {error}") from error
    return rows


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def commit_parquet(
    stage: Store, out: Store, manifest: mf.Manifest, folder: str, kind: str, written: Callable[[], None]
) -> int:
    """Samples or rejects. Files the manifest does not list are left-overs of a commit that did not end: replaced."""
    listed: list[mf.ParquetFile] = getattr(manifest, folder)
    have = _listed_ids(stage, out, listed, kind)
    fresh: list[mf.ParquetFile] = []
    for data in staging.collect_light(stage, kind, have, rows_per_file=SAMPLES_PER_FILE):
        fresh.append(write_parquet(out, folder, kind, data))
        written()
    known = {f.name for f in (*listed, *fresh)}
    for name in out.names(folder, ".parquet"):
        if name not in known:
            out.remove(name)
    listed.extend(fresh)
    return sum(f.rows for f in fresh)


def forget_settled(stage: Store, out: Store, manifest: mf.Manifest, settled: IdIndex) -> None:
    """Stored rejects of settled items stay only where they are staged again."""
    if not manifest.rejects:
        return
    staged = staging.collect_light(stage, "reject", IdIndex(), rows_per_file=SAMPLES_PER_FILE)
    again = IdIndex(data["id"] for data in staged)
    reject_files.remove(out, manifest, lambda rows, ids: (settled.rows(rows["item"]) >= 0) & (again.rows(ids) < 0))


def write_parquet(out: Store, folder: str, kind: str, data: pa.Table) -> mf.ParquetFile:
    """One file of ``samples`` or ``rejects``, named by its ids."""
    ids = staging.reject_ids(data) if kind == "reject" else data["sample_id"].to_pylist()
    name = f"{folder}/part-{make_id(*ids)}.parquet"
    sink = io.BytesIO()
    for field in staging.KINDS[kind]:
        if field.name in schema.LATER_COLUMNS.get(folder, ()) and field.name not in data.column_names:
            data = data.append_column(field, pa.nulls(data.num_rows, field.type))
    pq.write_table(data.select(staging.KINDS[kind].names), sink, compression="zstd", row_group_size=65536)
    out.write(name, sink.getvalue())
    return mf.ParquetFile(name, data.num_rows)


def _listed_ids(stage: Store, out: Store, listed: list[mf.ParquetFile], kind: str) -> IdIndex:
    """Ids of listed rows that may be staged again. Of samples only those of episodes (conversations) that are staged:
    the whole index has hundreds of samples per clip."""
    if kind == "reject":
        return IdIndex(ids for _, _, ids in reject_files.with_ids(out, listed))
    owners = IdIndex.of(staging.owners(stage))
    return IdIndex(_of_owners(SampleIndex(out, listed), owners) if len(owners) else ())


def _of_owners(index: SampleIndex, owners: IdIndex) -> Iterator[pa.ChunkedArray]:
    """Ids of the samples that belong to ``owners``; where a row group has none, its ids are not read."""
    at = 0
    for batch in index.batches(staging.OWNER):
        encoded = staging.owner_of(batch).dictionary_encode()  # samples of one episode lie together
        known = (owners.rows(encoded.dictionary) >= 0)[encoded.indices.to_numpy()]
        if known.any():
            yield index.take(at + np.flatnonzero(known), ["sample_id"])["sample_id"]
        at += batch.num_rows


def read_parquet(store: Store, name: str, columns: list[str] | None) -> pa.Table:
    """One listed Parquet file. Raises ``ShardError`` naming it."""
    try:
        return pq.read_table(store.path(name), columns=columns, filesystem=store.filesystem)
    except (OSError, pa.ArrowInvalid) as error:
        raise parquet_files.unreadable(store, name, error) from error
