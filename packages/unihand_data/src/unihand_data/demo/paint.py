"""Procedural pictures for the scene: skin with nails and creases, wood, cloth, walls. No file is read.

Colours are linear-ish RGB in 0..1; every function returns ``(H, W, 3) uint8``. Skin is painted in the two planar
charts of :class:`unihand_data.demo.mesh.HandMesh`: the back of the hand in the lower half of v, the palm in the upper.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

from unihand_data.demo.mesh import CHART_X, CHART_Z

SKIN_TONES: dict[str, tuple[float, float, float]] = {
    "fair": (0.77, 0.60, 0.51), "light": (0.74, 0.53, 0.43), "tan": (0.64, 0.44, 0.33), "brown": (0.48, 0.31, 0.22),
    "dark": (0.34, 0.22, 0.165),
}  # fmt: skip


def to_bytes(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of 0..1 floats."""
    return (np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float | tuple[float, float]) -> np.ndarray:
    """Smooth noise of zero mean and unit deviation."""
    out = gaussian_filter(rng.standard_normal(shape), scale, mode="wrap")
    return out / max(float(out.std()), 1e-9)


def skin(
    joints: np.ndarray, tone: tuple[float, float, float], rng: np.random.Generator, size: int = 1024, sleeve=None
) -> np.ndarray:
    """Texture (size, size) of a right hand with rest ``joints`` (21, 3). ``sleeve``: (start x in m, rgb) or None."""
    half = size // 2
    x = CHART_X[0] + (np.arange(size) + 0.5) / size * (CHART_X[1] - CHART_X[0])
    z = CHART_Z[0] + (np.arange(half) + 0.5) / half * (CHART_Z[1] - CHART_Z[0])
    zz, xx = np.meshgrid(z, x, indexing="ij")
    back, palm = np.ones((half, size, 3)) * tone, np.ones((half, size, 3)) * tone
    palm = palm * [1.05, 1.02, 1.0] + [0.02, 0.0, 0.0]
    for chart in (back, palm):
        chart *= 1 + 0.018 * noise(rng, (half, size), 14)[..., None] + 0.022 * noise(rng, (half, size), 2.0)[..., None]
        chart += 0.012 * noise(rng, (half, size), 22)[..., None] * [1, -0.4, -0.3]
    wrinkle = noise(rng, (half, size), (5.0, 0.9))
    for f in range(5):
        chain = [joints[1 + 3 * f], joints[2 + 3 * f], joints[3 + 3 * f], joints[16 + f]]
        width = 0.0075 if f < 4 else 0.0095
        for k in range(3):
            d = chain[k + 1] - chain[k]
            d = d[[0, 2]] / np.linalg.norm(d[[0, 2]])
            along = (xx - chain[k][0]) * d[0] + (zz - chain[k][2]) * d[1]
            across = -(xx - chain[k][0]) * d[1] + (zz - chain[k][2]) * d[0]
            spot = np.exp(-((along / 0.0060) ** 2) - (across / width) ** 2)
            if k > 0 or f < 4:  # knuckles are redder and wrinkled on the back
                amount = 0.10 if k else 0.06
                back -= (spot * amount)[..., None] * np.array([0.35, 1.0, 0.95]) * tone
                back *= 1 - (0.05 * spot * wrinkle)[..., None]
            if k > 0:  # flexion creases on the palm side
                line = np.exp(-(((along + 0.001) / 0.0009) ** 2) - (across / (width * 1.15)) ** 4)
                palm -= (0.28 * line)[..., None] * np.array([0.7, 1.0, 1.0]) * tone
        tip = chain[3]
        d = chain[3] - chain[2]
        d = d[[0, 2]] / np.linalg.norm(d[[0, 2]])
        along = (xx - tip[0]) * d[0] + (zz - tip[2]) * d[1]
        across = -(xx - tip[0]) * d[1] + (zz - tip[2]) * d[0]
        half_w = 0.0052 if f < 4 else 0.0066
        nail = _inside(((along + 0.0050) / 0.0062) ** 4 + (across / half_w) ** 4, 1.0, 0.25)
        rim = _inside(((along + 0.0050) / 0.0072) ** 4 + (across / (half_w + 0.0009)) ** 4, 1.0, 0.25) - nail
        lunula = nail * _inside(((along + 0.0102) / 0.0020) ** 2 + (across / (half_w * 0.6)) ** 2, 1.0, 0.4)
        edge = nail * _inside(-along, 0.0004, 0.0008)
        nail_rgb = 0.55 * np.array(tone) + 0.45 * np.array([0.95, 0.74, 0.70])
        back = back * (1 - nail[..., None]) + nail_rgb * nail[..., None]
        back += (0.10 * lunula + 0.16 * edge)[..., None]
        back -= (0.16 * np.clip(rim, 0, 1))[..., None] * tone
        palm += (0.10 * np.exp(-(((along + 0.008) / 0.010) ** 2) - (across / 0.008) ** 2))[..., None] * [
            0.5,
            -0.12,
            -0.1,
        ]
    back -= 0.05 * _tendons(joints, xx, zz)[..., None] * np.array([0.6, 0.9, 0.8]) * tone
    palm -= 0.20 * _palm_lines(joints, xx, zz)[..., None] * np.array([0.7, 1.0, 1.0]) * tone
    for chart in (back, palm):  # the wrist crease
        line = np.exp(-(((xx - 0.006 + 0.01 * zz) / 0.0011) ** 2)) * (np.abs(zz) < 0.03)
        chart -= (0.09 * line)[..., None] * tone
    if sleeve is not None:
        start, rgb = sleeve
        cloth = _inside(start + 0.001 * noise(rng, (half, size), 8) - xx, 0.0, 0.0006)[..., None]
        weave = (
            1 + 0.05 * noise(rng, (half, size), (0.6, 2.0))[..., None] + 0.05 * noise(rng, (half, size), 20)[..., None]
        )
        hem = 1 - 0.25 * np.exp(-(((xx - start - 0.012) / 0.0012) ** 2))[..., None]
        back, palm = (chart * (1 - cloth) + np.array(rgb) * weave * hem * cloth for chart in (back, palm))
    return to_bytes(np.concatenate([back, palm]))


