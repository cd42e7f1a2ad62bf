"""Writes episodes as HDF5 files in the trees of their publishers, with the JSON, CSV and videos beside them.

Legend: T steps.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

#: width and height of generated pictures
SIZE = (64, 48)


def frames(steps: int, seed: int = 0) -> np.ndarray:
    """(T, 48, 64, 3) uint8: a red-tinted ground and a bar that moves."""
    width, height = SIZE
    rng = np.random.default_rng(seed)
    ground = np.array([170, 60, 40]) + rng.integers(-10, 10, 3)
    out = np.tile(ground.astype(np.uint8), (steps, height, width, 1))
    for i in range(steps):
        out[i, :, (2 * i) % (width - 6) : (2 * i) % (width - 6) + 6] = 220
    return out


def jpeg(picture: np.ndarray) -> bytes:
    """A JPEG of (H, W, 3)."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=80)
    return out.getvalue()


def depth_png(value: int) -> bytes:
    """A 16-bit PNG of one distance in mm."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.full((SIZE[1], SIZE[0]), value, np.uint16)).save(out, "PNG")
    return out.getvalue()


def write_hdf5(path: Path, members: dict[str, Any], attrs: dict[str, dict[str, Any]] | None = None) -> None:
    """One file. A list of bytes becomes one string of bytes per entry (variable length), an array a data set as it is,
    a text a scalar string.

    Args:
        attrs: path of a group -> its attributes.
    """
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as f:
        for name, value in members.items():
            if isinstance(value, list):
                data = f.create_dataset(name, (len(value),), h5py.vlen_dtype(np.uint8))
                for i, picture in enumerate(value):
                    data[i] = np.frombuffer(picture, np.uint8)
            else:
                f.create_dataset(name, data=value)
        for name, said in (attrs or {}).items():
            group = f.require_group(name) if name else f
            for key, value in said.items():
                group.attrs[key] = value


def padded(pictures: list[bytes]) -> np.ndarray:
    """(T, longest) uint8, zeros behind each picture."""
    out = np.zeros((len(pictures), max(map(len, pictures))), np.uint8)
    for row, picture in zip(out, pictures):
        row[: len(picture)] = np.frombuffer(picture, np.uint8)
    return out


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
