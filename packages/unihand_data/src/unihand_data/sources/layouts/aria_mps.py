"""Aria Machine Perception Services: hand landmarks and the device's trajectory as csv, beside an exported video.

Landmarks are in the device frame; ``online_calibration.jsonl`` leads from there to the RGB camera and
``*_mp4_to_vrs_time_ns.csv`` from the video's clock to the device's.

Legend: T rows of the hand table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.hands.mano_variants import ARIA_TO_21, reorder_keypoints
from unihand_data.sources import motion
from unihand_data.sources.annotated_sequence import AnnotatedSource, Sequence, SideRows
from unihand_data.sources.layouts.common import SIDES
from unihand_data.sources.listing import is_video
from unihand_data.untrusted import arrays, tables
from unihand_data.values.camera import Intrinsics
from unihand_data.values.recording import SourceItem

#: a trajectory sample further away than this has no say (the trajectory runs at 1 kHz)
_MAX_GAP_US = 5_000
_PARTS = {
    "trajectory": r"/closed_loop_trajectory[^/]*\.csv$",
    "calibration": r"/online_calibration\.jsonl$",
    "clock": r"_mp4_to_vrs_time_ns\.csv$",
}


def list_items(source: AnnotatedSource, files: list[str]) -> Iterator[SourceItem]:
    """One item per ``hand_tracking`` folder; of several versions of the table the last name counts."""
    hands: dict[str, list[str]] = {}
    for f in files:
        if found := re.search(r"^(.*?)/?hand_tracking/(?:hand_tracking_results[^/]*|wrist_and_palm[^/]*)\.csv$", f):
            hands.setdefault(found.group(1), []).append(f)
    for base, names in sorted(hands.items()):
        results = [n for n in names if "hand_tracking_results" in n]
        source.claim(*names)
        if not results:
            continue
        inside = [f for f in files if f.startswith(f"{base}/" if base else "")]
        parts = {k: next((f for f in inside if re.search(p, f"/{f}")), None) for k, p in _PARTS.items()}
        video = next((f for f in inside if is_video(f)), None)
        source.claim(*(f for f in (*parts.values(), video) if f))
        yield source.item(base or results[-1], source.path(results[-1]), hands=max(results), video=video, **parts)
    for f in files:
        if is_video(f) and f not in source.claimed:
            source.claim(f)
            yield source.item(f, source.path(f), hands=None, video=f)


def load(source: AnnotatedSource, item: SourceItem) -> Sequence:
    """Hands in the RGB camera where the calibration is there, else (inspection only) in the device frame."""
    p = item.payload
    if p["hands"] is None:
        raise Reject(Reason.MISSING_FILE, f"{item.uri}: no hand_tracking results beside it; request them and fetch")
    path = source.path(p["hands"])
    rows = tables.read_csv(path)
    if not rows:
        raise Reject(Reason.EMPTY, f"{path}: no rows in it; fetch it again")
    stamps = np.array([tables.number(tables.need(r, "tracking_timestamp_us", path), path) for r in rows])
    if (np.diff(stamps) <= 0).any():
        raise Reject(Reason.BAD_VALUE, f"{path}: tracking_timestamp_us does not increase")
    video = source.path(p["video"]) if p["video"] else None
    if video is not None:
        for name in ("calibration", "clock"):
            if p[name] is None:
                raise Reject(Reason.MISSING_FILE, f"{item.uri}: no {name} file ({_PARTS[name]}); fetch it")
    lens, to_camera = calibration(source.path(p["calibration"])) if p["calibration"] else (None, np.eye(4))
    camera = None
    if p["trajectory"]:
        camera = trajectory(source.path(p["trajectory"]), stamps)
        if camera is not None:
            camera = camera @ motion.inverse(to_camera[None])[0]
    return Sequence(
        _video_times(source.path(p["clock"]), stamps) if p["clock"] else (stamps - stamps[0]) * 1e-6,
        {side: _hand(side, rows, path) for side in SIDES},
        video=video,
        camera=camera,
        hand_to_camera=to_camera,
        intrinsics=lens,
        annotations=(path,),
        task_id=item.key,
    )


def _hand(side: str, rows: list[dict[str, str]], path: str) -> SideRows:
    confidence = np.array([tables.number(tables.need(r, f"{side}_tracking_confidence", path), path) for r in rows])
    points = np.array(
        [
            [
                [tables.number(tables.need(r, f"t{a}_{side}_landmark_{i}_device", path), path) for a in "xyz"]
                for i in range(21)
            ]
            for r in rows
        ]
    )
    return SideRows(
        confidence > 0, keypoints=reorder_keypoints(points, ARIA_TO_21), confidence=np.clip(confidence, 0, 1)
    )


def trajectory(path: str, stamps: np.ndarray) -> np.ndarray | None:
    """(T, 4, 4) device-to-world at the times ``stamps`` (T,), device clock in us; NaN where no sample is within reach,
    None if nowhere."""
    names = [f"t{a}_world_device" for a in "xyz"] + [f"q{a}_world_device" for a in "xyzw"]
    values = tables.csv_numbers(path, ("tracking_timestamp_us", *names))  # 1 kHz: a take has hundreds of thousands
    if not len(values) or (np.abs(np.linalg.norm(values[:, 4:], axis=1) - 1) > 1e-2).any():
        raise Reject(Reason.BAD_VALUE, f"{path}: no rows, or quaternions that are not of unit length")
    at = np.clip(np.searchsorted(values[:, 0], stamps), 1, max(len(values) - 1, 1))
    before = np.abs(values[at - 1, 0] - stamps) < np.abs(values[np.minimum(at, len(values) - 1), 0] - stamps)
    nearest = np.where(before, at - 1, np.minimum(at, len(values) - 1))
    near = np.abs(values[nearest, 0] - stamps) <= _MAX_GAP_US
    if not near.any():
        return None
    pose = np.full((len(stamps), 4, 4), np.nan)
    pose[near] = np.eye(4)
    pose[near, :3, :3] = Rotation.from_quat(values[nearest[near], 4:]).as_matrix()
    pose[near, :3, 3] = values[nearest[near], 1:4]
    return pose


def _video_times(path: str, stamps: np.ndarray) -> np.ndarray:
    """Device time (us) -> seconds of the video, linear between the pairs of the clock table."""
    rows = tables.read_csv(path)
    pairs = arrays.array(
        [[tables.number(tables.need(r, n, path), path) for n in ("mp4_time_ns", "vrs_device_time_ns")] for r in rows],
        (len(rows), 2),
        path,
    )
    if len(pairs) < 2 or (np.diff(pairs, axis=0) <= 0).any():
        raise Reject(Reason.BAD_VALUE, f"{path}: fewer than two pairs, or times that do not increase")
    device = stamps * 1e3
    rate = (pairs[-1, 0] - pairs[0, 0]) / (pairs[-1, 1] - pairs[0, 1])
    inner = np.interp(device, pairs[:, 1], pairs[:, 0])
    outer = pairs[0, 0] + (device - pairs[0, 1]) * rate
    return np.where((device < pairs[0, 1]) | (device > pairs[-1, 1]), outer, inner) * 1e-9


def calibration(path: str) -> tuple[Intrinsics | None, np.ndarray]:
    """Intrinsics of the RGB camera (None for lens models without a pinhole-plus-k1..k4 form), device-to-camera."""
    lines = tables.read_jsonl(path)
    cameras = tables.need(lines[0], "CameraCalibrations", path) if lines else None
    if not isinstance(cameras, list):
        raise Reject(Reason.WRONG_TYPE, f"{path}: no list CameraCalibrations in the first line")
    rgb: Any = next((c for c in cameras if isinstance(c, dict) and c.get("Label") == "camera-rgb"), None)
    if rgb is None:
        raise Reject(Reason.MISSING_FIELD, f"{path}: no camera-rgb among its cameras")
    pose = tables.need(rgb, "T_Device_Camera", path)
    quat = tables.need(pose, "UnitQuaternion", path)
    if not (isinstance(quat, list) and len(quat) == 2 and isinstance(quat[1], list)):
        raise Reject(Reason.WRONG_TYPE, f"{path}: UnitQuaternion is not [w, [x, y, z]]")
    q = arrays.array([*quat[1], quat[0]], (4,), path)
    if abs(np.linalg.norm(q) - 1) > 1e-2:
        raise Reject(Reason.BAD_VALUE, f"{path}: UnitQuaternion of camera-rgb is not of unit length")
    device_camera = np.eye(4)
    device_camera[:3, :3] = Rotation.from_quat(q).as_matrix()
    device_camera[:3, 3] = arrays.array(tables.need(pose, "Translation", path), (3,), path)
    projection = tables.need(rgb, "Projection", path)
    lens = None
    if projection.get("Name") == "KannalaBrandtK3" if isinstance(projection, dict) else False:
        fx, fy, cx, cy, *k = arrays.array(tables.need(projection, "Params", path), (8,), path)
        lens = motion.pinhole([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], 0, 0, path, "kannala_brandt", k)
    return lens, motion.inverse(device_camera[None])[0]
