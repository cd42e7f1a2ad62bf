"""Foreign HDF5 files: names, numbers and text attributes only, nothing outside the file.

HDF5 can point elsewhere (external links, external raw storage, virtual data sets); such a file is refused. Runs inside
the worker of ``isolated.py``, since a damaged file can take the native library down. Pictures: ``hdf5_pictures.py``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject

MAX_BYTES = 2 << 30
MAX_MEMBERS = 2000
MAX_LISTED = 50_000
MAX_TEXT = 1 << 20


def read_hdf5(path: str, groups: list[str], datasets: list[str]) -> dict[str, Any]:
    """All numeric data sets of ``groups`` and the named ``datasets``, with the file's text attributes.

    Returns:
        ``{"arrays": {"group/name": array}, "attrs": {name: str}}``; what is absent is left out.

    Raises:
        Reject: MISSING_FILE, EMPTY, TRUNCATED, UNREADABLE, UNSAFE_CONTENT."""
    import h5py

    with opened(path) as f:
        names = list(datasets)
        for group in groups:
            found = member(f, group, path)
            if isinstance(found, h5py.Group):
                if len(found) > MAX_MEMBERS:
                    raise Reject(Reason.UNSAFE_CONTENT, f"{path}: {group} holds {len(found)} members")
                names += [f"{group}/{name}" for name in found]
        arrays, total = {}, 0
        for name in names:
            data = member(f, name, path)
            if not isinstance(data, h5py.Dataset):
                continue
            total += math.prod(data.shape) * data.dtype.itemsize
            inside(data, name, path)
            if data.dtype.kind not in "fiub":
                raise Reject(Reason.WRONG_TYPE, f"{path}: {name} has type {data.dtype}, not numbers")
            if total > MAX_BYTES:
                raise Reject(Reason.UNSAFE_CONTENT, f"{path}: announces more than {MAX_BYTES} bytes of numbers")
            arrays[name] = np.asarray(data[()])
        return {"arrays": arrays, "attrs": {str(k): _text(v) for k, v in f.attrs.items()}}


def list_hdf5(path: str, group: str, depth: int) -> dict[str, Any]:
    """What a file holds below ``group`` (``""``: all of it), without reading numbers.

    Args:
        depth: levels below the group that are looked at.

    Returns:
        ``members``: path below the group -> ``[kind, shape]``, kind one of the letters ``f i u b``, ``pixels`` (uint8
        of two axes or more), ``text``, ``bytes`` (one string of bytes per entry), ``other``, or ``group`` for a group
        that was not entered;
        ``attrs``: path -> text attributes of each group; ``texts``: path -> a text data set of at most 64 entries.

    Raises:
        Reject: as :func:`read_hdf5`, and MISSING_FIELD for a group that is not there."""
    import h5py

    with opened(path) as f:
        top = member(f, group, path) if group else f
        if not isinstance(top, h5py.Group):
            raise Reject(Reason.MISSING_FIELD, f"{path}: no group {group!r}; fetch the file again")
        members: dict[str, list[Any]] = {}
        attrs: dict[str, dict[str, str]] = {}
        texts: dict[str, list[str]] = {}
        left: list[tuple[str, Any, int]] = [("", top, depth)]
        seen = {top.id.__hash__()}
        while left:
            below, at, levels = left.pop()
            attrs[below.rstrip("/")] = {str(k): _text(v) for k, v in at.attrs.items()}
            if len(members) + len(at) > MAX_LISTED:
                raise Reject(Reason.UNSAFE_CONTENT, f"{path}: more than {MAX_LISTED} members")
            for name in at:
                found = member(at, name, path)
                if isinstance(found, h5py.Group):
                    if levels > 1 and found.id.__hash__() not in seen:  # a hard link may lead back up
                        seen.add(found.id.__hash__())
                        left.append((f"{below}{name}/", found, levels - 1))
                    else:
                        members[f"{below}{name}"] = ["group", []]
                elif isinstance(found, h5py.Dataset):
                    kind = _kind(found)
                    members[f"{below}{name}"] = [kind, [int(n) for n in found.shape or ()]]
                    if kind == "text" and math.prod(found.shape) <= 64:
                        inside(found, name, path)
                        texts[f"{below}{name}"] = [_text(v) for v in np.ravel(np.asarray(found[()], dtype=object))]
        return {"members": members, "attrs": attrs, "texts": texts}


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """The open file; whatever damage makes the library raise becomes one ``Reject``."""
    import h5py

    try:
        if os.path.getsize(path) == 0:
            raise Reject(Reason.EMPTY, f"{path}: the file is empty; fetch it again")
        with h5py.File(path, "r") as f:
            yield f
    except Reject:
        raise
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, MemoryError, AttributeError,
            ArithmeticError, NotImplementedError) as error:  # fmt: skip
        text = " ".join(str(error).split())
        reason = Reason.TRUNCATED if "truncated" in text else Reason.UNREADABLE
        raise Reject(reason, f"{path}: not readable as HDF5 ({text[:160]}); fetch it again") from error


def member(f: Any, name: str, path: str) -> Any:
    """One object by path, every step of it a hard link inside this file; None where it is not there."""
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


def inside(data: Any, name: str, path: str) -> None:
    """Raises ``Reject`` UNSAFE_CONTENT for a data set whose numbers lie in another file."""
    if data.external or data.is_virtual:
        raise Reject(Reason.UNSAFE_CONTENT, f"{path}: {name} keeps its numbers in another file; pack the file anew")


def _kind(data: Any) -> str:
    import h5py

    if data.shape is None:
        return "other"
    vlen = h5py.check_vlen_dtype(data.dtype)
    text = h5py.check_string_dtype(data.dtype)
    if text is not None:
        return "bytes" if text.length is not None and text.length > 256 else "text"
    if vlen is not None:
        return "bytes" if np.dtype(vlen).kind in "iu" and np.dtype(vlen).itemsize == 1 else "other"
    if data.dtype.kind == "V" and data.dtype.names is None:
        return "bytes"
    if data.dtype.kind == "u" and data.dtype.itemsize == 1 and len(data.shape) >= 2:
        return "pixels"
    return data.dtype.kind if data.dtype.kind in "fiub" else "other"


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    if isinstance(value, bytes):
        return value[:MAX_TEXT].decode("utf-8", "replace")
    return str(value)[:MAX_TEXT]
