"""What may be stated about a hand's second: its figures against its limits. Words come later (:mod:`motion_rules`).

Three answers are kept apart: the hand moved, the hand was still, and nothing that the track could support. The last is
left out of the sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unihand_data.language.config import MotionRulesSettings
from unihand_data.language.motion_measure import HandFigures


@dataclass(frozen=True)
class Claims:
    """Statements about one hand over one window; see :class:`~motion_measure.HandFigures` for axes and units.

    Attributes:
        directions: (axis, sign) of every named component of the move, largest first; empty: no move is stated.
        distance: m, stated with them.
        still: it stayed where it was. wanders: and its path was long all the same.
        closure: 1 closes, -1 opens, 0 neither is stated.
        turn: (axis, rad), or None.
    """

    directions: tuple[tuple[int, int], ...]
    distance: float
    still: bool
    wanders: bool
    closure: int
    turn: tuple[int, float] | None

    @property
    def active(self) -> bool:
        return bool(self.directions) or self.wanders or self.closure != 0 or self.turn is not None

    @property
    def any(self) -> bool:
        return self.still or self.active


def claims_of(hand: HandFigures, settings: MotionRulesSettings) -> Claims:
    """The statements that ``hand``'s limits allow."""
    allowed = hand.limits
    # rounded, so that a mirrored window decides alike to the last bit
    move = np.round(np.abs(hand.move), 9)
    named = sorted((a for a in range(3) if move[a] >= _floor(move, allowed.axis, settings)), key=lambda a: -move[a])
    moves = hand.distance >= allowed.move and bool(named)
    still = hand.distance < allowed.still
    turn = np.round(np.abs(hand.turn), 9)
    axis = int(np.argmax(turn))
    turns = turn[axis] >= allowed.turn and turn[axis] >= settings.turn_share * np.sqrt((turn**2).sum())
    return Claims(
        directions=tuple((a, 1 if hand.move[a] > 0 else -1) for a in named) if moves else (),
        distance=hand.distance,
        still=still,
        wanders=still and hand.path >= allowed.path,
        closure=int(np.sign(hand.closure_change)) if abs(hand.closure_change) >= allowed.closure else 0,
        turn=(axis, hand.turn[axis]) if turns else None,
    )


def _floor(move: np.ndarray, limit: float, settings: MotionRulesSettings) -> float:
    return max(settings.axis_share * float(move.max()), limit)
