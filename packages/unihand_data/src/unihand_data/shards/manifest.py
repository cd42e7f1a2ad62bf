"""``manifest.json``: what a shard directory holds and under which settings. The source of truth for its Parquet files:
a file that is not listed belongs to a commit that did not finish.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from unihand_data.shards.errors import ShardError
from unihand_data.shards.schema import SCHEMA_VERSION
from unihand_data.shards.store import Store

NAME = "manifest.json"
FORMAT = "unihand-shards"


@dataclass
class ParquetFile:
    """One file of ``samples/`` or ``rejects/``."""

    name: str
    rows: int


@dataclass
class Tag:
    """What a tag pins: ``state`` has the Lance version per table, and how many sample and reject files there were
    (files are only ever added, in order)."""

    name: str
    run_id: str
    state: dict[str, int]


@dataclass
class Manifest:
    """Attributes:

    state: ``committed``, or ``committing`` while (or after) a commit has not reached its end.
    content_hash, config: settings of the newest version; ``versions`` lists all that wrote here.
    inputs: input items by outcome (inputs, written, rejected, ignored), totals of the directory as the runner knows.
    counts: rows per table, mirrored episodes apart.
    licences: licence -> {episodes, frames, shareable}, unmirrored.
    tables: table -> Lance version after the last commit; ``tags`` are all pins, oldest first.
    run_id: while ``committing`` the run that writes; ``committed``, the run of the last tag.
    tokenizer: what counted the tokens; ``bytes/4`` is an estimate.
    language_cost: calls, tokens and money of language models over all runs; empty where none was called.
    """

    content_hash: str
    config: dict[str, Any]
    state: str = "committing"
    run_id: str = ""
    inputs: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    licences: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: list[ParquetFile] = field(default_factory=list)
    rejects: list[ParquetFile] = field(default_factory=list)
    tables: dict[str, int] = field(default_factory=dict)
    tags: list[Tag] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    tokenizer: str = "bytes/4"
    language_cost: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    format: str = FORMAT


def read(store: Store) -> Manifest | None:
    """None when the directory has no manifest yet.

    Raises:
        ShardError: it is not JSON, not a manifest, or of another schema version.
    """
    try:
        text = store.read(NAME)
    except FileNotFoundError:
        return None
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ShardError(f"{store.uri(NAME)} is not JSON ({error})") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ShardError(f"{store.uri(NAME)} is not the manifest of a shard directory (format is not {FORMAT!r})")
    if data.get("schema_version") != SCHEMA_VERSION:
        raise ShardError(
            f"{store.uri(NAME)} has schema version {data.get('schema_version')}, this code reads {SCHEMA_VERSION}"
        )
    try:
        for kind in ("samples", "rejects"):
            data[kind] = [ParquetFile(**f) for f in data[kind]]
        data["tags"] = [Tag(**t) for t in data["tags"]]
        return Manifest(**data)
    except (TypeError, KeyError) as error:
        raise ShardError(f"{store.uri(NAME)} lacks or has too many fields: {error}") from error


def need(store: Store) -> Manifest:
    """The manifest, or a :class:`ShardError` that says this is no shard directory."""
    found = read(store)
    if found is None:
        raise ShardError(f"{store.url} is not a shard directory: it has no {NAME}")
    return found


def write(store: Store, manifest: Manifest) -> None:
    store.write(NAME, json.dumps(asdict(manifest), indent=1, sort_keys=True, ensure_ascii=False).encode())
