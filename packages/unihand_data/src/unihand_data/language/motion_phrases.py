"""Wordings of the motion describer. A phrase is picked by hash, so a corpus does not repeat one pattern.

Rules for whoever adds one: every side word must be a plain "left" or "right" that
:func:`~unihand_data.language.mirror_words.swap_left_right` exchanges, hands are named through ``{hand}``, and no object
or purpose may be named. A test mirrors every phrase. A change of any wording changes ``MOTION_RULES_VERSION``.
"""

from __future__ import annotations

MOTION_RULES_VERSION = "motion_rules-v2"

#: hand moves: {hand}, {dir} ("up and to the left"), {cm}
MOVE = (
    "{hand} moves {dir} by about {cm} cm",
    "{hand} moves about {cm} cm {dir}",
    "{hand} shifts {dir} by roughly {cm} cm",
    "{hand} travels {dir} about {cm} cm",
    "{hand} goes {dir} by around {cm} cm",
)
MOVE_ALONE = (*MOVE, "move {hand} {dir} by about {cm} cm", "shift {hand} about {cm} cm {dir}")
BOTH_MOVE = (
    "both hands move {dir} by about {cm} cm",
    "both hands shift {dir} by roughly {cm} cm",
    "both hands travel {dir} together by about {cm} cm",
)
STILL = (
    "{hand} stays still",
    "{hand} stays where it is",
    "{hand} holds its position",
    "{hand} does not move",
)
STILL_ALONE = (*STILL, "keep {hand} still", "hold {hand} in place")
BOTH_STILL = ("both hands stay still", "both hands hold their positions", "neither hand moves")
WANDER = (
    "{hand} moves back and forth over a short distance",
    "{hand} makes small movements around one place",
    "{hand} moves about in a small area",
)
CLOSE = ("closes", "closes its fingers", "curls its fingers", "forms a tighter grip")
OPEN = ("opens", "opens its fingers", "straightens its fingers", "spreads open")
ROLL = (  # about the wearer's forward axis, as the wearer sees it: {sense}, {deg}
    "turns {sense} by about {deg} degrees",
    "rolls {sense} by roughly {deg} degrees",
    "rotates {sense} about {deg} degrees",
)
YAW = ("turns to the {side} by about {deg} degrees", "swings to the {side} by roughly {deg} degrees")
PITCH = ("tilts {way} by about {deg} degrees", "tips {way} by roughly {deg} degrees")
APART = ("the hands move apart by about {cm} cm", "the distance between the hands grows by about {cm} cm")
TOGETHER = ("the hands come together by about {cm} cm", "the distance between the hands shrinks by about {cm} cm")
JOIN = (", while ", "; meanwhile, ", ", and ")
THEN = (", then ", " and then ", ", after that ")
SUMMARY_END = ("", " within {span}", " in about {span}")  # "over" would make a side before it "left over"
