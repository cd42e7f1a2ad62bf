"""Promises about tables and files as wholes: columns, ids, versions, tags, counts. Part of
:mod:`unihand_data.shards.validate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from unihand_data.shards import parquet_files, tables
from unihand_data.shards.errors import ShardError, TableDamaged
from unihand_data.shards.reader import ShardReader


def check_tables(reader: ShardReader, lost: dict[str, ShardError]) -> Iterator[str]:
    """Columns, ids, versions and tags of every table; fills in ``lost``, the tables that cannot be read."""
    manifest = reader.manifest
    for table, column in tables.TABLES.items():
        try:
            dataset = tables.open_table(reader.store, table)
            missing = [f.name for f in tables.table_schema(table) if f.name not in dataset.schema.names]
            if missing:
                yield f"table {table} lacks the columns {', '.join(missing)}"
                continue
            for row, n in reader.numbers(table).repeated():
                name = tables.take(dataset, [row], [column])[column][0]
                yield f"{table}: {column} {name} occurs {n} times"
        except ShardError as error:
            lost[table] = error
            yield str(error)
            continue
        if dataset.version != manifest.tables[table]:
            yield f"table {table} is at version {dataset.version}, the manifest says {manifest.tables[table]}"
        try:
            have = tables.tags(dataset)
        except ShardError as error:
            yield str(error)
            continue
        for tag in manifest.tags:
            if tag.name not in have:
                yield f"table {table} lacks the tag {tag.name}; run the job's commit again"


def check_counts(reader: ShardReader, lost: dict[str, ShardError]) -> Iterator[str]:
    """Rows of every table and file against the manifest."""
    store, manifest = reader.store, reader.manifest
    found: Counter[str] = Counter()
    if "episodes" not in lost:
        found.update(episodes=0, mirrored=0)
        try:
            for batch in tables.batches(tables.open_table(store, "episodes"), ["parent_id"]):
                twins = sum(map(bool, batch["parent_id"].to_pylist()))
                found.update(episodes=batch.num_rows - twins, mirrored=twins)
        except TableDamaged as error:
            lost["episodes"] = error
            yield str(error)
            del found["episodes"], found["mirrored"]
    for table in ("media", "conversations"):
        if table not in lost:
            found[table] = tables.count(tables.open_table(store, table))
    for folder in ("samples", "rejects"):
        listed = getattr(manifest, folder)
        found[folder] = 0
        for file in listed:
            with parquet_files.open_file(store, file.name) as source:
                rows = source.metadata.num_rows
            found[folder] += rows
            if rows != file.rows:
                yield f"{file.name} has {rows} rows, the manifest says {file.rows}"
        extra = set(store.names(folder, ".parquet")) - {f.name for f in listed}
        yield from (f"{name} is not listed in the manifest" for name in sorted(extra))
    for name, n in found.items():
        if manifest.counts.get(name) != n:
            yield f"the manifest counts {manifest.counts.get(name)} {name}, there are {n}"
    i = manifest.inputs
    if i.get("inputs", 0) != i.get("written", 0) + i.get("rejected", 0):
        yield f"inputs {i.get('inputs')} are not written {i.get('written')} + rejected {i.get('rejected')}"
