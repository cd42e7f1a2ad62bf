"""What the data say against a data-set file: planted mistakes are caught, a right file passes."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.curate.robot.checks import check_episode, check_set, contradiction
from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.evidence import CheckSettings
from unihand_data.curate.robot.rotation_evidence import fit_chain
from unihand_data.errors import Reason, Reject
from unihand_data.space import rotations

SETTINGS = CheckSettings()


def said(arm, **changes) -> str:
    spec = arm.spec(**changes)
    pairs = [(e, convert(e, spec)) for e in arm.episodes]
    return contradiction(spec, check_set(spec, pairs, SETTINGS))


def test_a_right_file_is_not_contradicted_and_most_checks_speak_for_it(arm):
    spec = arm.spec()
    findings = check_set(spec, [(e, convert(e, spec)) for e in arm.episodes], SETTINGS)
    assert not contradiction(spec, findings)
    agreeing = {f.check for f in findings if f.verdict == "agrees"}
    assert agreeing == {
        "joint_units", "eef_range", "gripper_range", "gripper_sign", "commanded_motion", "commanded_joints",
        "rotation_convention",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "check", "evidence"),
    [
        ({"state_opening": {"range": {"closed": 0.08, "open": 0}}}, "gripper_sign", "correlation -0.9"),
        ({"action_grip": {"range": {"closed": -1, "open": 1}}}, "gripper_sign", "correlation -0.9"),
        ({"state_opening": {"range": {"closed": 0, "open": 0.008}}}, "gripper_range", "to 10 as declared"),
        ({"state_joints": {"unit": "deg"}}, "joint_units", "m per rad"),
        ({"state_position": {"unit": "mm"}}, "joint_units", "m per rad"),
        ({"action_targets": {"unit": "deg"}}, "commanded_joints", "scale 57"),
        ({"action_shift": {"unit": "mm"}}, "commanded_motion", "scale 1e+03"),
        ({"action_shift": {"sign": [1, -1, 1]}}, "commanded_motion", "r -1.00"),
        ({"state_rotation": {"form": "quaternion_wxyz"}}, "rotation_convention", "quaternion_xyzw fits"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_planted_mistake_is_refused_with_its_figures(arm, changes, check, evidence):
    why = said(arm, **changes)
    assert f"{check}: " in why
    assert evidence in why
    assert "bench_arm.yaml" in why


def test_degrees_that_are_declared_as_radians_are_seen_in_one_episode(arm):
    spec, episode = arm.spec(), arm.episode(3)
    episode.columns["joints"] = np.degrees(episode.columns["joints"])
    with pytest.raises(Reject) as error:
        check_episode(spec, convert(episode, spec), episode.item.uri, SETTINGS)
    assert error.value.reason == Reason.CONTRADICTION
    assert "joint_units" in error.value.message


def test_wrong_quaternion_order_is_found_without_any_command(arm):
    spec = arm.spec(state_rotation={"form": "quaternion_wxyz"}, action=[])
    pairs = [(e, convert(e, spec)) for e in arm.episodes]
    against = [f.check for f in check_set(spec, pairs, SETTINGS) if f.verdict == "contradicts"]
    assert against == ["rotation_convention"]


def test_a_wrong_euler_convention_is_found_by_the_joints(arm):
    episodes = [arm.episode(seed) for seed in range(6)]
    for e in episodes:
        rotvec = rotations.quat_to_rotvec(e.columns["pose"][:, 3:], "xyzw")
        e.columns["euler"] = rotations.rotvec_to_euler(rotvec, "xyz", "extrinsic")
    for frame, expected in (("extrinsic", []), ("intrinsic", ["rotation_convention"])):
        block = {"name": "rotation", "columns": 3, "slots": "right_eef_rotation", "form": "euler", "unit": "rad",
                 "euler": {"sequence": "xyz", "frame": frame}, "from": "euler"}  # fmt: skip
        blocks = [b for b in arm.spec().state if b["name"] != "rotation"]
        spec = arm.spec(state=[*blocks, block], action=[])
        findings = check_set(spec, [(e, convert(e, spec)) for e in episodes], SETTINGS)
        assert [f.check for f in findings if f.verdict == "contradicts"] == expected


def test_a_check_that_is_switched_off_with_a_reason_says_nothing(arm):
    changes = {"state_opening": {"range": {"closed": 0.08, "open": 0}}}
    off = {"off": {"gripper_sign": "the gripper is told by another controller", "finger_gap": "no fingers"}}
    assert "gripper_sign" in said(arm, **changes)
    assert "gripper_sign" not in said(arm, checks=off, **changes)


def test_a_gripper_that_never_moves_is_silent_and_no_contradiction(arm):
    spec = arm.spec(state_opening={"range": {"closed": 0.08, "open": 0}})
    episodes = [arm.episode(seed) for seed in range(3)]
    for e in episodes:
        e.columns["grip"][:], e.columns["gap"][:] = -1.0, 0.08
    findings = check_set(spec, [(e, convert(e, spec)) for e in episodes], SETTINGS)
    assert not [f for f in findings if f.verdict == "contradicts" and "gripper" in f.check]
    assert [f for f in findings if f.check == "gripper_sign" and f.verdict == "silent"]


def test_the_chain_fit_finds_random_axes_and_not_their_reverse():
    rng = np.random.default_rng(4)
    axes = rng.normal(size=(4, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    q = rng.uniform(-1, 1, (200, 4))
    r = np.tile(np.eye(3), (200, 1, 1))
    for i in range(4):
        r = r @ rotations.exp(q[:, [i]] * axes[i])
    starts = np.random.default_rng(0)
    assert min(fit_chain(q, r, starts) for _ in range(6)) < 1e-3
    assert min(fit_chain(q, np.swapaxes(r, 1, 2), starts) for _ in range(6)) > 0.1
