"""What the data themselves say about units and signs that a data-set file declares.

Every check looks at a few episodes together and returns findings: the numbers agree, they contradict the file, or there
is nothing to compare (a gripper that never moves). A contradiction is an error that shows its figures; what was not
checked is told with the reason, so that a person knows what nothing vouches for.

Legend: T steps of an episode, n columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.curate.robot.convert import RobotMotion
from unihand_data.sources.robot.spec import RobotSpec

SIDES = ("right", "left")


class CheckSettings(Settings):
    """Thresholds of the data-driven checks; figures behind them: docs/robot_manipulation.md.

    ``episodes``: how many of a data set are looked at together; ``steps``: at most of each.
    """

    episodes: int = 12
    steps: int = 2000
    min_correlation: float = 0.5  # from here on two columns are the same motion
    opposite: float = -0.4  # from here down they are its opposite
    max_scale: float = 5.0  # commanded over realised motion, or its inverse
    max_joint_rad: float = 12.6  # two turns each way
    limit_slack_rad: float = Field(default=0.2, ge=0)  # that a joint may lie beyond the limits of its embodiment
    limit_slack_m: float = Field(default=0.05, ge=0)  # a lift likewise
    max_reach_m: float = 4.0  # of an arm from its base; three times as much on wheels
    max_eef_m_s: float = 12.0
    metres_per_rad: tuple[float, float] = (0.005, 3.0)  # path of the hand over the path of its joints
    gripper_margin: float = 0.15  # outside 0..1
    outside_share: float = 0.05  # of steps outside a range
    min_votes: int = Field(default=5, ge=1)  # grasps and releases, or first steps, that tell a gripper's absolute sign
    vote_share: float = Field(default=0.8, gt=0.5, le=1)  # of them that must say the same
    min_opening: float = Field(default=0.3, gt=0, lt=1)  # change of the opening in a grasp or release that counts


Verdict = Literal["agrees", "contradicts", "not_checked"]


@dataclass(frozen=True)
class Finding:
    """``text`` is one sentence with figures, or why nothing was compared; ``mend`` says which keys of the YAML are
    likely wrong."""

    check: str
    verdict: Verdict
    text: str
    mend: str = ""
    figures: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.check} {self.verdict.replace('_', ' ')}: {self.text}"


Check = Callable[[RobotSpec, Sequence[RobotMotion], CheckSettings], list[Finding]]


def joint_units(spec: RobotSpec, motions: Sequence[RobotMotion], s: CheckSettings) -> list[Finding]:
    """Arm joints in rad: none turns twice round, and where a hand pose is known, its path fits the joints' path."""
    out = []
    for side in SIDES:
        q = pooled(motions, f"{side}_arm")
        if q is None:
            continue
        largest = float(np.quantile(np.abs(q), 0.999))
        travel = float(np.mean([np.abs(np.diff(p, axis=0)).sum() for p in _pieces(motions, f"{side}_arm")]))
        figures = {"largest_rad": largest, "travel_rad": travel}
        if largest > s.max_joint_rad:
            out.append(
                Finding(
                    "joint_units",
                    "contradicts",
                    f"{side} arm joints reach {largest:.3g} rad as declared",
                    f"state unit of the {side} arm (deg?)",
                    figures,
                )
            )
            continue
        paths = [_paths(m, side) for m in motions]
        ratios = [eef / joints for eef, joints in (p for p in paths if p is not None) if joints > 0.02 or eef > 0.02]
        if not ratios:
            out.append(
                Finding(
                    "joint_units",
                    "not_checked",
                    f"{side} arm joints stay within {largest:.3g} rad; no hand pose to compare with",
                    figures=figures,
                )
            )
            continue
        ratio = float(np.median(ratios))
        figures["metres_per_rad"] = ratio
        low, high = s.metres_per_rad
        text = f"the {side} hand moves {ratio:.3g} m per rad of all its joints together"
        wrong = not low <= ratio <= high
        out.append(
            Finding(
                "joint_units",
                "contradicts" if wrong else "agrees",
                f"{text}{f', an arm gives {low:g} to {high:g}' if wrong else ''}",
                f"state units of the {side} arm or of its end effector's position",
                figures,
            )
        )
    return out


def eef_range(spec: RobotSpec, motions: Sequence[RobotMotion], s: CheckSettings) -> list[Finding]:
    """End-effector positions in m: within an arm's reach of the base, at a speed an arm has."""
    out = []
    reach = s.max_reach_m if spec.world != "gravity" else 3 * s.max_reach_m
    for side in SIDES:
        p = pooled(motions, f"{side}_eef_position")
        if p is None:
            continue
        far = float(np.quantile(np.linalg.norm(p, axis=1), 0.995))
        speeds = [
            np.linalg.norm(np.diff(x, axis=0), axis=1) * m.rate_hz
            for m in motions
            for x in _pieces([m], f"{side}_eef_position")
        ]
        fast = float(np.quantile(np.concatenate(speeds), 0.99)) if speeds else 0.0
        wrong = far > reach or fast > s.max_eef_m_s
        out.append(
            Finding(
                "eef_range",
                "contradicts" if wrong else "agrees",
                f"the {side} end effector is up to {far:.3g} m from the base and moves at up to {fast:.3g} m/s",
                f"state unit of the {side} end effector's position (mm? cm?), or rate_hz",
                {"reach_m": far, "speed_m_s": fast},
            )
        )
    return out


