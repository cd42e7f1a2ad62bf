"""TACO: one pickle of all frames per hand (tensors), moving egocentric camera, colour video.

Legend: T frames of the sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import motion
from unihand_data.sources.annotated_sequence import AnnotatedSource, Sequence, SideRows
from unihand_data.sources.layouts.common import SIDES
from unihand_data.untrusted import arrays, tables
from unihand_data.untrusted.unpickle import safe_load
from unihand_data.values.hands import Side
from unihand_data.values.recording import Narration, SourceItem


def list_items(source: AnnotatedSource, files: list[str]) -> Iterator[SourceItem]:
    """``Egocentric_RGB_Videos/<triplet>/<seq>/color.mp4`` with parallel trees of hands and camera parameters."""
    known = set(files)
    for name in source.select(files, source.spec.videos):
        base, _, rest = name.partition("Egocentric_RGB_Videos/")
        key = rest.rpartition("/")[0]
        hands = {
            f"{side}_{kind}": f"{base}Hand_Poses/{key}/{side}_{kind}.pkl"
            for side in SIDES
            for kind in ("hand", "hand_shape")
        }
        camera = f"{base}Egocentric_Camera_Parameters/{key}/egocentric_frame_extrinsic.npy"
        lens = f"{base}Egocentric_Camera_Parameters/{key}/egocentric_intrinsic.txt"
        source.claim(name, *(f for f in (*hands.values(), camera, lens) if f in known))
        yield source.item(key, source.path(name), video=name, hands=hands, camera=camera, lens=lens)


def load(source: AnnotatedSource, item: SourceItem) -> Sequence:
    """Both hands in the world and the egocentric camera's poses, by frame of the colour video.

    Raises:
        Reject: WRONG_TYPE and BAD_VALUE of a damaged pickle, CONTRADICTION (a hand's frame beyond the camera poses).
    """
    p = item.payload
    path = source.path(p["camera"])
    camera = arrays.array(safe_load(path), (None, 4, 4), path, finite=False)
    sides: dict[Side, SideRows] = {}
    used = [path]
    for side in SIDES:
        hand, shape = source.path(p["hands"][f"{side}_hand"]), source.path(p["hands"][f"{side}_hand_shape"])
        rows = SideRows(
            np.zeros(len(camera), bool), np.full((len(camera), 48), np.nan), None, np.full((len(camera), 3), np.nan)
        )
        data = safe_load(hand)
        if not isinstance(data, dict):
            raise Reject(Reason.WRONG_TYPE, f"{hand}: {type(data).__name__} where frames by name belong")
        for name, value in data.items():
            if not str(name).isdigit():
                raise Reject(Reason.BAD_VALUE, f"{hand}: frame {str(name)[:20]!r} is no number")
            i = int(name) - 1
            if not 0 <= i < len(camera):
                raise Reject(Reason.CONTRADICTION, f"{hand}: frame {name} of {len(camera)} camera poses")
            rows.pose[i] = arrays.array(tables.need(value, "hand_pose", hand), (48,), hand)  # type: ignore[index]
            rows.transl[i] = arrays.array(tables.need(value, "hand_trans", hand), (3,), hand)  # type: ignore[index]
            rows.valid[i] = True
        beta = tables.need(safe_load(shape), "hand_shape", shape)
        rows.beta = arrays.array(beta, (10,), shape)
        sides[side] = rows
        used += [hand, shape]
    video = source.path(p["video"])
    lens = source.path(p["lens"])
    triplet = Path(item.key).parts[0]
    times = motion.row_times(video, len(camera), source.spec.fps, path)
    camera, sides = camera[: len(times)], {s: _cut(r, len(times)) for s, r in sides.items()}
    words = triplet.strip("() ")
    return Sequence(
        times,
        sides,
        video=video,
        camera=camera,
        intrinsics=motion.pinhole(_numbers(lens, (3, 3)), 1920, 1080, lens),
        narrations=[Narration(0.0, float(times[-1]), words, "task")] if words and len(times) > 1 else [],
        annotations=tuple(used),
        task_id=triplet,
    )


def _cut(rows: SideRows, n: int) -> SideRows:
    return SideRows(rows.valid[:n], rows.pose[:n], None, rows.transl[:n], rows.beta)  # type: ignore[index]


def _numbers(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """A text file of numbers, split by blanks or commas."""
    try:
        values = [float(v) for v in tables.read_text(path).replace(",", " ").split()]
    except ValueError as error:
        raise Reject(Reason.WRONG_TYPE, f"{path}: {error}") from error
    if len(values) != int(np.prod(shape)):
        raise Reject(Reason.WRONG_TYPE, f"{path}: {len(values)} numbers, expected {int(np.prod(shape))}")
    return np.array(values).reshape(shape)
