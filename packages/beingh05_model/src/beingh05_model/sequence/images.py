"""Pictures for the vision tower, without torchvision. Legend: V pictures, H height, W width, E edge of the model's
input.

Evaluation: the shortest side becomes E (bicubic, antialiased), the middle is cut out. Training: a random square of
    95 to
100 % of the area, and colour jitter. Values are normalised with ImageNet's mean and deviation.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unihand_data.config import Settings

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
GREY = torch.tensor([0.299, 0.587, 0.114])[:, None, None]


class ImageSettings(Settings):
    """Training transforms; zeros switch a part off. ``shift`` is a random translation in pixels of the input."""

    area: tuple[float, float] = (0.95, 1.0)
    brightness: float = 0.3
    contrast: float = 0.4
    saturation: float = 0.5
    hue: float = 0.08
    shift: int = 0


def to_float(picture: np.ndarray) -> Tensor:
    """[H, W, 3] uint8 to [3, H, W] in 0..1."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a picture is (height, width, 3) uint8, not {picture.shape} {picture.dtype}")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def normalise(picture: Tensor) -> Tensor:
    return (picture - MEAN) / DEVIATION


def resize(picture: Tensor, height: int, width: int) -> Tensor:
    """Bicubic with antialiasing, clamped to 0..1."""
    if picture.shape[-2:] == (height, width):
        return picture
    out = F.interpolate(picture[None], (height, width), mode="bicubic", antialias=True, align_corners=False)
    return out[0].clamp(0, 1)


def evaluation(picture: np.ndarray, edge: int) -> Tensor:
    """Shortest side to ``edge``, middle cut out, normalised: [3, E, E]."""
    x = to_float(picture)
    height, width = x.shape[-2:]
    scale = edge / min(height, width)
    x = resize(x, max(edge, round(height * scale)), max(edge, round(width * scale)))
    top, left = (x.shape[-2] - edge) // 2, (x.shape[-1] - edge) // 2
    return normalise(x[:, top : top + edge, left : left + edge])


def training(picture: np.ndarray, edge: int, settings: ImageSettings, random: np.random.Generator) -> Tensor:
    """A random square of the picture with changed colours, normalised: [3, E, E]. All randomness comes from ``random``;
    give pictures of one sample generators of the same seed where they must move together."""
    x = to_float(picture)
    height, width = x.shape[-2:]
    side = min(height, width)
    side = max(1, min(side, round(side * math.sqrt(random.uniform(*settings.area)))))
    top, left = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
    x = resize(x[:, top : top + side, left : left + side], edge, edge)
    if settings.shift:
        x = shifted(x, *random.integers(-settings.shift, settings.shift + 1, 2))
    return normalise(jitter(x, settings, random))


def shifted(x: Tensor, down: int, right: int) -> Tensor:
    """Translate by whole pixels; the border is repeated."""
    size = max(abs(int(down)), abs(int(right)))
    if not size:
        return x
    padded = F.pad(x[None], (size,) * 4, mode="replicate")[0]
    height, width = x.shape[-2:]
    return padded[:, size - down : size - down + height, size - right : size - right + width]


def jitter(x: Tensor, settings: ImageSettings, random: np.random.Generator) -> Tensor:
    """Brightness, contrast and saturation by factors around one, hue by a turn of the colour circle, in random
    order."""

    def factor(width: float) -> float:
        return float(random.uniform(max(0.0, 1 - width), 1 + width))

    for part in random.permutation(4):
        if part == 0 and settings.brightness:
            x = (x * factor(settings.brightness)).clamp(0, 1)
        elif part == 1 and settings.contrast:
            mean = (x * GREY).sum(0).mean()
            x = (mean + (x - mean) * factor(settings.contrast)).clamp(0, 1)
        elif part == 2 and settings.saturation:
            grey = (x * GREY).sum(0, keepdim=True)
            x = (grey + (x - grey) * factor(settings.saturation)).clamp(0, 1)
        elif part == 3 and settings.hue:
            x = turn_hue(x, float(random.uniform(-settings.hue, settings.hue)))
    return x


def turn_hue(x: Tensor, turns: float) -> Tensor:
    """Rotate chroma in the YIQ plane by ``turns`` of a full circle; luminance stays."""
    angle = 2 * math.pi * turns
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    turn = torch.tensor(
        [[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]], dtype=torch.float32
    )
    matrix = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return torch.einsum("ij,jhw->ihw", matrix, x).clamp(0, 1)
