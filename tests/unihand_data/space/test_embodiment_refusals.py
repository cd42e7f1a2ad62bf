"""A file or a row that does not fit is refused, and the message names where."""

import numpy as np
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.space import EmbodimentError, load_embodiment


def edit(path, value, kind="state"):
    """Set ``state[i].key`` given as (i, key)."""

    def change(data):
        i, key = path
        data[kind][i][key] = value

    return change


def top(**values):
    return lambda data: data.update(values)


def test_the_undamaged_file_loads(write_yaml):
    e = load_embodiment(write_yaml())
    assert e.columns("state") == ("left_a", "left_b", "x", "y", "z", "w", "i", "j", "k", "g")
    assert e.slots("action").tolist() == [0, 1, 2, 3, 4, 5]
    assert len(e.hash) == 32


BAD = {
    "wrong side by slots": (edit((0, "slots"), "right_arm"), r"state\.left_arm\.slots.*left.*right"),
    "wrong side by word": (edit((1, "side"), "left"), r"state\.pose\.slots.*left.*right"),
    "both sides": (edit((0, "slots"), ["left_arm_1", "right_arm_1"]), "both sides"),
    "overlap": (edit((0, "slots"), ["left_arm_1", "left_arm_1"]), "already filled by|twice"),
    "overlap of blocks": (
        lambda d: d["state"].append({"name": "again", "columns": ["q"], "slots": ["left_arm_2"], "unit": "rad"}),
        r"state\.again.*left_arm_2 is already filled by left_arm",
    ),
    "unknown slot": (edit((0, "slots"), ["left_arm_1", "left_arm_9"]), r"state\.left_arm\.slots.*left_arm_9"),
    "unknown group": (edit((0, "slots"), "tail"), "no slot group is called 'tail'"),
    "group too small": (edit((1, "slots"), "head"), "head has 2 slots, the block needs 3"),
    "reserved slot": (edit((0, "slots"), ["reserved_083", "reserved_084"]), "reserved"),
    "slot number": (edit((0, "slots"), [57, 58]), "no slot is called 57"),
    "unknown key": (edit((0, "colour"), "red"), r"state\.left_arm: unknown keys \['colour'\]"),
    "unknown key at top": (top(speed=1), r"file: unknown keys \['speed'\]"),
    "missing key": (lambda d: d.pop("mirror"), r"missing keys \['mirror'\]"),
    "missing slots": (lambda d: d["state"][0].pop("slots"), r"missing keys \['slots'\]"),
    "wrong unit": (edit((0, "unit"), "m"), r"state\.left_arm\.unit: m does not give the slot's unit rad"),
    "no unit": (lambda d: d["state"][0].pop("unit"), "None is not a unit"),
    "released unit": (edit((0, "unit"), "released"), "is not a unit"),
    "command without scale": (edit((0, "unit"), "command"), "command_scale"),
    "scale without command": (edit((0, "command_scale"), 0.05), "command_scale"),
    "bad sign": (edit((0, "sign"), [1, 2]), "signs are 1 or -1"),
    "limits length": (edit((0, "limits"), [[0, 1]]), r"state\.left_arm\.limits: 2 entries"),
    "limits order": (edit((0, "limits"), [[1, 0], None]), "not below"),
    "guessed gripper": (lambda d: d["state"][3].pop("range"), r"state\.grip\.range"),
    "gripper as a value": (edit((3, "form"), "value"), "gripper slots and form: gripper go together"),
    "equal ends": (edit((3, "range"), {"closed": 1, "open": 1}), "same number"),
    "gripper with a unit": (edit((3, "unit"), "m"), "does not use it"),
    "quaternion width": (edit((2, "columns"), ["i", "j", "k"]), "has 4 columns, not 3"),
    "quaternion order": (edit((2, "form"), "quaternion"), "'quaternion' is not one of"),
    "rotation elsewhere": (edit((2, "slots"), ["left_arm_3", "left_arm_4", "left_arm_5"]), "rotation|belongs"),
    "rotation out of order": (
        edit((2, "slots"), ["right_eef_ry", "right_eef_rx", "right_eef_rz"]), "three slots of one .* in order"),
    "rotation with signs": (
        lambda d: d["action"][1].update(sign=[1, -1, 1]), r"action\.turn\.sign: a rotation has one unit"),
    "euler without frame": (
        lambda d: d["action"][1].update(form="euler", euler={"sequence": "xyz"}), r"missing keys \['frame'\]"),
    "state only in action": (
        lambda d: d["action"].append({"name": "b", "columns": ["b"], "slots": ["base_x"], "unit": "m"}),
        "exists in the state only"),
    "eef action not said": (lambda d: d["action"][0].pop("action"), "displacement or absolute"),
    "displacing joints": (
        lambda d: d["action"].append(
            {"name": "a", "columns": ["a"], "slots": ["left_arm_1"], "unit": "rad", "action": "displacement"}),
        "absolute targets"),
    "unmapped without reason": (lambda d: d["action"][2]["unmapped"].pop("reason"), r"missing keys \['reason'\]"),
    "unmapped and mapped": (lambda d: d["action"][2].update(slots="lift"), r"unknown keys \['slots'\]"),
    "column twice": (edit((1, "columns"), ["x", "y", "g"]), "used twice"),
    "block twice": (edit((1, "name"), "left_arm"), "used twice|left"),
    "name is not the file's": (top(name="other"), "must equal the file's name"),
    "bad world": (top(world="moon"), "world: 'moon' is not one of"),
    "bad rate": (top(control_rate_hz=-5), "positive"),
    "rate as text": (top(control_rate_hz="fast"), "a finite number is expected"),
    "bad view": (top(cameras=[{"key": "c", "view": "front"}]), "cameras.0.view"),
    "bad mirror": (top(mirror={"eef_axis": None, "signs": {"arm": [1, 0]}}), "mirror.signs.arm"),
    "human without model": (top(domain="human"), "mano or generic_v1"),
    "not a list": (top(state={}), "state: a list of blocks"),
    "schema 2": (top(schema=2), "schema: 2 is not one of"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_does_not_fit_is_refused_with_its_place(case, write_yaml):
    change, message = BAD[case]
    with pytest.raises(EmbodimentError, match=message) as caught:
        load_embodiment(write_yaml(change))
    assert str(caught.value).startswith("small.yaml: ")


def test_broken_yaml_and_unknown_names_are_refused(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("state: [")
    with pytest.raises(EmbodimentError, match="not valid YAML"):
        load_embodiment(path)
    path.write_text("- 1")
    with pytest.raises(EmbodimentError, match="a mapping is expected, not list"):
        load_embodiment(path)
    with pytest.raises(FileNotFoundError, match=r"shipped: .*libero"):
        load_embodiment("no_such_robot")


GOOD = {"left_arm": np.zeros((4, 2)), "pose": np.zeros((4, 3)), "turn": np.ones((4, 4)), "grip": np.zeros((4, 1))}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tail": np.zeros((4, 1))}, Reason.CONTRADICTION),
        ({"pose": None}, Reason.MISSING_FIELD),
        ({"pose": np.zeros((4, 2))}, Reason.WRONG_TYPE),
        ({"pose": np.zeros((3, 3))}, Reason.WRONG_TYPE),
        ({"pose": np.zeros(3)}, Reason.WRONG_TYPE),
        ({"pose": np.full((4, 3), "a")}, Reason.WRONG_TYPE),
        ({"pose": np.full((4, 3), np.inf)}, Reason.BAD_VALUE),
        ({"turn": np.zeros((4, 4))}, Reason.BAD_VALUE),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_a_reason(change, reason, write_yaml):
    e = load_embodiment(write_yaml())
    row = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    with pytest.raises(Reject, match="small: ") as caught:
        e.to_unified(row, "state")
    assert caught.value.reason == reason


def test_an_array_of_another_width_is_refused(write_yaml):
    with pytest.raises(Reject, match="10 columns, not shape"):
        load_embodiment(write_yaml()).to_unified(np.zeros((4, 11)), "state")


def test_slots_that_a_row_lacks_are_named(write_yaml):
    with pytest.raises(Reject, match=r"left_arm needs slots .*left_arm_1"):
        load_embodiment(write_yaml()).from_unified(np.zeros((1, 3)), [0, 1, 2], kind="state")


def test_the_hash_follows_content_and_not_wording(write_yaml):
    plain = load_embodiment(write_yaml()).hash
    assert load_embodiment(write_yaml(top(title="other words", notes="more"))).hash == plain
    assert load_embodiment(write_yaml(edit((0, "unit"), "rad"))).hash != plain
    assert load_embodiment(write_yaml(top(control_rate_hz=11))).hash != plain


def test_signs_offsets_and_scales_combine_as_declared(write_yaml):
    def old_degrees(data):  # new = -(old - 90), in degrees
        data["state"][0].update(sign=[-1, 1], offset=[90, 0])

    e = load_embodiment(write_yaml(old_degrees))
    row = {**GOOD, "left_arm": np.array([[180.0, 90.0]] * 4)}
    u = e.to_unified(row, "state")
    at = [u.slots.tolist().index(s) for s in (57, 58)]
    np.testing.assert_allclose(u.values[0, at], [-np.pi / 2, np.pi / 2])
    np.testing.assert_allclose(e.from_unified(*u, kind="state", as_dict=True)["left_arm"], row["left_arm"])
