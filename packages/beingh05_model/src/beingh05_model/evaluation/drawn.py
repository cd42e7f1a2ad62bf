"""Chunks that a policy draws for held-out starts: what every judgement of rows begins with.

Legend: B starts, T steps, S 200 slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from beingh05_model.evaluation.held_out import Case, HeldOut, HeldOutSettings
from beingh05_model.evaluation.rollout import Acts
from beingh05_model.sequence.chunks import ChunkSettings
from unihand_data.config import Settings

#: the policy's name beside those of what it has to beat
POLICY = "policy"


class DrawnSettings(Settings):
    """Which rows are judged, and how.

    ``draws``: chunks sampled of the policy per start. ``mean_episodes``: training episodes of each kind that the mean
    of the recipe is taken over. ``batch``: starts of one forward pass.
    """

    rows: HeldOutSettings
    draws: int = Field(default=1, ge=1)
    mean_episodes: int = Field(default=200, ge=1)
    batch: int = Field(default=16, ge=1)
    seed: int = 0


def cases_drawn(
    policy: Acts,
    rows: HeldOut,
    chunk: ChunkSettings,
    views: int,
    settings: DrawnSettings,
    told: Callable[[int], None] | None = None,
) -> Iterator[tuple[Case, np.ndarray]]:
    """Every start with the policy's chunks for it, [draws, T, S].

    Args:
        chunk: How the policy's chunks are cut (as it was trained). views: Pictures of a time it is given, at most.
        told: Called with the number of starts done so far, batch by batch.
    """
    done = 0
    for cases in rows.cases(chunk, views, settings.batch):
        yield from zip(cases, drawn(policy, cases, settings.draws, settings.seed), strict=True)
        done += len(cases)
        if told is not None:
            told(done)


def drawn(policy: Acts, cases: Sequence[Case], draws: int, seed: int) -> np.ndarray:
    """[B, draws, T, S]. The noise of a draw follows the sample's id, the seed and the draw's number alone."""
    out = []
    for number in range(draws):
        asked = [replace(c.observation, seed=_noise_seed(c.sample_id, seed, number)) for c in cases]
        out.append(np.asarray(policy.act(asked), np.float64))
    return np.stack(out, axis=1)


def heading(kind: str, settings: DrawnSettings, rows: HeldOut, chunk: ChunkSettings) -> dict[str, Any]:
    """What every report begins with."""
    return {
        "kind": kind,
        "settings": settings.model_dump(mode="json"),
        "recipe": rows.hash,
        "chunk": chunk.model_dump(mode="json"),
    }


def _noise_seed(sample_id: str, seed: int, draw: int) -> int:
    words = np.frombuffer(sample_id.encode().ljust(-(-len(sample_id) // 4) * 4), np.uint32)
    return int(np.random.SeedSequence([seed, draw, *words]).generate_state(1, np.uint64)[0] >> np.uint64(1))
