"""A synthetic picture with a few coloured things at known places, and the files it is published as."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

COLOURS = {
    "red": (200, 40, 40), "green": (50, 170, 60), "blue": (50, 80, 200), "yellow": (220, 200, 50),
    "purple": (140, 60, 160), "orange": (230, 140, 40),
}  # fmt: skip
NOUNS = ("mug", "block", "plate", "bowl", "box", "tin")
SIZES = ((96, 64), (64, 96), (80, 80))


@dataclass(frozen=True)
class Thing:
    """``box``: x0, y0, x1, y1 in pixels, edges at integers."""

    name: str
    colour: str
    box: tuple[int, int, int, int]

    @property
    def phrase(self) -> str:
        return f"the {self.colour} {self.name}"

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True)
class Still:
    """One picture. Equal seeds give equal pictures."""

    width: int
    height: int
    things: tuple[Thing, ...]
    seed: int

    def unit_box(self, thing: Thing) -> list[float]:
        """The thing's box in 0..1."""
        x0, y0, x1, y1 = thing.box
        return [x0 / self.width, y0 / self.height, x1 / self.width, y1 / self.height]

    def unit_centre(self, thing: Thing) -> list[float]:
        x, y = thing.centre
        return [x / self.width, y / self.height]

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8: smooth random ground, things filled."""
        rng = np.random.default_rng((7, self.seed))
        coarse = rng.uniform(60, 230, (6, 6, 3))
        rows = np.linspace(0, 5, self.height)
        cols = np.linspace(0, 5, self.width)
        r0, c0 = np.minimum(rows.astype(int), 4), np.minimum(cols.astype(int), 4)
        fr, fc = (rows - r0)[:, None, None], (cols - c0)[None, :, None]
        top = coarse[r0][:, c0] * (1 - fc) + coarse[r0][:, c0 + 1] * fc
        low = coarse[r0 + 1][:, c0] * (1 - fc) + coarse[r0 + 1][:, c0 + 1] * fc
        out = (top * (1 - fr) + low * fr).astype(np.uint8)
        for thing in self.things:
            x0, y0, x1, y1 = thing.box
            out[y0:y1, x0:x1] = COLOURS[thing.colour]
        return out

    def encoded(self, kind: str = "JPEG", *, orientation: int = 1, mode: str = "RGB", **options: Any) -> bytes:
        """The picture as a file. ``orientation``: EXIF's number (6: the stored pixels are turned a quarter and readers
        turn them back). ``mode``: CMYK, P, L, RGBA ..."""
        from PIL import Image

        image = Image.fromarray(self.pixels())
        turned = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
        if (how := turned[orientation]) is not None:
            image = image.transpose(how)
            exif = Image.Exif()
            exif[0x0112] = orientation
            options["exif"] = exif.tobytes()
        out = io.BytesIO()
        if kind == "JPEG":
            options = {"quality": 92, **options}
        image.convert(mode).save(out, kind, **options)
        return out.getvalue()


def still(seed: int, size: tuple[int, int] | None = None) -> Still:
    """Two or three things that do not touch, in a picture of one of ``SIZES``."""
    rng = np.random.default_rng((11, seed))
    width, height = size or SIZES[seed % len(SIZES)]
    colours = rng.permutation(list(COLOURS))
    nouns = rng.permutation(NOUNS)
    things = []
    count = 2 + seed % 2
    for i in range(count):
        left, right = width * i // count, width * (i + 1) // count
        x0 = int(rng.integers(left + 2, left + 5))
        y0 = int(rng.integers(2, height // 2))
        x1 = int(rng.integers(x0 + 8, right - 2))
        y1 = int(rng.integers(y0 + 8, height - 2))
        things.append(Thing(str(nouns[i]), str(colours[i]), (x0, y0, x1, y1)))
    return Still(width, height, tuple(things), seed)
