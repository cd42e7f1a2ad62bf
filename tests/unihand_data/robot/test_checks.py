"""What the data say against a data-set file: planted mistakes are caught, a right file passes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from unihand_data.curate.robot.checks import NAMES, NOTHING, check_episode, check_set, contradiction
from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.evidence import CheckSettings
from unihand_data.curate.robot.limit_evidence import joint_limits
from unihand_data.curate.robot.rotation_evidence import fit_chain
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import RobotEpisode, Text
from unihand_data.space import rotations
from unihand_data.values.recording import SourceItem

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
        "joint_units", "joint_limits", "eef_range", "gripper_range", "gripper_sign", "gripper_absolute",
        "gripper_names", "gripper_segments", "commanded_motion", "commanded_joints", "rotation_convention",
    }  # fmt: skip
    assert {f.check for f in findings} == set(NAMES), "every check says something"
    assert {f.check: f.text for f in findings if f.verdict == "not_checked"} == {
        name: NOTHING[name] for name in ("finger_gap", "gripper_start", "so100_units")
    }


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


def test_a_check_that_is_switched_off_is_told_as_not_checked_with_the_reason(arm):
    changes = {"state_opening": {"range": {"closed": 0.08, "open": 0}}}
    off = {name: "the gripper is told by another controller" for name in NAMES if name.startswith("gripper")}
    assert "gripper_sign" in said(arm, **changes)
    assert said(arm, checks={"off": off}, **changes) == ""
    spec = arm.spec(checks={"off": off}, **changes)
    told = {f.check: str(f) for f in check_set(spec, [(arm.episodes[0], convert(arm.episodes[0], spec))], SETTINGS)}
    assert told["gripper_sign"] == "gripper_sign not checked: switched off: the gripper is told by another controller"


def test_a_gripper_that_never_moves_is_not_checked_and_no_contradiction(arm):
    spec = unnamed(arm, state_opening={"range": {"closed": 0.08, "open": 0}})
    episodes = [arm.episode(seed) for seed in range(3)]
    for e in episodes:
        e.columns["grip"][:], e.columns["plain"] = -1.0, np.full((e.steps, 1), 0.08)
    findings = check_set(spec, [(e, convert(e, spec)) for e in episodes], SETTINGS)
    assert not [f for f in findings if f.verdict == "contradicts" and "gripper" in f.check]
    (sign,) = [f for f in findings if f.check == "gripper_sign"]
    assert sign.verdict == "not_checked"
    assert "hardly moves" in sign.text


def test_a_set_of_which_no_episode_can_be_converted_has_every_check_not_checked_for_that_reason(arm):
    why = Reject(Reason.MISSING_FIELD, "x.parquet: no feature 'gap'")
    findings = check_set(arm.spec(), [], SETTINGS, rejected=[why])
    assert {f.check for f in findings} == set(NAMES)
    assert {f.verdict for f in findings} == {"not_checked"}
    assert all("none of the 1 episodes looked at can be converted; the first: x.parquet" in f.text for f in findings)


#: open and closed exchanged in state and in action
BOTH = {
    "state_opening": {"range": {"closed": 0.08, "open": 0}},
    "action_grip": {"range": {"closed": -1, "open": 1}},
}


def unnamed(arm, **changes):
    """The arm's file with its gripper in a column whose name tells nothing."""
    opening = {**changes.pop("state_opening", {}), "from": "plain"}
    return arm.spec(state_opening=opening, **changes)


def findings_of(arm, spec, texts=True, **more):
    pairs = []
    for seed in range(6):
        episode = arm.episode(seed)
        episode.columns["plain"] = episode.columns["gap"]
        episode.texts = episode.texts if texts else []
        pairs.append((episode, convert(episode, spec)))
    return check_set(spec, pairs, SETTINGS, **more)


def test_a_gripper_exchanged_on_both_sides_agrees_with_itself_and_is_told_as_unverified(arm):
    spec = unnamed(arm, **BOTH)
    told = {f.check: f for f in findings_of(arm, spec, texts=False)}
    assert not contradiction(spec, list(told.values()))
    assert told["gripper_sign"].verdict == "agrees"
    assert told["gripper_sign"].text.endswith("relative sign agrees, absolute sign unverified")
    assert told["gripper_absolute"].verdict == "not_checked"
    assert "absolute sign unverified" in told["gripper_absolute"].text


