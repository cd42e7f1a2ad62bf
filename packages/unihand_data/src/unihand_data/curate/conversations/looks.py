"""How a picture looks, as 64 bits: equal or nearly so for copies that were scaled, encoded anew or padded.

The hash is of the whole picture, so a crop is another picture. Bars of one colour along the edges (a picture padded to
a square, a letter-boxed film frame) are taken off first: what lies between them is the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: levels of gray (of 255): how far the outermost line of a bar may be from its own median, and how far further lines
#: may be from it on average (where a bar meets the picture, JPEG leaves ripples in it)
_FLAT, _RIPPLE = 6, 8.0
#: of a side, what a bar must have before it is taken off; a thin line at an edge is no padding
_LEAST_BAR = 0.02
_AT_ONCE = 16


def look_of(image: Any) -> str:
    """64-bit perceptual hash of a PIL picture, 16 hex digits: the lowest 8x8 DCT coefficients of the 32x32 gray picture
    against their median."""
    from scipy.fft import dctn

    gray = np.asarray(image.convert("L").resize((32, 32), 1), dtype=np.float64)
    low = dctn(gray, norm="ortho")[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return f"{int(''.join('1' if b else '0' for b in bits), 2):016x}"


def content_look_of(image: Any, whole: str) -> str:
    """:func:`look_of` of what lies between bars of one colour; ``whole`` (the look with bars) where there are none."""
    box = content_box(np.asarray(image.convert("L")))
    return look_of(image.crop(box)) if box != (0, 0, *image.size) else whole


def content_box(gray: np.ndarray) -> tuple[int, int, int, int]:
    """``left, top, right, bottom`` of the content of an (H, W) uint8 picture. A picture of one colour has no bars."""
    height, width = gray.shape
    top, bottom = _bar(gray), _bar(gray[::-1])
    if top + bottom >= height:
        return 0, 0, width, height
    inner = gray[top : height - bottom]
    left, right = _bar(inner.T), _bar(inner.T[::-1])
    if left + right >= width:
        return 0, 0, width, height
    return left, top, width - right, height - bottom


def _bar(lines: np.ndarray) -> int:
    """How many of the first lines are one flat colour; 0 if too few to be padding."""
    level = float(np.median(lines[0]))
    if np.abs(lines[0] - level).max() > _FLAT:
        return 0
    count = 0
    for start in range(0, len(lines), _AT_ONCE):
        flat = np.abs(lines[start : start + _AT_ONCE] - level).mean(axis=1) <= _RIPPLE
        count += len(flat) if flat.all() else int(np.argmin(flat))
        if count < start + len(flat):
            break
    return count if count >= _LEAST_BAR * len(lines) else 0


def number(look: str) -> int:
    """A look as an unsigned 64-bit number."""
    return int(look, 16)
