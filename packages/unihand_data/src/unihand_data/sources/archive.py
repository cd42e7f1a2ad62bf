"""Tar and zip members without trusting the archive.

A name that leaves the folder, a link or a device is refused; so is an archive that announces or delivers more than the
limits (a bomb), and one that ends early. Members are read one by one; nothing is unpacked to disk.

A member is written ``archive!member`` (``P01.tar!a/b.mp4``), the form ``ClipRef.path`` uses.
"""

from __future__ import annotations

import logging
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject

log = logging.getLogger(__name__)

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")


class ArchiveLimits(Settings):
    """What an honest archive never exceeds."""

    max_members: int = 2_000_000
    max_member_bytes: int = 64 << 30
    max_total_bytes: int = 4 << 40
    max_ratio: float = 200.0  # unpacked over packed; video does not compress, text rarely above 30
    ratio_floor_bytes: int = 16 << 20  # below this the ratio says nothing


DEFAULT_LIMITS = ArchiveLimits()


@dataclass(frozen=True)
class Member:
    """One regular file of an archive; ``name`` is normalised, relative and safe."""

    name: str
    size: int


def is_archive(path: str | os.PathLike[str]) -> bool:
    return str(path).lower().endswith(ARCHIVE_SUFFIXES)


def split_member(uri: str) -> tuple[str, str]:
    """``a.tar!b/c.mp4`` -> (``a.tar``, ``b/c.mp4``); a plain path gives an empty member.

    A ``!`` in a plain file's own name is no separator: the part before it must look like an archive."""
    for position, char in enumerate(uri):
        if char == "!" and is_archive(uri[:position]):
            return uri[:position], uri[position + 1 :]
    return uri, ""


def safe_name(name: str, archive: str) -> str:
    """The member's relative name.

    Raises:
        Reject: UNSAFE_CONTENT for absolute names, ``..``, drive letters, backslashes and control characters."""
    pure = PurePosixPath(name)
    parts = [p for p in pure.parts if p != "."]
    bad = (
        not parts
        or pure.is_absolute()
        or ".." in parts
        or "\\" in name
        or (len(parts[0]) >= 2 and parts[0][1] == ":")
        or any(ord(c) < 32 for c in name)
    )
    if bad:
        raise Reject(Reason.UNSAFE_CONTENT, f"{archive}: member {name!r} would leave the folder; pack it anew")
    return "/".join(parts)


class _Budget:
    """Adds up what members announce and refuses more than the limits."""

    def __init__(self, path: str, packed: int, limits: ArchiveLimits):
        self.path, self.packed, self.limits = path, max(packed, 1), limits
        self.members = 0
        self.total = 0

    def add(self, name: str, size: int) -> None:
        lim = self.limits
        self.members += 1
        self.total += size
        if size < 0 or size > lim.max_member_bytes or self.total > lim.max_total_bytes:
            raise Reject(Reason.UNSAFE_CONTENT, f"{self.path}: member {name!r} announces {size} bytes, over the limit")
        if self.members > lim.max_members:
            raise Reject(Reason.UNSAFE_CONTENT, f"{self.path}: more than {lim.max_members} members")
        if self.total > lim.ratio_floor_bytes and self.total / self.packed > lim.max_ratio:
            raise Reject(
                Reason.UNSAFE_CONTENT,
                f"{self.path}: unpacks to more than {lim.max_ratio:.0f} times its size (a decompression bomb)",
            )


