"""NumPy archives of one recording each, with a video and words beside them.

``<name>.json`` may hold ``instruction`` (or ``language_instruction``, ``task``) and ``steps``, a list of
``{text, start, end}`` in steps; ``<name>.txt`` one sentence a line. Legend: T steps.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import Text, View
from unihand_data.sources.robot.readers.side_json import names_in, read_json
from unihand_data.sources.robot.readers.sidecar_part import Part, Views, column
from unihand_data.sources.sniff import check_video_file
from unihand_data.untrusted.unpickle import guarded, read_bounded, safe_load

CLOCK = "timestamps"
TRIES = 8
_KEYS = ("instruction", "language_instruction", "task")


def roots(files: list[str]) -> dict[str, list[str]]:
    """Folder -> its archives."""
    out: dict[str, list[str]] = {}
    for name in files:
        if name.endswith(".npz") and not name.rpartition("/")[2].startswith("."):
            out.setdefault(name.rpartition("/")[0], []).append(name)
    return out


def cameras(files: list[str], archives: list[str]) -> tuple[str, ...]:
    """Cameras of all recordings of a folder, by the names of the videos beside them; nothing is opened."""
    folder = archives[0].rpartition("/")[0]
    inside = [name.rpartition("/")[2] for name in files if name.rpartition("/")[0] == folder]
    stems = _stems(inside)
    return tuple(sorted({at[1] for name in inside if (at := _camera(name, stems)) is not None}))


def _stems(names: list[str]) -> set[str]:
    return {name.removesuffix(".npz") for name in names if name.endswith(".npz")}


def _camera(name: str, stems: set[str]) -> tuple[str, str] | None:
    """``<stem>.mp4`` is camera ``video`` of recording ``stem``, ``<stem>_<camera>.mp4`` that camera; the longest stem
    counts, so that ``take_2.mp4`` is no camera ``2`` of ``take`` where there is a recording ``take_2``."""
    base = name.removesuffix(".mp4")
    if base == name:
        return None
    if base in stems:
        return base, "video"
    cuts = [i for i, letter in enumerate(base) if letter == "_" and base[:i] in stems]
    camera = base[cuts[-1] + 1 :] if cuts else ""
    return (base[: cuts[-1]], camera) if re.fullmatch(r"\w+", camera) else None


def features(root: str, archives: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Columns of the first archive that can be read. Empty where archives have no ``timestamps``: no recordings."""
    why = ""
    for name in archives[:TRIES]:
        try:
            shapes = _shapes(f"{root}/{name}")
        except Reject as reject:
            why = why or reject.message
            continue
        clock = shapes.get(CLOCK)
        if clock is None or len(clock) != 1 or clock[0] < 1:
            return {}, ()
        named = ((n, s) for n, s in shapes.items() if n != CLOCK and s and s[0] == clock[0])
        return {n: int(np.prod(s[1:], dtype=np.int64)) for n, s in named}, ()
    return {}, (why,) if why else ()


def read(path: str) -> Part:
    """One recording. Raises ``Reject``: MISSING_FIELD, WRONG_TYPE, BAD_VALUE, and those of the archive."""
    said = safe_load(path)
    clock = said.get(CLOCK) if isinstance(said, dict) else None
    if not isinstance(clock, np.ndarray) or clock.ndim != 1 or clock.dtype.kind not in "fiu" or not len(clock):
        raise Reject(Reason.MISSING_FIELD, f"{path}: no member timestamps (T,) of seconds")
    times = clock.astype(np.float64)
    gaps = np.diff(times)
    if not np.isfinite(times).all() or (gaps <= 0).any():
        at = int(np.argmax(~(gaps > 0))) + 1
        raise Reject(Reason.BAD_VALUE, f"{path}: timestamps do not advance at step {at}; split it there")
    columns: dict[str, np.ndarray] = {}
    other: dict[str, list[int]] = {}
    for name, x in sorted(said.items()):
        values = column(x, len(times)) if name != CLOCK else None
        if values is not None:
            columns[name] = values
        elif name != CLOCK:
            other[name] = [int(n) for n in np.shape(x)]
    if not columns:
        raise Reject(Reason.MISSING_FIELD, f"{path}: no member has one entry per timestamp")
    texts, losses = _words(path.removesuffix(".npz"), len(times))
    facts: dict[str, Any] = {"fps_clock": round(float(1 / np.median(gaps)), 3)} if len(gaps) else {}
    facts |= {"members_of_other_length": other} if other else {}

    def views(ignored: Callable[[str], bool], unit: float) -> Views:
        return _views(path.removesuffix(".npz"), ignored)

    return Part(columns, times - times[0], views, texts, losses, facts, Path(path).stem)


