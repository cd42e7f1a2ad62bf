"""The motion describer: sentences computed from a measured trajectory, for sources without text and without a model.

It says which hand moved, where (relative to the wearer), how far, whether it opened, closed or turned, and whether the
hands came together or parted. It never names an object or a purpose: it cannot know them. ``text_source`` is
``motion_rules``.

It mirrors: the description of the mirrored motion is ``swap_left_right`` of the description, because the figures mirror
exactly (:mod:`motion_measure`), wording is picked by a key the twins share, and which hand is named first hangs on
figures that have no side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from unihand_data.language import motion_phrases as words
from unihand_data.language.config import MotionRulesSettings
from unihand_data.language.mirror_words import swap_left_right
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

    A window in which no hand was seen for long enough gets no row; an empty list means nothing can be said.
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
        text = _summary(inside, f"{key}:chunk{number}", settings)
        if text:
            whole = measure(t, left, right, chunk, settings, heading)
            rows.append(_row("intent", chunk[0], chunk[1], text, _hand_of(whole, settings)))
    return rows


def describe_window(window: WindowFigures, *, key: str, settings: MotionRulesSettings | None = None) -> str:
    """One sentence about one window; empty when neither hand was seen."""
    settings = settings or MotionRulesSettings()
    seen = _seen(window)
    if not seen:
        return ""
    if len(seen) == 2:
        together = _both(window, key, settings)
        if together:
            return _sentence(together)
    alone = len(seen) == 1
    clauses = [(side, _busyness(hand), _clause(f"the {side} hand", hand, key, settings, alone)) for side, hand in seen]
    return _sentence(_joined(clauses, key))


def _seen(window: WindowFigures) -> list[tuple[str, HandFigures]]:
    return [(side, hand) for side, hand in (("left", window.left), ("right", window.right)) if hand is not None]


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


def _both(window: WindowFigures, key: str, settings: MotionRulesSettings) -> str:
    """What the hands did as one, or empty: a shared direction, parting, meeting, or both still."""
    left, right = window.left, window.right
    assert left is not None
    assert right is not None
    extras = [_pose_changes(h, key, settings) for h in (left, right)]
    still = [_is_still(h, settings) for h in (left, right)]
    if all(still) and not any(extras) and max(left.path, right.path) < settings.min_path_m:
        return _pick(words.BOTH_STILL, key, "both")
    if any(extras) or any(still):
        return ""
    directions = [_direction(h, settings) for h in (left, right)]
    mean = (left.distance + right.distance) / 2
    if directions[0] == directions[1] and abs(left.distance - right.distance) < 0.35 * mean:
        return _pick(words.BOTH_MOVE, key, "both").format(dir=directions[0], cm=_cm(mean))
    lateral = [abs(h.move[1]) > 0.7 * h.distance for h in (left, right)]
    if window.gap_change is not None and abs(window.gap_change) >= settings.min_gap_m and all(lateral):
        phrases = words.APART if window.gap_change > 0 else words.TOGETHER
        return _pick(phrases, key, "gap").format(cm=_cm(abs(window.gap_change)))
    return ""


def _clause(name: str, hand: HandFigures, key: str, settings: MotionRulesSettings, alone: bool) -> str:
    """``alone``: no second clause follows, so the imperative wordings may be used."""
    changes = _pose_changes(hand, key, settings)
    if not _is_still(hand, settings):
        move = _pick(words.MOVE_ALONE if alone and not changes else words.MOVE, key, "move")
        text = move.format(hand=name, dir=_direction(hand, settings), cm=_cm(hand.distance))
    elif changes:
        return f"{name} {' and '.join(changes)}"
    elif hand.path >= settings.min_path_m:
        return _pick(words.WANDER, key, "wander").format(hand=name)
    else:
        return _pick(words.STILL_ALONE if alone else words.STILL, key, "still").format(hand=name)
    return " and ".join([text, *changes])


def _pose_changes(hand: HandFigures, key: str, settings: MotionRulesSettings) -> list[str]:
    """Opening, closing and turning, as verb phrases."""
    out = []
    if abs(hand.closure_change) >= settings.min_closure:
        out.append(_pick(words.CLOSE if hand.closure_change > 0 else words.OPEN, key, "closure"))
    axis = int(np.argmax(np.round(np.abs(hand.turn), 9)))
    angle = float(np.degrees(hand.turn[axis]))
    if abs(angle) >= settings.min_roll_deg:
        deg = int(round(abs(angle) / 5.0) * 5)
        if axis == 0:  # about forward: positive lifts the wearer's left side, which is clockwise to the wearer
            sense = "clockwise" if angle > 0 else "counterclockwise"
            out.append(_pick(words.ROLL, key, "turn").format(sense=sense, deg=deg))
        elif axis == 1:  # about left: positive takes up to forward
            out.append(_pick(words.PITCH, key, "turn").format(way="forward" if angle > 0 else "backward", deg=deg))
        else:
            out.append(_pick(words.YAW, key, "turn").format(side="left" if angle > 0 else "right", deg=deg))
    return out


def _direction(hand: HandFigures, settings: MotionRulesSettings) -> str:
    """The named axes, largest first: "up and to the left"."""
    names = (("forward", "back"), ("to the left", "to the right"), ("up", "down"))
    order = sorted(range(3), key=lambda a: -round(abs(hand.move[a]), 9))
    largest = abs(hand.move[order[0]])
    said = [names[a][0 if hand.move[a] > 0 else 1] for a in order if abs(hand.move[a]) >= settings.axis_share * largest]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def _summary(figures: Sequence[WindowFigures], key: str, settings: MotionRulesSettings) -> str:
    """A chunk's motion in one sentence: per hand its four largest phases in their order in time."""
    clauses: list[tuple[str, tuple[float, ...], str]] = []
    moved = False
    for side in ("left", "right"):
        hands = [h for h in ((f.left if side == "left" else f.right) for f in figures) if h is not None]
        if not hands:
            continue
        phases: list[tuple[float, str]] = []
        for hand in hands:
            phases += [p for p in _phases(hand, settings) if not phases or phases[-1][1] != p[1]]
        moved |= bool(phases)
        name = f"the {side} hand"
        text = (
            f"{name} {_chain(_largest(phases), key)}" if phases else _pick(words.STILL, key, "still").format(hand=name)
        )
        busyness = tuple(round(sum(b), 9) for b in zip(*(_busyness(h) for h in hands)))
        clauses.append((side, busyness, text))
    if not clauses:
        return ""
    both_still = len(clauses) == 2 and not moved
    text = _pick(words.BOTH_STILL, key, "both") if both_still else _joined(clauses, key)
    seconds = max(1, round(figures[-1].t1 - figures[0].t0))
    return _sentence(text + _pick(words.SUMMARY_END, key, "end").format(seconds=seconds))


