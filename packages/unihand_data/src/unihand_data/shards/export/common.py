"""What every export needs: which episodes go in, their columns, their sentences, their video, their statistics.

Legend: T frames, S columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from unihand_data.shards.errors import ShardError
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import CameraRow, EpisodeRow
from unihand_data.shards.window import dense, frame_number
from unihand_data.space.slots import SLOTS

STATE, ACTION = "observation.state", "action"
STATE_MASK, ACTION_MASK = "observation.state_mask", "action_mask"


@dataclass
class Selection:
    """Episodes that can share one table: one embodiment, one rate, the same views.

    ``slots``: vector column -> slot numbers, the union over the episodes; what an episode lacks is 0 and masked.
    """

    episode_ids: list[str]
    embodiment: str
    rate_hz: float
    views: dict[str, tuple[int, int]]  # view -> height, width
    slots: dict[str, np.ndarray]

    @property
    def fps(self) -> int | float:
        return int(self.rate_hz) if float(self.rate_hz).is_integer() else self.rate_hz


def select(reader: ShardReader, *, embodiment: str | None, rate_hz: float | None, mirrored: bool) -> Selection:
    """Episodes in the order train, val, test.

    Raises:
        ShardError: they do not fit one table; the message says which choices there are.
    """
    light = reader.episode_columns(["episode_id", "parent_id", "embodiment", "rate_hz", "split"])
    rows = [r for r in light if mirrored or not r["parent_id"]]
    rows = [r for r in rows if embodiment in (None, r["embodiment"])]
    rates = _rates(rows)
    rows = [r for r in rows if rate_hz is None or abs(r["rate_hz"] - rate_hz) < 0.01 * rate_hz]
    if not rows:
        raise ShardError("no episode is left to export")
    for name, values in (("embodiment", {r["embodiment"] for r in rows}), ("rate", set(_rates(rows)))):
        if len(values) > 1:
            raise ShardError(
                f"one exported table has one {name}, here there are {', '.join(map(str, sorted(values)))} "
                f"(of rates {rates}); choose one with --{name}"
            )
    order = {"train": 0, "val": 1, "test": 2}
    rows.sort(key=lambda r: order[r["split"]])
    found = Selection([r["episode_id"] for r in rows], rows[0]["embodiment"], rows[0]["rate_hz"], {}, {})
    slots: dict[str, set[int]] = {STATE: set(), ACTION: set()}
    for n, episode_id in enumerate(found.episode_ids):
        e = reader.episode(episode_id)
        views = {c.view: (c.height, c.width) for c in e.cameras}
        if n == 0:
            found.views = views
        if views != found.views:
            raise ShardError(f"episode {e.episode_id} has the views {views}, others {found.views}; export them apart")
        slots[STATE] |= set(e.state_slots.tolist())
        slots[ACTION] |= set(e.action_slots.tolist())
    found.slots = {k: np.array(sorted(v), np.int64) for k, v in slots.items()}
    return found


def _rates(rows: list[dict[str, Any]]) -> list[float]:
    """Distinct rates to a hundredth: clips of one camera differ in the last digits."""
    return sorted({round(r["rate_hz"], 2) for r in rows})


def splits(reader: ShardReader, selection: Selection) -> dict[str, str]:
    """``{"train": "0:n", ...}`` as LeRobot writes them; splits without episodes are left out."""
    names = [reader.episode(i).split for i in selection.episode_ids]
    return {s: f"{names.index(s)}:{names.index(s) + names.count(s)}" for s in dict.fromkeys(names)}


def vectors(e: EpisodeRow, selection: Selection) -> dict[str, np.ndarray]:
    """The four (T, S) columns; what is not known is 0 and masked."""
    out = {}
    for name, mask, values, valid, slots in (
        (STATE, STATE_MASK, e.state, e.state_mask, e.state_slots),
        (ACTION, ACTION_MASK, e.action, e.action_mask, e.action_slots),
    ):
        wanted = selection.slots[name]
        out[name] = dense(np.where(valid, values, 0).astype(np.float32), slots)[:, wanted]
        out[mask] = dense(valid, slots)[:, wanted]
    return out


def features(selection: Selection, *, codec: str, fps: float) -> dict[str, Any]:
    """The ``features`` of ``info.json``."""
    out: dict[str, Any] = {}
    for name, dtype in ((STATE, "float32"), (STATE_MASK, "bool"), (ACTION, "float32"), (ACTION_MASK, "bool")):
        slots = selection.slots[STATE if name in (STATE, STATE_MASK) else ACTION]
        out[name] = {"dtype": dtype, "shape": [len(slots)], "names": [SLOTS[int(s)].name for s in slots]}
    for view, (height, width) in selection.views.items():
        out[image_key(view)] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.fps": fps, "video.codec": codec, "video.pix_fmt": "yuv420p", "video.height": height,
                "video.width": width, "video.channels": 3, "video.is_depth_map": False, "has_audio": False,
            },
        }  # fmt: skip
    out["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        out[name] = {"dtype": "int64", "shape": [1], "names": None}
    return out


def image_key(view: str) -> str:
    return f"observation.images.{view}"


class Tasks:
    """Sentences in order of first use; the index of a sentence is its number."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.index.setdefault(text, len(self.index))


