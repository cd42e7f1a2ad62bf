"""Where the keys of rows lie, and in which columns: :class:`unihand_data.curate.conversations.rows.Keys` as parquet."""

from __future__ import annotations

import pyarrow as pa

from unihand_data.runner import paths

KEYS = pa.schema(
    [
        ("item", pa.string()),
        ("conversation_id", pa.string()),
        ("source", pa.string()),
        ("uri", pa.string()),
        ("rank", pa.int32()),
        ("exact", pa.string()),
        ("said", pa.string()),
        ("looks", pa.list_(pa.string())),
        ("whole_looks", pa.list_(pa.string())),
        ("group", pa.string()),
        ("split", pa.string()),
        ("barred", pa.string()),
        ("media", pa.list_(pa.string())),
        ("fixes", pa.list_(pa.string())),
        ("tokens_text", pa.int32()),
        ("tokens_answer", pa.int32()),
        ("images", pa.int32()),
    ]
)


def keys_dir(output: str, content_hash: str) -> str:
    return paths.join(output, "_job", content_hash[:32], "keys")
