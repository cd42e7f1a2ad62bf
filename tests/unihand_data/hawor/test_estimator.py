"""The estimator against a stand-in checkout: what it asks for, what it makes of the answer, and every way to fail."""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.config import SettingsError, content_hash
from unihand_data.errors import Reason, Reject
from unihand_data.hands.hawor_config import HaworSettings
from unihand_data.values.camera import Intrinsics

FRAMES = 40


@pytest.fixture
def ready(stub, motion):
    """The stand-in with files of the known motion for the first window."""
    motion.write(stub.prepared / "window0")
    return stub


def test_a_clip_comes_back_with_the_hands_and_camera_that_were_written(ready, motion, clip_of):
    estimator = ready.estimator()
    try:
        result = estimator.estimate(clip_of(FRAMES))
    finally:
        estimator.close()
    assert np.abs(result.right.wrist_pos - motion.wrist_pos[1]).max() < 1e-6
    assert np.abs(result.left.theta - motion.theta[0]).max() < 1e-6
    assert np.abs(result.camera.pose - motion.camera).max() < 1e-6
    assert result.camera.method == "hawor"
    assert result.right.estimator == estimator.name == "hawor-unknown"
    assert np.isfinite(result.right.keypoints_px).all()
    # errors 9, 0.25: the last counts; 572 columns in DROID's picture (see test_results)
    assert result.figures["dba_px"] == result.camera.figures["dba_px"] == pytest.approx(8 * 0.25 * 160 / 572)
    assert result.figures["scale_mad"] == pytest.approx(1.4826 * 0.1 / 2.0)
    assert result.figures["windows"] == 1


def test_hawor_is_asked_with_the_focal_length_the_threshold_and_the_weights(ready, clip_of):
    estimator = ready.estimator(detection_threshold=0.35, extra_args={"stride": 2})
    estimator.estimate(clip_of(FRAMES))
    estimator.close()
    asked = json.loads((ready.repo / "asked.json").read_text())
    assert asked["img_focal"] == 120.0
    assert asked["checkpoint"].endswith("weights/hawor/checkpoints/hawor.ckpt")
    assert asked["stride"] == 2
    assert (ready.repo / "threshold.txt").read_text() == "0.35"
    assert int((ready.repo / "buffer.txt").read_text()) >= FRAMES + 16  # room for every frame as a keyframe


def test_models_are_loaded_once_for_many_clips(ready, clip_of):
    estimator, clip = ready.estimator(), clip_of(FRAMES)
    for _ in range(2):
        estimator.estimate(clip)
    estimator.close()
    assert len((ready.repo / "loads.txt").read_text().split()) == 1
    fresh = ready.estimator(keep_models=False)
    for _ in range(2):
        fresh.estimate(clip)
    fresh.close()
    assert len((ready.repo / "loads.txt").read_text().split()) == 3


def test_the_same_clip_gives_the_same_numbers(ready, clip_of):
    estimator, clip = ready.estimator(), clip_of(FRAMES)
    a, b = (estimator.estimate(clip) for _ in range(2))
    estimator.close()
    assert np.array_equal(a.left.wrist_pos, b.left.wrist_pos)
    assert a.figures == b.figures


def test_an_error_that_is_only_printed_is_read_from_what_was_printed(ready, clip_of):
    ready.says(dba_only_printed=True, dba_errors=[3.0, 0.5])
    estimator = ready.estimator()
    figures = estimator.estimate(clip_of(FRAMES)).figures
    estimator.close()
    assert figures["dba_px"] == pytest.approx(8 * 0.5 * 160 / 572)


def test_a_camera_that_stands_still_skips_slam(stub, make, clip_of):
    still = make(FRAMES, moving=False)
    still.write(stub.prepared / "window0", scale=1.0)
    (stub.prepared / "window0" / "SLAM" / f"hawor_slam_w_scale_0_{FRAMES}.npz").unlink()
    stub.says(slam="raise")  # as the real one does on such a clip
    estimator = stub.estimator(static_px=0.0025)
    result = estimator.estimate(clip_of(FRAMES, moving=False))
    assert result.camera.method == "static"
    assert np.array_equal(result.camera.pose, np.tile(np.eye(4), (FRAMES, 1, 1)))
    assert np.abs(result.left.wrist_pos - still.wrist_pos[0]).max() < 1e-6
    assert result.figures["background_shift"] < 0.0025
    estimator.close()


