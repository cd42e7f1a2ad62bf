"""What the data say about a gripper: its range, and which way it counts.

Command against state shows the *relative* sign alone: where both are exchanged they still agree. The absolute sign
needs something that knows open from closed by itself: the distance of the fingers, the publisher's own name of the
column, a sentence about one step of a task (a grasp, a release) and what the gripper did meanwhile, or a documented
opening at the start. A column called open or closed alone is no evidence for, only against: names mislead.
Where none of these is there, the absolute sign is told as unverified.

Legend: T steps of an episode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from unihand_data.curate.robot.convert import RobotMotion
from unihand_data.curate.robot.evidence import SIDES, CheckSettings, Finding, Verdict, aligned, pooled, same_direction
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.space.embodiment import VectorKind

Pairs = Sequence[tuple[RobotEpisode, RobotMotion]]
#: words in a column's name by which more is wider, or more is closed
_WIDER = {"open", "opened", "opening", "openness", "width", "gap", "aperture", "apart"}
_CLOSER = {"close", "closed", "closing", "closedness", "closure"}
#: of them those that may as well name a device, an act or a flag as a quantity that grows with it
_STATES = {"open", "opened", "close", "closed"}
_BY_NAME = "named {}, absolute sign by its name only"
#: words of sentences during which a gripper closes on something, or lets go of it
_GRASPS = re.compile(r"\b(pick(s|ed|ing)?|grasp(s|ed|ing)?|grab(s|bed|bing)?|grip(s|ped|ping)?)\b", re.IGNORECASE)
_RELEASES = re.compile(r"\b(plac(e|es|ed|ing)|put(s|ting)?|releas(e|es|ed|ing)|drop(s|ped|ping)?)\b", re.IGNORECASE)


def gripper_range(spec: RobotSpec, motions: Sequence[RobotMotion], s: CheckSettings) -> list[Finding]:
    """A gripper's opening lies in 0..1, in state and in action."""
    out = []
    for kind in ("state", "action"):
        for side in SIDES:
            g = pooled(motions, f"{side}_gripper", kind)
            if g is None:
                continue
            outside = float(np.mean((g < -s.gripper_margin) | (g > 1 + s.gripper_margin)))
            low, high = float(np.quantile(g, 0.01)), float(np.quantile(g, 0.99))
            wrong = outside > s.outside_share
            still = high - low < 0.05
            out.append(
                Finding(
                    "gripper_range",
                    "contradicts" if wrong else "not_checked" if still else "agrees",
                    f"{kind}: the {side} gripper's opening runs from {low:.3g} to {high:.3g} as declared",
                    f"{kind} range of the {side} gripper",
                    {"low": low, "high": high},
                )
            )
    return out


def gripper_sign(
    spec: RobotSpec, pairs: Pairs, s: CheckSettings, names: Mapping[str, Sequence[str]] | None = None
) -> list[Finding]:
    """Commanded opening against the opening that follows, and each against what knows open from closed by itself.

    Args:
        names: feature -> the publisher's names of its columns, where the container gives them.
    """
    out = []
    for side in SIDES:
        group = f"{side}_gripper"
        mine = [(e, m) for e, m in pairs if m.state_of(group) or m.action_of(group)]
        motions = [m for _, m in mine]
        if not motions:
            continue
        absolute = [
            (kind, f) for kind, f in _absolute(side, spec, mine, s, names or {}) if f.check not in spec.checks.off
        ]
        out += [f for _, f in absolute]
        relative = None
        if any(m.action_source.get(group) == "commanded" for m in motions):
            both = aligned(motions, group, lag_s=0.8)
            relative = same_direction("gripper_sign", both, s, f"{side} gripper: command and state", 0.05)
        has = {kind for kind in ("state", "action") if any(getattr(m, f"{kind}_of")(group) for m in motions)}
        known = {kind for kind, f in absolute if f.verdict == "agrees"}
        if known and (relative is None or relative.verdict == "agrees"):
            known = has  # the one follows the other
        against = any(f.verdict == "contradicts" for _, f in absolute)
        verified = "unverified"
        if known and not against:
            verified = f"agrees by {', '.join(sorted({f.check for _, f in absolute if f.verdict == 'agrees'}))}"
            verified += f", of the {' and '.join(sorted(has - known))} unverified" if has - known else ""
        if not against:
            why = "; ".join(f"{f.check}: {f.text}" for _, f in absolute) or _NOTHING
            text = f"{side} gripper: absolute sign {verified}{'' if known else f' ({why})'}"
            out.append(Finding("gripper_absolute", "agrees" if has == known else "not_checked", text))
        if relative is not None:
            if relative.verdict == "agrees":
                text = f"{relative.text}: relative sign agrees, absolute sign {verified}"
                relative = replace(relative, text=text)
            out.append(replace(relative, mend=f"range of the {side} gripper, in state or in action"))
    return out


def _absolute(
    side: str, spec: RobotSpec, pairs: Pairs, s: CheckSettings, names: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Finding]]:
    """(state or action, finding) of everything that knows open from closed by itself."""
    motions = [m for _, m in pairs]
    seen = "state" if any(m.state_of(f"{side}_gripper") for m in motions) else "action"
    for finding in (_gap(side, motions, s), _segments(side, pairs, s), _start(side, spec, motions, s)):
        if finding is not None:
            yield seen, finding
    yield from _names(side, spec, names)


