"""Foreign HDF5 files: numbers and text attributes only, nothing outside the file.

HDF5 can point elsewhere (external links, external raw storage, virtual data sets); such a file is refused. Runs inside
the worker of ``isolated.py``, since a damaged file can take the native library down.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject

MAX_BYTES = 2 << 30
MAX_MEMBERS = 2000


def read_hdf5(path: str, groups: list[str], datasets: list[str]) -> dict[str, Any]:
    """All numeric data sets of ``groups`` and the named ``datasets``, with the file's text attributes.

    Returns:
        ``{"arrays": {"group/name": array}, "attrs": {name: str}}``; what is absent is left out.

    Raises:
        Reject: MISSING_FILE, EMPTY, TRUNCATED, UNREADABLE, UNSAFE_CONTENT."""
    import h5py

    try:
        if os.path.getsize(path) == 0:
            raise Reject(Reason.EMPTY, f"{path}: the file is empty; fetch it again")
        with h5py.File(path, "r") as f:
            names = list(datasets)
            for group in groups:
                found = _member(f, group, path)
                if isinstance(found, h5py.Group):
                    if len(found) > MAX_MEMBERS:
                        raise Reject(Reason.UNSAFE_CONTENT, f"{path}: {group} holds {len(found)} members")
                    names += [f"{group}/{name}" for name in found]
            arrays, total = {}, 0
            for name in names:
                data = _member(f, name, path)
                if not isinstance(data, h5py.Dataset):
                    continue
                total += math.prod(data.shape) * data.dtype.itemsize
                _check(data, name, path, total)
                arrays[name] = np.asarray(data[()])
            return {"arrays": arrays, "attrs": {str(k): _text(v) for k, v in f.attrs.items()}}
    except Reject:
        raise
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError, UnicodeError, AttributeError) as error:
        text = str(error)
        reason = Reason.TRUNCATED if "truncated" in text else Reason.UNREADABLE
        raise Reject(reason, f"{path}: not readable as HDF5 ({text[:160]}); fetch it again") from error


def _member(f: Any, name: str, path: str) -> Any:
    """One object by path, every step of it a hard link inside this file."""
    import h5py

    at = f
    for step in name.split("/"):
        link = at.get(step, getlink=True) if isinstance(at, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise Reject(Reason.UNSAFE_CONTENT, f"{path}: {name} is a link to elsewhere; pack the file anew")
        at = at[step]
    return at


def _check(data: Any, name: str, path: str, total: int) -> None:
    if data.external or data.is_virtual:
        raise Reject(Reason.UNSAFE_CONTENT, f"{path}: {name} keeps its numbers in another file; pack the file anew")
    if data.dtype.kind not in "fiub":
        raise Reject(Reason.WRONG_TYPE, f"{path}: {name} has type {data.dtype}, not numbers")
    if total > MAX_BYTES:
        raise Reject(Reason.UNSAFE_CONTENT, f"{path}: announces more than {MAX_BYTES} bytes of numbers")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)[:4000]
