"""Lance's own errors in the words of this project: which table, which file, and what mends it.

A damaged file shows itself where it is read, as an Arrow error, an ``OSError``, a ``RuntimeError`` or (a Rust panic) an
exception that is not even an ``Exception``. Bytes that changed and still decode are not found here: Lance keeps no
checksum of a data file. Media have one, their id; ``unihand validate`` compares it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from unihand_data.shards.errors import ShardError, TableDamaged

MEND = (
    "If the file is damaged, put back a copy of it, or run the job again into an empty directory; "
    "other files of the directory are not affected"
)
#: where in Lance's Rust code it happened, and how often the error was wrapped: says nothing to a reader of the message
_PLACE = re.compile(r",? ?(/[^\s,]*\.rs:\d+(:\d+)?)")
_WRAPPED = re.compile(r"^((External error|LanceError\(\w+\)|Invalid user input|Generic \w+ error): )+")
#: what reading malformed bytes raises, in Lance, Arrow and our own decoding of a row
_DAMAGE = (pa.ArrowException, OSError, ValueError, RuntimeError, TypeError, KeyError, OverflowError, MemoryError)


@contextmanager
def reading(dataset: Any, rows: Sequence[int] = (), columns: Sequence[str] = ()) -> Iterator[None]:
    """Around every read of a Lance table and the decoding of what it gave.

    Args:
        dataset: the ``lance.LanceDataset``.
        rows: numbers of the rows that are being read, where known; a single one tells the file.
        columns: of a scan: if it fails, the files are read one after the other to find the damaged one.

    Raises:
        TableDamaged: names the table, the file and the mend. Errors of this package pass as they are.
    """
    try:
        yield
    except ShardError:
        raise
    except _DAMAGE as error:
        raise damaged(dataset, error, rows, columns) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise damaged(dataset, error, rows, columns) from error


def damaged(dataset: Any, error: BaseException, rows: Sequence[int] = (), columns: Sequence[str] = ()) -> TableDamaged:
    """The error to raise for ``error`` while ``dataset`` was read."""
    uri = str(dataset.uri).rstrip("/")
    table = uri.rsplit("/", 1)[-1].removesuffix(".lance")
    file = _file(dataset, uri, rows[0] if len(rows) == 1 else None, columns)
    return TableDamaged(table, file, f"table {table}: {file} cannot be read: {reason(error)}. {MEND}")


def reason(error: BaseException) -> str:
    """The first line of a Lance error, without places in its code."""
    first = (str(error).strip().splitlines() or [""])[0]
    text = _WRAPPED.sub("", _PLACE.sub("", first)).strip(" .,") or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _file(dataset: Any, uri: str, row: int | None, columns: Sequence[str]) -> str:
    """The data file that holds ``row``, else the first one that cannot be opened or read, else the folder of all."""
    try:
        fragments = dataset.get_fragments()
        if len(fragments) == 1:
            return _names(uri, fragments[0])
        if row is not None:
            for fragment in fragments:
                row -= fragment.count_rows()
                if row < 0:
                    return _names(uri, fragment)
        for fragment in fragments:
            for one in fragment.data_files():
                if not _opens(dataset, f"{uri}/data/{one.path}"):
                    return f"{uri}/data/{one.path}"
        for fragment in fragments if columns else ():
            if not _scans(fragment, columns):
                return _names(uri, fragment)
    except (pa.ArrowException, OSError, ValueError, RuntimeError):
        pass  # the list of files is damaged too; the folder is what can be said
    return f"{uri}/data"


def _names(uri: str, fragment: Any) -> str:
    """Columns that were added later lie in a second file of the fragment."""
    return " or ".join(f"{uri}/data/{one.path}" for one in fragment.data_files())


def _opens(dataset: Any, path: str) -> bool:
    from lance.file import LanceFileReader

    options = getattr(dataset, "_storage_options", None)
    return _works(lambda: LanceFileReader(path, storage_options=options).metadata())


def _scans(fragment: Any, columns: Sequence[str]) -> bool:
    def scan() -> None:
        for batch in fragment.scanner(columns=list(columns), batch_size=1024, batch_readahead=1).to_batches():
            batch.validate(full=True)

    return _works(scan)


def _works(read: Callable[[], Any]) -> bool:
    try:
        read()
    except BaseException as error:
        if isinstance(error, _DAMAGE) or is_panic(error):
            return False
        raise
    return True


def is_panic(error: BaseException) -> bool:
    """Made by pyo3 within Lance's library, no ``Exception``, and nowhere to be imported from."""
    return type(error).__name__ == "PanicException"
