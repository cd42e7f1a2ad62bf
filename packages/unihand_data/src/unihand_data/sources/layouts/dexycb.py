"""DexYCB: pictures and one ``.npz`` label per frame and camera, eight fixed cameras.

Legend: T frames of the sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data import yaml_text
from unihand_data.errors import Reason, Reject
from unihand_data.sources import motion
from unihand_data.sources.annotated_sequence import AnnotatedSource, Pictures, Sequence, SideRows
from unihand_data.sources.image_sequence import file_reader
from unihand_data.sources.layouts.common import by_folder, frame_number
from unihand_data.untrusted import arrays, tables
from unihand_data.untrusted.unpickle import safe_load
from unihand_data.values.hands import Side
from unihand_data.values.recording import SourceItem

_ONE_HAND = (["left"], ["right"])


def list_items(source: AnnotatedSource, files: list[str]) -> Iterator[SourceItem]:
    """``<subject>/<seq>/<serial>/{color_NNNNNN.jpg, labels_NNNNNN.npz}``: one item per camera."""
    known = set(files)
    lenses, shapes = {}, {}
    for f in files:
        if found := re.search(r"calibration/intrinsics/(\d+)_[^/]*\.yml$", f):
            lenses[found.group(1)] = f
        elif found := re.search(r"calibration/(mano_[^/]+)/mano\.yml$", f):
            shapes[found.group(1)] = f
    source.claim(*shapes.values())
    for folder, names in sorted(by_folder(files, r"/\d+/color_\d+\.jpg$").items()):
        labels = [n.replace("color_", "labels_").replace(".jpg", ".npz") for n in names]
        serial = folder.rpartition("/")[2]
        meta = f"{folder.rpartition('/')[0]}/meta.yml"
        lens = lenses.get(serial)
        source.claim(*(f"{folder}/{n}" for n in names), *(f"{folder}/{n}" for n in labels if f"{folder}/{n}" in known))
        source.claim(*(f for f in (meta, lens) if f in known))
        yield source.item(
            folder,
            source.path(folder),
            folder=folder,
            names=sorted(names),
            meta=meta,
            lens=lens,
            shapes=shapes,
            split_group=folder.rpartition("/")[0],  # eight cameras see one motion
        )


def load(source: AnnotatedSource, item: SourceItem) -> Sequence:
    """The one hand of a sequence in the frame of a camera that stands still; frames without a label hold no hand.

    Raises:
        Reject: MISSING_FILE (calibration of hand or camera), WRONG_TYPE and MISSING_FIELD of a damaged file.
    """
    p = item.payload
    folder, meta_path = source.path(p["folder"]), source.path(p["meta"])
    meta = _yaml(meta_path)
    sides_named, calib = tables.need(meta, "mano_sides", meta_path), tables.need(meta, "mano_calib", meta_path)
    if not (
        isinstance(sides_named, list) and isinstance(calib, list) and sides_named[:1] in (["left"], ["right"]) and calib
    ):
        raise Reject(Reason.WRONG_TYPE, f"{meta_path}: mano_sides and mano_calib are no lists of one hand")
    side: Side = sides_named[0]
    shape = p["shapes"].get(f"mano_{calib[0]}")
    if shape is None or p["lens"] is None:
        raise Reject(Reason.MISSING_FILE, f"{item.uri}: no calibration of this hand or camera; fetch calibration/")
    beta = arrays.array(tables.need(_yaml(source.path(shape)), "betas", shape), (10,), shape)
    lens_path = source.path(p["lens"])
    color = tables.need(_yaml(lens_path), "color", lens_path)
    fx, fy, cx, cy = (tables.number(tables.need(color, k, lens_path), lens_path) for k in ("fx", "fy", "ppx", "ppy"))
    n = len(p["names"])
    rows = SideRows(np.zeros(n, bool), np.full((n, 45), np.nan), np.full((n, 3), np.nan), np.full((n, 3), np.nan), beta)
    rows.keypoints = np.full((n, 21, 3), np.nan)
    used = []
    for i, name in enumerate(p["names"]):
        path = f"{folder}/{name.replace('color_', 'labels_').replace('.jpg', '.npz')}"
        label = safe_load(path)
        used.append(path)
        pose = arrays.array(tables.need(label, "pose_m", path), (1, 51), path)[0]
        joints = arrays.array(tables.need(label, "joint_3d", path), (1, 21, 3), path)[0]
        if not pose.any() or (joints == -1).all():  # the hand is not in this frame
            continue
        rows.root[i], rows.pose[i], rows.transl[i] = pose[:3], pose[3:48], pose[48:]  # type: ignore[index]
        rows.keypoints[i], rows.valid[i] = joints, True
    assert source.spec.fps is not None
    numbers = np.array([frame_number(name, folder) for name in p["names"]])
    times = (numbers - numbers[0]) / source.spec.fps
    return Sequence(
        times,
        {side: rows},
        pictures=Pictures(p["names"], file_reader(folder), times),
        static_camera=True,
        intrinsics=motion.pinhole([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], 640, 480, lens_path),
        annotations=tuple(used),
        task_id=Path(item.key).parts[-2],
    )


def _yaml(path: str) -> Any:
    import yaml

    text = tables.read_text(path, 16 << 20)
    try:
        return yaml_text.loads(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Reject(Reason.UNREADABLE, f"{path}: not valid YAML; fetch it again") from error
