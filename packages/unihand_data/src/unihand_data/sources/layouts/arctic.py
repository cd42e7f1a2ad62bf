"""ARCTIC: object ``.npy`` per sequence for both hands and the egocentric camera, pictures of view 0.

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
from unihand_data.untrusted import arrays, tables
from unihand_data.untrusted.unpickle import safe_load
from unihand_data.values.hands import Side
from unihand_data.values.recording import SourceItem


def list_items(source: AnnotatedSource, files: list[str]) -> Iterator[SourceItem]:
    """``images/<subject>/<seq>/0/*.jpg`` (view 0 is the wearer's) with ``raw_seqs/<subject>/<seq>.*.npy``."""
    known = set(files)
    misc = next((f for f in files if f.endswith("meta/misc.json")), None)
    source.claim(*([misc] if misc else []))
    for folder, names in sorted(by_folder(files, r"images/s\d+/[^/]+/0/\d+\.(?:jpg|png)$").items()):
        subject, seq = folder.split("/")[-3:-1]
        base = folder[: folder.index("images/")]
        parts = {k: f"{base}raw_seqs/{subject}/{seq}.{k}.npy" for k in ("mano", "egocam.dist")}
        source.claim(*(f"{folder}/{n}" for n in names), *(f for f in parts.values() if f in known))
        yield source.item(
            f"{subject}/{seq}",
            source.path(folder),
            folder=folder,
            names=sorted(names),
            misc=misc,
            subject=subject,
            **parts,
        )


def load(source: AnnotatedSource, item: SourceItem) -> Sequence:
    """Both hands in the world of the motion capture, the head camera's poses, and the pictures at the subject's offset.

    Raises:
        Reject: MISSING_FILE (misc.json), MISSING_FIELD and WRONG_TYPE of a damaged file, CONTRADICTION where pictures
            and poses do not meet.
    """
    p = item.payload
    if p["misc"] is None:
        raise Reject(Reason.MISSING_FILE, f"{item.uri}: meta/misc.json with the picture offset is not here; fetch it")
    misc = source.path(p["misc"])
    subject = tables.need(tables.shared_json(misc), p["subject"], misc)
    offset = int(tables.number(tables.need(subject, "ioi_offset", misc), misc))
    mano, ego = source.path(p["mano"]), source.path(p["egocam.dist"])
    hands, lens = safe_load(mano), safe_load(ego)
    turn = arrays.array(tables.need(lens, "R_k_cam_np", ego), (None, 3, 3), ego, finite=False)
    raw = arrays.numbers(tables.need(lens, "T_k_cam_np", ego), ego)
    shift = arrays.array(raw[..., 0] if raw.ndim == 3 else raw, (len(turn), 3), f"{ego}, T_k_cam_np", finite=False)
    camera = np.tile(np.eye(4), (len(turn), 1, 1))
    camera[:, :3, :3], camera[:, :3, 3] = turn, shift
    rows = np.array([frame_number(n, p["folder"]) - offset for n in p["names"]])
    inside = (rows >= 0) & (rows < len(camera))
    if inside.sum() < 2:
        raise Reject(Reason.CONTRADICTION, f"{item.uri}: pictures and the {len(camera)} camera poses do not meet")
    sides: dict[Side, SideRows] = {}
    for side in SIDES:
        hand, where, n = tables.need(hands, side, mano), f"{mano}, {side}", len(camera)
        sides[side] = SideRows(
            np.ones(int(inside.sum()), bool),
            arrays.array(tables.need(hand, "pose", where), (n, 45), where)[rows[inside]],
            arrays.array(tables.need(hand, "rot", where), (n, 3), where)[rows[inside]],
            arrays.array(tables.need(hand, "trans", where), (n, 3), where)[rows[inside]],
            arrays.array(arrays.numbers(tables.need(hand, "shape", where), where).ravel(), (10,), where),
        )
    assert source.spec.camera is not None
    bends = arrays.numbers(tables.need(lens, "dist8", ego), ego).ravel()
    assert source.spec.fps is not None
    times = (rows - rows[0]) / source.spec.fps
    return Sequence(
        times[inside],
        sides,
        pictures=Pictures(p["names"], file_reader(source.path(p["folder"])), times),
        camera=camera[rows[inside]],
        intrinsics=motion.pinhole(tables.need(lens, "intrinsics", ego), 0, 0, ego, source.spec.camera.model, bends),
        annotations=(mano, ego),
        task_id=Path(item.key).name,
    )