@contextmanager
def _errors(path: str) -> Iterator[None]:
    """Whatever the archive modules raise on damage, as one Reject."""
    try:
        yield
    except Reject:
        raise
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such archive; check the path") from error
    except (EOFError, tarfile.ReadError, zlib.error) as error:
        raise Reject(Reason.TRUNCATED, f"{path}: ends early or is damaged ({_line(error)}); fetch it again") from error
    except (tarfile.TarError, zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Reject(
            Reason.UNREADABLE, f"{path}: cannot be read as an archive ({_line(error)}); fetch it again"
        ) from error
    except (OverflowError, MemoryError, LookupError) as error:
        raise Reject(Reason.UNREADABLE, f"{path}: damaged archive header ({error!r}); fetch it again") from error


def _line(error: Exception) -> str:
    """tarfile lists the methods it tried, one a line."""
    return " ".join(str(error).split())[:200]


def _is_zip(path: str) -> bool:
    return path.lower().endswith(".zip")


def members(path: str | Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> list[Member]:
    """Regular files of an archive in their order, read from headers only.

    Raises:
        Reject: UNSAFE_CONTENT (names, links, limits), TRUNCATED, UNREADABLE, MISSING_FILE."""
    return [m for m, _ in iter_members(path, limits, read=False)]


def iter_members(
    path: str | Path,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    *,
    read: bool = True,
    max_read: int = 64 << 20,
    wanted: Callable[[str], bool] | None = None,
) -> Iterator[tuple[Member, bytes | None]]:
    """Members with their bytes, in one forward pass; None above ``max_read``, with ``read=False`` and for names that
    are not ``wanted``."""
    text = str(path)
    with _errors(text):
        budget = _Budget(text, os.path.getsize(text), limits)
        if _is_zip(text):
            with zipfile.ZipFile(text) as z:
                for info in z.infolist():
                    if info.is_dir():
                        continue
                    if (info.external_attr >> 16) & 0o170000 == 0o120000:
                        raise Reject(Reason.UNSAFE_CONTENT, f"{text}: member {info.filename!r} is a link")
                    name = safe_name(info.filename, text)
                    budget.add(name, info.file_size)
                    data = None
                    if read and info.file_size <= max_read and (wanted is None or wanted(name)):
                        with z.open(info) as f:
                            data = _read_exactly(f, info.file_size, text, name)
                    yield Member(name, info.file_size), data
            return
        end = os.path.getsize(text)
        plain = text.lower().endswith(".tar")
        last = 0
        with tarfile.open(text, "r:*") as t:
            for entry in t:
                if entry.isdir():
                    continue
                if not entry.isreg():
                    raise Reject(
                        Reason.UNSAFE_CONTENT, f"{text}: member {entry.name!r} is a link or device, not a file"
                    )
                name = safe_name(entry.name, text)
                budget.add(name, entry.size)
                last = entry.offset_data + -(-entry.size // 512) * 512
                if plain and entry.offset_data + entry.size > end:
                    raise Reject(Reason.TRUNCATED, f"{text}: ends inside member {name!r}; fetch it again")
                data = None
                if read and entry.size <= max_read and (wanted is None or wanted(name)):
                    stream = t.extractfile(entry)
                    if stream is None:
                        raise Reject(Reason.UNREADABLE, f"{text}: member {name!r} cannot be read")
                    data = _read_exactly(stream, entry.size, text, name)
                yield Member(name, entry.size), data
        if plain and end < last + 512:  # an archive ends with blocks of zeros; one cut between two members has none
            raise Reject(Reason.TRUNCATED, f"{text}: has no end mark, members behind {last} bytes are lost; fetch it")


def _read_exactly(stream: IO[bytes], size: int, path: str, name: str) -> bytes:
    data = stream.read(size + 1)
    if len(data) != size:
        raise Reject(Reason.TRUNCATED, f"{path}: member {name!r} has {len(data)} bytes, {size} announced")
    return data


@contextmanager
def open_member(path: str | Path, member: str, limits: ArchiveLimits = DEFAULT_LIMITS) -> Iterator[IO[bytes]]:
    """A readable stream of one member.

    Raises:
        Reject: MISSING_FILE if there is no such member; the errors of :func:`members`."""
    text = str(path)
    with _errors(text):
        if _is_zip(text):
            with zipfile.ZipFile(text) as z:
                found = next((i for i in z.infolist() if _same_name(i.filename, member)), None)
                if found is None:
                    raise Reject(Reason.MISSING_FILE, f"{text}: no member {member!r}")
                _Budget(text, os.path.getsize(text), limits).add(member, found.file_size)
                with z.open(found) as f:
                    yield f
            return
        with tarfile.open(text, "r:*") as t:
            for entry in t:
                if entry.isreg() and _same_name(entry.name, member):
                    _Budget(text, os.path.getsize(text), limits).add(member, entry.size)
                    stream = t.extractfile(entry)
                    if stream is None:
                        break
                    yield stream
                    return
    raise Reject(Reason.MISSING_FILE, f"{text}: no member {member!r}")


def _same_name(raw: str, member: str) -> bool:
    return "/".join(p for p in PurePosixPath(raw).parts if p != ".") == member


def read_member(path: str | Path, member: str, max_bytes: int = 256 << 20) -> bytes:
    """The bytes of one small member."""
    with open_member(path, member) as stream, _errors(str(path)):
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Reject(Reason.UNSAFE_CONTENT, f"{path}: member {member!r} is larger than {max_bytes} bytes")
    return data


def decode_json(path: str | Path, member: str) -> Any:
    """A JSON member. Raises ``Reject`` like :func:`read_member` and ``tables.parse_json``."""
    from unihand_data.untrusted import tables

    where = f"{path}!{member}"
    return tables.parse_json(tables.decode_text(read_member(path, member), where), where)


def iter_samples(path: str | Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> Iterator[tuple[str, dict[str, Member]]]:
    """WebDataset grouping: members that share the path up to the first dot of the base name, in order of appearance.

    Yields:
        ``(key, {extension: Member})``; the extension may itself hold dots (``image_214-1.jpg``).
    """
    groups: dict[str, dict[str, Member]] = {}
    for member in members(path, limits):
        folder, _, base = member.name.rpartition("/")
        stem, dot, extension = base.partition(".")
        if not dot or not stem:
            continue
        groups.setdefault(f"{folder}/{stem}" if folder else stem, {})[extension.lower()] = member
    yield from groups.items()
