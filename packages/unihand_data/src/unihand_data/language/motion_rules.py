"""The motion describer: sentences computed from a measured trajectory, for sources without text and without a model.

It says which hand moved, where (relative to the wearer), how far, whether it opened, closed or turned, and whether the
hands came together or parted. It never names an object or a purpose: it cannot know them. ``text_source`` is
``motion_rules``.

It mirrors: the description of the mirrored motion is ``swap_left_right`` of the description, because the figures mirror
exactly (:mod:`motion_measure`), wording is picked by a key the twins share, and which hand is named first hangs on
figures that have no side.

What the track cannot support is not said (:mod:`motion_trust`): a hand, a window or a whole clip may get no words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from unihand_data.language import motion_phrases as words
from unihand_data.language.config import MotionRulesSettings
from unihand_data.language.mirror_words import swap_left_right
from unihand_data.language.motion_claims import Claims, claims_of
from unihand_data.language.motion_measure import (
    HandFigures,
    HandMotion,
    WindowFigures,
    camera_to_wearer_axes,
    closure_from_theta,
    heading_of_camera,
    measure,
    windows,
)
from unihand_data.language.motion_phrases import MOTION_RULES_VERSION
from unihand_data.shards.rows import LanguageRow

__all__ = [
    "MOTION_RULES_VERSION",
    "HandMotion",
    "camera_to_wearer_axes",
    "closure_from_theta",
    "describe_clip",
    "describe_window",
    "heading_of_camera",
]


def describe_clip(
    t: np.ndarray,
    left: HandMotion | None,
    right: HandMotion | None,
    *,
    key: str,
    settings: MotionRulesSettings | None = None,
    heading: np.ndarray | None = None,
    max_chunk_s: float = 10.0,
) -> list[LanguageRow]:
    """Rows of level ``instruction`` (one per second) and ``intent`` (one per chunk of at most ``max_chunk_s``).

    Args:
        t: (T,) s on the row's clock.
        left, right: the hands in the world (x forward, y left, z up); None where a clip has none.
        key: picks the wording; give the parent's id for both twins.
        heading: (T,) rad, :func:`heading_of_camera`; directions are then relative to where the wearer faces.

    A window about which nothing can be said (no hand seen for long enough, or nothing that stands out from its errors)
    gets no row; an empty list means the same of the clip.
    """
    settings = settings or MotionRulesSettings()
    if len(t) < 2:
        return []
    rows = []
    figures = [measure(t, left, right, w, settings, heading) for w in windows(t, settings)]
    for number, window in enumerate(figures):
        text = describe_window(window, key=f"{key}:{number}", settings=settings)
        if text:
            rows.append(_row("instruction", window.t0, window.t1, text, _hand_of(window, settings)))
    for number, chunk in enumerate(windows(t, settings, max_chunk_s)):
        inside = [f for f in figures if chunk[0] - 1e-6 <= f.t0 < chunk[1] - 1e-6]
        text, hand = _summary(inside, f"{key}:chunk{number}", settings)
        if text:
            rows.append(_row("intent", chunk[0], chunk[1], text, hand))
    return rows


def describe_window(window: WindowFigures, *, key: str, settings: MotionRulesSettings | None = None) -> str:
    """One sentence about one window; empty when nothing can be said about either hand."""
    settings = settings or MotionRulesSettings()
    said = [(side, hand, claims) for side, hand, claims in _seen(window, settings) if claims.any]
    if not said:
        return ""
    if len(said) == 2:
        together = _both(window, said[0][2], said[1][2], key, settings)
        if together:
            return _sentence(together)
    alone = len(said) == 1
    clauses = [(side, _busyness(hand), _clause(f"the {side} hand", claims, key, alone)) for side, hand, claims in said]
    return _sentence(_joined(clauses, key))


def _seen(window: WindowFigures, settings: MotionRulesSettings) -> list[tuple[str, HandFigures, Claims]]:
    hands = (("left", window.left), ("right", window.right))
    return [(side, hand, claims_of(hand, settings)) for side, hand in hands if hand is not None]


def _joined(clauses: list[tuple[str, tuple[float, ...], str]], key: str) -> str:
    """One or two clauses (side, busyness, text) as one; the busier hand comes first.

    Equal busyness is decided by the words as they would be of a left hand, which are the same for the mirrored window;
    equal words too mean that the hands are mirror images, and then they are said as one, outward and inward.
    """
    if len(clauses) == 1:
        return clauses[0][2]
    as_left = {side: text if side == "left" else swap_left_right(text) for side, _, text in clauses}
    if clauses[0][1] == clauses[1][1] and as_left["left"] == as_left["right"]:
        return _outward(as_left["left"])
    ordered = sorted(clauses, key=lambda c: (tuple(-b for b in c[1]), as_left[c[0]]))
    return _pick(words.JOIN, key, "join").join(text for _, _, text in ordered)


def _outward(text: str) -> str:
    """A left hand's clause as one about each hand."""
    for word, neutral in (
        ("the left hand", "each hand"),
        ("to the left", "outward"),
        ("to the right", "inward"),
        ("counterclockwise", "outward"),
        ("clockwise", "inward"),
    ):
        text = text.replace(word, neutral)
    return text


