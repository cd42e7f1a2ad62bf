"""The tagged segments of a sample, eq. 2: x_k = (modality, content), modalities of eq. 3 and motion tokens.

Values are physical, in the 200 slots. Legend: T action steps, S 200 slots, Z motion tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass
class Text:
    """Token ids. ``answer``: the tokens are predicted (eq. 5). ``instruction``: they say what to do (router input)."""

    ids: list[int]
    answer: bool = False
    instruction: bool = False

    @property
    def length(self) -> int:
        return len(self.ids)


@dataclass
class Vision:
    """One picture [3, edge, edge], ImageNet-normalised, and how many tokens it becomes."""

    pixels: Tensor
    tokens: int

    @property
    def length(self) -> int:
        return self.tokens


@dataclass
class State:
    """One state token: [S] values and which slots hold one."""

    values: np.ndarray
    slots: np.ndarray
    length: int = 1


@dataclass
class Action:
    """Action steps.

    Attributes:
        values: [T, S] clean steps; zeros where unknown.
        slots: [S] bool, slots of the embodiment.
        cells: [T, S] bool, cells with a loss; all False for context.
        real: [T] bool, steps that exist.
        target: predicted (answer), else clean context.
        noise: [T, S]; time: [T], 1 for context and for a committed prefix.
    """

    values: np.ndarray
    slots: np.ndarray
    cells: np.ndarray
    real: np.ndarray
    target: bool
    noise: np.ndarray
    time: np.ndarray

    @property
    def length(self) -> int:
        return len(self.values)


@dataclass
class Motion:
    """Quantised motion of the same steps (eq. 8): [Z] ids and which of them are masked.

    ``places``: [Z] increasing, place of each token among those of a chunk; r(j) of eq. 10. None: one after the other.
    A hand that is not known has no tokens, and those of the other keep their places.
    """

    ids: np.ndarray
    masked: np.ndarray
    places: np.ndarray | None = None

    @property
    def length(self) -> int:
        return len(self.ids)


Segment = Text | Vision | State | Action | Motion


@dataclass
class Example:
    """A sample: its segments in order, and where it came from (for logs, never for the network)."""

    segments: list[Segment]
    name: str = ""
    embodiment: str = ""
    source: str = ""
    figures: dict[str, float] = field(default_factory=dict)

    def pixels(self) -> list[Tensor]:
        """Its pictures, in order."""
        return [s.pixels for s in self.segments if isinstance(s, Vision)]


def context_steps(values: np.ndarray, slots: np.ndarray, real: np.ndarray) -> Action:
    """Clean action steps as context (a continuation's history, a description's trace)."""
    steps, width = values.shape
    none = np.zeros((steps, width), bool)
    return Action(values, slots, none, real, False, np.zeros_like(values), np.ones(steps, np.float32))


def stack_pixels(pictures: list[Tensor]) -> Tensor:
    """[V, 3, edge, edge]; an empty tensor of that form where there is none."""
    return torch.stack(pictures) if pictures else torch.zeros(0, 3, 1, 1)
