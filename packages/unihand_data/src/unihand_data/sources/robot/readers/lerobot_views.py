"""Cameras of a LeRobot episode: a video file, a stretch of one, or encoded pictures inside the Parquet rows."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import View
from unihand_data.sources.robot.readers.lerobot_info import Feature
from unihand_data.sources.robot.readers.lerobot_tables import Entry
from unihand_data.sources.sniff import check_video_file
from unihand_data.untrusted.unpickle import read_bounded

_MAX_PICTURE = 256 << 20
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*")


def views_of(
    base: str, entry: Entry, features: dict[str, Feature], blobs: dict[str, Any], uri: str, depth_unit_m: float
) -> tuple[dict[str, View], list[Reject]]:
    """The cameras that can be read, and one loss of level ``row`` for each that cannot."""
    views: dict[str, View] = {}
    losses: list[Reject] = []
    for key, feature in features.items():
        try:
            view = _video(base, entry, key) if key not in blobs else _pictures(base, blobs[key], key, uri)
        except Reject as reject:
            losses.append(Reject(reject.reason, reject.message, level="row"))
            continue
        view.depth, view.depth_unit_m = feature.depth, depth_unit_m
        views[key] = view
    return views, losses


def _video(base: str, entry: Entry, key: str) -> View:
    if key not in entry.videos:
        raise Reject(
            Reason.MISSING_FIELD, f"{base}, episode {entry.index}: the episode table does not say where {key} lies"
        )
    name, t0, t1 = entry.videos[key]
    path = f"{base}/{name}"
    if t1 is not None and not 0 <= t0 < t1:
        raise Reject(Reason.BAD_VALUE, f"{base}, episode {entry.index}: {key} runs from {t0} to {t1} s of {name}")
    check_video_file(path)
    return View(key, video=path, t0=t0, t1=t1)


def _pictures(base: str, blob: dict[str, Any], key: str, uri: str) -> View:
    """One picture per row: its bytes, or a file beside the set that the row names."""
    data, out, start = bytes(blob["bytes"]), [], 0
    for row, (end, name) in enumerate(zip(blob["ends"].tolist(), blob["paths"])):
        picture, start = data[start:end], end
        if not picture and name:
            picture = _picture_file(base, str(name), f"{uri}: {key}, row {row}")
        if not picture.startswith(_MAGIC):
            what = f"starts with {picture[:8]!r}" if picture else "is empty"
            raise Reject(Reason.UNREADABLE, f"{uri}: {key}, row {row}: no PNG, JPEG or TIFF ({what}); fetch it again")
        out.append(picture)
    return View(key, pictures=out)


def _picture_file(base: str, name: str, where: str) -> bytes:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise Reject(Reason.UNSAFE_CONTENT, f"{where}: {name[:80]!r} leaves the data set")
    return read_bounded(f"{base}/{name}", _MAX_PICTURE)
