"""Shards of generated human motion, written with the shard writer, and recipes of them: no film, one small picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from unihand_data.ids import hash_bytes, make_id
from unihand_data.recipe import recipe_file
from unihand_data.recipe.build import build
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.shards import staging, writer
from unihand_data.shards.rows import CameraRow, EpisodeRow, LanguageRow, MediaRow, SampleRow
from unihand_data.space import GROUPS
from unihand_data.space.displacement import displacements

RATE = 30.0
SIDES = ("right", "left")
SLOTS = np.array(
    [s for part in ("eef_position", "eef_rotation", "theta") for side in SIDES for s in GROUPS[f"{side}_{part}"].slots]
)
SLOTS = np.sort(SLOTS).astype(np.int16)
COLUMN = {int(s): i for i, s in enumerate(SLOTS)}


def smooth(random: np.random.Generator, frames: int, width: int) -> np.ndarray:
    """(frames, width) sums of two slow waves, about one in size."""
    t = np.arange(frames)[:, None] / RATE
    return sum(
        random.normal(size=(1, width)) * np.cos(2 * np.pi * hz * t + random.uniform(0, 6, (1, width)))
        for hz in (0.3, 0.7)
    )


def picture() -> MediaRow:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (120, 90, 60)).save(buffer, "PNG")
    data = buffer.getvalue()
    return MediaRow(hash_bytes(data), "image", 64, 48, 1, "png", 1, 0.0, "CC0-1.0", data=data)


def columns(side: str, part: str) -> list[int]:
    return [COLUMN[s] for s in GROUPS[f"{side}_{part}"].slots]


def episode(seed: int, media: MediaRow, *, frames: int = 75, sides=SIDES, poses=None, **changes) -> EpisodeRow:
    """Hands along smooth paths. ``sides``: hands that are seen; ``poses``: (frames, 4, 4) of the camera."""
    random = np.random.default_rng(seed)
    alike = np.random.default_rng(99)  # joints and axes move together, in every recording in the same way
    bend, reach = 0.3 * alike.normal(size=(2, 45)), alike.normal(size=(2, 6)) * ([0.1] * 3 + [0.4] * 3)
    state, action = np.zeros((2, frames, len(SLOTS)), np.float32)
    state_mask, action_mask = np.zeros((2, frames, len(SLOTS)), bool)
    for side in SIDES:
        place, turn = np.split(smooth(random, frames, 2) @ reach, 2, axis=1)
        theta = smooth(random, frames, 2) @ bend
        step = displacements(place, turn)
        for part, now, then in (
            ("eef_position", place, step.pos),
            ("eef_rotation", turn, step.rot),
            ("theta", theta, np.roll(theta, -1, 0)),
        ):
            at = columns(side, part)
            if side in sides:
                state[:, at], action[:, at] = now, then
                state_mask[:, at], action_mask[:-1, at] = True, True
    values = {
        "episode_id": make_id("human", seed), "recording_id": f"recording-{seed}", "source": "made", "domain": "human",
        "source_uri": f"file:///{seed}", "embodiment": "human_hands", "embodiment_hash": "e", "origin": "real",
        "setting": "lab", "split": "train", "rate_hz": RATE, "timestamps": np.arange(frames) / RATE, "world": "gravity",
        "raw_to_world": np.eye(4), "state_slots": SLOTS, "action_slots": SLOTS, "state": state,
        "action": action * action_mask, "state_mask": state_mask, "action_mask": action_mask, "licence": "CC0-1.0",
        "shareable": True, "language": [LanguageRow("task", 0.0, frames / RATE, "fold the towel")],
        "cameras": [CameraRow(
            "ego", media.media_id, 64, 48, RATE, poses=poses,
            pose_valid=None if poses is None else np.ones(frames, bool),
        )],
    }  # fmt: skip
    return EpisodeRow(**values | changes)


def samples(row: EpisodeRow) -> list[SampleRow]:
    """Generation from every third frame."""
    return [
        SampleRow(
            make_id(row.episode_id, start), "motion_generation", row.episode_id, start_frame=start,
            frames_available=row.frames - start, history_available=start, language_ref=0, tokens_text=4,
            split=row.split,
        )
        for start in range(0, row.frames - 1, 3)
    ]  # fmt: skip


def recipe(folder: Path, episodes: list[EpisodeRow], media: list[MediaRow], of=samples) -> str:
    """Commit the episodes and build a recipe of them; ``of``: the samples of an episode."""
    shards, out = folder / "shards", folder / "recipe"
    staging.write_part(shards / "staging", episodes, media, [s for e in episodes for s in of(e)])
    writer.commit(shards / "staging", shards, content_hash="h", config={}, run_id="r", clean=True)
    settings = RecipeSettings(duplicates={"recordings": False, "near_distance": None})
    out.mkdir()
    recipe_file.write(out, build([str(shards)], out, settings), new_version=False)
    return str(out)