def test_a_moving_camera_does_not_skip_slam(ready, clip_of):
    estimator = ready.estimator(static_px=0.0025)
    result = estimator.estimate(clip_of(FRAMES))
    estimator.close()
    assert result.camera.method == "hawor"
    assert result.figures["background_shift"] > 0.01


def test_a_long_clip_is_worked_on_in_windows_and_joined(stub, make, clip_of):
    """Three windows with worlds of their own (their first cameras) become one world again."""
    from unihand_data.hands.hawor_frames import windows

    whole, clip = make(130), clip_of(130)
    spans = windows(clip.pts, 2.0, 0.5)
    assert len(spans) == 3
    for k, (a, b) in enumerate(spans):
        whole.part(a, b).write(stub.prepared / f"window{k}")
    estimator = stub.estimator(max_window_s=2.0, overlap_s=0.5)
    result = estimator.estimate(clip)
    estimator.close()
    assert result.figures["windows"] == 3
    assert result.figures["stitch_m"] < 1e-6
    assert result.left.valid.all()
    assert np.abs(result.left.wrist_pos - whole.wrist_pos[0]).max() < 1e-5
    assert np.abs(result.camera.pose - whole.camera).max() < 1e-5
    assert len((stub.repo / "loads.txt").read_text().split()) == 1


def test_a_picture_off_centre_is_brought_to_the_camera_hawor_knows():
    from unihand_data.hands.hawor_frames import hawor_camera

    lens, warp = hawor_camera(Intrinsics(1000, 1000, 979.5, 539.5, 1920, 1080), 960)
    assert (warp.cx, warp.cy) == (959.5, 539.5)
    assert (lens.width, lens.height, lens.fx) == (960, 540, 500)
    lens, warp = hawor_camera(Intrinsics(1000, 1000, 959.5, 539.5, 1920, 1080), 1920)
    assert warp is None
    assert (lens.cx, lens.cy) == (959.5, 539.5)


@pytest.mark.parametrize(("fps", "expected"), [(30, 60), (60, 60), (25, 50), (29.97, 60), (120, 60)])
def test_hawor_gets_thirty_pictures_a_second_and_no_frame_twice(fps, expected):
    from unihand_data.hands.hawor_frames import chosen_frames

    pts = 3.0 + np.arange(int(2 * fps + 0.5)) / fps
    chosen = chosen_frames(pts)
    assert abs(len(chosen) - expected) <= 1
    assert (np.diff(chosen) > 0).all()
    grid = np.arange(len(chosen)) / 30
    if fps >= 30:
        assert np.abs(pts[chosen] - 3.0 - grid).max() <= 0.5 / fps + 1e-2


def test_windows_cover_the_clip_and_overlap():
    from unihand_data.hands.hawor_frames import windows

    times = np.arange(1000) / 30
    spans = windows(times, 10.0, 1.0)
    assert spans[0][0] == 0
    assert spans[-1][1] == 1000
    for (_, b), (a, _) in pairwise(spans):
        assert 25 <= b - a <= 35
    assert all(times[b - 1] - times[a] <= 10.0 + 1e-6 for a, b in spans)
    assert windows(times[:300], 10.0, 1.0) == [(0, 300)]


def test_a_clip_without_hands_is_no_error_and_needs_no_slam(stub, motion, clip_of):
    motion.write(stub.prepared / "window0", detected=np.zeros((2, FRAMES), bool))
    stub.says(slam="raise", infiller="raise")
    estimator = stub.estimator()
    result = estimator.estimate(clip_of(FRAMES))
    estimator.close()
    assert not result.left.valid.any()
    assert not result.right.valid.any()
    assert len(result.left) == FRAMES


