"""Records to Arrow and back: numpy arrays where a column holds lists of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from unihand_data.shards.errors import RowError


def table(records: Sequence[Mapping[str, Any]], of: pa.Schema) -> pa.Table:
    """Records to an Arrow table of exactly the schema ``of``.

    Raises:
        RowError: a value does not fit its column, which is named.
    """
    columns = []
    for field in of:
        try:
            columns.append(pa.array([r[field.name] for r in records], type=field.type))
        except (
            pa.ArrowInvalid,
            pa.ArrowTypeError,
            pa.ArrowNotImplementedError,
            UnicodeEncodeError,
            OverflowError,
        ) as e:
            raise RowError(f"column {field.name}: a value does not fit {field.type}: {e}") from e
    return pa.Table.from_arrays(columns, schema=of)


def records(data: pa.Table | pa.RecordBatch) -> Iterable[dict[str, Any]]:
    """Rows as dicts; lists of numbers come as numpy arrays (views where possible), lists of structs as dicts."""
    columns = [(name, data.column(name)) for name in data.schema.names]
    for i in range(data.num_rows):
        yield {name: _value(column[i]) for name, column in columns}


def _value(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = kind.value_type
        if pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_boolean(inner):
            return scalar.values.to_numpy(zero_copy_only=False)
        return [_value(v) for v in scalar.values]
    if pa.types.is_struct(kind):
        return {name: _value(scalar[name]) for name in scalar}
    return scalar.as_py()
