"""Native parsers of foreign files (HDF5, the demuxer) in a process that may be killed.

One worker per process, started at the first call. A file that makes the native library hang or crash becomes
``Reject(TIMEOUT | CRASHED)`` and costs one restart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject

TIMEOUT_S = 60.0


def build() -> Callable[[dict[str, Any]], Any]:
    """What runs inside the worker."""
    return _serve


def _serve(request: dict[str, Any]) -> Any:
    if request["do"] == "frame_times":
        from unihand_data.video.probe import probe

        return {"pts": np.asarray(probe(request["path"]).pts, float)}
    if request["do"] == "parquet":
        return _parquet(np.asarray(request["data"], np.uint8).tobytes(), request["name"])
    if request["do"] == "parquet_rows":
        from unihand_data.sources.parquet_safe import read_rows

        where, rows = request["where"], request["rows"]
        return read_rows(request["path"], request["columns"], where and tuple(where), rows and tuple(rows))
    if request["do"] == "hdf5_pictures":
        from unihand_data.sources.hdf5_pictures import read_pictures

        return read_pictures(request["path"], request["dataset"], request["opencv"])
    from unihand_data.sources.hdf5_safe import list_hdf5, read_hdf5

    if request["do"] == "hdf5_list":
        return list_hdf5(request["path"], request["group"], request["depth"])
    return read_hdf5(request["path"], request["groups"], request["datasets"])


def _parquet(data: bytes, source: str) -> dict[str, list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_rows > 10_000_000 or file.metadata.num_columns > 1000:
            raise Reject(Reason.UNSAFE_CONTENT, f"{source}: {file.metadata.num_rows} rows")
        kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_boolean)
        names = [f.name for f in file.schema_arrow if any(k(f.type) for k in kinds)]
        return {n: c.to_pylist() for n, c in zip(names, file.read(names).columns)}
    except Reject:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise Reject(
            Reason.UNREADABLE, f"{source}: not readable as parquet ({str(error)[:160]}); fetch it again"
        ) from error


@lru_cache(maxsize=1)
def _worker() -> Any:
    from unihand_data.video.killable import KillableWorker

    return KillableWorker("unihand_data.sources.isolated:build", {}, timeout_s=TIMEOUT_S, level="item")


def frame_times(video: str) -> np.ndarray:
    """Presentation times (s) of a video's frames, first is 0. Raises ``Reject`` (unreadable, timeout, crashed)."""
    pts = np.asarray(_worker().call({"do": "frame_times", "path": video}, name=video)["pts"])
    if not len(pts):
        raise Reject(Reason.EMPTY, f"{video}: no frames in it; fetch it again")
    return pts


def hdf5(path: str, groups: list[str], datasets: list[str]) -> dict[str, Any]:
    """See :func:`unihand_data.sources.hdf5_safe.read_hdf5`."""
    return _worker().call({"do": "hdf5", "path": path, "groups": groups, "datasets": datasets}, name=path)


def hdf5_list(path: str, group: str = "", depth: int = 8) -> dict[str, Any]:
    """See :func:`unihand_data.sources.hdf5_safe.list_hdf5`."""
    return _worker().call({"do": "hdf5_list", "path": path, "group": group, "depth": depth}, name=path)


def hdf5_pictures(path: str, dataset: str, opencv: bool = False) -> list[bytes]:
    """The encoded pictures of one data set; see :func:`unihand_data.sources.hdf5_pictures.read_pictures`."""
    request = {"do": "hdf5_pictures", "path": path, "dataset": dataset, "opencv": opencv}
    got = _worker().call(request, name=f"{path}: {dataset}")
    data, ends = np.asarray(got["bytes"], np.uint8).tobytes(), [int(e) for e in got["ends"]]
    return [data[a:b] for a, b in zip([0, *ends[:-1]], ends)]


def parquet(data: bytes, source: str) -> dict[str, list[Any]]:
    """Columns of numbers and short text of a parquet file. Raises ``Reject`` (unreadable, unsafe, timeout, crashed)."""
    return _worker().call({"do": "parquet", "data": np.frombuffer(data, np.uint8), "name": source}, name=source)


def parquet_rows(
    path: str,
    columns: list[str] | None = None,
    where: tuple[str, int] | None = None,
    rows: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """See :func:`unihand_data.sources.parquet_safe.read_rows`."""
    request = {"do": "parquet_rows", "path": path, "columns": columns, "where": where, "rows": rows}
    return _worker().call(request, name=path)
