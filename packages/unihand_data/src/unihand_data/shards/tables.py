"""Opening, creating and listing the Lance tables of a shard directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from unihand_data.shards import schema
from unihand_data.shards.damage import MEND, is_panic, reading, reason
from unihand_data.shards.errors import ShardError, TableDamaged
from unihand_data.shards.guard import use_lance
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.store import Store

#: table -> its id column, in the order tables are committed: what is referred to comes first
TABLES = {"media": "media_id", "episodes": "episode_id", "conversations": "conversation_id"}


def table_schema(table: str) -> pa.Schema:
    if table == "media":
        return schema.media_schema()
    return {"episodes": schema.EPISODES, "conversations": schema.CONVERSATIONS}[table]


def open_table(store: Store, table: str, *, version: int | str | None = None) -> Any:
    """The ``lance.LanceDataset``; ``version`` may be a tag.

    Raises:
        ShardError: it does not exist, or ``TableDamaged``: it is there and cannot be opened.
    """
    use_lance()
    import lance

    uri = store.uri(f"{table}.lance")
    at = f" at {version}" if version is not None else ""
    try:
        return lance.dataset(uri, version=version, storage_options=lance_options(store))
    except BaseException as error:
        what = f"{store.url}: table {table}{at} cannot be opened: {reason(error)}"
        if not store.exists(f"{table}.lance/_versions") and isinstance(error, Exception):
            raise ShardError(what) from error
        if isinstance(error, (ValueError, OSError, RuntimeError)) or is_panic(error):
            file = f"{uri}/_versions"
            raise TableDamaged(table, file, f"{what} ({file}). {MEND}") from error
        raise


def ensure_table(store: Store, table: str) -> Any:
    """Open, or create empty. A table that was made before a column existed gets it, with nulls."""
    use_lance()
    import lance

    of = table_schema(table)
    if store.exists(f"{table}.lance/_versions"):
        dataset = open_table(store, table)
        if later := [c for c in schema.LATER_COLUMNS.get(table, ()) if c not in dataset.schema.names]:
            dataset.add_columns([of.field(c) for c in later])
        return dataset
    return lance.write_dataset(
        pa.RecordBatchReader.from_batches(of, iter([])),
        store.uri(f"{table}.lance"),
        mode="create",
        data_storage_version=schema.LANCE_STORAGE,
        commit_message=f"create, schema version {schema.SCHEMA_VERSION}",
        storage_options=lance_options(store),
    )


def ids(dataset: Any, column: str) -> list[str]:
    """All ids at once, in row order; :func:`id_index` takes a quarter of the memory."""
    return [i for batch in batches(dataset, [column]) for i in batch[column].to_pylist()]


def id_index(dataset: Any, column: str) -> IdIndex:
    """Row numbers by id."""
    return IdIndex(batch[column] for batch in batches(dataset, [column]))


def batches(
    dataset: Any, columns: Sequence[str], *, where: str | None = None, rows: int = 8192
) -> Iterator[pa.RecordBatch]:
    """Some columns in row order, at most ``rows`` rows at a time; columns as wide as trajectories need few rows.

    Raises:
        TableDamaged: names the file.
    """
    use_lance()
    with reading(dataset, columns=columns):
        scanned = iter(
            dataset.scanner(
                columns=list(columns), filter=where, batch_size=rows, batch_readahead=2, fragment_readahead=1
            ).to_batches()
        )
    while True:
        with reading(dataset, columns=columns):
            if (batch := next(scanned, None)) is None:
                return
            batch.validate(full=True)  # offsets of a damaged page would be followed out of their buffer
        yield batch


def take(dataset: Any, rows: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
    """Rows by number, in the order asked for; ``columns`` None takes all.

    Raises:
        TableDamaged: names the file.
    """
    use_lance()
    with reading(dataset, rows):
        found = dataset.take(list(rows), columns=None if columns is None else list(columns))
        found.validate(full=True)
        return found


def blobs(dataset: Any, rows: Sequence[int]) -> list[Any]:
    """The blob files of media rows by number. Reading one may raise as well: do it within ``damage.reading``.

    Raises:
        TableDamaged: names the file.
    """
    use_lance()
    if not len(rows):
        return []
    with reading(dataset, rows):
        return dataset.take_blobs(schema.BLOB_COLUMN, indices=list(rows))


def count(dataset: Any) -> int:
    """Rows. Raises ``TableDamaged``."""
    with reading(dataset):
        return dataset.count_rows()


def tags(dataset: Any) -> dict[str, Any]:
    """The tags there are. Raises ``TableDamaged``."""
    with reading(dataset):
        return dataset.tags.list()


def lance_options(store: Store) -> dict[str, str] | None:
    """fsspec's s3 options in Lance's words; None leaves everything to the environment."""
    if store.local or not store.storage_options:
        return None
    given = store.storage_options
    out = {"access_key_id": given.get("key"), "secret_access_key": given.get("secret")}
    endpoint = given.get("endpoint_url") or given.get("client_kwargs", {}).get("endpoint_url")
    if endpoint:
        out |= {"endpoint": endpoint, "allow_http": "true" if endpoint.startswith("http://") else "false"}
    out["region"] = given.get("client_kwargs", {}).get("region_name", "us-east-1")
    return {k: v for k, v in out.items() if v}