def _phases(hand: HandFigures, settings: MotionRulesSettings) -> list[tuple[float, str]]:
    """What a hand did in a second as (weight, words), without wordings to choose, so that equal neighbours merge."""
    out = []
    if not _is_still(hand, settings):
        out.append((hand.distance, f"moves {_direction(hand, settings)}"))
    if abs(hand.closure_change) >= settings.min_closure:
        # a full closing weighs as much as 20 cm of travel: it is mostly a grasp
        out.append((0.2 * abs(hand.closure_change), "closes" if hand.closure_change > 0 else "opens"))
    return out


def _largest(phases: list[tuple[float, str]], count: int = 4) -> list[str]:
    """The largest phases in their order in time."""
    order = sorted(range(len(phases)), key=lambda i: (-round(phases[i][0], 9), i))[:count]
    return [phases[i][1] for i in sorted(order)]


def _chain(phases: list[str], key: str) -> str:
    if len(phases) == 1:
        return phases[0]
    return ", ".join(phases[:-1]) + _pick(words.THEN, key, "then") + phases[-1]


def _is_still(hand: HandFigures, settings: MotionRulesSettings) -> bool:
    return hand.distance < settings.min_move_m


def _hand_of(window: WindowFigures, settings: MotionRulesSettings) -> str:
    """Whose motion the sentence is about: the hands that did anything, or those that were seen."""
    seen = {s: h for s, h in (("left", window.left), ("right", window.right)) if h is not None}
    active = [
        side
        for side, h in seen.items()
        if not _is_still(h, settings) or _pose_changes(h, "", settings) or h.path >= settings.min_path_m
    ]
    named = active or list(seen)
    return "both" if len(named) == 2 else named[0] if named else "none"


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
