"""One episode as a Rerun recording: video, skeletons and wrist paths in the row's world, state and action as curves.

Legend: T frames of the row, k slots of a group.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.commands import overlay
from unihand_data.shards.errors import ShardError
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import CameraRow, EpisodeRow
from unihand_data.shards.window import dense
from unihand_data.space.slots import GROUPS, SLOTS, group_slice


def write_rerun(path: Path, reader: ShardReader, row: EpisodeRow, camera: CameraRow) -> None:
    """A ``.rrd`` with these entities on the timeline ``time`` (s on the row's clock):

    ``world/camera`` (lens and pose) with ``video`` and a skeleton per side; a camera without poses is ``camera`` and
    stands apart from the world. ``world/SIDE/path``: the wrist's (end effector's) whole path in the row's world, m,
    broken where the state is masked. ``state/GROUP`` and ``action/GROUP``: one curve for each slot of a group the row
    has, gaps where masked. ``language/LEVEL``: the sentence that begins.

    Raises:
        ShardError: rerun is not installed.
    """
    try:
        import rerun as rr
    except ImportError as error:
        raise ShardError("--rerun needs the rerun package: pip install 'unihand-data[view]'") from error
    stream: Any = rr.RecordingStream("unihand")
    stream.save(str(path))
    stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    for side, strips in wrist_paths(row).items():
        stream.log(f"world/{side}/path", rr.LineStrips3D(strips, colors=[overlay.COLOURS[side]]), static=True)
    for name, (values, labels) in slot_curves(row).items():
        stream.log(name, rr.SeriesLines(names=labels), static=True)
        when = rr.TimeColumn("time", duration=row.timestamps)
        curves = rr.Scalars.columns(scalars=values.ravel()).partition([values.shape[1]] * len(values))
        stream.send_columns(name, indexes=[when], columns=curves)
    _log_view(stream, reader, row, camera)
    for line in row.language:
        stream.set_time("time", duration=line.t0)
        stream.log(f"language/{line.level}", rr.TextLog(line.text))
    stream.flush()


def wrist_paths(row: EpisodeRow) -> dict[str, list[np.ndarray]]:
    """Side -> stretches (n, 3) m of the end effector's path in the row's world in which its position is known."""
    state = dense(np.nan_to_num(row.state), row.state_slots)
    known = dense(row.state_mask, row.state_slots)
    out = {}
    for side in overlay.COLOURS:
        slots = group_slice(f"{side}_eef_position")
        edges = np.flatnonzero(np.diff(np.r_[False, known[:, slots].all(axis=1), False].astype(int)))
        strips = [state[a:b, slots].astype(float) for a, b in zip(edges[::2], edges[1::2]) if b - a > 1]
        if strips:
            out[side] = strips
    return out


def slot_curves(row: EpisodeRow) -> dict[str, tuple[np.ndarray, list[str]]]:
    """``state/GROUP`` and ``action/GROUP`` -> ((T, k) values with NaN where masked, names of the k slots)."""
    out = {}
    for kind, values, mask, slots in (
        ("state", row.state, row.state_mask, row.state_slots),
        ("action", row.action, row.action_mask, row.action_slots),
    ):
        curves = np.where(mask, values, np.nan)
        for name, group in GROUPS.items():
            have = np.flatnonzero(np.isin(slots, group.slots))
            if len(have):
                out[f"{kind}/{name}"] = curves[:, have], [SLOTS[slots[i]].name for i in have]
    return out


def _log_view(stream: Any, reader: ShardReader, row: EpisodeRow, camera: CameraRow) -> None:
    import rerun as rr

    entity = "camera" if camera.poses is None else "world/camera"
    if camera.intrinsics is not None:
        fx, fy, cx, cy = camera.intrinsics
        lens = rr.Pinhole(
            image_from_camera=[[fx, 0, cx], [0, fy, cy], [0, 0, 1]], width=camera.width, height=camera.height
        )
        stream.log(entity, lens, static=True)
    points = overlay.hand_points(row, camera)
    for t, picture in enumerate(overlay.frames(reader, row, camera)):
        stream.set_time("time", duration=float(row.timestamps[t]))
        if camera.poses is not None:
            pose = camera.poses[t]
            stream.log(entity, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        stream.log(f"{entity}/video", rr.Image(picture).compress(jpeg_quality=80))
        for side, p in points.items():
            if np.isfinite(p[t]).all():
                bones = [[p[t, a], p[t, b]] for a, b in overlay.BONES]
                stream.log(f"{entity}/{side}", rr.LineStrips3D(bones, colors=[overlay.COLOURS[side]]))
            else:
                stream.log(f"{entity}/{side}", rr.Clear(recursive=False))
