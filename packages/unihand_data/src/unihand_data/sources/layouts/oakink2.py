"""OakInk2: one pickle per sequence with cameras and MANO quaternions by frame id, pictures per camera.

Legend: T frames of the sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import motion
from unihand_data.sources.annotated_sequence import AnnotatedSource, Pictures, Sequence, SideRows
from unihand_data.sources.image_sequence import file_reader
from unihand_data.sources.layouts.common import SIDES, by_folder, frame_number
from unihand_data.sources.narration_tables import hand_in
from unihand_data.untrusted import arrays, tables
from unihand_data.untrusted.unpickle import safe_load
from unihand_data.values.recording import Narration, SourceItem


def list_items(source: AnnotatedSource, files: list[str]) -> Iterator[SourceItem]:
    """``data/<scene>/<serial>/<frame id>.jpg``; the annotation says which serial the wearer's camera has."""
    pictures = by_folder(files, r"data/[^/]+/[^/]+/\d+\.(?:jpg|png)$")
    texts = {Path(f).stem: f for f in files if "/desc_info/" in f"/{f}" and f.endswith(".json")}
    for name in source.select(files, [source.spec.paths["annotations"]]):
        scene = Path(name).stem
        folders = {f.split("/")[-1]: f for f in pictures if f.split("/")[-2] == scene}
        source.claim(name, *(f"{f}/{n}" for f in folders.values() for n in pictures[f]))
        if scene in texts:
            source.claim(texts[scene])
        yield source.item(scene, source.path(name), anno=name, folders=folders, text=texts.get(scene))
        pictures = {f: n for f, n in pictures.items() if f not in folders.values()}
    for folder, names in sorted(pictures.items()):
        source.claim(*(f"{folder}/{n}" for n in names))
        yield source.item(folder, source.path(folder), anno=None)


def load(source: AnnotatedSource, item: SourceItem) -> Sequence:
    """Both hands in the world and the egocentric camera's poses, at the frames of its pictures.

    Raises:
        Reject: MISSING_FILE (annotation, pictures), MISSING_FIELD (no egocentric camera or no intrinsics of it),
            CONTRADICTION where annotation and pictures do not meet.
    """
    p = item.payload
    if p["anno"] is None:
        raise Reject(Reason.MISSING_FILE, f"{item.uri}: no annotation of this scene in anno_preview; fetch it")
    path = source.path(p["anno"])
    data = safe_load(path)
    names = tables.need(data, "cam_def", path)
    ego = [s for s, name in (names.items() if isinstance(names, dict) else ()) if "ego" in str(name).lower()]
    if len(ego) != 1:
        raise Reject(Reason.MISSING_FIELD, f"{path}: cam_def names {len(ego)} egocentric cameras, expected one")
    serial = str(ego[0])
    if serial not in p["folders"]:
        raise Reject(Reason.MISSING_FILE, f"{path}: no pictures of camera {serial}; fetch data/{item.key}/{serial}")
    folder = source.path(p["folders"][serial])
    pictures = {frame_number(f.name, folder): f.name for f in Path(folder).iterdir() if f.suffix in (".jpg", ".png")}
    listed = arrays.array(tables.need(data, "frame_id_list", path), (None,), f"{path}, frame_id_list")
    ids = [int(i) for i in listed if int(i) in pictures]
    if len(ids) < 2 or sorted(set(ids)) != ids:
        raise Reject(Reason.CONTRADICTION, f"{path}: frame_id_list and the pictures of {serial} do not meet")
    extr = tables.need(tables.need(data, "cam_extr", path), serial, path)
    intr = tables.need(tables.need(data, "cam_intr", path), serial, path)
    mano = tables.need(data, "raw_mano", path)
    n = len(ids)
    camera = np.full((n, 4, 4), np.nan)
    pose = {s: np.full((n, 16, 4), np.nan) for s in SIDES}
    transl = {s: np.full((n, 3), np.nan) for s in SIDES}
    valid = {s: np.zeros(n, bool) for s in SIDES}
    betas: dict[str, list[np.ndarray]] = {"left": [], "right": []}
    for i, frame in enumerate(ids):
        if isinstance(extr, dict) and frame in extr:
            camera[i] = arrays.array(extr[frame], (4, 4), f"{path}, cam_extr {frame}", finite=False)
        one = mano.get(frame) if isinstance(mano, dict) else None
        if one is None:
            continue
        for side in SIDES:
            short, where = "lh" if side == "left" else "rh", f"{path}, raw_mano {frame}"
            raw = arrays.numbers(tables.need(one, f"{short}__pose_coeffs", where), where)
            pose[side][i] = arrays.array(raw.reshape(-1, 4) if raw.size == 64 else raw, (16, 4), where)
            raw = arrays.numbers(tables.need(one, f"{short}__tsl", where), where)
            transl[side][i] = arrays.array(raw.ravel(), (3,), where)
            raw = arrays.numbers(tables.need(one, f"{short}__betas", where), where)
            betas[side].append(arrays.array(raw.ravel(), (10,), where))
            valid[side][i] = True
    sides = {
        s: SideRows(valid[s], pose[s], None, transl[s], np.mean(betas[s], axis=0) if betas[s] else np.zeros(10))
        for s in SIDES
    }
    lens = intr[ids[0]] if isinstance(intr, dict) and ids[0] in intr else None
    if lens is None:
        raise Reject(Reason.MISSING_FIELD, f"{path}: no cam_intr of camera {serial} at frame {ids[0]}")
    assert source.spec.fps is not None
    times = (np.array(ids) - ids[0]) / source.spec.fps
    return Sequence(
        times,
        sides,
        pictures=Pictures([pictures[i] for i in ids], file_reader(folder), times),
        camera=camera,
        intrinsics=motion.pinhole(lens, 0, 0, f"{path}, cam_intr"),
        narrations=_oakink2_text(source.path(p["text"]), ids[0], source.spec.fps) if p["text"] else [],
        annotations=(path,),
        task_id=item.key,
    )


def _oakink2_text(path: str, first: int, fps: float) -> list[Narration]:
    """Keys are ``((a, b) or None, (a, b) or None)`` as text: the frame spans of the left and the right hand."""
    data = tables.read_json(path)
    if not isinstance(data, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: {type(data).__name__} where primitives by span belong")
    out = []
    for key, value in data.items():
        spans = [(int(a), int(b)) for a, b in re.findall(r"\(\s*(\d+)\s*,\s*(\d+)\s*\)", str(key))]
        if not spans:
            raise Reject(Reason.BAD_VALUE, f"{path}: no frame span in {str(key)[:60]!r}")
        t0, t1 = (min(s[0] for s in spans) - first) / fps, (max(s[1] for s in spans) - first) / fps
        text = tables.text_of(tables.need(value, "seg_desc", path), path)
        if t1 > max(t0, 0.0):
            out.append(Narration(max(t0, 0.0), t1, text, "instruction", hand_in(text)))
    return sorted(out, key=lambda n: n.t0)