def commanded_motion(spec: RobotSpec, motions: Sequence[RobotMotion], s: CheckSettings) -> list[Finding]:
    """Commanded displacements and joint targets against what the robot then does: sign, scale and, for joints, zero."""
    out = []
    for side in SIDES:
        for part, floor in (("eef_position", 1e-4), ("eef_rotation", 1e-3)):
            group = f"{side}_{part}"
            if not any(m.action_source.get(group) == "commanded" for m in motions):
                continue
            pairs = [p for m in motions if (p := _displacements(m, group)) is not None]
            finding = _same_motion("commanded_motion", pairs, s, f"{side} {part.replace('_', ' ')}", floor)
            if finding is not None:
                mend = f"action of {side}_{part}: sign, unit, command_scale, or the state's rotation convention"
                out.append(Finding(finding.check, finding.verdict, finding.text, mend, finding.figures))
        group = f"{side}_arm"
        if any(m.action_source.get(group) == "commanded" for m in motions):
            pairs = aligned(motions, group, lag_s=0.3)
            finding = _same_motion("commanded_joints", pairs, s, f"{side} arm joints", 0.03, offsets=True)
            if finding is not None:
                mend = f"unit, sign or offset of the {side} arm, in state or in action"
                out.append(Finding(finding.check, finding.verdict, finding.text, mend, finding.figures))
    return out


def pooled(motions: Sequence[RobotMotion], group: str, kind: str = "state") -> np.ndarray | None:
    """All fully known steps (N, k) of a group, or None."""
    found = list(_pieces(motions, group, kind))
    return np.concatenate(found) if found else None


def _pieces(motions: Sequence[RobotMotion], group: str, kind: str = "state") -> Iterator[np.ndarray]:
    for m in motions:
        got = m.state_of(group) if kind == "state" else m.action_of(group)
        if got is None:
            continue
        values = got[0][got[1].all(axis=1)]
        if len(values) > 1:
            yield values


def _paths(m: RobotMotion, side: str) -> tuple[float, float] | None:
    """Path of the end effector (m) and of all arm joints together (rad)."""
    eef, arm = m.state_of(f"{side}_eef_position"), m.state_of(f"{side}_arm")
    if eef is None or arm is None:
        return None
    ok = eef[1].all(axis=1) & arm[1].all(axis=1)
    if ok.sum() < 2:
        return None
    smooth_eef, smooth_arm = _smoothed(eef[0][ok], m.rate_hz), _smoothed(arm[0][ok], m.rate_hz)
    return (
        float(np.linalg.norm(np.diff(smooth_eef, axis=0), axis=1).sum()),
        float(np.abs(np.diff(smooth_arm, axis=0)).sum()),
    )


