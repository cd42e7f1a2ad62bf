"""Recorded experts: one small recording that is killed and resumed, and what an attempt's numbers promise."""

import json
import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from unihand_data.record.expert import NOISE_SHAPE, Scene, _policy_name
from unihand_data.record.gl import NoHeadlessGL, choose_backend
from unihand_data.record.metaworld import _alone, _check_folder, main
from unihand_data.record.settings import RecordSettings
from unihand_data.record.tasks import DEFAULT_TASKS, SENTENCES
from unihand_data.sources.robot.readers.lerobot import LeRobotReader
from unihand_data.sources.robot.spec import load_spec
from unihand_data.space import load_embodiment

pytestmark = pytest.mark.timeout(600)  # starts and waits for whole jobs

TASK = "handle-press"  # the shortest of the tasks
ARGUMENTS = ["--tasks", TASK, "--episodes", "2", "--size", "32"]


def command(output, *more):
    return [sys.executable, "-m", "unihand_data.record.metaworld", "--output", str(output), *ARGUMENTS, *more]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Both ranges, two episodes each; killed after the first episode and started again."""
    before = os.environ.get("MUJOCO_GL")
    try:
        choose_backend()
    except NoHeadlessGL as error:
        pytest.skip(str(error))
    output = tmp_path_factory.mktemp("metaworld") / "set"
    first = subprocess.Popen(command(output), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    staged = output / ".recording" / f"{TASK}.stock" / "seed_000000"
    while first.poll() is None and not staged.is_dir():
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert staged.is_dir()
    assert not (output / "meta").exists(), "nothing may look complete before it is"
    kept = (staged / "corner2.mp4").stat().st_mtime_ns
    resumed = subprocess.run(command(output), capture_output=True, text=True, timeout=600)
    assert resumed.returncode == 0, resumed.stderr
    video = output / "videos/chunk-000/observation.images.corner2/episode_000000.mp4"
    assert video.stat().st_mtime_ns == kept, "a finished episode is not recorded again"
    yield output
    if before is None:
        os.environ.pop("MUJOCO_GL", None)


@pytest.fixture(scope="module")
def scene():
    with Scene.opened(TASK, RecordSettings()) as scene:
        yield scene


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_killed_and_resumed_recording_holds_what_the_seeds_say(recording, scene):
    assert not (recording / ".recording").exists()
    episodes = lines(recording / "meta/episodes.jsonl")
    assert [(e["range"], e["task_id"], e["success"]) for e in episodes] == [
        ("stock", TASK, True), ("stock", TASK, True), ("widened", TASK, True), ("widened", TASK, True)
    ]  # fmt: skip
    for e in episodes:
        table = pq.read_table(recording / f"data/chunk-000/episode_{e['episode_index']:06d}.parquet")
        attempt = scene.attempt(e["range"], e["seed"])
        assert e["noise_sigma"] == attempt.sigma
        for column, expected in (
            ("observation.state", attempt.state),
            ("action", attempt.label),
            ("action.executed", attempt.executed),
        ):
            np.testing.assert_array_equal(np.stack(table[column].to_numpy()), expected)
        assert table["next.success"].to_pylist() == attempt.success.tolist()


def test_every_step_has_a_picture_of_each_camera_at_its_time(recording):
    info = json.loads((recording / "meta/info.json").read_text())
    assert (info["codebase_version"], info["robot_type"], info["fps"]) == ("v2.1", "sawyer_metaworld", 80)
    first = 0
    for e in lines(recording / "meta/episodes.jsonl"):
        place = {"episode_chunk": 0, "episode_index": e["episode_index"]}
        table = pq.read_table(recording / info["data_path"].format(**place))
        assert table.num_rows == e["length"]
        assert table["index"].to_pylist() == list(range(first, first + e["length"]))
        first += e["length"]
        for key in ("observation.images.corner2", "observation.images.gripperPOV"):
            with av.open(str(recording / info["video_path"].format(video_key=key, **place))) as video:
                frames = list(video.decode(video=0))
            np.testing.assert_allclose([f.time for f in frames], table["timestamp"].to_numpy(), atol=1e-5)
            pictures = np.array([f.to_ndarray(format="rgb24") for f in (frames[0], frames[-1])], float)
            assert pictures.shape[1:] == (32, 32, 3)
            assert pictures.std() > 10, "a scene, not a plain picture"
            assert np.abs(pictures[1] - pictures[0]).mean() > 1, "something moves"
    assert first == info["total_frames"]


def test_names_are_those_of_the_embodiment(recording):
    features = json.loads((recording / "meta/info.json").read_text())["features"]
    robot = load_embodiment("metaworld")
    assert tuple(features["observation.state"]["names"]) == robot.columns("state")
    assert tuple(features["action"]["names"]) == robot.columns("action")
    assert robot.control_rate_hz == 80


def test_the_robot_job_reads_the_folder_as_its_data_set_file_says(recording):
    files = [p.relative_to(recording).as_posix() for p in recording.rglob("*") if p.is_file()]
    (found,) = LeRobotReader.find(str(recording), files)
    assert found.problems == ()
    assert found.robot_type == "sawyer_metaworld"
    assert found.episodes == 4
    spec = load_spec("metaworld_experts")
    reader = LeRobotReader(str(recording), found, spec)
    episodes = [reader.open(item) for item in reader.items()]
    assert [(e.seed, e.task_id, e.success, e.losses) for e in episodes] == 2 * [
        (0, TASK, True, []),
        (1, TASK, True, []),
    ]
    assert episodes[0].texts[0].text == SENTENCES[TASK]
    # one unit of command is 0.01 m, and -1 opens the gripper
    unified = spec.layout_of_rows.to_unified(
        {t.block: t.read(episodes[0].columns, "here") for t in spec.takes("action")}, "action"
    )
    np.testing.assert_allclose(unified.values[:, :3], 0.01 * episodes[0].columns["action"][:, :3])
    np.testing.assert_allclose(unified.values[:, 3], (1 - episodes[0].columns["action"][:, 3]) / 2, atol=1e-7)


def test_a_complete_recording_is_left_alone_and_another_one_is_refused(recording, capsys):
    before = (recording / "meta/info.json").stat().st_mtime_ns
    assert main(recording, tasks=[TASK], episodes=2, size=32) == 0
    assert (recording / "meta/info.json").stat().st_mtime_ns == before
    assert main(recording, tasks=[TASK], episodes=3, size=32) == 2
    assert "other settings" in capsys.readouterr().err


def test_what_cannot_be_recorded_is_refused_in_one_sentence(tmp_path, capsys):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    assert main(tmp_path, tasks=[TASK]) == 2
    assert "is not empty and holds no recording" in capsys.readouterr().err
    assert main(tmp_path / "new", tasks=["fly-to-the-moon"]) == 2
    assert "no such tasks: fly-to-the-moon" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]


def test_two_runs_never_record_into_one_folder(tmp_path, capsys):
    settings = RecordSettings(tasks=[TASK], ranges=["stock"], episodes=1)
    assert not _check_folder(tmp_path / "set", settings)
    with _alone(tmp_path / "set"):
        assert main(tmp_path / "set", tasks=[TASK], ranges=["stock"], episodes=1) == 2
    assert "another run is recording" in capsys.readouterr().err


def test_the_label_is_the_clean_command_and_the_executed_one_carries_the_noise(scene):
    noises, levels = [], []
    for seed in range(6):
        a = scene.attempt("stock", seed)
        assert np.abs(a.label).max() <= 1
        assert np.abs(a.executed).max() <= 1
        assert 0 <= a.sigma <= 0.3
        inside = np.abs(a.executed) < 1
        noises.append(np.where(inside, a.executed - a.label, np.nan) / (a.sigma * NOISE_SHAPE))
        levels.append(a.sigma)
    assert len(set(levels)) == 6
    spread = np.nanstd(np.concatenate(noises)[:, :3])  # clipped steps are left out, so a little below 1
    assert 0.6 < spread < 1.1
    with Scene.opened(TASK, RecordSettings(noise=0.0)) as quiet:
        a = quiet.attempt("stock", 0)
    np.testing.assert_array_equal(a.executed, a.label)


def test_a_seed_gives_the_same_episode_whatever_was_simulated_before(scene):
    expected = scene.attempt("widened", 3)
    for ranges, seed in (("stock", 0), ("widened", 1)):
        assert not np.array_equal(scene.attempt(ranges, seed).state[:20], expected.state[:20])
    with Scene.opened(TASK, RecordSettings()) as fresh:
        again = fresh.attempt("widened", 3)
    for name in ("state", "label", "executed", "success"):
        np.testing.assert_array_equal(getattr(again, name), getattr(expected, name))


def test_an_attempt_ends_ten_steps_after_its_first_success_or_at_the_limit(scene):
    a = scene.attempt("stock", 0)
    assert a.succeeded
    assert len(a.success) - 1 - int(np.argmax(a.success)) == 10
    with Scene.opened(TASK, RecordSettings(max_steps=5)) as short:
        b = short.attempt("stock", 0)
    assert not b.succeeded
    assert len(b.state) == 5


def test_the_widened_range_moves_the_hand_and_the_stock_one_does_not(scene):
    starts = {r: np.array([scene.attempt(r, s).state[0, :3] for s in range(6)]) for r in ("stock", "widened")}
    assert np.ptp(starts["stock"], axis=0).max() < 0.01  # the hand is still settling
    assert np.ptp(starts["widened"], axis=0).max() > 0.05
    assert (np.abs(starts["widened"] - starts["stock"].mean(0)) < [0.11, 0.11, 0.06]).all()


def test_every_task_of_meta_world_has_a_sentence_and_an_expert():
    from metaworld import policies
    from metaworld.env_dict import ENV_CLS_MAP

    assert {f"{task}-v3" for task in SENTENCES} == set(ENV_CLS_MAP)
    for task in SENTENCES:
        assert hasattr(policies, _policy_name(ENV_CLS_MAP[f"{task}-v3"].__name__, task, policies))
    assert len(DEFAULT_TASKS) == 8
    assert set(DEFAULT_TASKS) <= set(SENTENCES)


def test_a_machine_without_headless_graphics_is_told_so():
    with pytest.raises(NoHeadlessGL, match=r"cannot render without a screen here \(nothing: .*libosmesa6"):
        choose_backend("nothing")
