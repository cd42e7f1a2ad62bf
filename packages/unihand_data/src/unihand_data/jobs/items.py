"""Which input items a job has: their ids, from names and content, never from where they lie or when.

An id must be cheap (a listing of 200,000 files) and must change when a file is replaced, its annotation included: so it
holds the item's key and, of every file the item names, the size and a hash of its first and last 64 KiB.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import chain

from unihand_data.errors import DatasetRefused
from unihand_data.ids import make_id
from unihand_data.runner import paths
from unihand_data.runner.stage import Unit
from unihand_data.sources.archive import split_member
from unihand_data.sources.recording import HumanSource
from unihand_data.values.recording import SourceItem

_EDGE = 64 * 1024
_MOST_FILES = 16  # of an item made of pictures: its first and last


def list_units(source: HumanSource) -> Iterator[Unit]:
    """One unit per input item, listed as they are taken; the first is looked for at once.

    Raises:
        DatasetRefused: there is none.
    """
    units = _units(source)
    first = next(units, None)
    if first is None:
        where, name = getattr(source, "root", "the input"), getattr(source, "dataset", "robot data")
        raise DatasetRefused(
            f"{where} as {name}: no input item; {source.ignored()} files that are not this data set's; name another "
            "--dataset, or another folder."
        )
    return chain([first], units)


def _units(source: HumanSource) -> Iterator[Unit]:
    root = str(getattr(source, "root", ""))
    for item in source.items():
        item_id = make_id("item", item.dataset, item.key, *(fingerprint(path) for path in files_of(item, root)))
        yield Unit(item_id, item_id, item.uri, item)


def files_of(item: SourceItem, root: str) -> list[str]:
    """The video, and every file below ``root`` that the item's payload names (of a remote folder its camera file); of
    long lists the first and the last."""
    video, _ = split_member(item.uri)
    named: list[str] = [video]
    for value in item.payload.values():
        names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        texts = [name for name in names if isinstance(name, str)]
        half = _MOST_FILES // 2
        for text in texts if len(texts) <= _MOST_FILES else texts[:half] + texts[-half:]:
            path = os.path.join(root, text)
            if not paths.is_remote(path) and os.path.isfile(path):
                named.append(path)
    if paths.is_remote(root) and isinstance(camera := item.payload.get("camera"), str):
        named.append(f"{root}/{camera}")
    return list(dict.fromkeys(named))


def fingerprint(path: str) -> str:
    """Size and a hash of both ends of a local file; the size alone of a remote one; ``-`` where there is no file."""
    if paths.is_remote(path):
        return str(paths.size(path))
    if not os.path.isfile(path):
        return "-"
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(file.read(_EDGE))
            file.seek(max(0, size - _EDGE))
            digest.update(file.read(_EDGE))
    except OSError:  # it cannot be read: opening it will say why
        return "unreadable"
    return f"{size}:{digest.hexdigest()}"