def _smoothed(x: np.ndarray, rate_hz: float, seconds: float = 0.2) -> np.ndarray:
    """Moving mean (T, n), shorter by the window: sensor noise adds to a path and says nothing about units."""
    width = max(1, min(len(x) // 2, round(seconds * rate_hz)))
    total = np.cumsum(np.concatenate([np.zeros((1, x.shape[1])), x]), axis=0)
    return (total[width:] - total[:-width]) / width


def aligned(motions: Sequence[RobotMotion], group: str, lag_s: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per episode: commands (N, k) and the states (N, k) that follow them, after the one lag that fits all best.

    The lag is bounded by ``lag_s`` and by a quarter of the shortest episode: a gripper that closes and soon opens
    again fits its own opposite somewhere.
    """
    both = [(a, b, m.rate_hz) for m in motions if (a := m.action_of(group)) and (b := m.state_of(group))]
    both = [x for x in both if x[0][0].shape == x[1][0].shape and len(x[0][0]) >= 8]
    if not both:
        return []
    most_s = min(lag_s, *(len(a[0]) / rate / 4 for a, _, rate in both))
    finest = max(rate for _, _, rate in both)
    best: tuple[float, list[tuple[np.ndarray, np.ndarray]]] = (-1.0, [])
    for lag in np.arange(0, round(most_s * finest) + 1) / finest:
        pairs = []
        for (action, known), (state, seen), rate in both:
            steps = round(float(lag) * rate)
            ok = known[: len(action) - steps].all(axis=1) & seen[steps:].all(axis=1)
            if ok.sum() > 3:
                pairs.append((action[: len(action) - steps][ok], state[steps:][ok]))
        if pairs:
            match = abs(_correlation(*(np.concatenate([x - x.mean(axis=0) for x in side]) for side in zip(*pairs))))
            best = max(best, (match, pairs), key=lambda found: found[0])
    return best[1]


def _displacements(m: RobotMotion, group: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Commanded and realised displacements (N, 3), each summed over 0.3 s, at the lag that fits best."""
    from unihand_data.space import displacement

    side = group.split("_", 1)[0]
    action = m.action_of(group)
    position, rotation = m.state_of(f"{side}_eef_position"), m.state_of(f"{side}_eef_rotation")
    if action is None or position is None or (group.endswith("rotation") and rotation is None):
        return None
    if position[0].shape[1] != 3:  # a planar robot
        return None
    turns = rotation[0] if rotation is not None else np.zeros_like(position[0])
    d = displacement.displacements(position[0], turns)
    realised = d.rot if group.endswith("rotation") else d.pos
    commanded = np.where(action[1], action[0], 0.0)
    width = max(1, round(0.3 * m.rate_hz))
    if len(realised) < 3 * width:
        return None
    a, b = _smoothed(commanded, m.rate_hz, 0.3) * width, _smoothed(realised, m.rate_hz, 0.3) * width
    best: tuple[float, tuple[np.ndarray, np.ndarray]] | None = None
    for lag in range(0, round(0.5 * m.rate_hz) + 1):
        if len(a) - lag < 4:
            break
        pair = (a[: len(a) - lag], b[lag:])
        match = abs(_correlation(*pair))
        if best is None or match > best[0] + 1e-6:
            best = (match, pair)
    return None if best is None else best[1]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of two equally shaped arrays about zero: ``<a, b> / |a| |b|``; 0 where one is constant zero."""
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norm if norm > 1e-12 else 0.0


def same_direction(
    check: str, pairs: list[tuple[np.ndarray, np.ndarray]], s: CheckSettings, what: str, floor: float
) -> Finding | None:
    """Whether two one-column signals go up together; None where there is nothing to compare."""
    pairs = [(a.reshape(-1), b.reshape(-1)) for a, b in pairs if len(a) > 3]
    if not pairs:
        return None
    a = np.concatenate([x - x.mean() for x, _ in pairs])
    b = np.concatenate([y - y.mean() for _, y in pairs])
    if a.std() < floor or b.std() < floor:
        return Finding(check, "not_checked", f"{what}: one of them hardly moves ({a.std():.2g}, {b.std():.2g})")
    r = _correlation(a, b)
    verdict: Verdict = "contradicts" if r < s.opposite else "agrees" if r > s.min_correlation else "not_checked"
    weak = ", too weak to tell" if verdict == "not_checked" else ""
    return Finding(check, verdict, f"{what} have correlation {r:+.2f}{weak}", figures={"correlation": r})


def _same_motion(
    check: str,
    pairs: list[tuple[np.ndarray, np.ndarray]],
    s: CheckSettings,
    what: str,
    floor: float,
    offsets: bool = False,
) -> Finding | None:
    """Per column: correlation, scale and (``offsets``) zero of commands against realised motion."""
    if not pairs:
        return None
    centre = (lambda x: x - x.mean(axis=0)) if offsets else (lambda x: x)
    a, b = np.concatenate([centre(x) for x, _ in pairs]), np.concatenate([centre(y) for _, y in pairs])
    sizes = np.stack([a.std(axis=0), b.std(axis=0)])
    moves = (sizes.max(axis=0) > floor) & (sizes.min(axis=0) > floor / 100)  # a wrong unit makes one of them small
    if not moves.any():
        return Finding(check, "not_checked", f"{what}: commanded and realised motion are too small to compare")
    r = np.array([_correlation(a[:, [c]], b[:, [c]]) for c in range(a.shape[1])])
    scale = np.sqrt((b**2).mean(axis=0) / np.maximum((a**2).mean(axis=0), 1e-18))
    shift = np.median(np.concatenate([y - x for x, y in pairs]), axis=0)
    figures = {"correlation": _correlation(a[:, moves], b[:, moves])}
    shown = ", ".join(f"{c}: r {r[c]:+.2f} scale {scale[c]:.3g}" for c in np.flatnonzero(moves))
    text = f"{what}, commanded against realised, by column: {shown}"
    clear = moves & (np.abs(r) > s.min_correlation)
    off = clear & ((scale > s.max_scale) | (scale < 1 / s.max_scale))
    if (moves & (r < s.opposite)).any() or off.any():
        return Finding(check, "contradicts", text, figures=figures)
    if offsets and (far := clear & (np.abs(shift) > 0.5)).any():
        at = int(np.flatnonzero(far)[0])
        return Finding(
            check, "contradicts", f"{text}; column {at} lies {shift[at]:+.2f} off its command", figures=figures
        )
    return Finding(check, "agrees" if clear.any() else "not_checked", text, figures=figures)