# failures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        ({"detect": "exit"}, Reason.CRASHED, "exit code 3"),
        ({"hands": "system_exit"}, Reason.CRASHED, "exit code 4"),
        ({"slam": "kill"}, Reason.CRASHED, "SIGKILL"),
        ({"hands": "raise"}, Reason.CRASHED, "ValueError: no keyframes at behaviour.py"),
        ({"infiller": "raise"}, Reason.CRASHED, "ValueError"),
        ({"slam": "oom"}, Reason.CRASHED, "ran out of memory; lower max_side_px"),
        ({"hands": "oom_text_and_exit"}, Reason.CRASHED, "out of GPU memory"),
        ({"end": "drop:world_space_res.pth"}, Reason.MISSING_FILE, "world_space_res.pth"),
        ({"end": "drop:SLAM"}, Reason.MISSING_FILE, "hawor_slam_w_scale"),
        ({"end": "drop:cam_space"}, Reason.MISSING_FILE, "cam_space"),
        ({"end": f"drop:tracks_0_{FRAMES}"}, Reason.MISSING_FILE, "tracks_"),
        ({"end": "cut:world_space_res.pth"}, Reason.TRUNCATED, "world_space_res.pth"),
        ({"end": "cut:cam_space/0/0_39.json"}, Reason.TRUNCATED, "0_39.json"),
    ],
)
def test_every_failure_is_a_reject_of_the_clip_and_the_next_clip_works(ready, clip_of, options, reason, words):
    estimator, clip = ready.estimator(), clip_of(FRAMES)
    ready.says(**options)
    with pytest.raises(Reject) as caught:
        estimator.estimate(clip)
    assert caught.value.level == "clip"
    assert caught.value.reason == reason
    assert words in caught.value.message
    assert clip.path in caught.value.message
    ready.says()
    assert estimator.estimate(clip).right.valid.all()
    estimator.close()


def test_a_hang_is_ended_after_the_timeout(ready, clip_of):
    ready.says(slam="hang")
    estimator = ready.estimator(timeout_s=3.0)
    with pytest.raises(Reject, match="did not answer within 3 s") as caught:
        estimator.estimate(clip_of(FRAMES))
    assert caught.value.reason == Reason.TIMEOUT
    assert estimator._hawor._process is None
    estimator.close()


def test_numbers_that_are_none_are_a_reject(stub, motion, clip_of):
    motion.wrist_pos[1, 5] = np.nan
    motion.write(stub.prepared / "window0")
    estimator = stub.estimator()
    with pytest.raises(Reject) as caught:
        estimator.estimate(clip_of(FRAMES))
    assert caught.value.reason in (Reason.BAD_VALUE, Reason.UNREADABLE)
    assert caught.value.level == "clip"
    estimator.close()


def test_slam_that_fails_leaves_the_hands_without_a_camera(stub, motion, clip_of):
    detected = np.ones((2, FRAMES), bool)
    detected[0, 10:15] = False
    motion.write(stub.prepared / "window0", detected=detected)
    stub.says(slam="raise")
    estimator = stub.estimator()
    result = estimator.estimate(clip_of(FRAMES))
    estimator.close()
    assert result.camera is None
    assert result.figures["slam_failed"] == 1.0
    assert np.array_equal(result.left.valid, detected[0])
    assert np.abs(result.right.wrist_pos - motion.wrist_pos[1]).max() < 1e-9


def test_slam_that_fails_loses_the_clip_where_the_settings_say_so(ready, clip_of):
    ready.says(slam="raise")
    estimator = ready.estimator(on_slam_failure="reject")
    with pytest.raises(Reject, match="SLAM failed") as caught:
        estimator.estimate(clip_of(FRAMES))
    assert caught.value.reason == Reason.CAMERA_LOST
    estimator.close()


def test_an_environment_that_cannot_import_hawor_says_so(ready, clip_of):
    (ready.repo / "scripts" / "scripts_test_video" / "hawor_slam.py").write_text("import no_such_module_anywhere\n")
    estimator = ready.estimator()
    with pytest.raises(Reject, match=r"cannot be imported by hawor\.python .*no_such_module_anywhere") as caught:
        estimator.estimate(clip_of(FRAMES))
    assert caught.value.reason == Reason.CRASHED
    estimator.close()