def test_what_the_gripper_does_in_a_grasp_tells_open_from_closed(arm):
    spec = unnamed(arm)
    told = {f.check: f for f in findings_of(arm, spec)}
    assert told["gripper_segments"].verdict == "agrees"
    assert told["gripper_sign"].text.endswith("relative sign agrees, absolute sign agrees by gripper_segments")
    spec = unnamed(arm, **BOTH)
    why = contradiction(spec, findings_of(arm, spec))
    assert why.count("look at") == 1
    assert "gripper_segments: the right gripper closes in sentences about a grasp" in why


def test_the_publishers_name_of_a_column_tells_open_from_closed(arm):
    spec = arm.spec(**BOTH)
    assert "gripper_names: state: the column is called gap, the file says that more is closed" in contradiction(
        spec, findings_of(arm, spec, texts=False)
    )
    spec = unnamed(arm, **BOTH)
    for names, verdict in ((("gripper_closedness",), "agrees"), (("gripper_open_scale",), "contradicts")):
        found = findings_of(arm, spec, texts=False, column_names={"plain": names})
        assert [f.verdict for f in found if f.check == "gripper_names"] == [verdict]


def test_a_column_that_is_called_open_and_nothing_else_vouches_for_no_sign(arm):
    told = {f.check: f for f in findings_of(arm, unnamed(arm), texts=False, column_names={"plain": ("gripper_open",)})}
    assert told["gripper_names"].verdict == "not_checked"
    assert told["gripper_names"].text.endswith("named open, absolute sign by its name only")
    assert told["gripper_absolute"].verdict == "not_checked"
    assert "named open, absolute sign by its name only" in told["gripper_absolute"].text
    told = {f.check: f for f in findings_of(arm, unnamed(arm), column_names={"plain": ("gripper_open",)})}
    assert told["gripper_absolute"].verdict == "agrees", "the sentences vouch for it, not the name"
    assert "agrees by gripper_segments" in told["gripper_absolute"].text


