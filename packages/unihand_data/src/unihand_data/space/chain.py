"""Absolute Cartesian commands along time: ``c[t]`` to the displacement ``c[t-1] -> c[t]``, ``c[-1]`` the realised first
pose, and back (docs/contract.md, section 2).

Position and rotation each by itself, whether or not a row has the other: an optional block may be absent, its values
may be missing. What is not known is NaN, never 0.

Legend: T steps, columns are slot -> (T,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.space import displacement
from unihand_data.space.blocks import Block
from unihand_data.space.slots import GROUPS, SLOTS

Start = Mapping[str, np.ndarray] | None


def chain(columns: dict[int, np.ndarray], action: Sequence[Block], start: Start, *, inverse: bool, who: str) -> None:
    """Replaces, in place, the columns of chained blocks by displacements, or (``inverse``) by commands again.

    Args:
        start: side to the realised first pose (6,) (position, rotvec). Where it is NaN nobody knows where the first
            step leads from: that displacement is NaN, and going back every command is.
        who: embodiment, for messages.

    Raises:
        Reject: MISSING_FIELD (no ``start`` for a side), WRONG_TYPE (no time axis).
    """
    declared = [s for b in action if b.chained for s in b.slots]
    for side, kind in ((side, kind) for side in ("right", "left") for kind in ("position", "rotation")):
        group = GROUPS[f"{side}_eef_{kind}"].slots
        ours = [s for s in group if s in declared and s in columns]
        if not ours:
            continue
        if start is None or side not in start:
            raise Reject(
                Reason.MISSING_FIELD,
                f"{who}: absolute commands of the {side} end effector need its first realised pose: start=",
            )
        zero = np.zeros_like(columns[ours[0]])
        values = np.stack([columns[s] if s in ours else zero for s in group], axis=-1)
        if values.ndim != 2:
            raise Reject(Reason.WRONG_TYPE, f"{who}: absolute commands are converted over time: rows are (T, N)")
        moved = _moved(values, _first(start[side], ours), kind == "rotation", inverse)
        columns.update({s: moved[:, i] for i, s in enumerate(group) if s in ours})


def unchainable(block: Block, values: np.ndarray, start: Start) -> bool:
    """Whether integrating their displacements cannot give these commands back: gaps, an unknown start, or angles beyond
    pi."""
    known = (start or {}).get(SLOTS[block.slots[0]].side, np.zeros(6))
    if np.isnan(_first(known, block.slots)).any() or np.isnan(values).any():
        return True
    turns = SLOTS[block.slots[0]].kind == "rotation"
    return bool(turns and np.any(np.linalg.norm(values, axis=-1) > np.pi - 1e-6))


def _first(pose: np.ndarray, slots: Sequence[int]) -> np.ndarray:
    """(3,) of a pose (6,): the position or rotation these slots belong to, 0 where they leave a component out."""
    slot = SLOTS[slots[0]]
    part = np.asarray(pose, float)[3:] if slot.kind == "rotation" else np.asarray(pose, float)[:3]
    return np.where(np.isin(GROUPS[slot.group].slots, slots), part, 0.0)


def _moved(values: np.ndarray, first: np.ndarray, turns: bool, inverse: bool) -> np.ndarray:
    """(T, 3) positions or rotvecs as steps from ``first`` (3,) on, or back; a step with NaN at an end is NaN."""
    still, zero = np.zeros_like(values), np.zeros(3)
    if inverse:
        if not np.isfinite(first).all():
            return np.full_like(values, np.nan)
        back = displacement.to_commands(*((zero, first, still, values) if turns else (first, zero, values, still)))
        return back.rot if turns else back.pos
    d = displacement.from_commands(*((still, values, zero, first) if turns else (values, still, first, zero)))
    return np.where(d.mask[:, None], d.rot if turns else d.pos, np.nan)