_NOTHING = "no distance of fingers, no telling name, no sentence about a grasp, no documented start"


def _opening(m: RobotMotion, side: str) -> np.ndarray | None:
    """(T,) opening as declared, NaN where unknown: the state's, else the action's."""
    got = m.state_of(f"{side}_gripper") or m.action_of(f"{side}_gripper")
    return None if got is None else np.where(got[1][:, 0], got[0][:, 0], np.nan)


def _gap(side: str, motions: Sequence[RobotMotion], s: CheckSettings) -> Finding | None:
    """The distance of two finger joints in m is wide where the gripper is open."""
    gaps = []
    for m in motions:
        fingers, opening = m.state_of("finger_positions"), _opening(m, side)
        if side == "right" and fingers is not None and opening is not None:
            gap = np.abs(fingers[0]).sum(axis=1)
            ok = fingers[1].all(axis=1) & np.isfinite(opening)
            gaps.append((opening[ok], gap[ok]))
    found = same_direction("finger_gap", gaps, s, "finger gap and gripper opening", 0.002) if gaps else None
    return None if found is None else replace(found, mend="range of the gripper")


def _names(side: str, spec: RobotSpec, names: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Finding]]:
    """What the publisher calls the column against the declared direction, state and action apart."""
    sources = {rule.column: rule.source for rule in spec.derive}
    kinds: tuple[VectorKind, VectorKind] = ("state", "action")
    for kind in kinds:
        takes = {take.block: take for take in spec.takes(kind)}
        for block in spec.layout_of_rows.blocks(kind):
            if block.form != "gripper" or f"{side}_gripper" not in block.slot_names:
                continue
            features = [sources.get(f, f) for f in takes[block.name].features]
            columns = [n for f in features for n in names.get(f, ())]
            if (at := takes[block.name].columns) is not None:
                columns = [columns[i] for i in at if i < len(columns)]
            words = {w for name in (*features, *columns) for w in re.findall("[a-z]+", name.lower())}
            wider, closer = words & _WIDER, words & _CLOSER
            if bool(wider) == bool(closer):
                continue
            declared = block.scale[block.slot_names.index(f"{side}_gripper")] > 0  # more is wider
            text = f"{kind}: the column is called {' '.join([*features, *columns][:3])}, the file says that more is "
            text += "wider" if declared else "closed"
            verdict: Verdict = "agrees" if declared == bool(wider) else "contradicts"
            if verdict == "agrees" and wider | closer <= _STATES:
                named = _BY_NAME.format(*sorted(wider | closer))
                verdict, text = "not_checked", f"{text}: {named}"
            yield kind, Finding("gripper_names", verdict, text, f"{kind} range of the {side} gripper")


def _segments(side: str, pairs: Pairs, s: CheckSettings) -> Finding | None:
    """Opening at both ends of sentences below the level of a task: about a grasp (it ends closed on something) or about
    a release (it ends open). A task's sentence is about the whole episode, whose gripper may rest closed and end open
    whatever it grasped in between."""
    votes = []
    for episode, m in pairs:
        opening = _opening(m, side)
        for text in episode.texts:
            grasp, release = bool(_GRASPS.search(text.text)), bool(_RELEASES.search(text.text))
            stop = len(m.times) if text.stop is None else min(text.stop, len(m.times))
            whole = text.level == "task" or (text.start == 0 and stop == len(m.times))
            if opening is None or grasp == release or whole or stop - text.start < 4:
                continue
            span = opening[text.start : stop]
            edge = max(1, len(span) // 10)
            first, last = span[:edge], span[-edge:]
            if np.isnan(first).all() or np.isnan(last).all():
                continue
            change = float(np.nanmean(last) - np.nanmean(first))
            if abs(change) >= s.min_opening:
                votes.append((change < 0) == grasp)
    if not votes:
        return None
    what = f"the {side} gripper closes in sentences about a grasp and opens in those about a release"
    return _voted("gripper_segments", votes, s, what, f"range of the {side} gripper, in state and in action")


def _start(side: str, spec: RobotSpec, motions: Sequence[RobotMotion], s: CheckSettings) -> Finding | None:
    """Episodes begin open, where ``checks.starts_open`` names who says so."""
    if not spec.checks.starts_open:
        return None
    firsts = [o[np.isfinite(o)][:3] for m in motions if (o := _opening(m, side)) is not None and np.isfinite(o).any()]
    votes = [bool(first.mean() > 0.5) for first in firsts]
    what = f"the {side} gripper is open when an episode begins ({spec.checks.starts_open})"
    return _voted("gripper_start", votes, s, what, f"range of the {side} gripper, in state and in action")


def _voted(check: str, votes: Sequence[bool], s: CheckSettings, what: str, mend: str) -> Finding:
    share = float(np.mean(votes)) if votes else 0.0
    text = f"{what}: in {sum(votes)} of {len(votes)}"
    verdict: Verdict = (
        "agrees" if share >= s.vote_share else "contradicts" if share <= 1 - s.vote_share else "not_checked"
    )
    if len(votes) < s.min_votes:
        verdict, text = "not_checked", f"{text}, too few to tell"
    return Finding(check, verdict, text, mend, {"share": share, "votes": float(len(votes))})
