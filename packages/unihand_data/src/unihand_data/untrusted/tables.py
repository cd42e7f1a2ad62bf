"""Side-car csv, json and jsonl files of foreign origin: bounded, and every damage a ``Reject`` that names the field."""

from __future__ import annotations

import csv
import io
import json
import math
from array import array
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.untrusted.unpickle import read_bounded

MAX_TEXT_BYTES = 2 << 30


def read_text(path: str | Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """A UTF-8 file. Raises ``Reject``: MISSING_FILE, EMPTY, UNREADABLE."""
    return decode_text(read_bounded(path, max_bytes), str(path))


def decode_text(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Reject(Reason.UNREADABLE, f"{source}: is no UTF-8 text ({error.reason}); fetch it again") from error


def parse_json(text: str, source: str) -> Any:
    """JSON. Raises ``Reject``: TRUNCATED (ends early), UNREADABLE."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = Reason.TRUNCATED if error.pos >= len(text.rstrip()) - 1 else Reason.UNREADABLE
        raise Reject(
            reason, f"{source}: not valid JSON at character {error.pos} ({error.msg}); fetch it again"
        ) from error
    except (RecursionError, ValueError) as error:
        raise Reject(Reason.UNREADABLE, f"{source}: JSON nested too deep or a number too long") from error


def read_json(path: str | Path) -> Any:
    return parse_json(read_text(path), str(path))


def read_jsonl(path: str | Path) -> list[Any]:
    """One JSON value per line; a broken last line is TRUNCATED."""
    return [
        parse_json(line, f"{path} line {i + 1}") for i, line in enumerate(read_text(path).splitlines()) if line.strip()
    ]


def read_csv(
    path: str | Path, columns: list[str] | None = None, delimiter: str = ",", required: tuple[str, ...] = ()
) -> list[dict[str, str]]:
    """Rows by column name; ``columns`` names them where the file has no header.

    Raises:
        Reject: UNREADABLE, EMPTY; MISSING_FIELD for a header without a ``required`` column; WRONG_TYPE for a row with
            another number of fields than the header."""
    return parse_csv(read_text(path), str(path), columns, delimiter, required)


def parse_csv(
    text: str,
    source: str,
    columns: list[str] | None = None,
    delimiter: str = ",",
    required: tuple[str, ...] = (),
) -> list[dict[str, str]]:
    """As :func:`read_csv`, from text."""
    rows = []
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=False)
        header = list(columns) if columns else next(reader, [])
        for name in required:
            need(dict.fromkeys(header), name, source)
        for i, fields in enumerate(reader):
            if not fields:
                continue
            if len(fields) != len(header):
                raise Reject(
                    Reason.WRONG_TYPE,
                    f"{source}: row {i + 1} has {len(fields)} fields, the header {len(header)}; fetch it again",
                )
            rows.append(dict(zip(header, fields)))
    except csv.Error as error:
        raise Reject(Reason.UNREADABLE, f"{source}: not a table ({error})") from error
    return rows


def csv_numbers(path: str | Path, names: tuple[str, ...], *, empty: bool = False) -> np.ndarray:
    """(rows, len(names)) float64: some columns of a long table of numbers, without keeping the others in memory.

    Raises:
        Reject: as :func:`read_csv` and :func:`number`; a cell without text is NaN with ``empty``."""
    reader = csv.reader(io.StringIO(read_text(path)), strict=False)
    out, header = array("d"), []
    try:
        header = next(reader, [])
        for name in names:
            need(dict.fromkeys(header), name, str(path))
        at = [header.index(name) for name in names]
        for i, fields in enumerate(reader):
            if not fields:
                continue
            if len(fields) != len(header):
                text = f"{path}: row {i + 1} has {len(fields)} fields, the header {len(header)}; fetch it again"
                raise Reject(Reason.WRONG_TYPE, text)
            for k in at:
                cell = fields[k]
                out.append(math.nan if empty and not cell.strip() else number(cell, f"{path} row {i + 1}, {header[k]}"))
    except csv.Error as error:
        raise Reject(Reason.UNREADABLE, f"{path}: not a table ({error})") from error
    return np.frombuffer(out, np.float64).reshape(-1, len(names))


def need(mapping: Any, key: str, source: str) -> Any:
    """``mapping[key]``. Raises ``Reject``: WRONG_TYPE (no mapping), MISSING_FIELD."""
    if not isinstance(mapping, dict):
        raise Reject(Reason.WRONG_TYPE, f"{source}: {type(mapping).__name__} where a mapping with {key!r} belongs")
    if key not in mapping:
        raise Reject(Reason.MISSING_FIELD, f"{source}: no field {key!r} (there are {_some(mapping)})")
    return mapping[key]


def _some(mapping: dict) -> str:
    names = [str(k)[:40] for k in list(mapping)[:8]]
    return ", ".join(names) + (" ..." if len(mapping) > 8 else "")


def number(value: Any, source: str) -> float:
    """A finite float. Raises ``Reject``: WRONG_TYPE, BAD_VALUE."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Reject(Reason.WRONG_TYPE, f"{source}: {type(value).__name__} where a number belongs")
    try:
        out = float(value)
    except (ValueError, OverflowError) as error:
        raise Reject(Reason.WRONG_TYPE, f"{source}: {str(value)[:40]!r} where a number belongs") from error
    if not math.isfinite(out):
        raise Reject(Reason.BAD_VALUE, f"{source}: {out} where a finite number belongs")
    return out


def text_of(value: Any, source: str) -> str:
    """A non-empty string, stripped. Raises ``Reject``: WRONG_TYPE, EMPTY."""
    if not isinstance(value, str):
        raise Reject(Reason.WRONG_TYPE, f"{source}: {type(value).__name__} where text belongs")
    out = " ".join(value.split())
    if not out:
        raise Reject(Reason.EMPTY, f"{source}: empty text")
    return out


def hms(value: Any, source: str) -> float:
    """``HH:MM:SS.ss`` to seconds."""
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) != 3:
        raise Reject(Reason.WRONG_TYPE, f"{source}: {str(value)[:40]!r} where HH:MM:SS.ss belongs")
    h, m, s = (number(p, source) for p in parts)
    if h < 0 or not 0 <= m < 60 or not 0 <= s < 61:
        raise Reject(Reason.BAD_VALUE, f"{source}: {value!r} is no time of day")
    return h * 3600 + m * 60 + s


@lru_cache(maxsize=4)
def cached_json(path: str, _mtime: int) -> Any:
    """Large shared tables (one per data set) are parsed once per worker. Not to be changed by callers."""
    return read_json(path)


def shared_json(path: str) -> Any:
    """:func:`read_json` through the cache."""
    try:
        stamp = Path(path).stat().st_mtime_ns
    except OSError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error
    return cached_json(path, stamp)
