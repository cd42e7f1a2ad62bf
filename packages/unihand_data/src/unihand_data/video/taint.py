"""Which frames a damaged packet spoils.

A decoder hides damage: it invents the missing blocks, flags that one frame, and every later frame that refers to it is
returned unflagged although the error is visible in it. So damage is taken to last until the next key frame.
"""

from __future__ import annotations

import numpy as np


def spoiled(
    damaged: np.ndarray, keyframe: np.ndarray, order: np.ndarray, missing: np.ndarray | None = None
) -> np.ndarray:
    """(N,) bool in presentation order: damaged, or decoded after a damaged frame and before a key frame mends it.

    Args:
        damaged: (N,) bool, flagged frames.
        keyframe: (N,) bool.
        order: (N,) int, place in decoding order.
        missing: (N,) bool, frames that did not come out. FFmpeg's HEVC decoder returns the frame in which the damage
            sits unflagged and only drops those after it, so the one decoded before a missing frame is spoiled too.

    A frame shown before the next key frame but decoded after it (a leading picture) still refers backwards, so it is
    spoiled too; one shown after the key frame is not.
    """
    shown = np.argsort(order, kind="stable")  # decoding order -> presentation index
    if missing is not None:
        before = shown[np.maximum(np.flatnonzero(missing[shown]) - 1, 0)]
        damaged = damaged | missing
        damaged[before] = True
    out = damaged.astype(bool).copy()
    bad = False
    mend = -1  # presentation index of the key frame that ended the damage
    for i in shown:
        if keyframe[i]:
            bad, mend = bool(damaged[i]), (int(i) if bad or mend >= 0 else -1)
        elif damaged[i]:
            bad = True
        if bad or (mend >= 0 and i < mend and not keyframe[i]):
            out[i] = True
    return out


class Taint:
    """The same rule while frames stream by, in decoding order, for a reader that does not know the whole file.

    A frame that is shown before a damaged one but refers to it cannot be known in time; clips are planned on
    :func:`spoiled`, which does.
    """

    def __init__(self) -> None:
        self._count = 0
        self._order: dict[int, int] = {}  # tick -> place in decoding order, of packets whose frame is not out yet
        self._keys: list[tuple[int, int]] = []  # (place, tick)
        self._from: int | None = None

    def packet(self, tick: int | None, keyframe: bool, damaged: bool = False) -> None:
        """A packet goes into the decoder."""
        if tick is not None:
            self._order[tick] = self._count
            if keyframe:
                self._keys = [*self._keys[-16:], (self._count, tick)]
        if damaged:
            self.mark(self._count)
        self._count += 1

    def mark(self, place: int | None = None) -> None:
        """What was decoded from here on is damaged (default: the last packet given)."""
        place = self._count - 1 if place is None else place
        self._from = place if self._from is None else min(self._from, place)

    def frame(self, tick: int, corrupt: bool) -> bool:
        """Whether the frame that came out at ``tick`` is spoiled."""
        place = self._order.pop(tick, None)
        if len(self._order) > 256:  # packets whose frame never came
            self._order = dict(list(self._order.items())[-64:])
        if self._from is not None:
            after = next((k for k in self._keys if k[0] > self._from), None)
            if after is not None and tick >= after[1]:
                self._from = None
        if corrupt:
            self.mark(self._count - 1 if place is None else place)
        return corrupt or (self._from is not None and (place is None or place >= self._from))
