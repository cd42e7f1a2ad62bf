"""How many of the motion describer's statements are true by the truth's own trajectory, and what it leaves unsaid.

A statement is one thing said about one hand in one second: where it moved, how far, that it was still, that it opened
or closed, how it turned. It is held against the same second of the true trajectory, measured by the same code.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.spatial.transform import Rotation

from unihand_data.demo.truth import SIDES, Truth
from unihand_data.language.config import MotionRulesSettings
from unihand_data.language.motion_claims import Claims, claims_of
from unihand_data.language.motion_measure import HandFigures, HandMotion, closure_from_theta, measure, windows
from unihand_data.language.motion_trust import trust_of
from unihand_data.values.estimator import HandResult

#: what still counts as true: a named direction needs this much of true travel (m), a hand said to be still may have
#: gone this far (m), fingers said to close need this share of ``min_closure``
TRUE_AXIS_M, TRUE_STILL_M, TRUE_CLOSURE = 0.01, 0.03, 0.5
#: an amount is true within the larger of these (m, rad) and this share of the true one
AMOUNT_M, AMOUNT_RAD, AMOUNT_SHARE = 0.02, float(np.radians(15.0)), 0.4
KINDS = ("direction", "distance", "still", "closure", "turn")


def true_motions(truth: Truth) -> dict[str, HandMotion]:
    """Both hands as they were, in the truth's world."""
    return {
        side: HandMotion(
            truth.wrist_pos[s],
            np.ones(len(truth), bool),
            closure_from_theta(truth.theta[s]),
            Rotation.from_matrix(truth.wrist_rot[s]).as_rotvec(),
        )
        for s, side in enumerate(SIDES)
    }


def found_motions(truth: Truth, result: HandResult, figures: dict[str, float] | None = None) -> dict[str, HandMotion]:
    """The hands of ``result`` (on the truth's frames) put into the truth's world by the true camera, so that what is
    judged are hands alone. ``figures``: of the clip, as ``curate.motion_quality`` takes them."""
    out: dict[str, HandMotion] = {}
    for side in SIDES:
        track = result.right if side == "right" else result.left
        if len(track) != len(truth):
            raise ValueError(f"the {side} hand has {len(track)} frames and the truth {len(truth)}")
        seen = track.valid & ~track.interpolated & np.isfinite(track.wrist_pos).all(1)
        pos, rot = np.full((len(truth), 3), np.nan), np.full((len(truth), 3), np.nan)
        camera = truth.camera[seen]
        pos[seen] = np.einsum("tij,tj->ti", camera[:, :3, :3], track.wrist_pos[seen]) + camera[:, :3, 3]
        turn = Rotation.from_matrix(camera[:, :3, :3]) * Rotation.from_rotvec(track.wrist_rot[seen])
        rot[seen] = turn.as_rotvec()
        closure = closure_from_theta(np.nan_to_num(track.theta))
        out[side] = HandMotion(pos, seen, closure, rot, trust_of(track, figures))
    return out


def score_sentences(
    truth: Truth, t: np.ndarray, found: dict[str, HandMotion], settings: MotionRulesSettings | None = None
) -> dict[str, float]:
    """Counts over all seconds and hands.

    Args:
        t: (T,) s, the truth's time stamps or those of a result on the same clock. found: by side, ``left`` and
            ``right``.

    Returns:
        ``stated`` and ``true``; per kind ``stated_KIND``, ``true_KIND``; ``share_true`` (NaN where nothing is stated);
        ``moves`` of the truth (3 cm or more in a second) and ``moves_stated``; ``grasps`` (closings around an object)
        and ``grasps_stated``.
    """
    settings = settings or MotionRulesSettings()
    exact = true_motions(truth)
    count: Counter[str] = Counter()
    closing: dict[str, list[tuple[float, float]]] = {"right": [], "left": []}
    for window in windows(t, settings):
        said = measure(t, found.get("left"), found.get("right"), window, settings)
        real = measure(truth.timestamps, exact["left"], exact["right"], window, settings)
        for side in SIDES:
            mine, true = getattr(said, side), getattr(real, side)
            if true is None:
                continue
            claims = claims_of(mine, settings) if mine is not None else None
            moved = true.distance >= TRUE_STILL_M
            count["moves"] += moved
            if claims is None:
                continue
            count["moves_stated"] += moved and bool(claims.directions)
            if claims.closure > 0:
                closing[side].append(window)
            for kind, verdict in verdicts(claims, true, settings).items():
                count[f"stated_{kind}"] += 1
                count[f"true_{kind}"] += verdict
    for t0, t1, kind in truth.events:
        whose, _, what = kind.partition("_")
        if what == "close":
            count["grasps"] += 1
            count["grasps_stated"] += any(a < t1 and t0 < b for a, b in closing[whose])
    names = [f"{what}_{kind}" for kind in KINDS for what in ("stated", "true")]
    out = {k: float(count[k]) for k in (*names, "moves", "moves_stated", "grasps", "grasps_stated")}
    out["stated"] = sum(out[f"stated_{kind}"] for kind in KINDS)
    out["true"] = sum(out[f"true_{kind}"] for kind in KINDS)
    out["share_true"] = out["true"] / out["stated"] if out["stated"] else float("nan")
    return out


def verdicts(claims: Claims, true: HandFigures, settings: MotionRulesSettings) -> dict[str, bool]:
    """Which of the statements hold, by kind; kinds that are not stated are left out."""
    out = {}
    if claims.directions:
        out["direction"] = all(sign * true.move[axis] >= TRUE_AXIS_M for axis, sign in claims.directions)
        out["distance"] = abs(claims.distance - true.distance) <= max(AMOUNT_M, AMOUNT_SHARE * true.distance)
    if claims.still:
        out["still"] = true.distance < TRUE_STILL_M
    if claims.closure:
        out["closure"] = claims.closure * true.closure_change >= TRUE_CLOSURE * settings.min_closure
    if claims.turn is not None:
        axis, angle = claims.turn
        real = true.turn[axis]
        out["turn"] = angle * real > 0 and abs(angle - real) <= max(AMOUNT_RAD, AMOUNT_SHARE * abs(real))
    return out


def format_score(score: dict[str, float]) -> str:
    """One line for people."""
    parts = [
        f"{kind} {score[f'true_{kind}']:.0f} of {score[f'stated_{kind}']:.0f}"
        for kind in KINDS
        if score[f"stated_{kind}"]
    ]
    share = f"{score['true']:.0f} of {score['stated']:.0f} true" if score["stated"] else "none"
    return (
        f"statements of the motion describer: {share}{' (' + ', '.join(parts) + ')' if parts else ''}; "
        f"moves stated {score['moves_stated']:.0f} of {score['moves']:.0f}, "
        f"grasps {score['grasps_stated']:.0f} of {score['grasps']:.0f}"
    )