def _shapes(path: str) -> dict[str, tuple[int, ...]]:
    """Member -> shape, of the numeric ones, from their headers."""

    def look() -> dict[str, tuple[int, ...]]:
        out: dict[str, tuple[int, ...]] = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    continue
                with archive.open(info) as stream:
                    version = np.lib.format.read_magic(stream)
                    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                    if version not in headers:
                        raise ValueError(f".npy version {version}")
                    shape, _, dtype = headers[version](stream)
                    if dtype.kind in "fiub":
                        out[info.filename.removesuffix(".npy")] = tuple(int(n) for n in shape)
        return out

    if not Path(path).is_file():
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it")
    shapes: dict[str, tuple[int, ...]] = guarded(path, look)
    return shapes


def _words(stem: str, steps: int) -> tuple[list[Text], list[Reject]]:
    texts: list[Text] = []
    losses: list[Reject] = []
    try:
        if Path(f"{stem}.json").is_file():
            _from_json(f"{stem}.json", steps, texts, losses)
        if Path(f"{stem}.txt").is_file():
            lines = read_bounded(f"{stem}.txt", 1 << 20).decode("utf-8", "replace").splitlines()
            texts += [Text(t) for line in lines if (t := " ".join(line.split()))]
    except Reject as reject:
        losses.append(Reject(reject.reason, reject.message, level="row"))
    return texts, losses


def _from_json(path: str, steps: int, texts: list[Text], losses: list[Reject]) -> None:
    said = read_json(path)
    if not isinstance(said, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: an object is expected")
    for key in _KEYS:
        if key not in said:
            continue
        if not isinstance(said[key], str) or not said[key].strip():
            raise Reject(Reason.WRONG_TYPE, f"{path}: {key} is no sentence")
        texts.append(Text(" ".join(said[key].split())))
        break
    listed = said.get("steps", [])
    for one in listed if isinstance(listed, list) else [listed]:
        keys = ("text", "start", "end")
        text, a, b = cast(tuple[Any, Any, Any], tuple(one.get(k) if isinstance(one, dict) else None for k in keys))
        whole = all(isinstance(v, int) and not isinstance(v, bool) for v in (a, b))
        if not isinstance(text, str) or not text.strip() or not whole or not 0 <= a < b <= steps:
            losses.append(Reject(Reason.BAD_VALUE, f"{path}: no step of {steps}: {str(one)[:100]}", level="row"))
            continue
        texts.append(Text(" ".join(text.split()), "subtask", a, b))


def _views(stem: str, ignored: Callable[[str], bool]) -> Views:
    folder, _, base = stem.rpartition("/")
    views: dict[str, View] = {}
    losses: list[Reject] = []
    names = names_in(folder)
    stems = _stems(names)
    for name in names:
        at = _camera(name, stems)
        if at is None or at[0] != base or ignored(at[1]):
            continue
        try:
            check_video_file(f"{folder}/{name}")
        except Reject as reject:
            losses.append(Reject(reject.reason, reject.message, level="row"))
            continue
        views[at[1]] = View(at[1], video=f"{folder}/{name}")
    return views, losses
