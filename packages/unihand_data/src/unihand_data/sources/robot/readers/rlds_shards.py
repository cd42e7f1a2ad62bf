"""Record files of a TFDS folder: which there are, how many records each holds, where one of them lies.

Listing a million episodes must not read a million places of a disk. ``numBytes`` of ``dataset_info.json`` counts the
records of a split without their frames of 16 bytes each, so ``numBytes + 16 * records`` equals the size of its files if
and only if nothing is missing, cut or added: then the announced counts hold and no file is touched. Otherwise the
files decide, by their record heads (12 bytes each).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.readers.rlds_features import Info
from unihand_data.sources.tfrecord import record_offsets

FRAME_BYTES = 16
MAX_SHARDS = 100_000
_NAME = re.compile(r"(?P<stem>.+)-(?P<split>[^-/]+)\.(?P<format>[a-z_]+)-(?P<index>\d{5,7})-of-(?P<count>\d{5,7})")


@dataclass(frozen=True)
class Shard:
    """One file of a split.

    Attributes:
        name: of the file, inside the folder.
        length: records as announced, None where nothing says.
        size: bytes on disk; None: the file is announced and not there.
    """

    name: str
    split: str
    length: int | None
    size: int | None


def is_shard(name: str) -> bool:
    """Whether a file name is one of a record file of any format."""
    return _NAME.fullmatch(name) is not None


def format_of(name: str) -> str:
    at = _NAME.fullmatch(name)
    return at["format"] if at else ""


def shards_of(folder: str, info: Info) -> list[Shard]:
    """Record files of a version folder by name, those that its own names or its splits announce included."""
    sizes = {e.name: e.stat().st_size for e in os.scandir(folder) if e.is_file() and format_of(e.name) == "tfrecord"}
    families = {(at["stem"], at["split"], at["count"]) for name in sizes if (at := _NAME.fullmatch(name))}
    wanted = {*sizes}
    for stem, split, count in families:
        announced = range(min(int(count), MAX_SHARDS))
        wanted |= {f"{stem}-{split}.tfrecord-{i:0{len(count)}d}-of-{count}" for i in announced}
    out = []
    for name in sorted(wanted):
        at = _NAME.fullmatch(name)
        assert at is not None
        lengths = info.lengths.get(at["split"], [])
        known = len(lengths) == int(at["count"]) and int(at["index"]) < len(lengths)
        out.append(Shard(name, at["split"], lengths[int(at["index"])] if known else None, sizes.get(name)))
    return out


def complete(split: str, shards: list[Shard], info: Info) -> bool:
    """Whether the files of a split hold exactly what is announced, by their sizes alone."""
    mine, announced = [s for s in shards if s.split == split], info.bytes.get(split)
    if not mine or announced is None or any(s.size is None or s.length is None for s in mine):
        return False
    return sum(s.size or 0 for s in mine) == announced + FRAME_BYTES * sum(s.length or 0 for s in mine)


def records(folder: str, shards: list[Shard], info: Info) -> Iterator[tuple[Shard, dict[str, Any]]]:
    """``(shard, payload)`` of every item: ``{record, offset}`` of an episode (offset null: to be looked for),
    ``{reason, why}`` of one that is announced and not there, or of a file that cannot be opened."""
    whole = {split: complete(split, shards, info) for split in {s.split for s in shards}}
    for shard in shards:
        place = f"{folder}/{shard.name}"
        if shard.size is None:
            why = f"{place}: announced by the names of the other files, and not there; fetch it"
            yield shard, {"reason": Reason.MISSING_FILE.value, "why": why}
        elif whole[shard.split]:
            yield from ((shard, {"record": k, "offset": None}) for k in range(shard.length or 0))
        else:
            yield from ((shard, payload) for payload in _from_heads(place, shard.length))


def _from_heads(path: str, announced: int | None) -> Iterator[dict[str, Any]]:
    found, broken = 0, None
    try:
        for offset, _ in record_offsets(path):
            yield {"record": found, "offset": offset}
            found += 1
    except Reject as reject:
        broken = reject
    if broken is None and announced is not None and found < announced:
        broken = Reject(
            Reason.TRUNCATED, f"{path}: holds {found} records, dataset_info.json announces {announced}; fetch it again"
        )
    if broken is None and found == 0:
        broken = Reject(Reason.EMPTY, f"{path}: holds no record")
    if broken is None:
        return
    # nothing readable: the file is one item; a file that ends early: each episode it should hold
    lost = max(1, (announced or 0) - found) if found else 1
    for k in range(lost):
        yield {"record": found + k, "reason": broken.reason.value, "why": broken.message}


@lru_cache(maxsize=16)
def _offsets(path: str, size: int) -> tuple[int, ...]:
    return tuple(offset for offset, _ in record_offsets(path))


def offset_of(path: str, record: int) -> int:
    """Byte offset of a record. A worker walks a file's heads once, not once per episode.

    Raises:
        Reject: TRUNCATED, CORRUPT, MISSING_FILE."""
    try:
        known = _offsets(path, os.path.getsize(path))
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file any more; fetch it") from error
    if record >= len(known):
        raise Reject(
            Reason.TRUNCATED, f"{path}: holds {len(known)} records, record {record} is announced; fetch it again"
        )
    return known[record]
