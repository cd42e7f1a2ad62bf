"""Writing the containers, and what the generated rows are known to be."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unihand_data.sources.conversations.generate.still import Still, still


@dataclass
class Truth:
    """What a generated row is: ``written``, or the reason it must be refused for; and its geometry, 0..1.

    ``shapes``: ``(kind, [x0, y0, x1, y1, ...])`` in the order of the row. ``tolerance``: of the format's rounding.
    """

    outcome: str
    shapes: list[tuple[str, list[float]]] = field(default_factory=list)
    tolerance: float = 1e-9


class Corpus:
    """A folder that is being written. ``good(i)`` gives the picture of row i."""

    def __init__(self, folder: Path, seed: int, rows: int, defects: bool):
        self.folder, self.seed, self.rows, self.defects = folder, seed, rows, defects
        self.truth: list[Truth] = []
        folder.mkdir(parents=True, exist_ok=True)

    def good(self, i: int, size: tuple[int, int] | None = None) -> Still:
        return still(self.seed * 1000 + i, size)

    def lay(self, name: str, data: bytes) -> str:
        """A file below the folder; returns ``name``."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return name

    def written(self, shapes: list[tuple[str, list[float]]] | None = None, tolerance: float = 1e-9) -> None:
        self.truth.append(Truth("written", shapes or [], tolerance))

    def refused(self, reason: str) -> None:
        self.truth.append(Truth(reason))

    def json(self, name: str, rows: Any) -> None:
        self.lay(name, json.dumps(rows, ensure_ascii=False).encode())

    def parquet(self, name: str, rows: list[dict[str, Any]], columns: dict[str, Any], group: int = 4) -> None:
        """Rows with the Arrow types of ``columns``, in row groups of ``group`` rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        out = io.BytesIO()
        data = [{k: row.get(k) for k in columns} for row in rows]
        pq.write_table(pa.Table.from_pylist(data, schema=pa.schema(list(columns.items()))), out, row_group_size=group)
        self.lay(name, out.getvalue())


def ask(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def colours_question(picture: Still) -> tuple[str, str]:
    """A question that the picture answers."""
    thing = picture.things[0]
    return f"What colour is the {thing.name} on the left?", f"It is {thing.colour}."


def image_type() -> Any:
    """The Arrow type of a Hugging Face image."""
    import pyarrow as pa

    return pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def turns_type() -> Any:
    import pyarrow as pa

    return pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))