def _busyness(hand: HandFigures) -> tuple[float, ...]:
    # rounded, so that the last bit of a rotation does not decide which hand is named first
    turn = float(np.sqrt(hand.turn[0] ** 2 + hand.turn[1] ** 2 + hand.turn[2] ** 2))
    figures = (hand.path, hand.distance, hand.closure_range, turn, hand.mean_pos[0], hand.mean_pos[2], hand.move[0])
    return tuple(round(f, 9) for f in figures)


def _both(window: WindowFigures, left: Claims, right: Claims, key: str, settings: MotionRulesSettings) -> str:
    """What the hands did as one, or empty: a shared direction, parting, meeting, or both still."""
    if left.still and right.still and not left.active and not right.active:
        return _pick(words.BOTH_STILL, key, "both")
    if not (left.directions and right.directions) or any(c.closure or c.turn for c in (left, right)):
        return ""
    mean = (left.distance + right.distance) / 2
    if _direction(left) == _direction(right) and abs(left.distance - right.distance) < 0.35 * mean:
        return _pick(words.BOTH_MOVE, key, "both").format(dir=_direction(left), cm=_cm(mean))
    assert window.left is not None
    assert window.right is not None
    lateral = all(abs(h.move[1]) > 0.7 * h.distance for h in (window.left, window.right))
    enough = max(settings.min_gap_m, window.left.limits.axis + window.right.limits.axis)
    if window.gap_change is not None and abs(window.gap_change) >= enough and lateral:
        phrases = words.APART if window.gap_change > 0 else words.TOGETHER
        return _pick(phrases, key, "gap").format(cm=_cm(abs(window.gap_change)))
    return ""


def _clause(name: str, hand: Claims, key: str, alone: bool) -> str:
    """``alone``: no second clause follows, so the imperative wordings may be used."""
    changes = _pose_changes(hand, key)
    if hand.directions:
        move = _pick(words.MOVE_ALONE if alone and not changes else words.MOVE, key, "move")
        text = move.format(hand=name, dir=_direction(hand), cm=_cm(hand.distance))
        return " and ".join([text, *changes])
    if changes:
        return f"{name} {' and '.join(changes)}"
    if hand.wanders:
        return _pick(words.WANDER, key, "wander").format(hand=name)
    return _pick(words.STILL_ALONE if alone else words.STILL, key, "still").format(hand=name)


def _pose_changes(hand: Claims, key: str) -> list[str]:
    """Opening, closing and turning, as verb phrases."""
    out = []
    if hand.closure:
        out.append(_pick(words.CLOSE if hand.closure > 0 else words.OPEN, key, "closure"))
    if hand.turn is not None:
        axis, angle = hand.turn
        deg = int(round(float(np.degrees(abs(angle))) / 5.0) * 5)
        if axis == 0:  # about forward: positive lifts the wearer's left side, which is clockwise to the wearer
            sense = "clockwise" if angle > 0 else "counterclockwise"
            out.append(_pick(words.ROLL, key, "turn").format(sense=sense, deg=deg))
        elif axis == 1:  # about left: positive takes up to forward
            out.append(_pick(words.PITCH, key, "turn").format(way="forward" if angle > 0 else "backward", deg=deg))
        else:
            out.append(_pick(words.YAW, key, "turn").format(side="left" if angle > 0 else "right", deg=deg))
    return out


