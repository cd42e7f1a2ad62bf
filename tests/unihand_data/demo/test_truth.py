"""The shipped clip and its truth: readable without a renderer, and consistent with each other and with themselves."""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from unihand_data.demo.truth import SHIPPED_TRUTH, SHIPPED_VIDEO, SIDES, load_truth, save_truth
from unihand_data.hands.skeleton import forward
from unihand_data.values.hands import FINGERS


def test_every_frame_of_the_shipped_video_has_a_truth_at_its_own_time(truth):
    av = pytest.importorskip("av")
    with av.open(str(SHIPPED_VIDEO)) as f:
        stream = f.streams.video[0]
        assert stream.codec_context.name == "h264"
        times = np.array([float(p.pts * stream.time_base) for p in f.decode(stream)])
        assert (stream.width, stream.height) == tuple(truth.size)
    assert len(times) == len(truth)
    assert np.abs(np.sort(times) - times[0] - truth.timestamps).max() < 1e-3


def test_the_shipped_clip_is_small_and_long_enough(truth):
    assert SHIPPED_VIDEO.stat().st_size < 2_000_000
    assert 6.0 <= truth.timestamps[-1] <= 8.0


def test_reading_the_truth_needs_neither_renderer_nor_pickle():
    code = (
        "import sys; from unihand_data.demo import truth, compare; truth.load_truth(); print('mujoco' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
    with np.load(SHIPPED_TRUTH, allow_pickle=False) as data:
        assert all(data[k].dtype != object for k in data.files)


def test_world_starts_at_the_first_camera_levelled_and_facing_x(truth):
    first = truth.camera[0]
    assert np.allclose(first[:3, 3], 0, atol=1e-12)
    assert abs(first[1, 2]) < 1e-12  # the optical axis has no sideways part
    assert first[0, 2] > 0.3  # forward
    assert first[2, 2] < -0.5  # and down to the table
    assert np.allclose(truth.camera[:, :3, :3] @ truth.camera[:, :3, :3].transpose(0, 2, 1), np.eye(3), atol=1e-9)


def test_keypoints_in_world_camera_and_picture_are_the_same_points(truth):
    for s in range(2):
        moved = (
            np.einsum("tij,tkj->tki", truth.camera[:, :3, :3], truth.keypoints_cam[s]) + truth.camera[:, None, :3, 3]
        )
        assert np.abs(moved - truth.keypoints[s]).max() < 1e-6
        fx, fy, cx, cy = truth.intrinsics
        c = truth.keypoints_cam[s]
        px = np.stack([fx * c[..., 0] / c[..., 2] + cx, fy * c[..., 1] / c[..., 2] + cy], -1)
        assert np.abs(px - truth.keypoints_px[s]).max() < 1e-2


def test_theta_posed_by_the_generic_skeleton_gives_the_keypoints(truth):
    from scipy.spatial.transform import Rotation

    for s, side in enumerate(SIDES):
        rot = Rotation.from_matrix(truth.wrist_rot_cam[s]).as_rotvec()
        posed = forward(truth.theta[s], truth.wrist_pos_cam[s], rot, side, rest=truth.rest[s])
        assert np.abs(posed - truth.keypoints_cam[s]).max() < 1e-6


def test_left_rest_is_the_mirror_of_right(truth):
    assert np.allclose(truth.rest[1], truth.rest[0] * [-1, 1, 1])


def test_thumbs_lie_on_the_inner_side_of_hands_held_palm_down(truth):
    thumb, pinky = FINGERS["thumb"][3], FINGERS["pinky"][0]
    right, left = truth.keypoints_px[0, 0], truth.keypoints_px[1, 0]
    assert right[thumb, 0] < right[pinky, 0]
    assert left[thumb, 0] > left[pinky, 0]
    assert left[0, 0] < right[0, 0]


def test_the_object_is_picked_up_and_put_down_elsewhere(truth):
    height = truth.object_pose[0, :, 2, 3]
    held = truth.held_by[0] > 0
    assert height.max() - height[0] > 0.04
    assert abs(height[-1] - height[0]) < 1e-6
    assert held.any()
    assert not held[0]
    assert not held[-1]
    assert np.linalg.norm(truth.object_pose[0, -1, :2, 3] - truth.object_pose[0, 0, :2, 3]) > 0.05
    moving = np.linalg.norm(np.diff(truth.object_pose[0, :, :3, 3], axis=0), axis=1) > 1e-3
    assert not moving[~(held[1:] | held[:-1])].any()


def test_instructions_cover_the_clip_and_name_a_hand(truth):
    edges = [(t0, t1) for t0, t1, *_ in truth.instructions]
    assert edges[0][0] == 0
    assert all(a[1] == pytest.approx(b[0]) for a, b in pairwise(edges))
    assert edges[-1][1] >= truth.timestamps[-1]
    assert all(hand in ("left", "right", "both", "none") for *_, hand in truth.instructions)
    assert truth.intent


def test_truth_survives_saving(truth, tmp_path):
    save_truth(truth, tmp_path / "t.npz")
    again = load_truth(tmp_path / "t.npz")
    assert np.array_equal(again.wrist_rot, truth.wrist_rot)
    assert again.events == truth.events
    assert again.meta == truth.meta


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_truth_is_refused_by_name(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz"):
        load_truth(path)


def test_a_truth_without_a_field_or_of_another_schema_is_refused(truth, tmp_path):
    with np.load(SHIPPED_TRUTH) as data:
        stored = {k: data[k] for k in data.files}
    np.savez(tmp_path / "less.npz", **{k: v for k, v in stored.items() if k != "theta"})
    with pytest.raises(ValueError, match="theta"):
        load_truth(tmp_path / "less.npz")
    text = json.loads(stored["text"].tobytes()) | {"schema": 99}
    stored["text"] = np.frombuffer(json.dumps(text).encode(), np.uint8)
    np.savez(tmp_path / "other.npz", **stored)
    with pytest.raises(ValueError, match="schema"):
        load_truth(tmp_path / "other.npz")
