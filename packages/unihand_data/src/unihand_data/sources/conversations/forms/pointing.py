"""Rows whose answer is geometry in columns: boxes, affordances, trajectories, waypoints and points.

``refer``: RefCOCO refs. ``pixel_box``: RoboRefIt. ``affordance``, ``trajectory``: ShareRobot. ``waypoints``:
A0-ManiSkill. ``points``: PixMo-Points. The question comes from the YAML's template: these corpora have labels
and no questions.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from urllib.parse import urlparse

from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.boxes import Corners, corners
from unihand_data.sources.conversations.forms.common import column, listed, talk, text
from unihand_data.sources.conversations.pictures import Finder
from unihand_data.sources.conversations.refer import HELD_OUT_SPLITS
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.conversations.talk import IMAGE, CoordUnit, Mark, Picture, Talk, Turn
from unihand_data.untrusted.tables import need, number, text_of


def _asked(spec: CorpusSpec, key: Any, picture: Picture, label: str, answer: list[str | Mark]) -> Talk:
    question = spec.question.format(label=label)
    found = talk(spec, key, [Turn("user", [f"{IMAGE}\n{question}"]), Turn("assistant", answer)])
    found.pictures = [picture]
    return found


def refer(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """A ref: every sentence is a question about the same box. Benchmark splits never train."""
    split = need(row, "split", where)
    if split in HELD_OUT_SPLITS:
        raise Reject(Reason.BENCHMARK_LEAK, f"{where}: is in the {split} split, which is a benchmark")
    shape = _xywh(need(row, "bbox", where), where)
    size = (number(need(row, "width", where), where), number(need(row, "height", where), where))
    turns: list[Turn] = []
    for s in listed(need(row, "sentences", where), where, "sentences"):
        label = text_of(s.get("sent") or s.get("raw") if isinstance(s, dict) else None, f"{where}: sentences")
        mark = Mark("box", [shape], "pixel", label=label, show_label=True, size=size)
        turns += [Turn("user", [spec.question.format(label=label)]), Turn("assistant", [mark])]
    if not turns:
        raise Reject(Reason.EMPTY, f"{where}: no sentence")
    turns[0].parts = [f"{IMAGE}\n", *turns[0].parts]
    found = talk(spec, need(row, "ref_id", where), turns)
    found.pictures = [finder.picture(row["picture"], where)]
    found.pictures[0].coco_id = int(number(need(row, "image_id", where), where))
    return found


def pixel_box(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """One expression and one box in pixels, as the YAML orders its numbers."""
    label = text_of(need(row, column(spec, "label"), where), where)
    (shape,) = corners([_four(need(row, column(spec, "box"), where), where)], spec.geometry.box, where, side=None)
    size = None if spec.geometry.size is None else (float(spec.geometry.size[0]), float(spec.geometry.size[1]))
    mark = Mark("box", [shape], "pixel", label=label, show_label=True, size=size)
    picture = finder.embedded(need(row, column(spec, "image"), where), where)
    return _asked(spec, row.get(column(spec, "id"), ""), picture, label, [mark])


def raw_pixel_box(row: dict[str, Any], spec: CorpusSpec, where: str) -> list[float]:
    """Its four numbers as they stand there, in shares of the picture where the corpus has one size. Raises
    ``Reject``."""
    four = _four(need(row, column(spec, "box"), where), where)
    width, height = spec.geometry.size or (1, 1)
    return [four[0] / width, four[1] / height, four[2] / width, four[3] / height]


def affordance(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """ShareRobot affordance: ``affordance {x, y, width, height}`` in pixels of ``meta_data.original_*``."""
    label, size = text_of(need(row, "instruction", where), where), _original_size(row, where)
    area = need(row, "affordance", where)
    areas = area if isinstance(area, list) else [area]
    shapes = [_xywh([need(a, k, where) for k in ("x", "y", "width", "height")], where) for a in areas]
    if not shapes:
        raise Reject(Reason.EMPTY, f"{where}: no affordance")
    mark = Mark("box", shapes, "pixel", label=label, size=size)
    return _asked(spec, row.get("id", ""), _picture(row, spec, finder, where), label, [mark])


def trajectory(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """ShareRobot trajectory: at least three pixels; published rows say ``trajectory``, the card ``points``."""
    label, size = text_of(need(row, "instruction", where), where), _original_size(row, where)
    value = row["trajectory"] if "trajectory" in row else need(row, "points", where)
    points = _pairs(value, where)
    if len(points) < 3:
        raise Reject(Reason.POINT_COUNT_MISMATCH, f"{where}: {len(points)} points, a trajectory has three or more")
    mark = Mark("polyline", [points], "pixel", label=label, size=size)
    return _asked(spec, row.get("id", ""), _picture(row, spec, finder, where), label, [mark])


def waypoints(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """A0: the waypoints of an episode from the start of its valid range on, drawn in that frame's picture."""
    meta = need(row, "metadata", where)
    texts = need(meta, "instructions", where)
    label = text_of(texts[0] if isinstance(texts, list) and texts else texts, f"{where}: metadata.instructions")
    span = need(meta, "validRange", where)
    start, end = (int(number(need(span, k, where), where)) for k in ("start", "end"))
    frames = listed(need(row, "cam_highs", where), where, "cam_highs")
    points = _pairs(need(row, "waypoints2d", where), where)
    if len(points) != len(frames):
        raise Reject(
            Reason.POINT_COUNT_MISMATCH, f"{where}: {len(points)} waypoints for {len(frames)} pictures (cam_highs)"
        )
    if not 0 <= start <= end < len(frames):
        raise Reject(Reason.BAD_VALUE, f"{where}: validRange {start}..{end} of {len(frames)} pictures")
    chosen = points[start : end + 1]
    if len(chosen) < 2:
        raise Reject(Reason.POINT_COUNT_MISMATCH, f"{where}: {len(chosen)} waypoint in the valid range")
    keep = sorted({round(i * (len(chosen) - 1) / (STEPS - 1)) for i in range(STEPS)})
    mark = Mark("polyline", [[chosen[i] for i in keep]], "pixel", label=label)
    return _asked(spec, "", finder.embedded(frames[start], where), label, [mark])


