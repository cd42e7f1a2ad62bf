"""The comparison says zero for the truth itself and the size of every error that is put in."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.demo.compare import bend_angles, compare, format_table


def test_the_truth_compared_with_itself_has_no_error(truth, perfect_result):
    out = compare(truth, perfect_result, before=perfect_result)
    for key in (
        "wrist_mm",
        "wrist_deg",
        "step_mm",
        "step_deg",
        "window_mm",
        "world_mm",
        "bend_deg",
        "theta_deg",
        "jitter_mm",
    ):
        assert out["both"][key] == pytest.approx(0, abs=1e-3), key
    assert out["both"]["detection_rate"] == 1
    assert out["both"]["side_accuracy"] == 1
    assert out["both"]["two_hand_rate"] == 1
    assert out["matched"] == len(truth)


@pytest.mark.parametrize("yaw", [0.0, 0.7])
def test_a_row_in_another_world_compares_equal(truth, make_row, yaw):
    world = np.eye(4)
    world[:3, :3] = Rotation.from_rotvec([0, 0, yaw]).as_matrix()
    world[:3, 3] = [1.0, -2.0, 0.5] if yaw else 0
    both = compare(truth, make_row(world=world))["both"]
    assert both["wrist_mm"] < 0.01  # float32 rows
    assert both["wrist_deg"] < 0.05
    assert both["step_mm"] < 0.01
    assert both["world_mm"] < 0.01
    assert both["theta_deg"] < 0.01


def test_a_clip_from_the_middle_needs_its_offset(truth, make_row):
    row = make_row(60, 150)
    right = compare(truth, row, t_offset=float(truth.timestamps[60]))
    assert right["matched"] == 90
    assert right["both"]["wrist_mm"] < 0.01
    assert compare(truth, row)["right"]["wrist_mm"] > 5  # compared with other moments
    with pytest.raises(ValueError, match="t_offset"):
        compare(truth, row, t_offset=100.0)


def test_a_shift_along_the_ray_is_depth(truth, perfect_result):
    p = perfect_result.right.wrist_pos
    p += 0.010 * p / np.linalg.norm(p, axis=1, keepdims=True)
    out = compare(truth, perfect_result)
    assert out["right"]["wrist_mm"] == pytest.approx(10)
    assert out["right"]["depth_mm"] == pytest.approx(10)
    assert out["right"]["lateral_mm"] == pytest.approx(0, abs=1e-6)
    assert out["left"]["wrist_mm"] == pytest.approx(0, abs=1e-9)


def test_a_turned_wrist_is_counted_in_degrees(truth, perfect_result):
    turned = Rotation.from_rotvec(perfect_result.left.wrist_rot) * Rotation.from_euler("y", 12, degrees=True)
    perfect_result.left.wrist_rot = turned.as_rotvec()
    assert compare(truth, perfect_result)["left"]["wrist_deg"] == pytest.approx(12)


def test_exchanged_hands_have_no_side_accuracy(truth, perfect_result):
    r, l = perfect_result.right, perfect_result.left
    r.wrist_pos, l.wrist_pos = l.wrist_pos, r.wrist_pos
    assert compare(truth, perfect_result)["both"]["side_accuracy"] == 0


def test_missing_and_filled_frames_lower_the_detection_rate(truth, perfect_result):
    perfect_result.right.valid[:21] = False
    perfect_result.right.interpolated[21:42] = True
    right = compare(truth, perfect_result)["right"]
    seen = truth.hand_visible[0]
    assert right["detection_rate"] == pytest.approx(seen[42:].sum() / seen.sum())
    assert right["filled_frames"] == 21


def test_white_noise_of_one_millimetre_is_jitter_of_root_eighteen(truth, perfect_result):
    rng = np.random.default_rng(0)
    noisy = rng.normal(0, 1e-3, perfect_result.left.wrist_pos.shape)
    perfect_result.left.wrist_pos = perfect_result.left.wrist_pos + noisy
    # e[t+1] - 2 e[t] + e[t-1] has variance 1 + 4 + 1 per axis, three axes
    assert compare(truth, perfect_result)["left"]["jitter_mm"] == pytest.approx(np.sqrt(18), rel=0.15)


def test_an_unknown_camera_leaves_the_world_figures_open(truth, perfect_result):
    perfect_result.camera = None
    both = compare(truth, perfect_result)["both"]
    assert np.isnan(both["step_mm"])
    assert both["wrist_mm"] == pytest.approx(0, abs=1e-9)


def test_masked_wrists_of_a_row_leave_the_world_figures_open(truth, make_row):
    row = make_row()
    row.state_mask[:, :12] = False
    assert np.isnan(compare(truth, row)["both"]["step_mm"])


def test_bend_angle_of_a_right_angle_is_ninety():
    points = np.zeros((1, 21, 3))
    points[0, 5:9] = [[1, 0, 0], [1, 1, 0], [1, 2, 0], [1, 3, 0]]
    assert bend_angles(points)[0, 3:6] == pytest.approx([90, 0, 0])


def test_the_table_leaves_out_what_is_unknown(truth, perfect_result):
    text = format_table(compare(truth, perfect_result))
    assert "recovered against true wrist motion" in text
    assert "100.0 %" in text
    assert "nan" not in text
    assert "before smoothing" not in text
