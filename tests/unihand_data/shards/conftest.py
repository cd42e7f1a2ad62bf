"""Rows and tiny videos for the shard tests. Frame n of the counting video shows n as black and white bars."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest

from unihand_data.ids import hash_bytes, make_id
from unihand_data.shards.rows import (
    CameraRow,
    EpisodeRow,
    EventRow,
    HandRow,
    LanguageRow,
    MediaRow,
    RejectRow,
    SampleRow,
)
from unihand_data.space.slots import group_slice

BITS = 12


def counting_frame(n: int, width: int = 96, height: int = 64) -> np.ndarray:
    """(H, W, 3) uint8: bit b of n is bar b from the left, white for one; the last bars are a fixed left-right mark."""
    picture = np.zeros((height, width, 3), np.uint8)
    bar = width // BITS
    for b in range(BITS):
        picture[:, b * bar : (b + 1) * bar] = 235 if n >> b & 1 else 16
    return picture


def read_number(picture: np.ndarray) -> int:
    """Inverse of :func:`counting_frame` after lossy coding."""
    width = picture.shape[1]
    middles = [(2 * b + 1) * width // (2 * BITS) for b in range(BITS)]
    return sum(int(picture[:, m].mean() > 125) << b for b, m in enumerate(middles))


def encode(
    numbers, pts, *, codec="libx264", gop=10, bframes=0, width=96, height=64, time_base=Fraction(1, 90000)
) -> bytes:
    """An MP4 whose frame i shows ``numbers[i]`` at ``pts[i]`` seconds after the first."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": "18", "bf": str(bframes)} if codec == "libx264" else {"crf": "30", "preset": "10"}
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", gop
        stream.codec_context.time_base = stream.time_base = time_base
        for n, t in zip(numbers, pts):
            frame = av.VideoFrame.from_ndarray(counting_frame(n, width, height), format="rgb24")
            frame.pts, frame.time_base = round((t - pts[0]) / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def make_media(pts, *, numbers=None, kind="video", **options) -> MediaRow:
    pts = np.asarray(pts, float)
    data = encode(range(len(pts)) if numbers is None else numbers, pts, **options)
    return MediaRow(
        media_id=hash_bytes(data), kind=kind, width=options.get("width", 96), height=options.get("height", 64),
        frames=len(pts), codec="h264", gop=options.get("gop", 10), pts_start=float(pts[0]), licence="CC0-1.0",
        data=data, pts=pts,
    )  # fmt: skip


SLOTS = np.array([0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 110, 155], np.int16)


def make_episode(name: str, media_id: str = "", *, frames: int = 30, rate: float = 30.0, **changes) -> EpisodeRow:
    rng = np.random.default_rng(int(make_id(name)[:8], 16))
    S = len(SLOTS)
    state = rng.normal(size=(frames, S)).astype(np.float32)
    action = rng.normal(size=(frames, S)).astype(np.float32)
    mask = rng.random((frames, S)) < 0.8
    action_mask = mask.copy()
    action_mask[-1] = False
    state[~mask] = np.nan
    values = {
        "episode_id": make_id("episode", name), "recording_id": f"rec-{name}", "source": "test",
        "source_uri": f"file:///{name}.mp4", "embodiment": "human_hands", "embodiment_hash": "e0",
        "domain": "human", "origin": "real", "setting": "lab", "split": "train", "rate_hz": rate,
        "timestamps": np.arange(frames) / rate, "world": "gravity", "raw_to_world": np.eye(4),
        "state_slots": SLOTS, "action_slots": SLOTS, "state": state, "action": action,
        "state_mask": mask, "action_mask": action_mask, "licence": "CC0-1.0", "shareable": True,
        "cameras": [CameraRow("ego", media_id, 96, 64, rate, intrinsics=np.array([80.0, 80, 47.5, 31.5]))]
        if media_id else [],
        "hands": [HandRow(side, "generic_v1", "test", np.linspace(0, 1, frames, dtype=np.float32),
                          np.arange(frames) % 2 == 0, np.zeros(frames, bool)) for side in ("left", "right")],
        "language": [LanguageRow("instruction", 0.0, frames / rate, "pick up the cup with the right hand", "right")],
        "events": [EventRow(0.1, 0.2, "contact", "test")],
        "quality": {"jitter": 0.25, "dba_px": float("nan")},
        "provenance": {"schema": 1, "item": f"item-{name}", "stages": {"hands": "1"}},
    }  # fmt: skip
    return EpisodeRow(**values | changes)


def hands_episode(media_id: str, **changes) -> EpisodeRow:
    """Both hands 0.4 m before a still camera, 12 cm left and right of its axis, in the middle row of the picture."""
    T, slots = 30, np.concatenate([np.arange(0, 6), np.arange(9, 15), np.arange(110, 200)]).astype(np.int16)
    state = np.zeros((T, 200), np.float32)
    state[:, group_slice("right_eef_position")] = [0.12, 0, 0.4]
    state[:, group_slice("left_eef_position")] = [-0.12, 0, 0.4]
    camera = CameraRow("ego", media_id, 96, 64, 30.0, intrinsics=np.array([80.0, 80, 47.5, 31.5]),
                       poses=np.tile(np.eye(4, dtype=np.float32), (T, 1, 1)), pose_valid=np.ones(T, bool))  # fmt: skip
    ones, none = np.ones(T, bool), np.zeros(T, bool)
    values = {
        "state_slots": slots, "action_slots": slots, "state": state[:, slots], "action": state[:, slots],
        "state_mask": np.ones((T, len(slots)), bool), "action_mask": np.ones((T, len(slots)), bool),
        "cameras": [camera],
        "hands": [HandRow(s, "generic_v1", "t", np.ones(T, np.float32), ones, none) for s in ("left", "right")],
    }  # fmt: skip
    return make_episode("hands", **values | changes)


def make_samples(episode: EpisodeRow, stride: int = 5) -> list[SampleRow]:
    out = []
    for task in ("motion_generation", "motion_continuation", "motion_description"):
        for start in range(0, episode.frames, stride):
            out.append(SampleRow(
                make_id(episode.episode_id, task, start), task, episode_id=episode.episode_id, start_frame=start,
                frames_available=episode.frames - start, history_available=start, language_ref=0, tokens_text=8,
                tokens_answer=5 if task == "motion_description" else 0, split=episode.split,
            ))  # fmt: skip
    return out


def make_reject(item: str, **changes) -> RejectRow:
    values = {"level": "clip", "stage": "quality", "reason": "jitter", "message": f"{item}: shaky", "source_uri": item}
    return RejectRow(item, **values | changes)


class Make:
    """The makers above, handed to tests as one fixture."""

    frame = staticmethod(counting_frame)
    number = staticmethod(read_number)
    encode = staticmethod(encode)
    media = staticmethod(make_media)
    episode = staticmethod(make_episode)
    hands = staticmethod(hands_episode)
    samples = staticmethod(make_samples)
    reject = staticmethod(make_reject)


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make


@pytest.fixture(scope="session")
def clip(make) -> MediaRow:
    """One second of counting video at 30 Hz."""
    return make.media(np.arange(30) / 30)


@pytest.fixture
def staged(tmp_path, make, clip) -> Callable[..., str]:
    """Stages ``n`` episodes in as many parts, with samples and one rejected clip each; returns the directory."""

    def build(n: int = 3, folder: str = "staging") -> str:
        from unihand_data.shards import staging

        for i in range(n):
            episode = make.episode(f"e{i}", clip.media_id)
            rejects = [make.reject(f"item-e{i}", frames=10, frames_with_hand=4)]
            staging.write_part(tmp_path / folder, [episode], [clip], make.samples(episode), rejects)
        return str(tmp_path / folder)

    return build
