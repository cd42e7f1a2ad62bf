"""What a policy has to beat on recorded rows: standing still, going on as before, the mean of the training rows.

Each gives one step [S] that is repeated over the chunk, and which slots it can speak about: a judgement counts only
cells that a baseline knows. Legend: T steps, S 200 slots.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from beingh05_model.evaluation.held_out import Case, Grouping, HeldOut, HeldOutSettings, by_embodiment
from beingh05_model.sequence.chunks import ChunkSettings
from unihand_data.space import N_SLOTS, SLOTS

#: slots whose action is a motion (a displacement per step, a velocity): standing still is zero. Others are targets.
MOTIONS = np.array([s.kind in ("position", "rotation", "velocity") for s in SLOTS])


@dataclass
class Step:
    """[S] values and the slots that they hold."""

    values: np.ndarray
    known: np.ndarray

    def chunk(self, steps: int) -> np.ndarray:
        """[T, S]."""
        return np.repeat(self.values[None], steps, 0)


def zero_motion(case: Case) -> Step:
    """No displacement, no velocity; targets stay where the state is, where it is known."""
    seen = case.observation
    values = np.where(MOTIONS, 0, np.where(seen.known, seen.state, 0))
    return Step(values, MOTIONS | seen.known)


def last_motion(case: Case) -> Step:
    """The step that ended at the start, again and again; unknown at the start of an episode."""
    return Step(case.before.values[-1], case.before.mask[-1])


class RecipeMean:
    """Mean step of training rows, by embodiment and slot (axis-angles by component).

    Args:
        rows: The recipe; its ``split`` is not used, training rows are taken.
        episodes: At most, of each group.
    """

    def __init__(
        self, rows: HeldOutSettings, chunk: ChunkSettings, episodes: int, group: Grouping = by_embodiment
    ) -> None:
        training = HeldOut(rows.model_copy(update={"split": "train", "episodes": episodes}), group, needed=False)
        sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(N_SLOTS))
        counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(N_SLOTS))
        for cases in training.cases(chunk, views=0, pictures=False):
            for case in cases:
                name = case.observation.embodiment
                sums[name] += (case.target.values * case.target.mask).sum(0)
                counts[name] += case.target.mask.sum(0)
        training.close()
        self.steps = {n: Step(sums[n] / np.maximum(counts[n], 1), counts[n] > 0) for n in sums}

    def __call__(self, case: Case) -> Step:
        nothing = Step(np.zeros(N_SLOTS), np.zeros(N_SLOTS, bool))
        return self.steps.get(case.observation.embodiment, nothing)
