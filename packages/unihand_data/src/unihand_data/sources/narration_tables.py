"""Text with time spans from the tables data sets bring, per video key.

Spans are seconds on the video's own clock. Where a data set gives a moment instead of a span (Ego4D, Ego-Exo4D), the
span is the moment +- half the mean gap between that video's narrations, at least 0.5 s and at most 2 s to each side.

Only the camera wearer is described: Ego4D marks the wearer's sentences ``#C C`` and other people's ``#O``; the latter
and sentences marked ``#unsure`` are left out and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.spec import TableSpec
from unihand_data.untrusted import tables
from unihand_data.values.recording import Narration

HALF_SPAN_S = (0.5, 2.0)

_WEARER = re.compile(r"^#\s*c\b\s*(?:c\b)?\s*", re.IGNORECASE)
_OTHER = re.compile(r"^#\s*o\b", re.IGNORECASE)


@dataclass
class VideoText:
    """What one table says about one video.

    Attributes:
        narrations: in time order.
        rejects: rows that could not be read, level ``row``.
        left_out: counts of sentences left out on purpose (``other_person``, ``unsure``, ``untagged``, ``rejected``).
    """

    narrations: list[Narration] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def hand_in(text: str) -> Literal["left", "right", "both", "none"]:
    """The hand a sentence names outright (``left hand``); "left" alone is a direction or a verb and names none."""
    low = text.lower()
    left, right = "left hand" in low, "right hand" in low
    if re.search(r"\bboth hands?\b", low) or (left and right):
        return "both"
    return "left" if left else "right" if right else "none"


def wearer_text(text: str, left_out: Counter[str]) -> str | None:
    """The sentence without its tag if it is about the camera wearer, else None and counted."""
    if "#unsure" in text.lower():
        left_out["unsure"] += 1
        return None
    if _OTHER.match(text):
        left_out["other_person"] += 1
        return None
    found = _WEARER.match(text)
    if not found:
        left_out["untagged"] += 1
        return None
    rest = text[found.end() :].strip()
    if not rest:
        left_out["empty"] += 1
        return None
    return rest


def spans(moments: list[float]) -> list[tuple[float, float]]:
    """Spans around moments, see the module's header; never before 0."""
    gaps = np.diff(np.sort(moments))
    half = float(np.clip(gaps.mean() / 2 if len(gaps) else HALF_SPAN_S[1], *HALF_SPAN_S))
    return [(max(0.0, t - half), t + half) for t in moments]


@lru_cache(maxsize=16)
def _index(path: str, _mtime: int, spec: TableSpec) -> dict[str, VideoText]:
    out: dict[str, VideoText] = {}
    for key, text in _LAYOUTS[spec.layout](path, spec):
        text.narrations.sort(key=lambda n: (n.t0, n.t1, n.text))
        out[key] = text
    return out


def load_table(path: str, spec: TableSpec) -> dict[str, VideoText]:
    """All videos of one table, parsed once per worker. Raises ``Reject`` if the table as a whole is damaged."""
    try:
        stamp = Path(path).stat().st_mtime_ns
    except OSError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such table; fetch it") from error
    return _index(path, stamp, _Hashable(spec))  # type: ignore[arg-type]


class _Hashable:
    """A spec as a cache key (its lists make pydantic's own hash fail)."""

    def __init__(self, spec: TableSpec):
        self._spec = spec
        self._key = spec.model_dump_json()

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashable) and other._key == self._key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spec, name)


def _rows(path: str, spec: TableSpec) -> Iterator[tuple[str, VideoText]]:
    """A table of one row per narration: csv, jsonl, json list, or a pickled table."""
    by_video: dict[str, VideoText] = {}
    time: Callable[[Any, str], float] = tables.hms if spec.time == "hms" else tables.number
    for i, row in enumerate(_read_rows(path, spec)):
        where = f"{path} row {i + 1}"
        key = str(tables.need(row, spec.video, path))
        text = by_video.setdefault(key, VideoText())
        for column in (spec.start, spec.stop, spec.text):
            tables.need(row, column, path)  # a missing column damages the table, not a row
        try:
            t0, t1 = (time(row[c], f"{where}, {c}") for c in (spec.start, spec.stop))
            words = tables.text_of(row[spec.text], f"{where}, {spec.text}")
            if not 0 <= t0 < t1:
                raise Reject(Reason.BAD_VALUE, f"{where}: the span {t0} .. {t1} s is empty or negative")
            text.narrations.append(Narration(t0, t1, words, spec.level, hand_in(words)))
        except Reject as reject:
            text.rejects.append(Reject(reject.reason, reject.message, level="row"))
    yield from by_video.items()


