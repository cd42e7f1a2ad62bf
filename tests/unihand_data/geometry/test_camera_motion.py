"""How the camera's motion is decided: static, mapped, or honestly unknown."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.errors import Reason, Reject
from unihand_data.geometry.camera_motion import AutoCamera, CameraSettings, build_camera_estimator
from unihand_data.values.clip import ClipRef
from unihand_data.video.killable import KillableWorker, WorkerError

FRAMES = 90
MAPPER = "unihand_data.geometry.colmap_worker:build"


class Answers:
    """A worker that answers what it is given, or raises it."""

    def __init__(self, *answers):
        self.answers, self.requests = answers, []

    def call(self, request, name=""):
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        """Holds nothing."""


@pytest.fixture(scope="module")
def mapper():
    worker = KillableWorker(MAPPER, {"threads": 1}, timeout_s=60)  # pycolmap and OpenCV must not share a process
    yield worker
    worker.close()


@pytest.fixture
def camera_of(scene_of, hands_at, lens):
    """``camera_of(mapper, moving=..., **settings)`` -> estimator with given points, its clip and hands, the scene."""

    def make(mapper, *, moving=True, **settings):
        scene = scene_of(FRAMES, 0.3, moving=moving)
        estimator = AutoCamera(CameraSettings(**settings))
        estimator._follow = Answers(dict(zip(("frame", "track", "xy"), scene.seen)))
        estimator._map = mapper
        clip = ClipRef("clip.mp4", np.arange(FRAMES) / 30, lens.width, lens.height, intrinsics=lens)
        # a hand that touches points 1.1 m away: the middle of the scene's depth
        hands = hands_at(scene.pose, np.tile([0.0, 0.0, 1.1], (FRAMES, 1)))
        return estimator, clip, hands, scene

    return make


def answer_of(scene, **changes):
    """A perfect map of the scene in units of 0.5 m, in a world of its own."""
    away = np.eye(4)
    away[:3, :3], away[:3, 3] = Rotation.from_rotvec([0.3, -1, 0.2]).as_matrix(), [1, 2, 3]
    pose = scene.pose.copy()
    pose[:, :3, 3] *= 2
    out = {
        "pose": away @ pose,
        "valid": np.ones(FRAMES, bool),
        "points": 2 * scene.points @ away[:3, :3].T + away[:3, 3],
        "point_track": np.arange(len(scene.points)),
        "reprojection_px": 0.3,
        "keyframe_ratio": 1.0,
    }
    return {**out, **changes}


def test_a_static_camera_is_recognised_and_not_mapped(camera_of):
    mapper = Answers(AssertionError("asked"))
    estimator, clip, hands, _ = camera_of(mapper, moving=False)
    camera = estimator.estimate(clip, hands)
    assert camera.method == "static"
    assert np.array_equal(camera.pose, np.tile(np.eye(4), (FRAMES, 1, 1)))
    assert camera.valid.all()
    assert not mapper.requests


def test_a_moving_camera_is_mapped_up_to_the_scale_of_the_hands(camera_of, mapper):
    """COLMAP on simulated points: rotation is exact up to noise, the path has the right shape."""
    estimator, clip, hands, scene = camera_of(mapper)
    camera = estimator.estimate(clip, hands)
    assert camera.method == "colmap"
    assert camera.valid.mean() > 0.95
    ok = camera.valid
    off = Rotation.from_matrix(camera.pose[ok, :3, :3].transpose(0, 2, 1) @ scene.pose[ok, :3, :3]).magnitude()
    assert np.degrees(off).max() < 0.3
    path, true = camera.pose[ok, :3, 3], scene.pose[ok, :3, 3]
    scale = (path * true).sum() / (true * true).sum()
    assert np.linalg.norm(path / scale - true, axis=1).max() < 0.004
    # touching at the 90th percentile of surroundings 0.6 to 1.6 m deep: a rough scale, of the right size
    assert 0.6 < scale < 1.7


def test_the_same_points_give_the_same_poses(camera_of, mapper):
    poses = []
    for _ in range(2):
        estimator, clip, hands, _ = camera_of(mapper)
        poses.append(estimator.estimate(clip, hands).pose)
    fresh = KillableWorker(MAPPER, {"threads": 1}, timeout_s=60)
    estimator, clip, hands, _ = camera_of(fresh)
    poses.append(estimator.estimate(clip, hands).pose)
    fresh.close()
    assert np.array_equal(poses[0], poses[1])
    assert np.array_equal(poses[0], poses[2])


def test_the_world_is_the_first_placed_camera_and_unplaced_frames_are_nan(camera_of):
    estimator, clip, hands, scene = camera_of(None)
    valid = np.arange(FRAMES) >= 7
    estimator._map = Answers(answer_of(scene, valid=valid))
    camera = estimator.estimate(clip, hands)
    assert np.array_equal(camera.valid, valid)
    assert np.isnan(camera.pose[:7]).all()
    assert np.allclose(camera.pose[7], np.eye(4))
    expected = np.linalg.inv(scene.pose[7]) @ scene.pose
    scale = camera.figures["scale_spread"]
    assert np.isfinite(scale)
    turn = camera.pose[7:, :3, :3].transpose(0, 2, 1) @ expected[7:, :3, :3]
    assert np.abs(turn - np.eye(3)).max() < 1e-9


@pytest.mark.parametrize(
    "change",
    [
        {"valid": np.zeros(FRAMES, bool)},
        {"keyframe_ratio": 0.4},
        {"reprojection_px": 2.6},
        {"reprojection_px": float("nan")},
        {"points": np.zeros((6, 3)) + 1.0, "point_track": np.arange(6), "reprojection_px": 0.08},
    ],
)
def test_a_map_that_is_not_good_enough_is_no_camera(camera_of, change):
    estimator, clip, hands, scene = camera_of(None)
    estimator._map = Answers(answer_of(scene, **change))
    camera = estimator.estimate(clip, hands)
    assert camera.method == "none"
    assert np.array_equal(camera.pose, np.tile(np.eye(4), (FRAMES, 1, 1)))
    assert "reprojection_px" in camera.figures


def test_a_map_without_hands_has_no_scale_and_is_no_camera(camera_of):
    estimator, clip, hands, scene = camera_of(None)
    hands.right.valid[:] = False
    estimator._map = Answers(answer_of(scene))
    assert estimator.estimate(clip, hands).method == "none"


def test_a_head_faster_than_heads_are_is_a_broken_map(camera_of):
    estimator, clip, hands, scene = camera_of(None, max_speed_m_s=0.05)
    estimator._map = Answers(answer_of(scene))
    assert estimator.estimate(clip, hands).method == "none"


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.CRASHED])
def test_a_mapper_that_hangs_or_dies_is_asked_once_and_gives_none(camera_of, reason):
    gone = Answers(Reject(reason, "its process was ended", level="clip"))
    estimator, clip, hands, _ = camera_of(gone)
    camera = estimator.estimate(clip, hands)
    assert camera.method == "none"
    assert camera.figures["map_failed"] == 1.0
    assert len(gone.requests) == 1


def test_a_mapper_process_that_is_killed_gives_none(camera_of):
    dying = KillableWorker("os:abort", {}, timeout_s=20)
    estimator, clip, hands, _ = camera_of(dying)
    camera = estimator.estimate(clip, hands)
    estimator.close()
    assert camera.method == "none"
    assert camera.figures["map_failed"] == 1.0


def test_where_the_whole_cannot_be_mapped_the_better_half_is(camera_of):
    estimator, clip, hands, scene = camera_of(None)
    half = np.arange(FRAMES) < 50
    estimator._map = Answers(
        WorkerError("no"), answer_of(scene, valid=half), answer_of(scene, valid=np.arange(FRAMES) > 80)
    )
    camera = estimator.estimate(clip, hands)
    assert camera.method == "colmap"
    assert np.array_equal(camera.valid, half)
    spans = [(min(r["keyframes"]), max(r["keyframes"])) for r in estimator._map.requests]
    assert spans[0] == (0, FRAMES - 1)
    assert spans[1][0] == 0
    assert spans[2][1] == FRAMES - 1
    assert spans[1][1] + 1 == spans[2][0]


def test_without_intrinsics_nothing_is_known(camera_of):
    estimator, clip, hands, _ = camera_of(Answers(AssertionError("asked")))
    clip.intrinsics = None
    assert estimator.estimate(clip, hands).method == "none"


def test_the_setting_names_the_estimator(lens, hands_at):
    clip = ClipRef("clip.mp4", np.arange(5) / 30, lens.width, lens.height, intrinsics=lens)
    hands = hands_at(np.tile(np.eye(4), (5, 1, 1)), np.tile([0, 0, 0.5], (5, 1)))
    for name in ("none", "static"):
        estimator = build_camera_estimator(CameraSettings(estimator=name))
        assert estimator.estimate(clip, hands).method == name
        estimator.close()


@pytest.mark.slow
def test_the_camera_of_the_shipped_clip_is_found_twice_alike():
    """Hands from the truth, so that the bounds are those of following, mapping and scale alone."""
    path = Path(__file__).parents[3] / "benchmarks" / "camera_accuracy.py"
    spec = importlib.util.spec_from_file_location("camera_accuracy", path)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    from unihand_data.demo.truth import SHIPPED_VIDEO, load_truth
    from unihand_data.values.camera import Intrinsics
    from unihand_data.video.probe import probe

    truth, info = load_truth(), probe(str(SHIPPED_VIDEO))
    lens = Intrinsics(*map(float, truth.intrinsics), int(truth.size[0]), int(truth.size[1]))
    clip = ClipRef(str(SHIPPED_VIDEO), info.pts, info.width, info.height, intrinsics=lens)
    poses = []
    for _ in range(2):
        estimator = AutoCamera(CameraSettings())
        camera = estimator.estimate(clip, bench.true_hands(truth))
        estimator.close()
        poses.append(camera.pose)
    assert np.array_equal(*poses)
    assert camera.method == "colmap"
    errors = bench.camera_errors(truth, camera)
    assert errors["placed_ratio"] > 0.95
    assert errors["position_mm"] < 6
    assert errors["position_max_mm"] < 15
    assert errors["rotation_deg"] < 0.3
    assert 0.85 < errors["scale"] < 1.15
    assert errors["up_deg"] < 4
