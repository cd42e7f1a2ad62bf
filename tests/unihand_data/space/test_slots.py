"""The slot table against the published layout, and the way between sparse rows and the full vector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unihand_data.space import GROUPS, N_SLOTS, SLOTS, from_dense, group_slice, slot_index, to_dense
from unihand_data.space.slots import RESERVED


def test_every_slot_has_its_own_name_and_its_own_place():
    assert len(SLOTS) == N_SLOTS == 200
    assert [s.index for s in SLOTS] == list(range(200))
    assert len({s.name for s in SLOTS}) == 200
    assert all(slot_index(s.name) == s.index for s in SLOTS)


# first and last slot as published in Being-H docs/unified_action_space.md and fixed in CONTRACT section 1
@pytest.mark.parametrize(
    ("first", "last", "a", "b"),
    [
        ("right_eef_x", "right_eef_rz", 0, 5),
        ("left_eef_x", "left_eef_rz", 9, 14),
        ("right_gripper", "left_gripper", 18, 19),
        ("right_hand_pinky", "right_hand_thumb_rotation", 20, 25),
        ("right_hand_ext_0", "right_hand_ext_5", 26, 31),
        ("left_hand_pinky", "left_hand_thumb_rotation", 32, 37),
        ("left_hand_ext_0", "left_hand_ext_5", 38, 43),
        ("finger_position_0", "finger_position_1", 44, 45),
        ("right_arm_1", "right_arm_7", 50, 56),
        ("left_arm_1", "left_arm_7", 57, 63),
        ("head_yaw", "head_pitch", 64, 65),
        ("waist_roll", "waist_yaw", 66, 68),
        ("base_x", "base_z", 70, 72),
        ("base_vx", "base_yaw_rate", 76, 78),
        ("lift", "neck_roll", 79, 82),
        ("right_beta_0", "right_beta_9", 90, 99),
        ("left_beta_0", "left_beta_9", 100, 109),
        ("right_theta_00_x", "right_theta_14_z", 110, 154),
        ("left_theta_00_x", "left_theta_14_z", 155, 199),
    ],
)
def test_slots_lie_where_the_published_layout_puts_them(first, last, a, b):
    assert (slot_index(first), slot_index(last)) == (a, b)


def test_reserved_and_state_only_slots_are_those_of_the_contract():
    assert set(RESERVED) == {6, 7, 8, 15, 16, 17, 46, 47, 48, 49, 69, 73, 74, 75, *range(83, 90)}
    assert {s.index for s in SLOTS if s.state_only} == {44, 45, 70, 71, 72, *range(90, 110)}


def test_groups_do_not_overlap_and_cover_all_but_the_reserved_slots():
    covered = [i for g in GROUPS.values() for i in g.slots]
    assert len(covered) == len(set(covered)) == 200 - len(RESERVED)
    assert group_slice("right_eef") == slice(0, 6)
    assert group_slice("left_theta") == slice(155, 200)


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(KeyError, match=r"right_arm_8.*near.*right_"):
        slot_index("right_arm_8")
    with pytest.raises(KeyError, match="groups"):
        group_slice("tail")


@given(st.sets(st.integers(0, 199), min_size=1), st.integers(0, 2**32 - 1))
def test_dense_and_back_is_the_identity_where_the_mask_is_true(slots, seed):
    rng = np.random.default_rng(seed)
    index = sorted(slots)
    values = rng.normal(size=(3, len(index))).astype(np.float32)
    mask = rng.random(values.shape) < 0.7
    dense, dense_mask = to_dense(values, index, mask)
    assert dense.dtype == np.float32
    np.testing.assert_array_equal(from_dense(dense, index), np.where(mask, values, 0))
    np.testing.assert_array_equal(from_dense(dense_mask, index), mask)
    assert dense_mask.sum() == mask.sum()


@pytest.mark.parametrize("slots", [[3, 3], [5, 4], [-1], [200], [[1, 2]]])
def test_a_slot_list_that_is_not_increasing_is_refused(slots):
    with pytest.raises(ValueError, match="strictly increasing"):
        to_dense(np.zeros((1, len(slots))), slots)