def _inside(value: np.ndarray, limit: float, soft: float) -> np.ndarray:
    return np.clip((limit - value) / soft + 0.5, 0.0, 1.0)


def _tendons(joints: np.ndarray, xx: np.ndarray, zz: np.ndarray) -> np.ndarray:
    out = np.zeros_like(xx)
    for f in range(4):  # hollows between the metacarpals read as shading
        m = joints[1 + 3 * f]
        t = np.clip(xx / m[0], 0, 1)
        centre = t * m[2] + 0.0
        out += np.exp(-(((zz - centre) / 0.0045) ** 2)) * ((xx < -0.02) & (xx > m[0])) * -0.6
    return out + 0.4


def _palm_lines(joints: np.ndarray, xx: np.ndarray, zz: np.ndarray) -> np.ndarray:
    i, p = joints[1], joints[7]
    u = (zz - p[2]) / (i[2] - p[2])
    lines = [
        (xx - (p[0] * 0.86 + 0.020 * u**2 * -1 - 0.004), 0.0, 0.85),  # heart
        (xx - (i[0] * 0.74 + 0.030 * (1 - u) ** 2), 0.15, 1.05),  # head
    ]
    out = np.zeros_like(xx)
    for d, lo, hi in lines:
        out = np.maximum(out, np.exp(-((d / 0.0009) ** 2)) * ((u > lo) & (u < hi)))
    arc = np.hypot(xx - joints[13][0] * 0.6, zz - joints[13][2] * 1.2) - 0.040  # around the ball of the thumb
    return np.maximum(out, np.exp(-((arc / 0.0009) ** 2)) * (xx > -0.07) * (zz < 0.025) * (zz > -0.02))


def wood(rng: np.random.Generator, base: tuple[float, float, float], size: int = 1024, planks: int = 6) -> np.ndarray:
    """Planks with grain along the first image axis."""
    out = np.zeros((size, size, 3))
    edges = np.linspace(0, size, planks + 1).astype(int)
    for a, b in pairwise(edges):
        w = b - a
        grain = noise(rng, (size, w), (90, 2.2)) * 0.05 + noise(rng, (size, w), (30, 0.8)) * 0.028
        ring = np.sin(noise(rng, (size, w), (160, 18)) * 7) * 0.03
        out[:, a:b] = np.array(base) * (1 + rng.normal(0, 0.05) + grain + ring)[..., None]
        out[:, a : a + 2] *= 0.72
    return to_bytes(out)


