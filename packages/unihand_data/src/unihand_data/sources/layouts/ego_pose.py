"""Ego-Exo4D's EgoPose: 3D hand joints per frame number in the world, camera poses, Aria's trajectory per take.

``annotations/ego_pose/<split>/hand/{annotation,automatic}/<take_uid>.json``
    ``{frame: [{"annotation3D": {"left_wrist": {"x", "y", "z", "num_views_for_3d"}, "left_thumb_1": ...}}]}``, metres.
``annotations/ego_pose/<split>/camera_pose/<take_uid>.json``
    ``{"aria01": {"camera_intrinsics": ..., "camera_extrinsics": {frame: 3x4 world-to-camera}}, "cam01": ...}``.
``takes/<take>/trajectory/{closed_loop_trajectory.csv,online_calibration.jsonl}``
    the device's poses by device time and where the RGB camera sits in it (:mod:`aria_mps`); a video's frame i was taken
    at row ``timesync_start_idx + 1 + i`` of ``captures/<capture>/timesync.csv``.

Frame numbers count the frame-aligned video from 0. Poses are those of the sensor as it is built in; the videos are
turned upright (the YAML's ``camera.turned``). Formats: docs.ego-exo4d-data.org (EgoPose, Takes, MPS) and the loader
of the owners' hand pose baseline.

Legend: F annotated frames, N frames of the video.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources import motion
from unihand_data.sources.annotated_sequence import Sequence, SideRows
from unihand_data.sources.isolated import frame_times
from unihand_data.sources.layouts import aria_mps
from unihand_data.sources.layouts.common import SIDES
from unihand_data.untrusted import arrays, tables
from unihand_data.values.hands import FINGERS
from unihand_data.values.recording import Recording, SourceItem

if TYPE_CHECKING:
    from unihand_data.sources.readers.video_pose import VideoPoseSource

#: annotated joints seen by fewer cameras are left out, as the owners' loader does; automatic ones carry no such promise
MIN_VIEWS = 3
#: how many frames a take's video and its rows of timesync.csv may differ by
_SLACK = 3
#: the camera of one frame in both of its files must be the same one (a wrong direction, turn or clock is far more)
_MAX_APART_M = 0.1
_HANDS = re.compile(r"^(.*ego_pose/[^/]+/hand/(?:annotation|automatic))/[^/]+\.json$")
_CAMERAS = re.compile(r"^(.*ego_pose/[^/]+/camera_pose)/[^/]+\.json$")
_VIDEO = re.compile(
    r"^(?P<root>(?:.*/)?)takes/(?P<take>[^/]+)/frame_aligned_videos/.*?(?P<camera>[^/_]+)_(?P<s>[\d-]+)\."
)


def joints(side: str) -> list[str]:
    """The 21 names of a hand in our order: wrist, thumb to pinky from the palm to the tip."""
    return [f"{side}_wrist", *(f"{side}_{finger}_{k}" for finger in FINGERS for k in (1, 2, 3, 4))]


def find(source: VideoPoseSource, files: list[str]) -> Callable[[str], dict[str, Any]]:
    """Claims the pose files of a listing; gives per video where its own would lie."""
    folders: dict[str, set[str]] = {"hands": set(), "cameras": set()}
    for kind, regex in (("hands", _HANDS), ("cameras", _CAMERAS)):
        for f in files:
            if hit := regex.match(f):
                source.claim(f)
                folders[kind].add(hit.group(1))
    known = set(files)
    listed = {kind: sorted(names) for kind, names in folders.items()}  # "annotation" comes before "automatic"

    def of_video(video: str) -> dict[str, Any]:
        out: dict[str, Any] = dict(listed)
        if hit := _VIDEO.match(video):
            base = f"{hit['root']}takes/{hit['take']}/trajectory"
            capture = re.sub(r"_\d+$", "", hit["take"])
            parts = {
                "trajectory": f"{base}/closed_loop_trajectory.csv",
                "calibration": f"{base}/online_calibration.jsonl",
                "timesync": f"{hit['root']}captures/{capture}/timesync.csv",
            }
            parts = {k: f for k, f in parts.items() if f in known}
            source.claim(*parts.values())
            out |= parts | {"camera": hit["camera"], "stream": hit["s"]}
        return out

    return of_video


def load(source: VideoPoseSource, item: SourceItem, recording: Recording, rejects: list[Reject]) -> Sequence | None:
    """Hands and camera of one take, whatever of them is there; None without either. Frames that cannot be read, and
    hands without any camera to see them from, are added to ``rejects``.

    Raises:
        Reject: a damaged file; CONTRADICTION (frame numbers beyond the video, two cameras that disagree)."""
    p, uid = item.payload["poses"], recording.extra["join"]
    assert recording.video is not None
    hands, extrinsics = (_first(source, p[kind], uid) for kind in ("hands", "cameras"))
    whole = all(k in p for k in ("trajectory", "calibration", "timesync"))
    if not (hands or extrinsics or whole):
        return None
    pts = frame_times(recording.video)
    used = [f for f in (hands, extrinsics) if f]
    known = _extrinsics(extrinsics, p.get("camera", ""), rejects) if extrinsics else {}
    path = np.full((len(pts), 4, 4), np.nan)
    if whole:
        path = _trajectory(source, item, p, len(pts))
        used += [source.path(p[k]) for k in ("trajectory", "calibration", "timesync")]
    _need_frames(known, len(pts), extrinsics or "")
    _same_camera(known, path, item.uri)
    for frame, pose in known.items():
        path[frame] = pose
    rows = _frames(hands, rejects) if hands else {}
    _need_frames(rows, len(pts), hands or "")
    seen = [f for f in sorted(rows) if np.isfinite(path[f]).all()]
    if rows and len(seen) < 2:
        why = "no camera pose" if len(rows) > 1 else "only one annotated frame"
        text = f"{hands}: {why} for its {len(rows)} frames; fetch the take's camera_pose or its trajectory"
        rejects.append(Reject(Reason.MISSING_FILE if len(rows) > 1 else Reason.TOO_SHORT, text, level="row"))
        seen = []
    has_path = bool(np.isfinite(path).all((1, 2)).any())
    if not seen and not has_path:
        return None
    points = {s: np.array([rows[f][k] for f in seen]).reshape(-1, 21, 3) for k, s in enumerate(SIDES)}
    sides = {s: SideRows(np.isfinite(points[s][:, 0]).all(1), keypoints=points[s]) for s in SIDES}
    return Sequence(
        pts[seen], sides if seen else {}, camera=path[seen], path=path, path_times=pts, annotations=tuple(used)
    )  # fmt: skip


def _first(source: VideoPoseSource, folders: list[str], uid: str) -> str | None:
    """A take's file in the first folder that has one: people's annotation before the automatic one."""
    paths = (source.path(f"{folder}/{uid}.json") for folder in sorted(folders, key=lambda f: "automatic" in f))
    return next((p for p in paths if Path(p).is_file()), None)


def _rows(path: str, value: Any, rejects: list[Reject], read: Callable[[Any, str], Any]) -> Iterator[tuple[int, Any]]:
    """(frame number, what ``read`` makes of its value); a frame that cannot be read costs only itself."""
    if not isinstance(value, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: {type(value).__name__} where frames by number belong; fetch it again")
    for key, entry in value.items():
        where = f"{path}, frame {str(key)[:20]}"
        try:
            if not str(key).isdecimal():
                raise Reject(Reason.WRONG_TYPE, f"{where}: no frame number")
            yield int(key), read(entry, where)
        except Reject as reject:
            rejects.append(Reject(reject.reason, reject.message, level="row"))


def _frames(path: str, rejects: list[Reject]) -> dict[int, np.ndarray]:
    """Frame number -> (2, 21, 3) joints in the world, left then right, m; NaN where a joint is not annotated."""
    views = 0 if "/automatic/" in path else MIN_VIEWS

    def read(entry: Any, where: str) -> np.ndarray | None:
        points = np.full((2, 21, 3), np.nan)
        first = entry[0] if isinstance(entry, list) and entry else {}
        if not isinstance(entry, list) or not isinstance(first, dict):
            raise Reject(Reason.WRONG_TYPE, f"{where}: not a list of annotations")
        found = first.get("annotation3D") or {}
        for k, side in enumerate(SIDES):
            for j, name in enumerate(joints(side)):
                if isinstance(found, dict) and name not in found:
                    continue
                joint = tables.need(found, name, where)
                if tables.number(tables.need(joint, "num_views_for_3d", where), where) >= views:
                    points[k, j] = [tables.number(tables.need(joint, a, where), f"{where}, {name}") for a in "xyz"]
        return points if np.isfinite(points[:, 0]).all(1).any() else None

    return {f: p for f, p in _rows(path, tables.read_json(path), rejects, read) if p is not None}


def _extrinsics(path: str, camera: str, rejects: list[Reject]) -> dict[int, np.ndarray]:
    """Frame number -> (4, 4) world to the wearer's camera."""
    value = tables.need(tables.read_json(path), camera, path)
    poses = tables.need(value, "camera_extrinsics", f"{path}, {camera}")

    def read(entry: Any, where: str) -> np.ndarray:
        pose = np.eye(4)
        pose[:3] = arrays.array(entry, (3, 4), where)
        arrays.rigid(pose[None], where)
        return pose

    return dict(_rows(path, poses, rejects, read))


