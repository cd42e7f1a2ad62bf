"""From landmarks of one hand to its pose in the camera: place (pnp), posture (ik), and which way it is tilted.

Legend: T frames, J = 21 keypoints, pixels and intrinsics of the clip's view, metres, OpenCV camera axes.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from unihand_data.hands import ambiguity, ik, pnp
from unihand_data.hands.ik import HandFit
from unihand_data.values.camera import Intrinsics
from unihand_data.values.hands import FINGERS, Side

_PX_SIGMA = 0.03  # of the hand's size in the picture: how far landmarks lie from where a skeleton can put them
_DEPTH_SIGMA = 0.03  # m, of a landmark's depth relative to the hand
_POSTURE = 0.5  # weight of the resting posture against all landmarks of a frame
_OUTSIDE = 0.3  # weight of a landmark outside the picture: the model guesses it


def lift(
    px: np.ndarray,
    world: np.ndarray,
    p_right: np.ndarray,
    side: Side,
    camera: Intrinsics,
    times: np.ndarray,
    hand_scale: float,
) -> tuple[HandFit, np.ndarray] | None:
    """Fit ``generic_v1`` of one size to landmarks.

    Args:
        px: (T, 21, 2) as seen, distortion included. world: (T, 21, 3) m about any origin. p_right: (T,) the model's own
            handedness per frame. NaN rows where nothing was seen. times: (T,) s.

    Returns: the fit and its reprojection error per frame over the hand's size in the picture, or None without a hand.

    Two explanations are fitted: the model's, and the one mirrored in depth, which is what the model would have seen in
    a hand of the other side. The model's handedness votes, misfit votes, and a steady motion decides.
    """
    straight = pnp.undistorted_px(px, camera)
    with np.errstate(invalid="ignore"):
        inside = ((px > -0.5) & (px < np.array([camera.width, camera.height]) - 0.5)).all(-1)
    weights = landmark_weights() * np.where(inside, 1.0, _OUTSIDE)
    p_side = np.clip(p_right if side == "right" else 1.0 - p_right, 0.02, 0.98)
    fits, errors, costs = [], [], []
    for flipped in (False, True):
        placed = pnp.solve_hands(world * [1, 1, -1] if flipped else world, straight, camera, hand_scale)
        if not np.isfinite(placed.keypoints).all((1, 2)).any():
            return None
        sigma = np.nan_to_num(placed.size_px, nan=1.0) * _PX_SIGMA
        fit = ik.fit_theta(
            placed.keypoints, side, weights=weights, hand_scale=hand_scale, own_proportions=False, prior=_POSTURE,
            image=ik.ImageTerm(straight, camera.K, sigma, _DEPTH_SIGMA),
        )  # fmt: skip
        error = fit.residual_px / placed.size_px
        fits.append(fit)
        errors.append(error)
        costs.append(error / _PX_SIGMA - np.log(1.0 - p_side if flipped else p_side))
    choice = ambiguity.choose(
        np.stack(costs, 1),
        np.stack([f.wrist_pos for f in fits], 1),
        np.stack([f.wrist_rot for f in fits], 1),
        times,
    )
    return _mixed(fits[0], fits[1], choice), np.where(choice == 0, errors[0], errors[1])


def landmark_weights() -> np.ndarray:
    """(21,) trust in landmarks. Wrist and knuckles place the hand; finger tips are guessed behind objects; the model's
    root of the thumb lies further out than the joint (1.2 of its distance from the wrist on generated hands)."""
    w = np.ones(21)
    for name, (root, middle, end, tip) in FINGERS.items():
        w[[middle, end, tip]] = (0.3, 0.3, 0.3) if name == "thumb" else (0.5, 0.3, 0.3)
        if name == "thumb":
            w[root] = 0.2
    return w


def _mixed(first: HandFit, second: HandFit, choice: np.ndarray) -> HandFit:
    values = {}
    for f in fields(HandFit):
        a, b = getattr(first, f.name), getattr(second, f.name)
        per_frame = f.name not in ("hand_scale", "rest")
        values[f.name] = np.where(choice.reshape(-1, *[1] * (a.ndim - 1)) == 0, a, b) if per_frame else a
    return HandFit(**values)