def _read_rows(path: str, spec: TableSpec) -> list[dict[str, Any]]:
    suffix = Path(path).suffix.lower()
    if suffix in (".csv", ".tsv"):
        names = (spec.video, spec.start, spec.stop, spec.text)
        return list(tables.read_csv(path, spec.columns or None, "," if suffix == ".csv" else "\t", names))
    if suffix == ".jsonl":
        return tables.read_jsonl(path)
    if suffix == ".pkl":
        from unihand_data.untrusted.pandas_pickle import read_frame

        return read_frame(path)
    value = tables.read_json(path)
    if not isinstance(value, list):
        raise Reject(Reason.WRONG_TYPE, f"{path}: {type(value).__name__} where a list of rows belongs")
    return value


def _moments(text: VideoText, found: list[tuple[float, str]], level: Any) -> None:
    for (t0, t1), (_, words) in zip(spans([t for t, _ in found]), found):
        text.narrations.append(Narration(t0, t1, words, level, hand_in(words)))


def _ego4d_narrations(path: str, spec: TableSpec) -> Iterator[tuple[str, VideoText]]:
    root = tables.shared_json(path)
    videos = root.get("videos", root) if isinstance(root, dict) else root
    if not isinstance(videos, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: {type(videos).__name__} where video uids belong")
    for uid, entry in videos.items():
        if not isinstance(entry, dict):
            if uid in ("version", "date", "description"):
                continue
            raise Reject(Reason.WRONG_TYPE, f"{path}, {uid}: {type(entry).__name__} where passes belong")
        text = VideoText()
        for name in ("narration_pass_1", "narration_pass_2"):
            found = []
            for i, row in enumerate(_list_of(entry.get(name) or {}, "narrations", f"{path}, {uid}")):
                where = f"{path}, {uid}, {name} {i}"
                try:
                    moment = tables.number(tables.need(row, "timestamp_sec", where), where)
                    words = wearer_text(tables.text_of(tables.need(row, "narration_text", where), where), text.left_out)
                except Reject as reject:
                    text.rejects.append(Reject(reject.reason, reject.message, level="row"))
                    continue
                if words:
                    found.append((moment, words))
            _moments(text, found, spec.level)
        yield uid, text


def _ego4d_fho(path: str, spec: TableSpec) -> Iterator[tuple[str, VideoText]]:
    root = tables.shared_json(path)
    for video in _list_of(root, "videos", path):
        uid = str(tables.need(video, "video_uid", path))
        text = VideoText()
        for interval in _list_of(video, "annotated_intervals", f"{path}, {uid}"):
            for i, action in enumerate(_list_of(interval, "narrated_actions", f"{path}, {uid}")):
                where = f"{path}, {uid}, action {i}"
                try:
                    if tables.need(action, "is_rejected", where) or not action.get("is_valid_action", True):
                        text.left_out["rejected"] += 1
                        continue
                    t0, t1 = (
                        tables.number(tables.need(action, c, where), f"{where}, {c}") for c in ("start_sec", "end_sec")
                    )
                    words = wearer_text(
                        tables.text_of(tables.need(action, "narration_text", where), where), text.left_out
                    )
                    if not 0 <= t0 < t1:
                        raise Reject(Reason.BAD_VALUE, f"{where}: the span {t0} .. {t1} s is empty or negative")
                except Reject as reject:
                    text.rejects.append(Reject(reject.reason, reject.message, level="row"))
                    continue
                if words:
                    text.narrations.append(Narration(t0, t1, words, spec.level, hand_in(words)))
        yield uid, text


def _atomic_descriptions(path: str, spec: TableSpec) -> Iterator[tuple[str, VideoText]]:
    annotations = tables.need(tables.shared_json(path), "annotations", path)
    if not isinstance(annotations, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: annotations is {type(annotations).__name__}, not takes by uid")
    for uid, passes in annotations.items():
        text = VideoText()
        if not isinstance(passes, list):
            raise Reject(Reason.WRONG_TYPE, f"{path}, {uid}: {type(passes).__name__} where a list of passes belongs")
        for one in passes:
            found = []
            for i, row in enumerate(_list_of(one, "descriptions", f"{path}, {uid}")):
                where = f"{path}, {uid}, description {i}"
                try:
                    moment = tables.number(tables.need(row, "timestamp", where), where)
                    words = tables.text_of(tables.need(row, "text", where), where)
                except Reject as reject:
                    text.rejects.append(Reject(reject.reason, reject.message, level="row"))
                    continue
                if row.get("unsure"):
                    text.left_out["unsure"] += 1
                elif row.get("subject") not in (None, "C"):
                    text.left_out["other_person"] += 1
                else:
                    found.append((moment, words))
            _moments(text, found, spec.level)
        yield uid, text


def _list_of(value: Any, key: str, source: str) -> list[Any]:
    """``value[key]`` as a list; absent means none."""
    found = value.get(key, []) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise Reject(Reason.WRONG_TYPE, f"{source}: {key} is no list")
    return found


_LAYOUTS: dict[str, Callable[[str, TableSpec], Iterator[tuple[str, VideoText]]]] = {
    "rows": _rows,
    "ego4d_narrations": _ego4d_narrations,
    "ego4d_fho": _ego4d_fho,
    "atomic_descriptions": _atomic_descriptions,
}
