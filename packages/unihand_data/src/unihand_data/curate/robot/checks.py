"""Runs the data-driven checks of a data-set file and says what stands against it, and what nothing was found for.

A data set is judged on a few episodes together before its job begins; each episode is judged again by the checks that
need no other (ranges), because one recording may have been made with other units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unihand_data.curate.robot import evidence
from unihand_data.curate.robot.convert import RobotMotion
from unihand_data.curate.robot.evidence import Check, CheckSettings, Finding
from unihand_data.curate.robot.gripper_evidence import gripper_range, gripper_sign
from unihand_data.curate.robot.limit_evidence import joint_limits
from unihand_data.curate.robot.rotation_evidence import rotation_convention
from unihand_data.curate.robot.so100 import so100_units
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.spec import RobotSpec

#: checks that one episode alone can answer
RANGES: dict[str, Check] = {
    "joint_units": evidence.joint_units,
    "joint_limits": joint_limits,
    "eef_range": evidence.eef_range,
    "gripper_range": gripper_range,
}
#: every check, and what it found nothing of where it has no finding
NOTHING: dict[str, str] = {
    "joint_units": "the rows have no arm joints",
    "joint_limits": "the rows have no joints",
    "eef_range": "the rows have no position of an end effector",
    "gripper_range": "the rows have no gripper",
    "gripper_sign": "no trusted command of a gripper beside its state",
    "gripper_absolute": "the rows have no gripper",
    "finger_gap": "no finger positions beside a gripper",
    "gripper_names": "no name of a gripper's column says which way it counts",
    "gripper_segments": "no sentence of a grasp or a release (below the level of a task) in which a gripper moves",
    "gripper_start": "the file names nobody who says that episodes begin with an open gripper",
    "commanded_motion": "no trusted command of an end effector beside its pose",
    "commanded_joints": "no trusted command of arm joints beside their state",
    "rotation_convention": "no arm joints beside a quaternion or Euler orientation",
    "so100_units": "no SO-100 or SO-101",
}
NAMES = tuple(NOTHING)


def check_set(
    spec: RobotSpec,
    pairs: Sequence[tuple[RobotEpisode, RobotMotion]],
    settings: CheckSettings,
    column_names: Mapping[str, Sequence[str]] | None = None,
    rejected: Sequence[Reject] = (),
) -> list[Finding]:
    """Findings about some episodes of a data set: at least one for every check, ``not_checked`` with the reason where
    there was nothing to compare.

    Args:
        column_names: feature -> the publisher's names of its columns.
        rejected: episodes looked at that could not be converted.
    """
    motions = [motion for _, motion in pairs]
    found: list[Finding] = []
    if pairs:
        found = [f for check in RANGES.values() for f in check(spec, motions, settings)]
        found += gripper_sign(spec, pairs, settings, column_names)
        found += evidence.commanded_motion(spec, motions, settings)
        found += rotation_convention(spec, [e for e, _ in pairs], settings)
        found += so100_units(spec, [e for e, _ in pairs])
    found = [f for f in found if f.check not in spec.checks.off]
    for name in NAMES:
        if all(f.check != name for f in found):
            found.append(Finding(name, "not_checked", _why_not(name, spec, bool(pairs), rejected)))
    return sorted(found, key=lambda f: NAMES.index(f.check))


def _why_not(name: str, spec: RobotSpec, any_episode: bool, rejected: Sequence[Reject]) -> str:
    if name in spec.checks.off:
        return f"switched off: {spec.checks.off[name]}"
    if any_episode:
        return NOTHING[name]
    if not rejected:
        return "no episode was looked at"
    return f"none of the {len(rejected)} episodes looked at can be converted; the first: {rejected[0].message}"


def contradiction(spec: RobotSpec, findings: Sequence[Finding]) -> str:
    """One sentence that shows the evidence against the YAML, ``""`` where nothing contradicts it."""
    against = [f for f in findings if f.verdict == "contradicts"]
    if not against:
        return ""
    told = "; ".join(f"{f.check}: {f.text}; look at: {f.mend}" for f in against)
    return f"the data contradict {spec.name}.yaml: {told}"


def check_episode(spec: RobotSpec, motion: RobotMotion, where: str, settings: CheckSettings) -> None:
    """Raises ``Reject`` CONTRADICTION where an episode's ranges cannot be what the YAML declares."""
    findings = [f for name, check in RANGES.items() if name not in spec.checks.off
                for f in check(spec, [motion], settings)]  # fmt: skip
    if why := contradiction(spec, findings):
        raise Reject(
            Reason.CONTRADICTION, f"{where}: {why}", frames=len(motion.times), duration_s=float(motion.times[-1])
        )
