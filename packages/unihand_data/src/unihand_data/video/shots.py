"""Shot cuts that egocentric motion does not fake.

Legend: N frames, H height, W width of a thumbnail.

A head turns fast: whole pictures change between two frames. Three things tell a cut from that. The best match of two
thumbnails over all shifts (a pan still matches where they overlap), a spike against the neighbouring distances (a whip
pan lasts several frames, a cut happens between two), and the frame after the next (a flash returns to the old picture,
a cut does not). Colour histograms help where a scene has no texture to match.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from unihand_data.config import Settings

#: thumbnails for this purpose are this wide at most
SHOT_WIDTH = 64
_BINS = 4
_SMOOTH = 0.02


class ShotSettings(Settings):
    """Thresholds of the cut detector. All distances are 0 (same) to 1 (nothing in common).

    ``threshold``: least distance of the two frames at a cut. ``spike``: how many times the distances around it (over
    ``window`` frames on both sides, their second largest) it must be. ``min_overlap``: least share of the picture two
    thumbnails must overlap in to be compared. ``enabled`` False finds no cuts.
    """

    enabled: bool = True
    threshold: float = Field(default=0.35, ge=0, le=1)
    spike: float = Field(default=2.0, ge=1)
    window: int = Field(default=3, ge=1)
    min_overlap: float = Field(default=0.4, gt=0, le=1)


class ShotDetector:
    """Takes thumbnails one by one, keeps two of them, and names the cuts at the end."""

    def __init__(self, settings: ShotSettings | None = None):
        self.settings = settings or ShotSettings()
        self._before: list[_Picture] = []
        self._step: list[float] = []  # distance of frame i to i - 1
        self._skip: list[float] = []  # distance of frame i to i - 2

    def push(self, thumbnail: np.ndarray) -> None:
        """The next frame, (H, W, 3) uint8, every time of the same size."""
        now = _Picture(thumbnail)
        overlap = self.settings.min_overlap
        self._step.append(_distance(self._before[-1], now, overlap) if self._before else 0.0)
        worth = self._step[-1] >= self.settings.threshold or (
            len(self._step) > 1 and self._step[-2] >= self.settings.threshold
        )
        self._skip.append(_distance(self._before[0], now, overlap) if len(self._before) > 1 and worth else 1.0)
        self._before = [*self._before[-1:], now]

    @property
    def distances(self) -> np.ndarray:
        """(N,) distance of every frame to the one before; 0 for the first."""
        return np.array(self._step)

    def cuts(self) -> np.ndarray:
        """(C,) int64, indices of the first frames of new shots (never 0)."""
        s = self.settings
        step, skip = self.distances, np.array(self._skip)
        out = []
        for i in np.flatnonzero(step >= s.threshold) if s.enabled else []:
            near = np.r_[step[max(1, i - s.window) : i], step[i + 1 : i + 1 + s.window]]
            # the second largest: one other cut close by does not hide this one
            around = np.sort(near)[-2] if len(near) > 1 else 0.0
            if step[i] < s.spike * around:
                continue
            # A flash or one broken picture: two spikes in a row, and the pictures around it match.
            leaves = i + 1 < len(step) and step[i + 1] >= s.threshold and skip[i + 1] < s.threshold
            returns = step[i - 1] >= s.threshold and skip[i] < s.threshold
            if not leaves and not returns:
                out.append(i)
        return np.array(out, np.int64)


def thumbnail_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the thumbnails this works on."""
    scale = SHOT_WIDTH / max(width, height)
    return max(8, round(width * scale)), max(8, round(height * scale))


class _Picture:
    """A thumbnail with what comparing needs, computed once."""

    def __init__(self, rgb: np.ndarray):
        gray = rgb.astype(np.float32).mean(-1)
        self.gray = gray - gray.mean()
        self.energy = float((self.gray**2).sum())
        self.shape = gray.shape
        q = (rgb >> (8 - 2)).astype(np.int32)
        codes = (q[..., 0] * _BINS + q[..., 1]) * _BINS + q[..., 2]
        h = np.bincount(codes.ravel(), minlength=_BINS**3) / codes.size + _SMOOTH / _BINS**3
        self.histogram = h / h.sum()
        self._spectra: tuple[np.ndarray, ...] | None = None

    def spectra(self) -> tuple[np.ndarray, ...]:
        """Transforms of the padded picture, its square and its mask."""
        if self._spectra is None:
            size = [2 * n for n in self.shape]
            self._spectra = tuple(
                np.fft.rfft2(x, size) for x in (self.gray, self.gray**2, np.ones(self.shape, np.float32))
            )
        return self._spectra


def _distance(a: _Picture, b: _Picture, min_overlap: float) -> float:
    """Geometric mean of the texture distance (1 - best correlation over shifts) and the histogram distance (Hellinger):
    a light switched on changes only the second, a whip pan through one room mostly the first."""
    hellinger = float(np.sqrt(max(0.0, 1.0 - np.sqrt(a.histogram * b.histogram).sum())))
    flat = 25.0 * a.gray.size  # a standard deviation of 5 gray levels: nothing to match
    if a.energy < flat or b.energy < flat:
        return hellinger
    still = float((a.gray * b.gray).sum()) / np.sqrt(a.energy * b.energy)
    match = still if still > 0.8 else max(still, _best_correlation(a, b, min_overlap))
    return float(np.sqrt(np.clip(1 - match, 0, 1) * hellinger))


def _best_correlation(a: _Picture, b: _Picture, min_overlap: float) -> float:
    """Largest normalised correlation over all shifts that leave ``min_overlap``, of the overlapping parts alone
    (masked correlation by Fourier transforms, Padfield 2012)."""
    fa, fa2, fm = a.spectra()
    fb, fb2, _ = b.spectra()
    size = [2 * n for n in a.shape]

    def cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(x * np.conj(y), size)

    count = cross(fm, fm)
    enough = count >= min_overlap * a.gray.size
    n = np.maximum(count, 1.0)
    sa, sb = cross(fa, fm), cross(fm, fb)
    top = cross(fa, fb) - sa * sb / n
    va = cross(fa2, fm) - sa * sa / n
    vb = cross(fm, fb2) - sb * sb / n
    floor = 9.0 * n  # overlap without texture tells nothing
    good = enough & (va > floor) & (vb > floor)
    return float((top[good] / np.sqrt(va[good] * vb[good])).max(initial=0.0))
