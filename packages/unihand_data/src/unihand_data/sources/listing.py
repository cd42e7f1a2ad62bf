"""Listing an input folder once, local or remote, and matching path patterns against the listing."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp",
)  # fmt: skip


def is_remote(path: str) -> bool:
    """``s3://`` and the like; ``file://`` counts as local."""
    return "://" in path and not path.startswith("file://")


def is_video(name: str) -> bool:
    """By suffix; files whose base name starts with a dot (desktop left-overs) are none."""
    return name.lower().endswith(VIDEO_SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def list_files(root: str, limit: int | None = None, *, unreadable: dict[str, str] | None = None) -> list[str]:
    """Relative paths of all files under ``root`` (with ``/``), sorted. Directory links are followed once each.

    Args:
        unreadable: takes up local folders that cannot be listed (``""`` is the root), with the system's reason.
    """
    out: list[str] = []
    hidden: dict[str, str] = {} if unreadable is None else unreadable
    for name in _walk_remote(root) if is_remote(root) else _walk_local(root, hidden):
        out.append(name)
        if limit is not None and len(out) >= limit:
            break
    return sorted(out)


def _walk_remote(root: str) -> Iterator[str]:
    import fsspec

    fs, base = fsspec.core.url_to_fs(root)
    base = base.rstrip("/")
    for path in fs.find(base):
        yield path[len(base) :].lstrip("/")


def _walk_local(root: str, unreadable: dict[str, str]) -> Iterator[str]:
    base = Path(root)
    seen: set[str] = set()
    stack = [""]
    while stack:
        folder = stack.pop()
        real = os.path.realpath(base / folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(base / folder), key=lambda e: e.name)
        except OSError as error:
            log.warning("%s cannot be listed: %s", base / folder, error.strerror)
            unreadable[folder] = error.strerror or str(error)
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir():
                stack.append(name)
            elif entry.is_file():
                yield name


@lru_cache(maxsize=512)
def pattern(glob: str) -> re.Pattern[str]:
    """``**/`` any folders, ``*`` and ``?`` inside one name, ``[abc]`` a class; the rest is literal, case kept."""
    out, i = "", 0
    while i < len(glob):
        if glob.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif glob[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif glob[i] == "?":
            out, i = out + "[^/]", i + 1
        elif glob[i] == "[" and "]" in glob[i:]:
            end = glob.index("]", i)
            out, i = out + glob[i : end + 1], end + 1
        else:
            out, i = out + re.escape(glob[i]), i + 1
    return re.compile(out + r"\Z")


def matching(files: Iterable[str], globs: Iterable[str]) -> list[str]:
    """Files that match any of the globs, in the order of ``files``."""
    compiled = [pattern(g) for g in globs]
    return [f for f in files if any(p.match(f) for p in compiled)]