def _direction(hand: Claims) -> str:
    """The named axes, largest first: "up and to the left"."""
    names = (("forward", "back"), ("to the left", "to the right"), ("up", "down"))
    said = [names[axis][0 if sign > 0 else 1] for axis, sign in hand.directions]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def _summary(figures: Sequence[WindowFigures], key: str, settings: MotionRulesSettings) -> tuple[str, str]:
    """A chunk's motion in one sentence, per hand its four largest phases in their order in time, and whose it is.

    A hand is still over a chunk when it was in every window.
    """
    clauses: list[tuple[str, tuple[float, ...], str]] = []
    moved: list[str] = []
    seen = [{side: (hand, claims) for side, hand, claims in _seen(f, settings)} for f in figures]
    for side in ("left", "right"):
        hands = [s[side] for s in seen if side in s]
        phases: list[tuple[float, str]] = []
        for hand, claims in hands:
            phases += [p for p in _phases(hand, claims) if not phases or phases[-1][1] != p[1]]
        name = f"the {side} hand"
        if phases:
            moved.append(side)
            text = f"{name} {_chain(_largest(phases), key)}"
        elif hands and len(hands) == len(figures) and all(claims.still for _, claims in hands):
            wanders = any(claims.active for _, claims in hands)
            text = _pick(words.WANDER if wanders else words.STILL, key, "still").format(hand=name)
        else:
            continue
        busyness = tuple(round(sum(b), 9) for b in zip(*(_busyness(hand) for hand, _ in hands)))
        clauses.append((side, busyness, text))
    if not clauses:
        return "", "none"
    both_still = len(clauses) == 2 and not any(claims.active for s in seen for _, claims in s.values())
    text = _pick(words.BOTH_STILL, key, "both") if both_still else _joined(clauses, key)
    seconds = max(1, round(figures[-1].t1 - figures[0].t0))
    span = f"{seconds} second{'s' if seconds > 1 else ''}"
    whose = moved or [side for side, _, _ in clauses]
    return _sentence(text + _pick(words.SUMMARY_END, key, "end").format(span=span)), _named(whose)


def _phases(hand: HandFigures, claims: Claims) -> list[tuple[float, str]]:
    """What a hand did in a second as (weight, words), without wordings to choose, so that equal neighbours merge."""
    out = []
    if claims.directions:
        out.append((hand.distance, f"moves {_direction(claims)}"))
    if claims.closure:
        # a full closing weighs as much as 20 cm of travel: it is mostly a grasp
        out.append((0.2 * abs(hand.closure_change), "closes" if claims.closure > 0 else "opens"))
    return out


def _largest(phases: list[tuple[float, str]], count: int = 4) -> list[str]:
    """The largest phases in their order in time."""
    order = sorted(range(len(phases)), key=lambda i: (-round(phases[i][0], 9), i))[:count]
    return [phases[i][1] for i in sorted(order)]


def _chain(phases: list[str], key: str) -> str:
    if len(phases) == 1:
        return phases[0]
    return ", ".join(phases[:-1]) + _pick(words.THEN, key, "then") + phases[-1]


def _hand_of(window: WindowFigures, settings: MotionRulesSettings) -> str:
    """Whose motion the sentence is about: the hands that did anything, or those that are said to be still."""
    said = [(side, claims) for side, _, claims in _seen(window, settings) if claims.any]
    return _named([side for side, claims in said if claims.active] or [side for side, _ in said])


def _named(sides: Sequence[str]) -> str:
    return "both" if len(sides) == 2 else sides[0] if sides else "none"


def _row(level: str, t0: float, t1: float, text: str, hand: str) -> LanguageRow:
    return LanguageRow(
        level, t0, t1, text, hand, "motion_rules", MOTION_RULES_VERSION, f"{MOTION_RULES_VERSION}/{level}"
    )


def _cm(metres: float) -> int:
    """Whole centimetres up to 20, steps of five above: no more precise than the estimate is."""
    cm = metres * 100
    return round(cm) if cm < 20 else int(round(cm / 5.0) * 5)


def _pick(phrases: Sequence[str], key: str, what: str) -> str:
    digest = hashlib.blake2b(f"{MOTION_RULES_VERSION}:{what}:{key}".encode(), digest_size=8).digest()
    return phrases[int.from_bytes(digest, "little") % len(phrases)]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
