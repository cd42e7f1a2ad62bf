"""Cameras of an HDF5 episode: pictures inside the file, or videos and depth pictures beside it.

Videos beside a file show one frame per step, so their pace follows from the number of frames.

Legend: T steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import isolated
from unihand_data.sources.robot.episode import View
from unihand_data.sources.robot.readers.hdf5_layouts import Contents
from unihand_data.sources.robot.readers.hdf5_words import droid_metadata
from unihand_data.sources.robot.readers.side_json import names_in, read_json
from unihand_data.sources.sniff import check_video_file
from unihand_data.untrusted.unpickle import read_bounded

MAX_PICTURE = 64 << 20
MAX_DEPTH = 2 << 30
Result = tuple[dict[str, View], list[Reject]]


def views_of(
    base: str, payload: dict[str, Any], contents: Contents, times: np.ndarray, ignored: Callable[[str], bool],
    paths: dict[str, str],
) -> Result:  # fmt: skip
    """The cameras that can be read, and one loss of level ``row`` for each that cannot.

    Args:
        times: (T,) s of the steps.
        paths: of the data-set file: ``pixels: opencv``, ``depth_unit_m``.
    """
    unit = float(paths.get("depth_unit_m", "0.001"))
    if contents.layout.name == "agibot":
        return _agibot(base, payload, times, ignored, unit)
    if contents.layout.name == "droid_raw":
        return _droid(f"{base}/{payload['file'].rpartition('/')[0]}", times, ignored)
    views: dict[str, View] = {}
    losses: list[Reject] = []
    for key in contents.pictures:
        if ignored(key):
            continue
        name = f"{payload['group']}/{key}".lstrip("/")
        path = f"{base}/{payload['file']}"
        try:
            pictures = isolated.hdf5_pictures(path, name, paths.get("pixels") == "opencv")
            if len(pictures) != contents.steps:
                raise Reject(
                    Reason.CONTRADICTION, f"{path}: {name} has {len(pictures)} pictures for {contents.steps} steps"
                )
        except Reject as reject:
            losses.append(Reject(reject.reason, reject.message, level="row", frames=contents.steps))
            continue
        views[key] = View(key, pictures=pictures, depth="depth" in key, depth_unit_m=unit)
    return views, losses


def one_frame_a_step(path: str, key: str, times: np.ndarray) -> View:
    """A video whose frame i belongs to step i. Raises ``Reject``: TRUNCATED, CONTRADICTION, and those of the probe."""
    check_video_file(path)
    pts, steps = isolated.frame_times(path), len(times)
    if len(pts) < steps:
        raise Reject(
            Reason.TRUNCATED, f"{path}: {len(pts)} frames for {steps} steps; fetch it again", frames=steps, level="row"
        )
    if len(pts) > steps + max(3, steps // 50):
        raise Reject(Reason.CONTRADICTION, f"{path}: {len(pts)} frames for {steps} steps", frames=steps, level="row")
    pace = float(pts[steps - 1] / times[-1]) if steps > 1 and pts[steps - 1] > 0 else 1.0
    return View(key, video=path, t1=float(pts[steps]) if len(pts) > steps else None, pace=pace)


def _agibot(
    base: str, payload: dict[str, Any], times: np.ndarray, ignored: Callable[[str], bool], unit: float
) -> Result:
    below = f"{base}/observations/{payload['task']}/{payload['episode']}"
    views: dict[str, View] = {}
    losses: list[Reject] = []
    videos = [n for n in names_in(f"{below}/videos") if n.endswith(".mp4")]
    if not videos:
        losses.append(Reject(Reason.MISSING_FILE, f"{below}/videos: no video is there; fetch it", level="row"))
    for name in videos:
        key = Path(name).stem
        if ignored(key):
            continue
        try:
            view = one_frame_a_step(f"{below}/videos/{name}", key, times)
            folder = f"{base}/parameters/{payload['task']}/{payload['episode']}/parameters/camera"
            view.intrinsics = _pinhole(folder, key)
            views[key] = view
        except Reject as reject:
            losses.append(Reject(reject.reason, reject.message, level="row", frames=reject.frames))
    depth = [n for n in names_in(f"{below}/depth") if re.fullmatch(r"head_depth_\d+\.png", n)]
    if depth and not ignored("head_depth"):
        try:
            views["head_depth"] = _depth(f"{below}/depth", sorted(depth, key=_number), len(times), unit)
        except Reject as reject:
            losses.append(Reject(reject.reason, reject.message, level="row"))
    return views, losses


def beside(files: list[str], below: str) -> tuple[str, ...]:
    """Cameras that lie beside the files of a whole AgiBot tree, whichever of them an episode has."""
    tree = re.compile(
        rf"{re.escape(f'{below}/'.lstrip('/'))}observations/[^/]+/[^/]+/(videos/(.+)\.mp4|depth/head_.+\.png)"
    )
    found = (m for name in files if (m := tree.fullmatch(name)))
    return tuple(sorted({m[2] or "head_depth" for m in found}))


def _number(name: str) -> int:
    return int(re.findall(r"\d+", name)[-1])


def _depth(folder: str, names: list[str], steps: int, unit: float) -> View:
    if [_number(n) for n in names] != list(range(steps)):
        raise Reject(Reason.CONTRADICTION, f"{folder}: {len(names)} depth pictures for {steps} steps, or gaps in them")
    pictures, total = [], 0
    for name in names:
        pictures.append(read_bounded(f"{folder}/{name}", MAX_PICTURE))
        total += len(pictures[-1])
        if total > MAX_DEPTH:
            raise Reject(Reason.UNSAFE_CONTENT, f"{folder}: more than {MAX_DEPTH} bytes of depth pictures")
    return View("head_depth", pictures=pictures, depth=True, depth_unit_m=unit)


def _pinhole(folder: str, key: str) -> np.ndarray | None:
    """(4,) fx fy cx cy of ``<camera>_intrinsic_params.json``; None where the file is not there."""
    for stem in (key, key.removesuffix("_color")):
        name = f"{stem}_intrinsic_params.json"
        if name not in names_in(folder):
            continue
        said = read_json(f"{folder}/{name}")
        said = said.get("intrinsic", said) if isinstance(said, dict) else {}
        values = [said.get(k) for k in ("fx", "fy", "ppx", "ppy")] if isinstance(said, dict) else [None]
        numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) != 4 or not np.isfinite(numbers).all() or min(numbers[:2]) <= 0:
            raise Reject(Reason.BAD_VALUE, f"{folder}/{name}: fx, fy, ppx, ppy are {values}; fetch it again")
        return np.array(numbers)
    return None


def _droid(folder: str, times: np.ndarray, ignored: Callable[[str], bool]) -> Result:
    """Left pictures of the wrist camera and the two outer ones, by the serial numbers of the metadata."""
    try:
        about = droid_metadata(folder)
    except Reject as reject:
        return {}, [Reject(reject.reason, f"{reject.message} (it says which camera is which)", level="row")]
    views: dict[str, View] = {}
    losses: list[Reject] = []
    for key in ("wrist", "ext1", "ext2"):
        if ignored(key):
            continue
        serial = str(about.get(f"{key}_cam_serial") or Path(str(about.get(f"{key}_mp4_path") or "")).stem)
        try:
            if not re.fullmatch(r"\d{4,12}", serial):
                raise Reject(Reason.MISSING_FIELD, f"{folder}: the metadata name no camera {key}_cam_serial")
            path = f"{folder}/recordings/MP4/{serial}.mp4"
            if not Path(path).is_file() and Path(f"{folder}/recordings/SVO/{serial}.svo").is_file():
                raise Reject(
                    Reason.UNSUPPORTED,
                    f"{folder}: camera {serial} is there as SVO only, which needs the maker's library; fetch the MP4",
                )
            views[key] = one_frame_a_step(path, key, times)
        except Reject as reject:
            losses.append(Reject(reject.reason, reject.message, level="row", frames=reject.frames))
    return views, losses