def test_a_broken_video_is_the_decoders_reject(ready, clip_of):
    clip = clip_of(FRAMES)
    with open(clip.path, "r+b") as f:
        f.truncate(os.path.getsize(clip.path) // 2)
    estimator = ready.estimator()
    with pytest.raises(Reject) as caught:
        estimator.estimate(clip)
    assert caught.value.level == "clip"
    estimator.close()


def test_scratch_is_removed_or_kept_as_asked(ready, clip_of, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    estimator, clip = ready.estimator(work_dir=str(scratch)), clip_of(FRAMES)
    estimator.estimate(clip)
    assert not list(scratch.iterdir())
    estimator.close()
    keeping = ready.estimator(work_dir=str(scratch), keep_files=True)
    keeping.estimate(clip)
    keeping.close()
    (kept,) = scratch.iterdir()
    assert len(list((kept / "window0" / "extracted_images").glob("*.jpg"))) == FRAMES


def test_the_process_ends_with_its_parent(ready, tmp_path):
    """The parent is killed while a step hangs; nobody is left behind."""
    import signal
    import subprocess

    script = f"""
import sys
from unihand_data.hands.hawor_config import HaworSettings
from unihand_data.hands.hawor_run import HaworProcess
from pathlib import Path
process = HaworProcess(HaworSettings(repo={str(ready.repo)!r}, python=sys.executable))
process._start("x")
print(process._process.pid, flush=True)
process.hands(Path({str(tmp_path / "window0.mp4")!r}), 100.0, "x")
"""
    ready.says(detect="hang")
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(200):
        if _gone(child):
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the driver outlived its parent")


def _gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


# settings -----------------------------------------------------------------------------------------------------------


def test_a_missing_checkout_or_weight_is_named_before_any_clip(stub):
    from unihand_data.hands.hawor import HaworEstimator

    with pytest.raises(SettingsError, match=r"hawor\.repo: name the folder"):
        HaworEstimator(HaworSettings())
    (stub.repo / "weights" / "hawor" / "checkpoints" / "infiller.pt").unlink()
    with pytest.raises(SettingsError, match=r"infiller\.pt"):
        stub.estimator()
    with pytest.raises(SettingsError, match="no such program"):
        stub.estimator(python="/nowhere/python")


def test_paths_and_timeouts_do_not_change_content():
    a = HaworSettings()
    assert content_hash(a) == content_hash(HaworSettings(repo="/x", python="p", timeout_s=1, device="3"))
    assert content_hash(a) != content_hash(HaworSettings(detection_threshold=0.5))


def test_the_version_is_the_checkouts_commit(stub):
    import subprocess

    from unihand_data.hands.hawor_run import version_of

    env = {**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
           "GIT_COMMITTER_EMAIL": "a@b"}  # fmt: skip
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(stub.repo), *command], check=True, env=env)
    head = subprocess.run(
        ["git", "-C", str(stub.repo), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout
    assert version_of(stub.repo) == head[:7]


def test_the_driver_runs_on_an_older_python_and_without_our_package():
    import ast

    from unihand_data.hands.hawor_run import DRIVER

    tree = ast.parse(Path(DRIVER).read_text(), feature_version=(3, 8))
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    froms = {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names - {"numpy"} <= set(sys.stdlib_module_names)
    assert froms == {"scripts"}


def test_windows_of_another_world_turn_back_by_their_overlap():
    from unihand_data.hands.hawor_join import join_cameras
    from unihand_data.values.camera import CameraTrack

    rng = np.random.default_rng(0)
    pose = np.tile(np.eye(4), (60, 1, 1))
    pose[:, :3, :3] = Rotation.from_rotvec(np.cumsum(0.02 * rng.normal(size=(60, 3)), 0)).as_matrix()
    pose[:, :3, 3] = np.cumsum(0.01 * rng.normal(size=(60, 3)), 0)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = Rotation.from_rotvec([0.4, 1.0, -2.0]).as_matrix(), [3, 4, 5]
    parts = [CameraTrack(pose[:40], np.ones(40, bool)), CameraTrack(move @ pose[30:], np.ones(30, bool))]
    figures = {}
    joined = join_cameras(parts, [(0, 40), (30, 60)], 60, figures)
    assert np.abs(joined.pose - pose).max() < 1e-9
    assert figures["stitch_m"] < 1e-9
