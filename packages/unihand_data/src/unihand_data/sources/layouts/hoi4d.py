"""HOI4D: one pickle per frame and hand, video ``align_rgb/image.mp4``, camera trajectory as an Open3D log.

Legend: T frames of the sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import motion
from unihand_data.sources.annotated_sequence import AnnotatedSource, Sequence, SideRows
from unihand_data.sources.layouts.common import SIDES, by_folder, frame_number
from unihand_data.sources.narration_tables import hand_in
from unihand_data.untrusted import arrays, tables
from unihand_data.untrusted.unpickle import safe_load
from unihand_data.values.hands import Side
from unihand_data.values.recording import Narration, SourceItem

#: ZY<camera>/H<person>/C<class>/N<instance>/S<room>/s<layout>/T<task>
_KEY_PARTS = 7


def list_items(source: AnnotatedSource, files: list[str]) -> Iterator[SourceItem]:
    """Videos ``<key>/align_rgb/image.mp4``; hands ``*{right,left}*/<key>/<frame>.pickle`` anywhere."""
    known = set(files)
    hands_of: dict[str, dict[str, list[str]]] = {}
    for folder, names in by_folder(files, r"\.pickle$").items():
        key = "/".join(folder.split("/")[-_KEY_PARTS:])
        side = next((s for s in SIDES if s in folder[: -len(key)]), None)
        if side:
            hands_of.setdefault(key, {})[side] = [f"{folder}/{n}" for n in names]
    lenses = {f.split("/")[-2]: f for f in files if re.search(r"camera_params/[^/]+/[^/]*intrin\.npy$", f)}
    for name in source.select(files, source.spec.videos):
        key = source.video_key(name)
        hands = hands_of.get(key, {})
        source.claim(*(f for names in hands.values() for f in names))
        near = name[: -len("align_rgb/image.mp4")]
        extra = {
            "action": f"{near}action/color.json" if f"{near}action/color.json" in known else None,
            "trajectory": f"{near}3Dseg/output.log" if f"{near}3Dseg/output.log" in known else None,
            "intrinsics": lenses.get(key.split("/")[0]),
        }
        source.claim(name, *(f for f in extra.values() if f))
        yield source.item(key, source.path(name), video=name, hands=hands, **extra)


def load(source: AnnotatedSource, item: SourceItem) -> Sequence:
    """The hands of a take by video frame in the camera, and the camera's trajectory where it is there.

    Raises:
        Reject: MISSING_FILE (no hand pickles), BAD_VALUE (a frame number), CONTRADICTION (hands beyond the trajectory).
    """
    p = item.payload
    if not p["hands"]:
        raise Reject(Reason.MISSING_FILE, f"{item.uri}: no hand pickles for {item.key}; fetch the hand poses")
    numbers = {side: {frame_number(n, item.key): n for n in names} for side, names in p["hands"].items()}
    frames = np.array(sorted(set().union(*numbers.values())))
    if frames.max() > 100_000:
        raise Reject(Reason.BAD_VALUE, f"{item.uri}: frame number {frames.max()} in the hand pickles")
    sides: dict[Side, SideRows] = {}
    for side, by_number in numbers.items():
        rows = SideRows(
            np.zeros(len(frames), bool), np.full((len(frames), 48), np.nan), None, np.full((len(frames), 3), np.nan)
        )
        betas = []
        for i, frame in enumerate(frames):
            if frame not in by_number:
                continue
            path = source.path(by_number[frame])
            data = safe_load(path)
            rows.pose[i] = arrays.array(tables.need(data, "poseCoeff", path), (48,), f"{path}, poseCoeff")  # type: ignore[index]
            rows.transl[i] = arrays.array(tables.need(data, "trans", path), (3,), f"{path}, trans")  # type: ignore[index]
            betas.append(arrays.array(tables.need(data, "beta", path), (10,), f"{path}, beta"))
            rows.valid[i] = True
        rows.beta = np.mean(betas, axis=0)
        sides[side] = rows
    assert source.spec.fps is not None
    camera = None
    if p["trajectory"]:
        camera = _open3d_log(source.path(p["trajectory"]))
        if frames.max() >= len(camera):
            raise Reject(
                Reason.CONTRADICTION, f"{source.path(p['trajectory'])}: {len(camera)} poses, hands reach {frames.max()}"
            )
        camera = camera[frames]
    intrinsics = None
    if p["intrinsics"]:
        path = source.path(p["intrinsics"])
        intrinsics = motion.pinhole(safe_load(path), 1920, 1080, path)
    return Sequence(
        frames / source.spec.fps,
        sides,
        video=source.path(p["video"]),
        camera=camera,
        intrinsics=intrinsics,
        narrations=_hoi4d_events(source.path(p["action"])) if p["action"] else [],
        annotations=tuple(source.path(n) for names in p["hands"].values() for n in names),
        task_id=item.key,
    )


def _open3d_log(path: str) -> np.ndarray:
    """Open3D trajectory: per pose a line of three integers and four lines of a 4x4 matrix, camera-to-world."""
    lines = [line for line in tables.read_text(path).splitlines() if line.strip()]
    if not lines or len(lines) % 5:
        raise Reject(Reason.TRUNCATED, f"{path}: {len(lines)} lines, expected five per pose; fetch it again")
    try:
        rows = [[float(v) for v in line.split()] for i, line in enumerate(lines) if i % 5]
    except ValueError as error:
        raise Reject(Reason.WRONG_TYPE, f"{path}: {error}") from error
    if any(len(r) != 4 for r in rows):
        raise Reject(Reason.WRONG_TYPE, f"{path}: a matrix row without four numbers")
    return np.array(rows).reshape(-1, 4, 4)


def _hoi4d_events(path: str) -> list[Narration]:
    """``events`` with startTime/endTime, or the older ``markResult.marks`` with hdTimeStart/hdTimeEnd (s)."""
    data = tables.read_json(path)
    if isinstance(data, dict) and "markResult" in data:
        events, names = tables.need(data["markResult"], "marks", path), ("hdTimeStart", "hdTimeEnd")
    else:
        events, names = tables.need(data, "events", path), ("startTime", "endTime")
    if not isinstance(events, list):
        raise Reject(Reason.WRONG_TYPE, f"{path}: events is no list")
    out = []
    for e in events:
        t0, t1 = (tables.number(tables.need(e, n, path), f"{path}, {n}") for n in names)
        text = tables.text_of(tables.need(e, "event", path), path)
        if not 0 <= t0 < t1:
            raise Reject(Reason.BAD_VALUE, f"{path}: event {text!r} spans {t0} .. {t1} s")
        out.append(Narration(t0, t1, text, "instruction", hand_in(text)))
    return out
