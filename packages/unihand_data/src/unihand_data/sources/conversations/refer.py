"""The REFER layout of RefCOCO, RefCOCO+ and RefCOCOg: ``refs(<split>).p`` beside ``instances.json``.

A ref has ``ref_id, ann_id, image_id, file_name, split, sentences [{sent, raw, tokens}]``; its box is the annotation's
COCO ``bbox`` (x, y, width, height in pixels). Its Python-2 pickles are read through the allow-list, never executed.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.untrusted.tables import need, read_json
from unihand_data.untrusted.unpickle import safe_load

#: splits that are a benchmark; pictures of theirs never train
HELD_OUT_SPLITS = frozenset({"val", "test", "testA", "testB", "testC"})
_COCO_NAME = re.compile(r"(?:^|/)(?:COCO_(?:train|val|test)20\d\d_)?(\d{12})(?:_\d+)?\.(?:jpe?g|png)$", re.I)


def coco_id(name: str) -> int | None:
    """The COCO image id in a file name (``COCO_train2014_000000580957.jpg``, ``000000580957.jpg``), else None. One id
    is one picture in the releases of 2014 and 2017."""
    found = _COCO_NAME.search(name.replace("\\", "/"))
    return int(found[1]) if found else None


def of_coco_training(name: str) -> bool:
    """Whether a file name is of COCO's training pictures, or does not tell: RefCOCO's are of train2014, which shares
    none with val2014 and the test sets."""
    return coco_id(name) is not None and re.search(r"COCO_(?:val|test)20\d\d_", name, re.I) is None


def count(path: str) -> int:
    return len(_refs(path, _stamp(path)))


def rows(path: str, start: int, number: int) -> list[dict[str, Any] | Reject]:
    """Refs with their box and picture: the ref's keys, ``bbox``, ``width``, ``height``, ``picture``."""
    refs = _refs(path, _stamp(path))[start : start + number]
    annotations = os.path.join(os.path.dirname(path), "instances.json")
    boxes, pictures = _instances(annotations, _stamp(annotations))
    return [_joined(ref, boxes, pictures, f"{path}: ref {start + i}") for i, ref in enumerate(refs)]


def held_out_images(path: str) -> set[int]:
    """COCO ids of the pictures in the splits that are benchmarks. Raises ``Reject``."""
    out = set()
    for i, ref in enumerate(_refs(path, _stamp(path))):
        if need(ref, "split", f"{path}: ref {i}") in HELD_OUT_SPLITS:
            out.add(int(need(ref, "image_id", f"{path}: ref {i}")))
    return out


def _joined(ref: Any, boxes: dict[int, Any], pictures: dict[int, Any], where: str) -> dict[str, Any] | Reject:
    try:
        ann, image = need(ref, "ann_id", where), need(ref, "image_id", where)
        if ann not in boxes:
            raise Reject(Reason.MISSING_FIELD, f"{where}: annotation {ann} is not in instances.json; fetch it again")
        if image not in pictures:
            raise Reject(Reason.MISSING_FIELD, f"{where}: picture {image} is not in instances.json; fetch it again")
        name, width, height = pictures[image]
        return {**ref, "bbox": boxes[ann], "picture": name, "width": width, "height": height}
    except Reject as reject:
        return reject


@lru_cache(maxsize=4)
def _refs(path: str, stamp: int) -> list[Any]:
    refs = safe_load(path)
    if not isinstance(refs, list):
        raise Reject(Reason.WRONG_TYPE, f"{path}: {type(refs).__name__} where a list of refs belongs")
    return refs


@lru_cache(maxsize=2)
def _instances(path: str, stamp: int) -> tuple[dict[int, Any], dict[int, Any]]:
    """Boxes by annotation id and (file name, width, height) by picture id: all that is kept of some hundred MB."""
    data = read_json(path)
    boxes = {a["id"]: a.get("bbox") for a in _list(data, "annotations", path) if "id" in a}
    pictures = {
        p["id"]: (p.get("file_name", ""), p.get("width"), p.get("height"))
        for p in _list(data, "images", path)
        if "id" in p
    }
    return boxes, pictures


def _list(data: Any, key: str, path: str) -> list[dict[str, Any]]:
    found = need(data, key, path)
    if not isinstance(found, list) or not all(isinstance(x, dict) for x in found):
        raise Reject(Reason.WRONG_TYPE, f"{path}: {key} is no list of mappings")
    return found


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error
