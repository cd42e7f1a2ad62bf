"""H2O: one text file per frame for hands, camera pose and label; the wearer's camera is ``cam4``.

Legend: T frames of the sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import motion
from unihand_data.sources.annotated_sequence import AnnotatedSource, Pictures, Sequence, SideRows
from unihand_data.sources.image_sequence import file_reader
from unihand_data.sources.layouts.common import SIDES, by_folder, frame_number
from unihand_data.sources.layouts.fpha import number_rows
from unihand_data.values.recording import SourceItem


def list_items(source: AnnotatedSource, files: list[str]) -> Iterator[SourceItem]:
    """``<take>/cam4/{rgb,hand_pose,cam_pose}/NNNNNN.*`` and ``cam4/cam_intrinsics.txt``."""
    known = set(files)
    for folder, names in sorted(by_folder(files, r"/cam4/rgb/\d+\.(?:png|jpg)$").items()):
        base = folder[: -len("/rgb")]
        stems = [Path(n).stem for n in sorted(names)]
        lens = f"{base}/cam_intrinsics.txt"
        source.claim(*(f"{folder}/{n}" for n in names), *([lens] if lens in known else []))
        source.claim(*(f for s in stems for k in ("hand_pose", "cam_pose") if (f := f"{base}/{k}/{s}.txt") in known))
        yield source.item(base, source.path(folder), base=base, folder=folder, names=sorted(names), lens=lens)


def load(source: AnnotatedSource, item: SourceItem) -> Sequence:
    """Hands: per line 1 + 63 numbers for the left, then the right hand (flag, 21 joints in the camera, m)."""
    p = item.payload
    base, n = source.path(p["base"]), len(p["names"])
    points = {s: np.full((n, 21, 3), np.nan) for s in SIDES}
    valid = {s: np.zeros(n, bool) for s in SIDES}
    camera = np.full((n, 4, 4), np.nan)
    used = []
    for i, name in enumerate(p["names"]):
        stem = Path(name).stem
        hand, pose = f"{base}/hand_pose/{stem}.txt", f"{base}/cam_pose/{stem}.txt"
        row = number_rows(hand, 128)
        if len(row) != 1:
            raise Reject(Reason.WRONG_TYPE, f"{hand}: {len(row)} lines, expected one")
        for k, side in enumerate(SIDES):
            part = row[0, 64 * k : 64 * (k + 1)]
            if part[0] not in (0, 1):
                raise Reject(Reason.BAD_VALUE, f"{hand}: flag {part[0]} of the {side} hand is neither 0 nor 1")
            valid[side][i] = part[0] == 1
            points[side][i] = part[1:].reshape(21, 3)
        camera[i] = number_rows(pose, 16)[0].reshape(4, 4)
        used += [hand, pose]
    lens = source.path(p["lens"])
    fx, fy, cx, cy, width, height = number_rows(lens, 6)[0]
    assert source.spec.fps is not None
    numbers = np.array([frame_number(name, base) for name in p["names"]])
    times = (numbers - numbers[0]) / source.spec.fps
    return Sequence(
        times,
        {s: SideRows(valid[s], keypoints=points[s]) for s in SIDES},
        pictures=Pictures(p["names"], file_reader(source.path(p["folder"])), times),
        camera=camera,
        intrinsics=motion.pinhole([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], width, height, lens),
        annotations=tuple(used),
        task_id=Path(item.key).parent.name,
    )
