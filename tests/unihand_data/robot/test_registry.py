"""A data-set file that a person names: what of it must fit the files, and what a person may know better."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unihand_data.errors import DatasetRefused
from unihand_data.sources.robot.registry import misfits, open_robot, unfit
from unihand_data.sources.robot.spec import load_spec
from unihand_data.sources.robot.table import markdown

SPEC = load_spec("unitree_g1_dex1")


@pytest.fixture(scope="module")
def found(made):
    return made("unitree_g1_dex1")[0].sets[0].found


def test_labels_are_a_persons_to_overrule(found):
    renamed = replace(found, name="mine", robot_type="another word", fps=12.0)
    assert misfits(SPEC, renamed)
    assert unfit(SPEC, renamed) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"container": "rlds"}, "container rlds, not lerobot"),
        ({"features": {"action": 16}}, "observation.state"),
        ({"features": {"action": 16, "observation.state": 15}}, "observation.state has 15 columns"),
        ({"column_names": {"action": ("a", "b")}}, "action"),
    ],
)
def test_what_the_files_lack_is_no_label(found, change, reason):
    reasons = unfit(SPEC, replace(found, **change))
    assert reasons
    assert any(reason in r for r in reasons)


def test_columns_that_the_file_says_nothing_of_are_told(arm, found):
    spec = arm.spec(state=[b if b["from"] != "joints" else {**b, "take": [0, 7]} for b in arm.spec().state])
    features = {"joints": 9, "pose": 7, "gap": 1, "delta": 6, "joint_targets": 7, "grip": 1}
    one = replace(found, features=features, column_names={})
    assert unfit(spec, one) == ["joints has 9 columns, 2 of which it says nothing of"]
    assert unfit(spec, replace(one, features={**features, "joints": 7})) == []


def test_a_named_file_that_does_not_fit_is_refused_in_one_sentence(made):
    folder = made("unitree_g1_dex1")[0].root
    with pytest.raises(DatasetRefused, match=r"does not fit so101_degrees\.yaml: .* columns, not 6") as caught:
        open_robot(folder, "so101_degrees")
    assert "\n" not in str(caught.value)


def test_a_file_with_a_pose_must_say_of_which_point_it_is(arm):
    with pytest.raises(ValueError, match=r"eef_point: block position is a pose .* of an end effector, so say of which"):
        arm.spec(eef_point=None)
    assert arm.spec(eef_point="unknown").layout_of_rows.eef_point is None
    joints = arm.spec().state[:1]
    assert arm.spec(eef_point=None, state=joints, action=[]).eef_point is None, "no pose, no point"
    only_told = arm.spec().action[:1]
    with pytest.raises(ValueError, match="eef_point: block shift"):
        arm.spec(eef_point=None, state=joints, action=only_told)


def test_a_pose_point_that_nobody_knows_is_listed_as_unverified():
    rows = {line.split("`")[1]: line for line in markdown().splitlines()[2:]}
    points = {name: load_spec(name).eef_point for name in ("robomind_franka", "bridge_rlds", "unitree_g1_dex1")}
    assert points == {"robomind_franka": "unknown", "bridge_rlds": "tool", "unitree_g1_dex1": None}
    assert [n for n in points if "`eef_point: unknown`" in rows[n]] == ["robomind_franka"]
