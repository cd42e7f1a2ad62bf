"""The default estimator on pictures: the generated clip with its truth, and a real egocentric clip."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.hands.config import DetectSettings, HandsSettings
from unihand_data.hands.models import ModelsMissing, ensure_hand_models
from unihand_data.values.camera import Intrinsics
from unihand_data.values.clip import ClipRef
from unihand_data.video.clip_message import clip_from_message, clip_to_message


@pytest.fixture(scope="module")
def models():
    pytest.importorskip("mediapipe")
    try:
        return ensure_hand_models(fetch=False)
    except ModelsMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def estimator(models):
    from unihand_data.hands.mediapipe_estimator import MediaPipeEstimator

    made = []

    def make(**settings):
        made.append(MediaPipeEstimator(HandsSettings(**settings)))
        return made[-1]

    yield make
    for e in made:
        e.close()


def _clip(path, frames=None, intrinsics=None):
    from unihand_data.video.probe import probe

    info = probe(str(path))
    return ClipRef(str(path), info.pts[frames] if frames else info.pts, info.width, info.height, intrinsics=intrinsics)


@pytest.fixture(scope="module")
def truth():
    from unihand_data.demo import truth as t

    if not t.SHIPPED_VIDEO.is_file():
        pytest.skip("the generated clip is not there")
    return t.SHIPPED_VIDEO, t.load_truth()


def _errors(track, truth, side, rows, degrees_between):
    s = {"right": 0, "left": 1}[side]
    from scipy.spatial.transform import Rotation

    visible = truth.hand_visible[s][rows] & track.valid & ~track.interpolated
    true_rot = Rotation.from_matrix(truth.wrist_rot_cam[s][rows][visible]).as_rotvec()
    true_pos = truth.wrist_pos_cam[s][rows][visible]
    ray = true_pos / np.linalg.norm(true_pos, axis=1, keepdims=True)
    off = track.wrist_pos[visible] - true_pos
    along = (off * ray).sum(1)
    theta = degrees_between(track.theta[visible].reshape(-1, 15, 3), truth.theta[s][rows][visible].reshape(-1, 15, 3))
    return {
        "rate": visible.sum() / max(truth.hand_visible[s][rows].sum(), 1),
        "lateral": np.median(np.linalg.norm(off - along[:, None] * ray, axis=1)),
        "depth": np.median(np.abs(along)),
        "rot": np.median(degrees_between(track.wrist_rot[visible], true_rot)),
        "theta": np.median(theta),
        "px": np.median(np.linalg.norm(track.keypoints_px[visible] - truth.keypoints_px[s][rows][visible], axis=-1)),
    }


def test_both_hands_of_the_generated_clip_are_found_on_their_sides(estimator, truth, degrees_between):
    video, true = truth
    rows = slice(60, 96)  # both hands at work; the first frames show the left one edge-on
    fx, fy, cx, cy = map(float, true.intrinsics)
    clip = _clip(video, rows, Intrinsics(fx, fy, cx, cy, *map(int, true.size)))
    result = estimator().estimate(clip)
    for side, track in (("right", result.right), ("left", result.left)):
        if not true.hand_visible[{"right": 0, "left": 1}[side]][rows].any():
            continue
        e = _errors(track, true, side, rows, degrees_between)
        assert e["rate"] > 0.9, (side, e)
        assert e["px"] < 15, (side, e)
        assert e["lateral"] < 0.015, (side, e)
        assert e["depth"] < 0.10, (side, e)
        assert e["rot"] < 25, (side, e)
        assert e["theta"] < 20, (side, e)
        assert track.estimator.startswith("mediapipe-")
        assert track.hand_model == "generic_v1"
        assert np.isnan(track.wrist_pos[~track.valid]).all()
        assert track.figures["jitter_pos_m"] < track.figures["jitter_pos_raw_m"]
    assert result.figures["assumed_intrinsics"] == 0.0
    assert result.camera is None


@pytest.mark.slow
def test_hands_are_found_on_most_frames_of_a_real_clip(estimator, samples):
    """121 frames with strong head motion and blur; a person sees at least a part of a hand on all of them."""
    result = estimator().estimate(_clip(samples / "hawor_video" / "video_0.mp4"))
    seen = {s: t.valid & ~t.interpolated for s, t in (("left", result.left), ("right", result.right))}
    assert (seen["left"] | seen["right"]).mean() > 0.85
    assert (seen["left"] & seen["right"]).mean() > 0.55
    both = seen["left"] & seen["right"]
    left_of = result.left.keypoints_px[both, 0, 0] < result.right.keypoints_px[both, 0, 0]
    assert left_of.mean() > 0.98, "the hands never cross in this clip"
    assert result.figures["assumed_intrinsics"] == 1.0
    assert result.figures["det_mean"] > 0.5
    # the left hand carries a plate from the left edge of the table: it is never seen in the upper third
    assert (result.left.keypoints_px[seen["left"], 0, 1] > 360).all()


def test_a_clip_without_hands_gives_two_empty_tracks(estimator, tmp_path):
    path = _grey_video(tmp_path / "grey.mp4", 12)
    result = estimator().estimate(_clip(path))
    assert not result.left.valid.any()
    assert not result.right.valid.any()
    assert len(result.left) == 12
    assert result.figures["frames_with_hand_ratio"] == 0.0


def test_a_clip_longer_than_its_file_is_a_reject_of_the_clip(estimator, tmp_path):
    path = _grey_video(tmp_path / "short.mp4", 12)
    clip = _clip(path)
    clip.pts = np.concatenate([clip.pts, clip.pts[-1] + 1 + clip.pts])
    with pytest.raises(Reject) as caught:
        estimator().estimate(clip)
    assert caught.value.level == "clip"
    assert caught.value.reason in (Reason.TRUNCATED, Reason.CORRUPT, Reason.CONTRADICTION)


def test_a_worker_that_does_not_answer_is_a_reject(estimator, tmp_path):
    path = _grey_video(tmp_path / "grey.mp4", 12)
    with pytest.raises(Reject) as caught:
        estimator(timeout_s=0.05).estimate(_clip(path))
    assert caught.value.reason is Reason.TIMEOUT


def _grey_video(path, frames):
    import av

    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(frames):
            picture = rng.integers(90, 130, (240, 320, 3)).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


def test_a_clip_crosses_into_the_worker_unchanged():
    k = Intrinsics(500.0, 510.0, 320.0, 240.0, 640, 480, "kannala_brandt", (0.1, 0.0, 0.0, 0.0), "given")
    clip = ClipRef("a!b.mp4", np.array([0.0, 0.04]), 640, 480, 90, k, Intrinsics(400.0, 400.0, 300.0, 200.0, 600, 400))
    clip.extra["origin"] = 7
    again = clip_from_message(clip_to_message(clip))
    assert again.path == clip.path
    assert again.intrinsics == clip.intrinsics
    assert again.undistort_to == clip.undistort_to
    assert again.rotation == 90
    assert again.extra == {"origin": 7}
    np.testing.assert_array_equal(again.pts, clip.pts)


def test_an_assumed_camera_says_so():
    from unihand_data.hands.mediapipe_estimator import view_camera

    camera = view_camera(ClipRef("v.mp4", np.zeros(1), 1920, 1080), 90.0)
    assert camera.source == "assumed"
    assert camera.fx == pytest.approx(960.0)  # tan(45 deg) = 1
    upright = view_camera(ClipRef("v.mp4", np.zeros(1), 1080, 1920), 90.0)
    assert upright.fx == pytest.approx(960.0)


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="min_frames"):
        DetectSettings(min_frames=3)
