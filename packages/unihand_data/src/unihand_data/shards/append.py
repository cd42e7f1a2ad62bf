"""The steps of a commit that add rows: to the Lance tables, and to the Parquet folders."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unihand_data.ids import hash_bytes, make_id
from unihand_data.shards import manifest as mf
from unihand_data.shards import schema, staging, tables
from unihand_data.shards.errors import ShardError
from unihand_data.shards.store import Store, read_anywhere

EPISODES_PER_BATCH = 64
MEDIA_BYTES_PER_BATCH = 64 << 20
SAMPLES_PER_FILE = 1_000_000
_NOTHING = pa.array([], pa.large_string())


def commit_media(stage: Store, out: Store, run_id: str) -> int:
    """Bytes of staged media that are not stored yet. One Lance version, however much it is; memory holds a batch."""
    import lance

    have = set(tables.ids(tables.open_table(out, "media"), "media_id"))
    of = schema.media_schema()

    def batches() -> Iterator[pa.RecordBatch]:
        for info in staging.collect(stage, "media", have, rows_per_batch=256):
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
    where = staging.media_path(stage, path)
    try:
        data = read_anywhere(where, stage.storage_options)
    except OSError as error:
        raise ShardError(f"media {media_id}: its staged file {where} cannot be read: {error}") from error
    if hash_bytes(data) != media_id:
        raise ShardError(f"media {media_id}: the staged file {where} has other content; run its clip again")
    return data


def commit_rows(stage: Store, out: Store, table: str, kind: str, run_id: str) -> int:
    """Staged episodes or conversations whose id is not in the table yet; media they refer to must be stored."""
    column = tables.TABLES[table]
    have = set(tables.ids(tables.open_table(out, table), column))
    media = set(tables.ids(tables.open_table(out, "media"), "media_id"))
    of = tables.table_schema(table)

    def batches() -> Iterator[pa.RecordBatch]:
        for data in staging.collect(stage, kind, have, rows_per_batch=EPISODES_PER_BATCH):
            _check_media(data, "cameras" if table == "episodes" else "media", column, media)
            yield from data.select(of.names).cast(of).combine_chunks().to_batches()

    return _append(out, table, batches, run_id, of)


def _check_media(data: pa.Table, field: str, id_column: str, media: set[str]) -> None:
    for owner, refs in zip(data[id_column].to_pylist(), data[field]):
        for ref in refs.values if refs.is_valid else ():
            used = [ref["media_id"].as_py()] + ([ref["depth_media_id"].as_py()] if field == "cameras" else [])
            missing = [m for m in used if m and m not in media]
            if missing:
                raise ShardError(f"{id_column} {owner}: media {missing[0]} is neither staged nor stored")


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


def forget_settled(stage: Store, out: Store, manifest: mf.Manifest, settled: Collection[str]) -> None:
    """Stored rejects of settled items stay only where they are staged again."""
    again = {
        i
        for data in staging.collect_light(stage, "reject", _NOTHING, rows_per_file=SAMPLES_PER_FILE)
        for i in data["id"].to_pylist()
    }
    items = set(settled)
    keep_rejects(out, manifest, lambda row: row["item"] in items and row["id"] not in again)


def keep_rejects(out: Store, manifest: mf.Manifest, gone: Callable[[dict[str, Any]], bool]) -> int:
    """Rewrite the rejects without the rows that are ``gone``; returns how many went. The files they came from are no
    longer listed, and removed by whoever writes the manifest."""
    if not manifest.rejects:
        return 0
    data = pa.concat_tables([read_parquet(out, f.name, None) for f in manifest.rejects])
    rows = data.append_column("id", pa.array(staging.reject_ids(data), pa.string())).to_pylist()
    kept = data.filter(pa.array([not gone(row) for row in rows], pa.bool_()))
    if kept.num_rows < data.num_rows:
        manifest.rejects = [write_parquet(out, "rejects", "reject", kept)] if kept.num_rows else []
    return data.num_rows - kept.num_rows


def write_parquet(out: Store, folder: str, kind: str, data: pa.Table) -> mf.ParquetFile:
    """One file of ``samples`` or ``rejects``, named by its ids."""
    ids = staging.reject_ids(data) if kind == "reject" else data["sample_id"].to_pylist()
    name = f"{folder}/part-{make_id(*ids)}.parquet"
    sink = io.BytesIO()
    pq.write_table(data.select(staging.KINDS[kind].names), sink, compression="zstd", row_group_size=65536)
    out.write(name, sink.getvalue())
    return mf.ParquetFile(name, data.num_rows)


def _listed_ids(stage: Store, out: Store, listed: list[mf.ParquetFile], kind: str) -> pa.Array:
    """Ids of listed rows that may be staged again. Of samples only those of episodes (conversations) that are staged:
    the whole index has hundreds of samples per clip, and one Arrow string array holds 67 million ids at most."""
    if kind == "sample":
        owners = staging.owners(stage)
        found = []
        for file in listed if len(owners) else []:
            data = read_parquet(out, file.name, ["sample_id", *staging.OWNER])
            found.append(data.filter(pc.is_in(staging.owner_of(data), value_set=owners))["sample_id"])
        chunks = [chunk.cast(pa.large_string()) for ids in found for chunk in ids.chunks]
        return pa.concat_arrays(chunks) if chunks else _NOTHING
    whole = [read_parquet(out, f.name, None) for f in listed]
    return pa.array(staging.reject_ids(pa.concat_tables(whole)) if whole else [], pa.string())


def read_parquet(store: Store, name: str, columns: list[str] | None) -> pa.Table:
    """One listed Parquet file. Raises ``ShardError`` naming it."""
    try:
        return pq.read_table(store.path(name), columns=columns, filesystem=store.filesystem)
    except (OSError, pa.ArrowInvalid) as error:
        raise ShardError(f"{store.uri(name)} is listed in the manifest and cannot be read: {error}") from error