def cloth(rng: np.random.Generator, base: tuple[float, float, float], size: int = 512, stripe=None) -> np.ndarray:
    """Woven cloth, optionally striped."""
    y, x = np.mgrid[:size, :size]
    weave = (
        0.035 * np.sin(x * np.pi / 2) * np.sin(y * np.pi / 2)
        + 0.03 * noise(rng, (size, size), 1.0)
        + 0.04 * noise(rng, (size, size), 40)
    )
    out = np.ones((size, size, 3)) * base
    if stripe is not None:
        band = ((y // (size // 12)) % 4 == 0)[..., None]
        out = np.where(band, np.array(stripe), out)
    return to_bytes(out * (1 + weave)[..., None])


def speckle(
    rng: np.random.Generator, base: tuple[float, float, float], size: int = 512, amount: float = 0.03
) -> np.ndarray:
    """Laminate, plaster, carpet."""
    return to_bytes(
        np.ones((size, size, 3))
        * base
        * (1 + amount * noise(rng, (size, size), 1.2) + amount * noise(rng, (size, size), 25))[..., None]
    )


def cutting_mat(
    rng: np.random.Generator, base: tuple[float, float, float], cells: tuple[int, int], pixels: int = 28
) -> np.ndarray:
    """A work mat with a printed grid: ``cells`` squares, every fifth line stronger, some diagonals."""
    h, w = cells[0] * pixels, cells[1] * pixels
    y, x = np.mgrid[:h, :w]
    line = np.zeros((h, w))
    for k, strength in ((1, 0.16), (5, 0.42)):
        period = k * pixels
        near = np.minimum(x % period, period - x % period), np.minimum(y % period, period - y % period)
        line = np.maximum(line, strength * ((near[0] < 1.5) | (near[1] < 1.5)))
    for slope in (1.0, -1.0, 0.577):
        d = np.abs(y - h / 2 - slope * (x - w / 2)) / np.hypot(1, slope)
        line = np.maximum(line, 0.30 * (d < 1.3))
    out = np.array(base) * (1 + 0.03 * noise(rng, (h, w), 1.0) + 0.04 * noise(rng, (h, w), 40))[..., None]
    return to_bytes(out * (1 - line[..., None]) + line[..., None] * [0.62, 0.66, 0.58])


def page(rng: np.random.Generator, size: tuple[int, int] = (640, 460)) -> np.ndarray:
    """A printed sheet: headline, picture, columns of word-like marks. Something for a feature matcher to hold on to."""
    h, w = size
    out = np.ones((h, w, 3)) * rng.uniform(0.60, 0.72) * [1.0, 0.99, 0.96]
    out[26:62, 30 : w - rng.integers(40, 140)] = rng.uniform(0.05, 0.45, 3)
    ph, pw = int(rng.integers(120, 200)), int(rng.integers(140, 240))
    py, px = rng.integers(80, 200), rng.integers(24, w - pw - 24)
    y = 80
    while y < h - 24:
        x = 26
        while x < w - 40:
            word = int(rng.integers(8, 40))
            if not (py - 12 < y < py + ph + 4 and px - word - 6 < x < px + pw + 6):
                out[y : y + 6, x : min(x + word, w - 24)] = rng.uniform(0.08, 0.25)
            x += word + 7
        y += 13
    picture = np.stack([noise(rng, (ph, pw), 14) for _ in range(3)], -1) * 0.07 + rng.uniform(0.25, 0.5, 3)
    for _ in range(6):
        cy, cx, r = rng.integers(0, ph), rng.integers(0, pw), rng.integers(8, 45)
        yy, xx = np.mgrid[:ph, :pw]
        picture[(yy - cy) ** 2 + (xx - cx) ** 2 < r * r] = rng.uniform(0.1, 0.55) + rng.uniform(-0.08, 0.08, 3)
    out[py : py + ph, px : px + pw] = picture
    return to_bytes(out)
