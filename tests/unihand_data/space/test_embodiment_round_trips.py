"""Phi_e and back for every shipped file, and what each of them says in physical units."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.samples import sample
from unihand_data.errors import Reason, Reject
from unihand_data.space import SLOTS, available, load_embodiment, slot_index, to_dense

NAMES = available()
KINDS = ("state", "action")
seeds = st.integers(0, 2**32 - 1)


def test_the_promised_embodiments_are_shipped():
    assert set(NAMES) >= {
        "human_hands", "human_hands_generic", "libero", "libero_release", "robocasa", "robocasa_release", "so101",
        "fr3_inspire", "g1_o6", "adam_u", "d1", "gr1", "widowx", "aloha", "metaworld",
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
@settings(max_examples=4, deadline=None)
def test_every_declared_column_comes_back(name, kind, seed, raw_rows):
    e = load_embodiment(name)
    raw = raw_rows(e, kind, np.random.default_rng(seed))
    values, slots, mask, extra = e.to_unified(raw, kind)
    assert slots.dtype == np.int16
    assert slots.tolist() == sorted({int(s) for s in e.slots(kind)})
    assert mask.all()
    back = e.from_unified(values, slots, mask, extra, kind=kind)
    np.testing.assert_allclose(back.astype("f4"), raw.astype("f4"), rtol=1e-6, atol=1e-12)
    # as stored: float32 in between costs at most 1e-6 of the column's span
    stored = e.from_unified(values.astype("f4"), slots, mask, extra, kind=kind)
    span = np.maximum(np.abs(raw), 1.0) * 300
    assert (np.abs(stored - raw) <= 1e-6 * span).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
@settings(max_examples=2, deadline=None)
def test_missing_values_are_masked_zero_inside_and_missing_again_outside(name, kind, seed, raw_rows):
    e = load_embodiment(name)
    raw = raw_rows(e, kind, np.random.default_rng(seed), gaps=True)
    u = e.to_unified(raw, kind)
    assert np.isfinite(u.values).all()
    assert (u.values[~u.mask] == 0).all()
    back = e.from_unified(*u, kind=kind)
    np.testing.assert_allclose(back, raw, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_dicts_arrays_and_the_full_vector_say_the_same(name, raw_rows):
    e = load_embodiment(name)
    for kind in KINDS:
        raw = raw_rows(e, kind, np.random.default_rng(1))
        u = e.to_unified(raw, kind)
        parts = e.from_unified(*u, kind=kind, as_dict=True)
        assert list(parts) == [b.name for b in e.blocks(kind)]
        again = e.to_unified(parts, kind)
        np.testing.assert_allclose(again.values, u.values, atol=1e-9)
        dense, _ = to_dense(u.values, u.slots, u.mask)
        full = e.from_unified(dense, np.arange(200), None, u.raw_extra, kind=kind)
        np.testing.assert_allclose(full, e.from_unified(*u, kind=kind), atol=1e-12)


def test_one_hand_alone_fills_only_its_slots():
    e = load_embodiment("human_hands")
    row = {"left_wrist_position": np.ones((3, 3)), "left_theta": np.zeros((3, 45))}
    u = e.to_unified(row, "state")
    assert u.slots.tolist() == [9, 10, 11, *range(155, 200)]
    back = e.from_unified(*u, kind="state", as_dict=True)
    assert set(back) == set(row)
    assert np.isnan(e.from_unified(*u, kind="state")[:, :3]).all()


def one(name, kind, slot, **block):
    """Value of one slot when one block of a one-frame row is set and the rest is zero."""
    e = load_embodiment(name)
    row = {b.name: np.zeros((1, b.width)) for b in e.blocks(kind)}
    for b in e.blocks(kind):
        if b.form.startswith("quaternion"):
            row[b.name] = np.array([[0.0, 0, 0, 1]]) if b.form.endswith("xyzw") else np.array([[1.0, 0, 0, 0]])
    row.update({k: np.array([v], float) for k, v in block.items()})
    u = e.to_unified(row, kind)
    return u.values[0, u.slots.tolist().index(slot_index(slot))]


# what one raw number means, from the sources named in the files
@pytest.mark.parametrize(
    ("name", "kind", "slot", "block", "expected"),
    [
        ("libero", "action", "right_eef_x", {"eef_position": [1, 0, 0]}, 0.05),
        ("libero", "action", "right_eef_rz", {"eef_rotation": [0, 0, -1]}, -0.5),
        ("libero", "action", "right_gripper", {"gripper": [-1]}, 1.0),
        ("libero", "action", "right_gripper", {"gripper": [1]}, 0.0),
        ("libero_release", "action", "right_eef_x", {"eef_position": [1, 0, 0]}, 1.0),
        ("libero_release", "action", "right_gripper", {"gripper": [1]}, 1.0),
        ("robocasa", "action", "right_eef_y", {"eef_position": [0, 1, 0]}, 0.05),
        ("robocasa", "state", "right_eef_rz", {"eef_rotation": [0, 0, np.sqrt(0.5), np.sqrt(0.5)]}, np.pi / 2),
        ("robocasa_release", "action", "reserved_074", {"control_mode": [1]}, 1.0),
        ("robocasa_release", "action", "base_x", {"base_motion": [0.5, 0, 0, 0]}, 0.5),
        ("robocasa_release", "state", "reserved_075", {"base_rotation": [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]}, np.pi / 2),
        ("so101", "state", "right_arm_2", {"arm": [0, 90, 0, 0, 0]}, np.pi / 2),
        ("so101", "action", "right_gripper", {"gripper": [25]}, 0.25),
        ("fr3_inspire", "state", "right_hand_pinky", {"hand": [1, 1, 1, 1, 1, 1]}, 0.0),
        ("fr3_inspire", "state", "right_hand_pinky", {"hand": [0, 1, 1, 1, 1, 1]}, 1.7),
        ("fr3_inspire", "action", "right_hand_thumb_rotation", {"hand": [0, 0, 0, 0, 0, 0.5]}, 0.6),
        # linkerhand's own example: 0.58 0.0 0.8 1.6 0.0 1.6 rad are 0 255 128 0 255 0
        ("g1_o6", "state", "left_hand_thumb_flexion", {"left_hand": [0, 255, 127.5, 0, 255, 0]}, 0.58),
        ("g1_o6", "state", "left_hand_thumb_rotation", {"left_hand": [0, 255, 127.5, 0, 255, 0]}, 0.0),
        ("g1_o6", "state", "left_hand_index", {"left_hand": [0, 255, 127.5, 0, 255, 0]}, 0.8),
        ("g1_o6", "state", "left_hand_ring", {"left_hand": [0, 255, 127.5, 0, 255, 0]}, 0.0),
        ("g1_o6", "state", "left_hand_pinky", {"left_hand": [0, 255, 127.5, 0, 255, 0]}, 1.6),
        ("d1", "state", "right_hand_thumb_rotation", {"hand": [0, 1, 0, 0, 0, 0]}, 1.54),
        ("d1", "state", "right_hand_pinky", {"hand": [0, 0, 0, 0, 0, 1]}, 1.57),
        ("d1", "state", "head_pitch", {"head": [0, 0.3]}, 0.3),
        ("adam_u", "state", "waist_pitch", {"waist": [0, 0.4, 0]}, 0.4),
        ("gr1", "state", "right_hand_thumb_rotation", {"right_hand": [0, 0, 0, 0, 0, 1.74]}, 1.74),
        ("widowx", "state", "right_eef_rz", {"eef_rotation": [0, 0, 0.5]}, 0.5),
        ("widowx", "action", "right_gripper", {"gripper": [1]}, 1.0),
        ("aloha", "state", "left_gripper", {"left_gripper": [0.25]}, 0.25),
        ("metaworld", "action", "right_eef_z", {"hand_position": [0, 0, 1]}, 0.01),
        ("metaworld", "action", "right_gripper", {"gripper": [1]}, 0.0),
        ("human_hands", "state", "left_theta_14_z", {"left_theta": [*np.zeros(44), 0.7]}, 0.7),
    ],
)  # fmt: skip
def test_raw_numbers_mean_what_their_source_says(name, kind, slot, block, expected):
    assert one(name, kind, slot, **block) == pytest.approx(expected, abs=1e-12)


def test_constant_columns_are_restored_and_varying_ones_travel_along():
    e = load_embodiment("gr1")
    raw = np.zeros((3, 44))
    u = e.to_unified(raw, "state")
    assert u.raw_extra == {}
    raw[1, 13] = 0.25
    u = e.to_unified(raw, "state")
    assert list(u.raw_extra) == ["state.left_leg"]
    np.testing.assert_array_equal(e.from_unified(*u, kind="state"), raw)


def test_a_lost_representation_travels_along_and_a_kept_one_does_not():
    e = load_embodiment("robocasa")
    row = np.zeros((1, 16))
    row[0, 6], row[0, 15] = 1, 1
    assert set(e.to_unified(row, "state").raw_extra) == {"state.base_rotation"}
    row[0, 6] = -1  # the same rotation, the other sign
    u = e.to_unified(row, "state")
    assert set(u.raw_extra) == {"state.base_rotation", "state.eef_rotation"}
    np.testing.assert_array_equal(e.from_unified(*u, kind="state"), row)


def test_a_policy_without_raw_extra_gets_what_can_be_known_and_a_reason_for_the_rest():
    e = load_embodiment("robocasa")
    out = e.from_unified(np.zeros((1, 200)), np.arange(200), kind="action")
    assert out[0, -5:].tolist() == [0, 0, 0, 0, -1]
    with pytest.raises(Reject, match=r"left_hand.*saturated") as caught:
        load_embodiment("gr1").from_unified(np.zeros((1, 200)), np.arange(200), kind="action")
    assert caught.value.reason == Reason.MISSING_FIELD


@given(seed=seeds)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_absolute_cartesian_commands_become_displacements_and_come_back(seed, write_yaml):
    e = load_embodiment(write_yaml())
    rng = np.random.default_rng(seed)
    raw = rng.uniform(-1.5, 1.5, size=(6, 7))
    start = {"right": rng.normal(size=6)}
    u = e.to_unified(raw, "action", start=start)
    np.testing.assert_allclose(u.values[0, :3], raw[0, :3] - start["right"][:3])
    np.testing.assert_allclose(u.values[1:, :3], np.diff(raw[:, :3], axis=0), atol=1e-12)
    back = e.from_unified(*u, kind="action", start=start)
    np.testing.assert_allclose(back, raw, rtol=1e-6, atol=1e-9)
    with pytest.raises(Reject, match="start="):
        e.to_unified(raw, "action")


def test_the_real_gr1_rows_come_back_and_fit_their_limits():
    pq = pytest.importorskip("pyarrow.parquet")
    files = sorted(sample("gr00t_gr1_picknplace_v20", "data").rglob("*.parquet"))
    e = load_embodiment("gr1")
    for kind, column in (("state", "observation.state"), ("action", "action")):
        raw = np.stack(pq.read_table(files[0])[column].to_numpy())
        u = e.to_unified(raw, kind)
        np.testing.assert_array_equal(e.from_unified(*u, kind=kind), raw)
        assert set(u.raw_extra) == ({"action.left_hand", "action.right_hand"} if kind == "action" else set())
        assert e.out_of_limits(u.values, u.slots, kind, slack=0.4).sum() == 0


def test_unknown_limits_are_listed_and_known_ones_are_not():
    gr1 = load_embodiment("gr1")
    assert "state.right_arm_1" in gr1.unknown_limits()
    assert gr1.limits("state")[slot_index("right_arm_1")] is None
    for name in ("fr3_inspire", "g1_o6", "d1", "so101", "aloha", "adam_u"):
        assert load_embodiment(name).unknown_limits() == []
    assert load_embodiment("fr3_inspire").limits("state")[50] == (-2.7437, 2.7437)
    assert set(load_embodiment("adam_u").unmapped("action")) == {"hands"}


def test_out_of_limits_marks_and_changes_nothing():
    e = load_embodiment("fr3_inspire")
    raw = np.zeros((2, 13))
    raw[0, 0], raw[:, 3], raw[:, 5] = 3.0, -1, 1
    u = e.to_unified(raw, "state")
    bad = e.out_of_limits(u.values, u.slots, "state")
    assert [SLOTS[u.slots[i]].name for i in np.flatnonzero(bad[0])] == ["right_arm_1"]
    assert not bad[1].any()
    assert u.values[0, list(u.slots).index(50)] == 3.0


def test_action_sources_follow_the_declared_trust():
    sources = {s["slot_group"]: s["kind"] for s in load_embodiment("widowx").action_sources()}
    assert sources == {
        "right_eef_position": "realised", "right_eef_rotation": "realised", "right_gripper": "commanded",
        "right_arm": "commanded",
    }  # fmt: skip
    assert {s["kind"] for s in load_embodiment("human_hands").action_sources()} == {"realised"}
