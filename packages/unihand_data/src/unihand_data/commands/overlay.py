"""Hands drawn over the stored video: skeleton, wrist trajectory, and which frames were filled in.

Legend: T frames, J = 21 keypoints, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from unihand_data.shards.errors import ShardError
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import CameraRow, EpisodeRow
from unihand_data.shards.window import dense, frame_number
from unihand_data.space.slots import group_slice

COLOURS = {"left": (64, 160, 255), "right": (255, 144, 32)}
#: finger bones as pairs of the 21 keypoints
BONES = [(a, b) for f in range(5) for a, b in zip((0, *range(4 * f + 1, 4 * f + 4)), range(4 * f + 1, 4 * f + 5))]
TRAIL_S = 1.0


def hand_points(episode: EpisodeRow, camera: CameraRow) -> dict[str, np.ndarray]:
    """Side -> (T, 21, 3) m in the camera's frame, NaN where the hand is not known. Wrists come from the EEF slots,
    fingers from theta through the generic skeleton (also for MANO rows: their own mesh needs the licensed model)."""
    from unihand_data.hands import skeleton

    state = dense(np.nan_to_num(episode.state), episode.state_slots)
    out = {}
    for hand in episode.hands:
        names = (f"{hand.side}_eef_position", f"{hand.side}_eef_rotation", f"{hand.side}_theta")
        position, rotation, theta = (state[:, group_slice(n)].astype(float) for n in names)
        points = skeleton.forward(theta, position, rotation, hand.side, hand.hand_scale)  # type: ignore[arg-type]
        points[~hand.valid] = np.nan
        out[hand.side] = to_camera(points, episode, camera)
    return out


def to_camera(points: np.ndarray, episode: EpisodeRow, camera: CameraRow) -> np.ndarray:
    """(T, J, 3) of the row's world to the camera's frame; a row whose world is the camera is there already."""
    if camera.poses is None:
        if episode.world != "camera":
            raise ShardError(
                f"episode {episode.episode_id}, view {camera.view}: no camera poses, so nothing to project"
            )
        return points
    poses = camera.poses.astype(float)
    local = np.einsum("tji,tkj->tki", poses[:, :3, :3], points - poses[:, None, :3, 3])
    if camera.pose_valid is not None and episode.world != "camera":
        local[~camera.pose_valid] = np.nan
    return local


def project(points: np.ndarray, camera: CameraRow) -> np.ndarray:
    """(..., 3) m in the camera's frame to (..., 2) pixels; NaN behind the camera."""
    if camera.intrinsics is None:
        raise ShardError(f"view {camera.view}: no intrinsics, so nothing to project")
    fx, fy, cx, cy = camera.intrinsics
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(points[..., 2] > 0.01, points[..., 2], np.nan)
        return np.stack([fx * points[..., 0] / z + cx, fy * points[..., 1] / z + cy], axis=-1)


def frames(reader: ShardReader, episode: EpisodeRow, camera: CameraRow) -> Iterator[np.ndarray]:
    """The view's (H, W, 3) uint8 frame of every row frame, flipped where the row is a mirror."""
    media = reader.media(camera.media_id)
    numbers = [frame_number(episode, camera, media, float(t)) for t in episode.timestamps]
    for start in range(0, len(numbers), 32):
        piece = numbers[start : start + 32]
        pictures = reader.frames(camera.media_id, piece)
        for n in piece:
            yield pictures[n][:, ::-1].copy() if camera.mirrored else pictures[n].copy()


def drawn(reader: ShardReader, episode: EpisodeRow, camera: CameraRow) -> Iterator[np.ndarray]:
    """Frames with skeletons and the last second of each wrist's path."""
    points = hand_points(episode, camera)
    pixels = {side: project(p, camera) for side, p in points.items()}
    world = _wrists(episode)
    filled = {h.side: h.interpolated for h in episode.hands}
    times = episode.timestamps
    for t, picture in enumerate(frames(reader, episode, camera)):
        for side, px in pixels.items():
            colour = COLOURS[side]
            first = int(np.searchsorted(times, times[t] - TRAIL_S))
            for a, b in _path(world[side][first : t + 1], t, episode, camera):
                line(picture, a, b, colour, 1)
            shade = tuple(c // 2 for c in colour) if filled[side][t] else colour
            for i, j in BONES:
                line(picture, px[t, i], px[t, j], shade, 2)
            for p in px[t]:
                line(picture, p, p, (255, 255, 255), 3)
        yield picture


def write_mp4(path: Path, episode: EpisodeRow, pictures: Iterator[np.ndarray]) -> int:
    """H.264 at the row's own timestamps; returns the number of frames. Odd sizes lose their last column or row."""
    import av

    base = Fraction(1, 90000)
    temporary = path.with_name(path.name + ".part")
    count = 0
    with av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(episode.rate_hz) or 1, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = base
        for t, picture in zip(episode.timestamps, pictures):
            height, width = (n - n % 2 for n in picture.shape[:2])
            if count == 0:
                stream.width, stream.height = width, height
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            frame.pts, frame.time_base = round(float(t) / base), base
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode())
    temporary.replace(path)
    return count


def line(picture: np.ndarray, a: np.ndarray, b: np.ndarray, colour: tuple[int, ...], width: int) -> None:
    """A thick line in place; ends that are NaN or far outside draw nothing."""
    height, wide = picture.shape[:2]
    ends = np.array([a, b], float)
    if not np.isfinite(ends).all() or np.abs(ends).max() > 4 * max(height, wide):
        return
    steps = int(np.abs(ends[1] - ends[0]).max()) + 1
    xy = np.rint(np.linspace(ends[0], ends[1], steps + 1)).astype(int)
    reach = np.arange(width) - width // 2
    x = (xy[:, 0, None, None] + reach[None, :, None]).repeat(width, 2).ravel()
    y = (xy[:, 1, None, None] + reach[None, None, :]).repeat(width, 1).ravel()
    inside = (x >= 0) & (x < wide) & (y >= 0) & (y < height)
    picture[y[inside], x[inside]] = colour


def _wrists(episode: EpisodeRow) -> dict[str, np.ndarray]:
    state = dense(np.nan_to_num(episode.state), episode.state_slots)
    out = {}
    for hand in episode.hands:
        wrist = state[:, group_slice(f"{hand.side}_eef_position")].astype(float)
        wrist[~hand.valid] = np.nan
        out[hand.side] = wrist
    return out


def _path(trail: np.ndarray, t: int, episode: EpisodeRow, camera: CameraRow) -> list[tuple[np.ndarray, np.ndarray]]:
    """Segments, in pixels, of a world path as the camera sees it at frame ``t``."""
    if camera.poses is not None:
        pose = camera.poses[t].astype(float)
        trail = (trail - pose[:3, 3]) @ pose[:3, :3]
    px = project(trail, camera)
    return list(pairwise(px))
