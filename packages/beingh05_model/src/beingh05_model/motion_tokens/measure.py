"""What a tokenizer loses, in millimetres and degrees, and how much of its codebooks it uses.

Legend: N hands, T steps, J 15 joints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from beingh05_model.motion_tokens import layout
from beingh05_model.motion_tokens.hands import Hand
from beingh05_model.motion_tokens.settings import PARTS
from beingh05_model.motion_tokens.tokenizer import MotionTokenizer
from unihand_data.space import rotations

#: hands encoded at once
BATCH = 256


def measure(tokenizer: MotionTokenizer, hands: Sequence[Hand]) -> dict[str, float]:
    """Figures over hands: errors beside those of a predictor that knows no hand (``still_*``), use of codes.

    Wrist errors are those of the path: position and rotation since the start of the chunk, after every step. The
    predictor leaves the wrist where it is and every finger joint at the mean of these hands.
    """
    figures: dict[str, float] = {}
    for part in PARTS:
        values = [hand.parts[part] for hand in hands]
        known = [v for v in values if v is not None]
        figures[f"{part}_hands"] = len(known)
        if not known:
            continue
        true = np.stack(known)
        again, ids = _round_trip(tokenizer, part, true)
        errors = wrist_errors if part == "wrist" else finger_errors
        still = np.zeros_like(true) if part == "wrist" else np.broadcast_to(true.mean((0, 1)), true.shape)
        figures |= errors(true, again)
        figures |= {f"still_{name}": value for name, value in errors(true, still).items()}
        figures |= {f"{part}_{name}": value for name, value in use(tokenizer, part, ids).items()}
    return figures


def _round_trip(tokenizer: MotionTokenizer, part: str, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    device = next(tokenizer.parameters()).device
    again, ids = [], []
    for start in range(0, len(true), BATCH):
        tokens = tokenizer.encode(part, torch.from_numpy(true[start : start + BATCH]).to(device))
        ids.append(tokens.cpu().numpy())
        again.append(tokenizer.decode(part, tokens).cpu().numpy())
    return np.concatenate(again), np.concatenate(ids)


def wrist_errors(true: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """[N, T, 6] displacements: mean error of the path in mm and degrees, and of its end in mm."""
    away = np.linalg.norm((found - true)[..., :3].astype(np.float64).cumsum(1), axis=-1) * 1000
    return {
        "wrist_position_mm": float(away.mean()),
        "wrist_end_mm": float(away[:, -1].mean()),
        "wrist_rotation_deg": float(np.degrees(rotations.geodesic(_turned(true), _turned(found)).mean())),
    }


def _turned(steps: np.ndarray) -> np.ndarray:
    """[N, T, 3] rotation since the start, from displacements [N, T, 6]: each acts from the left."""
    turns = [np.zeros_like(steps[:, 0, 3:], dtype=np.float64)]
    for t in range(steps.shape[1]):
        turns.append(rotations.compose(steps[:, t, 3:], turns[-1]))
    return np.stack(turns[1:], axis=1)


def finger_errors(true: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """[N, T, 45] joint rotations: mean angle between them over all joints, and of the worst joint, in degrees."""
    shape = (*true.shape[:2], 15, 3)
    angle = np.degrees(rotations.geodesic(true.reshape(shape), found.reshape(shape)))
    return {"finger_joint_deg": float(angle.mean()), "finger_worst_joint_deg": float(angle.mean((0, 1)).max())}


def use(tokenizer: MotionTokenizer, part: str, ids: np.ndarray) -> dict[str, float]:
    """Over quantisers: mean and least perplexity of their codes in ids [N, block], share that no hand chose, and share
    that training itself has left without use."""
    s = tokenizer.settings
    own = ids.reshape(-1, s.groups, s.levels) - layout.offsets(s, part)
    perplexity, unused = [], []
    for g in range(s.groups):
        for level in range(s.levels):
            share = np.bincount(own[:, g, level], minlength=s.codes) / len(own)
            perplexity.append(float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum())))
            unused.append(float((share == 0).mean()))
    quantiser = tokenizer.coder(part).quantiser
    count = quantiser.count
    dead = count <= s.dead_share * count.mean(-1, keepdim=True)
    return {
        "perplexity": float(np.mean(perplexity)),
        "least_perplexity": min(perplexity),
        "unused": float(np.mean(unused)),
        "dead": float(dead.float().mean()),
    }
