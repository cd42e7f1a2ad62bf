"""Tiny shard directories of every domain, made with the shard writer: no pixels unless a test decodes some."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from unihand_data.ids import hash_bytes, make_id
from unihand_data.shards import staging, writer
from unihand_data.shards.rows import (
    CameraRow,
    ConversationRow,
    EpisodeRow,
    LanguageRow,
    MediaRow,
    SampleRow,
)

ARM = np.array([0, 1, 2, 3, 4, 5, 18], np.int16)


def picture(seed: int) -> MediaRow:
    """A 64 x 48 PNG of one colour."""
    from PIL import Image

    colour = tuple(np.random.default_rng(seed).integers(0, 255, 3).tolist())
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, "PNG")
    data = buffer.getvalue()
    return MediaRow(hash_bytes(data), "image", 64, 48, 1, "png", 1, 0.0, "CC0-1.0", data=data)


def episode(name: str, *, frames: int = 40, rate: float = 20.0, media: MediaRow | None = None, **changes) -> EpisodeRow:
    """A robot episode; ``changes`` make it anything else."""
    rng = np.random.default_rng(int(make_id(name)[:8], 16))
    mask = np.ones((frames, len(ARM)), bool)
    values = {
        "episode_id": make_id("episode", name), "recording_id": f"rec-{name}", "source": "arm_set",
        "source_uri": f"file:///{name}", "embodiment": "widowx", "embodiment_hash": "e0", "domain": "robot",
        "origin": "real", "setting": "lab", "split": "train", "rate_hz": rate,
        "timestamps": np.arange(frames) / rate, "world": "base", "raw_to_world": np.eye(4), "state_slots": ARM,
        "action_slots": ARM, "state": rng.normal(size=(frames, len(ARM))).astype(np.float32),
        "action": rng.normal(size=(frames, len(ARM))).astype(np.float32), "state_mask": mask, "action_mask": mask,
        "licence": "CC0-1.0", "shareable": True,
        "cameras": [CameraRow("third_1", media.media_id, 64, 48, rate)] if media else [],
        "language": [LanguageRow("task", 0.0, frames / rate, "put the cup on the shelf")],
    }  # fmt: skip
    return EpisodeRow(**values | changes)


def samples(row: EpisodeRow) -> list[SampleRow]:
    """Generation at every frame but the last, continuation from the fifth on, one description."""
    out = []
    for start in range(row.frames - 1):
        for task, first in (("motion_generation", 0), ("motion_continuation", 4)):
            if start >= first:
                out.append(SampleRow(
                    make_id(row.episode_id, task, start), task, row.episode_id, start_frame=start,
                    frames_available=row.frames - start, history_available=start, language_ref=0, tokens_text=10,
                    split=row.split,
                ))  # fmt: skip
    out.append(SampleRow(
        make_id(row.episode_id, "motion_description"), "motion_description", row.episode_id,
        frames_available=row.frames, language_ref=0, tokens_text=6, tokens_answer=7, split=row.split,
    ))  # fmt: skip
    return out


def talk(
    name: str, media: MediaRow | None, question: str, *, source: str = "llava", pillar: str = "general", **changes
):
    """A conversation and its sample."""
    turns = [{"role": "user", "text": f"<image>\n{question}"}, {"role": "assistant", "text": "it is a cup"}]
    values = {
        "conversation_id": make_id("talk", name), "source": source, "pillar": pillar,
        "media": [{"media_id": media.media_id, "times": []}] if media else [], "turns": turns, "geometry": [],
        "licence": "CC0-1.0", "split": "train", "tokens_text": 12, "tokens_answer": 4,
    }  # fmt: skip
    row = ConversationRow(**values | changes)
    sample = SampleRow(
        make_id(row.conversation_id, "vision_text"), "vision_text", conversation_id=row.conversation_id, tokens_text=12,
        tokens_answer=4, images_per_time=len(row.media), split=row.split,
    )  # fmt: skip
    return row, sample


def write(folder: Path, episodes=(), talks=(), media=(), *, more_samples=()) -> str:
    """Commit a shard directory and return its path."""
    index = [s for e in episodes for s in samples(e)] + [s for _, s in talks] + list(more_samples)
    staging.write_part(folder / "staging", episodes, media, index, conversations=[c for c, _ in talks])
    writer.commit(folder / "staging", folder, content_hash="h", config={}, run_id="r", clean=True)
    return str(folder)


class Make:
    picture = staticmethod(picture)
    episode = staticmethod(episode)
    samples = staticmethod(samples)
    talk = staticmethod(talk)
    write = staticmethod(write)


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make


@pytest.fixture(scope="session")
def mixed(tmp_path_factory) -> dict[str, str]:
    """Three directories: human (with a mirror twin), robots (three rates, one simulated), conversations."""
    root = tmp_path_factory.mktemp("mixed")
    pictures = [picture(i) for i in range(3)]
    hands = [
        episode(f"hand{i}", rate=30.0, frames=60, source="kitchen", domain="human", embodiment="human_hands",
                setting="wild", media=pictures[0])
        for i in range(4)
    ]  # fmt: skip
    twin = episode(
        "hand0-twin", rate=30.0, frames=60, source="kitchen", domain="human", embodiment="human_hands",
        parent_id=hands[0].episode_id, recording_id=hands[0].recording_id, media=pictures[0],
    )  # fmt: skip
    robots = [episode(f"arm{i}", frames=90, rate=30.0, media=pictures[1]) for i in range(3)]
    robots += [episode(f"slow{i}", frames=30, rate=5.0, source="bridge", media=pictures[1]) for i in range(3)]
    robots += [
        episode(f"sim{i}", frames=80, rate=10.0, source="metaworld", origin="sim", embodiment="metaworld",
                media=pictures[1])
        for i in range(4)
    ]  # fmt: skip
    robots.append(episode("held-out", split="test", frames=90, rate=30.0, media=pictures[1]))
    talks = [talk(f"t{i}", pictures[i % 3], f"what is number {i}?", pillar=p) for i, p in
             enumerate(["general", "grounding", "planning"] * 4)]  # fmt: skip
    return {
        "human": write(root / "human", [*hands, twin], media=pictures[:1]),
        "robot": write(root / "robot", robots, media=pictures[1:2]),
        "text": write(root / "text", (), talks, pictures),
    }
