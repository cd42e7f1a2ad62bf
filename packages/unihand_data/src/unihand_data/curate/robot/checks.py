"""Runs the data-driven checks of a data-set file and says what stands against it.

A data set is judged on a few episodes together before its job begins; each episode is judged again by the checks that
need no other (ranges), because one recording may have been made with other units.
"""

from __future__ import annotations

from collections.abc import Sequence

from unihand_data.curate.robot import evidence
from unihand_data.curate.robot.convert import RobotMotion
from unihand_data.curate.robot.evidence import Check, CheckSettings, Finding
from unihand_data.curate.robot.rotation_evidence import rotation_convention
from unihand_data.curate.robot.so100 import so100_units
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.spec import RobotSpec

#: checks that one episode alone can answer
RANGES: dict[str, Check] = {
    "joint_units": evidence.joint_units,
    "eef_range": evidence.eef_range,
    "gripper_range": evidence.gripper_range,
}
TOGETHER: dict[str, Check] = {
    **RANGES,
    "gripper_sign": evidence.gripper_sign,
    "commanded_motion": evidence.commanded_motion,
}
NAMES = (*TOGETHER, "finger_gap", "commanded_joints", "rotation_convention", "so100_units")


def check_set(
    spec: RobotSpec, pairs: Sequence[tuple[RobotEpisode, RobotMotion]], settings: CheckSettings
) -> list[Finding]:
    """All findings about some episodes of a data set, except checks the YAML switches off with a reason."""
    motions = [motion for _, motion in pairs]
    found = [f for check in TOGETHER.values() for f in check(spec, motions, settings)] if pairs else []
    if pairs:
        found += rotation_convention(spec, [e for e, _ in pairs], settings)
        found += so100_units(spec, [e for e, _ in pairs])
    return [f for f in found if f.check not in spec.checks.off]


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