def sentence_of_frames(e: EpisodeRow) -> list[str]:
    """The most specific sentence (shortest span) over each frame; "" where there is none."""
    out = [""] * e.frames
    length = np.full(e.frames, np.inf)
    for line in e.language:
        inside = (e.timestamps >= line.t0 - 1e-6) & (e.timestamps < line.t1 - 1e-6) & (line.t1 - line.t0 < length)
        for t in np.flatnonzero(inside):
            out[t] = line.text
        length[inside] = line.t1 - line.t0
    return out


def video(reader: ShardReader, e: EpisodeRow, camera: CameraRow, *, whole: bool) -> tuple[bytes, float]:
    """(MP4 bytes, file time of the row's first frame).

    The stored bytes as they are, where that is possible: not for a mirrored row, whose pixels are flipped, and with
    ``whole`` (a layout that knows no offset) only if the file begins with the row's first frame. Else the row's frames
    are encoded anew.
    """
    media = reader.media(camera.media_id)
    if media.pts is None:
        raise ShardError(f"episode {e.episode_id}, view {camera.view}: a still image is no video")
    first = frame_number(e, camera, media, float(e.timestamps[0]))
    start = float(media.pts[first] - media.pts[0])
    own = first == 0 and len(media.pts) == e.frames
    if not camera.mirrored and (own or not whole):
        return reader.media_bytes(camera.media_id), start
    return _encode(reader, e, camera), 0.0


def _encode(reader: ShardReader, e: EpisodeRow, camera: CameraRow) -> bytes:
    import av

    media = reader.media(camera.media_id)
    base, buffer = Fraction(1, 90000), io.BytesIO()
    numbers = [frame_number(e, camera, media, float(t)) for t in e.timestamps]
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(e.rate_hz) or 1, options={"crf": "18", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = camera.width, camera.height, "yuv420p", 2
        stream.codec_context.time_base = stream.time_base = base
        for t, n in zip(e.timestamps, numbers):
            picture = reader.frames(camera.media_id, [n])[n]
            picture = np.ascontiguousarray(picture[:, ::-1]) if camera.mirrored else picture
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(float(t) / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def statistics(columns: Iterable[tuple[np.ndarray, np.ndarray | None]], width: int) -> dict[str, list[float]]:
    """min, max, mean, std, count, q01 and q99 per column over (T, S) arrays, where their mask is set. A column that is
    never known has zeros and count 0."""
    pieces = [(np.asarray(v, float).reshape(-1, width), m) for v, m in columns]
    values = np.concatenate([v for v, _ in pieces]) if pieces else np.zeros((0, width))
    masks = [np.ones(v.shape, bool) if m is None else m.reshape(-1, width) for v, m in pieces]
    mask = np.concatenate(masks) if masks else np.zeros((0, width), bool)
    out: dict[str, list[float]] = {k: [] for k in ("min", "max", "mean", "std", "count", "q01", "q99")}
    for c in range(width):
        x = values[mask[:, c], c]
        q01, q99 = np.quantile(x, [0.01, 0.99]) if len(x) else (0.0, 0.0)
        figures = (x.min(), x.max(), x.mean(), x.std()) if len(x) else (0.0, 0.0, 0.0, 0.0)
        for key, value in zip(out, (*figures, len(x), q01, q99)):
            out[key].append(float(value))
    return out
