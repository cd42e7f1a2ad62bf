"""FPHA: ``skeleton.txt`` (frame number and 21 x 3 mm per line, right hand, depth sensor's frame) and colour pictures.

Legend: T frames of the sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.hands.mano_variants import FPHA_TO_21, reorder_keypoints
from unihand_data.sources.annotated_sequence import AnnotatedSource, Pictures, Sequence, SideRows
from unihand_data.sources.image_sequence import file_reader
from unihand_data.sources.layouts.common import by_folder, frame_number
from unihand_data.untrusted import arrays, tables
from unihand_data.values.recording import Narration, SourceItem


def list_items(source: AnnotatedSource, files: list[str]) -> Iterator[SourceItem]:
    """``Video_files/<Subject>/<action>/<rep>/color/color_NNNN.jpeg`` with a parallel tree of ``skeleton.txt``."""
    skeletons = {"/".join(f.split("/")[-4:-1]): f for f in files if f.endswith("/skeleton.txt")}
    for folder, names in sorted(by_folder(files, r"/color/color_\d+\.(?:jpeg|jpg)$").items()):
        key = "/".join(folder.split("/")[-4:-1])
        text = skeletons.get(key)
        source.claim(*(f"{folder}/{n}" for n in names), *([text] if text else []))
        yield source.item(key, source.path(folder), folder=folder, names=sorted(names), text=text)


def load(source: AnnotatedSource, item: SourceItem) -> Sequence:
    """Rows are joined to the pictures by frame number; action and repetition come from the path."""
    p = item.payload
    if p["text"] is None:
        raise Reject(Reason.MISSING_FILE, f"{item.uri}: no skeleton.txt for {item.key}; fetch the annotation")
    path, folder = source.path(p["text"]), source.path(p["folder"])
    rows = number_rows(path, 64)
    by_frame = {int(r[0]): r[1:].reshape(21, 3) for r in rows}
    numbers = np.array([frame_number(n, folder) for n in p["names"]])
    points = np.full((len(numbers), 21, 3), np.nan)
    for i, n in enumerate(numbers):
        if n in by_frame:
            points[i] = by_frame[n]
    valid = np.isfinite(points).all(axis=(1, 2))
    if not valid.any():
        raise Reject(Reason.CONTRADICTION, f"{path}: none of its {len(rows)} frames has a picture in {folder}")
    assert source.spec.fps is not None
    times = (numbers - numbers[0]) / source.spec.fps
    action = item.key.split("/")[1]
    words = re.sub(r"[_\s]+", " ", action).strip()
    return Sequence(
        times,
        {"right": SideRows(valid, keypoints=reorder_keypoints(points, FPHA_TO_21))},
        pictures=Pictures(p["names"], file_reader(folder), times),
        narrations=[Narration(0.0, float(times[-1]) + 1e-3, words, "task")] if words else [],
        annotations=(path,),
        task_id=action,
    )


def number_rows(path: str, width: int) -> np.ndarray:
    """A text file of ``width`` numbers per line -> (T, width).

    Raises:
        Reject: WRONG_TYPE (another count, no numbers), BAD_VALUE (NaN), EMPTY."""
    try:
        rows = [[float(v) for v in line.split()] for line in tables.read_text(path).splitlines() if line.strip()]
    except ValueError as error:
        raise Reject(Reason.WRONG_TYPE, f"{path}: {error}; fetch it again") from error
    if not rows:
        raise Reject(Reason.EMPTY, f"{path}: no rows in it; fetch it again")
    bad = next((i for i, r in enumerate(rows) if len(r) != width), None)
    if bad is not None:
        raise Reject(Reason.WRONG_TYPE, f"{path}: line {bad + 1} has {len(rows[bad])} numbers, expected {width}")
    return arrays.array(rows, (None, width), path)