#: waypoints of a trajectory that an answer gives: A0's own chunk
STEPS = 5


def points(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Talk:
    """PixMo-Points: points of everything a label names, none is an answer too. The picture is a file named by the hash
    of its URL or of its bytes, whose published SHA-256 is compared."""
    label = text_of(need(row, "label", where), where)
    found = row.get("points")
    pairs = [] if found is None else _pairs(found, where)
    count = row.get("count")
    if count is not None and int(number(count, where)) != len(pairs):
        raise Reject(Reason.POINT_COUNT_MISMATCH, f"{where}: count is {count}, {len(pairs)} points are given")
    url = text(need(row, "image_url", where), where, "image_url")
    published = text(need(row, "image_sha256", where), where, "image_sha256")
    picture = _downloaded(url, published, finder, where)
    if not pairs:
        return _asked(spec, url, picture, label, ["There are none."])
    unit: CoordUnit = "pixel"
    if spec.geometry.unit in ("detect_percent", "percent") and all(0 <= v <= 100 for p in pairs for v in p):
        unit = "percent"
    elif spec.geometry.unit != "pixel":
        raise Reject(Reason.COORD_FRAME_AMBIGUOUS, f"{where}: points beyond 100 where the corpus is in percent")
    return _asked(spec, url, picture, label, [Mark("point", [[p] for p in pairs], unit, label=label)])


def _downloaded(url: str, published: str, finder: Finder, where: str) -> Picture:
    ending = urlparse(url).path.rpartition(".")[2][:5]
    names = [published, f"{published}.{ending}", f"{published}.jpg", sha256(url.encode()).hexdigest()]
    for name in names:
        try:
            picture = finder.picture(name, where)
        except Reject:
            continue
        picture.sha256 = published
        return picture
    raise Reject(Reason.MISSING_FILE, f"{where}: {url[:120]} was not downloaded; lay it here as {published}")


def _picture(row: dict[str, Any], spec: CorpusSpec, finder: Finder, where: str) -> Picture:
    name = next((row[k] for k in ("image_path", "image", "id") if isinstance(row.get(k), str)), None)
    return finder.embedded(name, where)


def _original_size(row: dict[str, Any], where: str) -> tuple[float, float] | None:
    meta = row.get("meta_data")
    if not isinstance(meta, dict) or "original_width" not in meta:
        return None
    return number(meta["original_width"], where), number(need(meta, "original_height", where), where)


def _four(values: Any, where: str) -> list[float]:
    row = listed(values, where, "the box")
    if len(row) != 4:
        raise Reject(Reason.WRONG_TYPE, f"{where}: a box of {len(row)} numbers, four belong")
    return [number(v, f"{where}: the box") for v in row]


def _xywh(values: Any, where: str) -> Corners:
    return corners([_four(values, where)], "xywh", where, side=None)[0]


def _pairs(values: Any, where: str) -> list[tuple[float, float]]:
    out = []
    for p in listed(values, where, "the points"):
        x, y = (need(p, "x", where), need(p, "y", where)) if isinstance(p, dict) else _two(p, where)
        out.append((number(x, f"{where}: a point"), number(y, f"{where}: a point")))
    return out


def _two(p: Any, where: str) -> tuple[Any, Any]:
    if not isinstance(p, list | tuple) or len(p) != 2:
        raise Reject(Reason.WRONG_TYPE, f"{where}: {str(p)[:40]} where a point of two numbers belongs")
    return p[0], p[1]
