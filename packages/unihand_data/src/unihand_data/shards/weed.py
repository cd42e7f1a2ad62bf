"""Staging parts before the commit: rows that go and splits that change once every part is there."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.ids import make_id
from unihand_data.shards import staging
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.store import Store


def leave_out(
    staging_dir: str | os.PathLike[str],
    *,
    conversations: Collection[str],
    media: Collection[str] = (),
    storage_options: dict[str, Any] | None = None,
) -> int:
    """Write every part that holds one of these conversations (or samples of theirs, or media) anew without them.

    The new part appears whole before the old one goes: a kill in between leaves rows twice, which the commit takes
    once, and the ones to leave out in the old part, which the next call finds.

    Returns:
        conversations taken out.
    """
    store = Store(staging_dir, storage_options)
    gone, bytes_gone = IdIndex.of(list(conversations)), IdIndex.of(list(media))
    out = 0
    for name in staging.parts(store):
        kept: dict[str, pa.Table] = {}
        lost = 0
        for kind in staging.KINDS:
            data = staging.read_kind(store, name, kind)
            owner = {"conversation": "conversation_id", "sample": "conversation_id", "media": "media_id"}.get(kind)
            if owner and data.num_rows:
                keep = (bytes_gone if kind == "media" else gone).rows(data[owner]) < 0
                lost += int((~keep).sum())
                out += int((~keep).sum()) if kind == "conversation" else 0
                data = data.filter(pa.array(keep))
            kept[kind] = data
        if lost:
            _rewrite(store, name, kept)
    return out


def set_splits(
    staging_dir: str | os.PathLike[str],
    splits: Mapping[str, str],
    *,
    storage_options: dict[str, Any] | None = None,
) -> int:
    """Give staged conversations, and their samples, the split of ``splits`` (conversation id -> split); rows it does
    not name keep theirs. Only parts with a row that changes are written anew. Returns conversations changed."""
    store = Store(staging_dir, storage_options)
    changed = 0
    for name in staging.parts(store):
        light = staging.read_kind(store, name, "conversation", ["conversation_id", "split"])
        ids, old = light["conversation_id"].to_pylist(), light["split"].to_pylist()
        number = sum(splits.get(i, s) != s for i, s in zip(ids, old))
        if not number:
            continue
        changed += number
        kept = {kind: staging.read_kind(store, name, kind) for kind in staging.KINDS}
        for kind in ("conversation", "sample"):
            data = kept[kind]
            pairs = zip(data["conversation_id"].to_pylist(), data["split"].to_pylist())
            column = pa.array([splits.get(i, s) for i, s in pairs], pa.string())
            kept[kind] = data.set_column(data.schema.get_field_index("split"), "split", column)
        _rewrite(store, name, kept)
    return changed


def _rewrite(store: Store, name: str, kept: dict[str, pa.Table]) -> None:
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, staging.STAGED, compression="zstd") as writer:
        for kind, data in kept.items():
            if data.num_rows:
                writer.write_table(_wrapped(kind, data))
    if any(data.num_rows for data in kept.values()):
        store.write(f"part-{make_id('weeded', name)}.parquet", sink.getvalue())
    store.remove(name)


def _wrapped(kind: str, data: pa.Table) -> pa.Table:
    """Rows of one kind (with their ``id``) in the columns of a part."""
    data = data.combine_chunks()
    fields = staging.KINDS[kind]
    columns: list[pa.Array] = []
    for field in staging.STAGED:
        if field.name == "kind":
            columns.append(pa.array([kind] * data.num_rows))
        elif field.name == "id":
            columns.append(data["id"].combine_chunks())
        elif field.name == kind:
            columns.append(
                pa.StructArray.from_arrays([data[n].combine_chunks() for n in fields.names], fields=list(fields))
            )
        else:
            columns.append(pa.nulls(data.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=staging.STAGED)