def _trajectory(source: VideoPoseSource, item: SourceItem, p: dict[str, Any], frames: int) -> np.ndarray:
    """(N, 4, 4) world to the RGB camera at every frame of the video; NaN where the trajectory has no sample."""
    entry = source.alias_entry(item.payload["join"], item.payload["alias"]) or {}
    takes = source.path(item.payload["alias"][0])
    first, end = (tables.number(tables.need(entry, f"timesync_{k}_idx", takes), takes) for k in ("start", "end"))
    timesync, column = source.path(p["timesync"]), f"{p['camera']}_{p['stream']}_capture_timestamp_ns"
    rows = tables.csv_numbers(timesync, (column,), empty=True)[:, 0]  # ns; NaN: the camera took no frame there
    if not 0 <= first < end <= len(rows) + 1:
        raise Reject(Reason.CONTRADICTION, f"{timesync}: {len(rows)} rows, but {takes} names {first:.0f} to {end:.0f}")
    taken = rows[int(first) + 1 : int(end)]
    if abs(len(taken) - frames) > _SLACK:
        raise Reject(
            Reason.CONTRADICTION,
            f"{timesync}: {len(taken)} rows for a video of {frames} frames ({item.uri}); they belong to another cut",
        )
    stamps = np.full(frames, np.nan)  # us
    stamps[: len(taken)] = taken[:frames] / 1e3
    there = np.flatnonzero(np.isfinite(stamps))
    _, to_camera = aria_mps.calibration(source.path(p["calibration"]))
    device = aria_mps.trajectory(source.path(p["trajectory"]), stamps[there])
    out = np.full((frames, 4, 4), np.nan)
    if device is not None:
        out[there] = to_camera @ motion.inverse(device)
    return out


def _need_frames(rows: dict[int, Any], frames: int, path: str) -> None:
    if rows and max(rows) >= frames:
        raise Reject(
            Reason.CONTRADICTION,
            f"{path}: frame {max(rows)} of a video of {frames} frames; it belongs to another cut of the take",
        )


def _same_camera(known: dict[int, np.ndarray], path: np.ndarray, uri: str) -> None:
    """The two sources of the camera's pose must agree where both speak."""
    both = [f for f in known if np.isfinite(path[f]).all()]
    if both:
        a, b = motion.inverse(np.array([known[f] for f in both])), motion.inverse(path[both])
        apart = float(np.median(np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1)))
        if apart > _MAX_APART_M:
            raise Reject(
                Reason.CONTRADICTION,
                f"{uri}: the cameras of camera_pose and of the trajectory are {apart:.2f} m apart; one of the two "
                "files is another take's",
            )