@pytest.mark.parametrize(
    "sentence",
    [
        "Pick the lego brick into the bin",
        "Grasp the cube and move it to the plate",
        "Pick up the cube, then transfer it to the box",
    ],
)
def test_a_sentence_about_a_whole_task_says_nothing_about_how_its_gripper_ends(arm, sentence):
    """The gripper rests closed, opens, grasps, lets go and ends open: its sign is right, no set is refused."""
    spec, pairs = unnamed(arm), []
    for seed in range(12):
        episode = arm.episode(seed)
        steps = len(episode.columns["gap"])
        rests = np.repeat([0.0, 0.08, 0.02, 0.08], -(-steps // 4))[:steps, None]
        episode.columns["plain"], episode.texts = rests, [Text(sentence)]
        pairs.append((episode, convert(episode, spec)))
    told = [f for f in check_set(spec, pairs, SETTINGS) if f.check == "gripper_segments"]
    assert [(f.verdict, f.text) for f in told] == [("not_checked", NOTHING["gripper_segments"])]


def test_a_documented_opening_at_the_start_tells_open_from_closed(arm):
    convention = {"starts_open": "the maker's manual"}
    for changes, verdict in (({}, "agrees"), (BOTH, "contradicts")):
        found = findings_of(arm, unnamed(arm, checks=convention, **changes), texts=False)
        assert [f.verdict for f in found if f.check == "gripper_start"] == [verdict]


def test_the_distance_of_the_fingers_tells_open_from_closed(arm):
    fingers = {"name": "fingers", "columns": 2, "slots": "finger_positions", "unit": "m", "from": "both"}
    for changes, verdict in (({}, "agrees"), (BOTH, "contradicts")):
        base = unnamed(arm, **changes)
        spec = arm.spec(state=[*base.state, fingers], action=base.action)
        pairs = []
        for e in (arm.episode(seed) for seed in range(3)):
            e.texts, e.columns["plain"] = [], e.columns["gap"]
            e.columns["both"] = np.concatenate([e.columns["gap"] / 2, -e.columns["gap"] / 2], axis=1)
            pairs.append((e, convert(e, spec)))
        assert [f.verdict for f in check_set(spec, pairs, SETTINGS) if f.check == "finger_gap"] == [verdict]


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


def arx_as(arm, embodiment: str):
    """Two ARX X5 arms at work (its maker's URDF: elbow 0 to 3.2 rad) in a file that says they are another robot's."""
    arms = {f"{side}_joints": f"{side}_arm" for side in ("right", "left")}
    blocks = [{"name": n, "columns": 6, "slots": s, "unit": "rad", "from": n} for n, s in arms.items()]
    spec = arm.spec(embodiment=embodiment, state=blocks, action=[], eef_point=None)
    q = np.array([0.1, 1.2, 1.1, -0.6, 0.1, 0.3]) + 0.4 * np.sin(np.arange(100)[:, None] / 20 + np.arange(6))
    item = SourceItem("episode 0", "/data/arx/0", "bench_arm", {"set": 0})
    columns = dict.fromkeys(arms, q)
    return spec, [RobotEpisode(item, "x", columns, np.arange(100) / 20)]


def test_an_arx_set_read_as_piper_is_refused_by_the_elbows_limits(arm):
    spec, episodes = arx_as(arm, "piper")
    pairs = [(e, convert(e, spec)) for e in episodes]
    found = [f for f in check_set(spec, pairs, SETTINGS) if f.check == "joint_limits"]
    assert [f.verdict for f in found] == ["contradicts", "contradicts"]
    assert "right_arm_3 (right_joint3) runs from 0.7 to 1.46 rad, its limits are -2.7 to 0, 100%" in found[0].text
    assert "left_arm_3 (left_joint3)" in found[1].text
    assert "right_arm_1" not in found[0].text
    assert "embodiment (another robot?)" in contradiction(spec, found)
    with pytest.raises(Reject) as error:
        check_episode(spec, pairs[0][1], "here", SETTINGS)
    assert error.value.reason == Reason.CONTRADICTION


def test_an_embodiment_without_limits_is_told_as_not_checked(arm):
    spec, episodes = arx_as(arm, "cobot_magic")
    found = [
        f for f in check_set(spec, [(e, convert(e, spec)) for e in episodes], SETTINGS) if f.check == "joint_limits"
    ]
    assert {f.verdict for f in found} == {"not_checked"}
    assert "nobody published limits of right_arm_1, right_arm_2" in found[0].text
    assert "of cobot_magic" in found[0].text


@pytest.mark.parametrize(
    "changes", [{"embodiment": "xarm7"}, {"state_joints": {"sign": [1, 1, 1, -1, 1, 1, 1]}}], ids=["robot", "sign"]
)
def test_another_robot_or_a_wrong_sign_is_seen_by_the_limits_of_the_joint_it_names(arm, changes):
    spec = arm.spec(**changes)
    (found,) = joint_limits(spec, [convert(e, spec) for e in arm.episodes], SETTINGS)
    assert found.verdict == "contradicts"
    assert found.figures["right_arm_4"] == 1.0
    assert re.search(r"right_arm_4 \((panda_)?joint4\) runs from .* its limits are .* 100% of its samples", found.text)


@pytest.mark.parametrize(("beyond", "share", "wrong"), [(0.15, 1.0, False), (0.3, 0.04, False), (0.3, 0.1, True)])
def test_a_joint_may_lie_a_little_or_seldom_outside_its_limits(arm, beyond, share, wrong):
    spec, episode = arm.spec(), arm.episode(0)
    q = episode.columns["joints"].copy()
    q[: round(share * len(q)), 0] = 2.8973 + beyond  # the Panda's first joint
    episode.columns["joints"] = q
    (found,) = joint_limits(spec, [convert(episode, spec)], SETTINGS)
    assert found.verdict == ("contradicts" if wrong else "agrees")
