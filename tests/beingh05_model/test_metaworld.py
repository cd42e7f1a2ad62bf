"""Meta-World in closed loop: the simulator of the recorder, seen and moved through the unified space."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beingh05_model import cli
from beingh05_model.evaluation import metaworld as mw
from beingh05_model.evaluation.rollout import Rollout
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.training import checkpoint
from unihand_data.config import SettingsError
from unihand_data.record.expert import Scene
from unihand_data.record.settings import RecordSettings
from unihand_data.record.tasks import SENTENCES
from unihand_data.space import load_embodiment, to_dense

TASK, NAME, SIZE = "handle-press", "handle-press@widened", 32  # the shortest of the tasks


@pytest.fixture(scope="module")
def attempt(renderer):
    """An expert's attempt with its pictures."""
    settings = RecordSettings(tasks=[TASK], size=SIZE, noise=0)
    seen = []
    with Scene.opened(TASK, settings) as scene:
        found = scene.attempt("widened", mw.FIRST_SEED, lambda name, picture: seen.append((name, picture.copy())))
    return found, seen


class Replay:
    """A policy that knows the expert's commands by heart."""

    def __init__(self, labels):
        robot = load_embodiment(mw.EMBODIMENT)
        self.steps, _ = to_dense(*robot.to_unified(labels, "action")[:3])
        self.at = 0

    def act(self, observations):
        found = self.steps[self.at : self.at + 8]
        self.at += 8
        return np.concatenate([found, np.repeat(found[-1:], 8 - len(found), 0)])[None].repeat(len(observations), 0)


def test_the_experts_commands_through_the_unified_space_solve_the_task_in_as_many_steps(attempt):
    found, _ = attempt
    replay = Replay(found.executed)
    trial = mw.episodes([TASK], "widened", 1)
    (outcome,) = Rollout(replay, execute=8).run(trial, lambda name: mw.MetaWorld(name, SIZE))
    assert outcome.success
    assert outcome.steps == int(np.argmax(found.success)) + 1


def test_a_policy_sees_the_recorded_pictures_upright_and_no_more_than_hand_and_gripper(attempt):
    found, seen = attempt
    world = mw.MetaWorld(NAME, SIZE)
    try:
        world.reset(mw.FIRST_SEED, 0)
        observed = world.observe()
    finally:
        world.close()
    assert list(observed.pictures) == ["third_1", "wrist_right"]
    first = dict(seen[:2])
    assert np.array_equal(observed.pictures["third_1"], first["corner2"][::-1, ::-1])
    assert np.array_equal(observed.pictures["wrist_right"], first["gripperPOV"])
    assert int(observed.known.sum()) == 4
    assert np.allclose(observed.state[observed.known], found.state[0])


def test_expert_and_playback_are_judged_at_the_seeds_that_a_policy_gets(attempt):
    found, _ = attempt
    trial = mw.episodes([TASK], "widened", 1)
    assert mw.expert(trial)[0].success
    (played,) = mw.play(trial, {NAME: found.executed}, SIZE)
    assert played.success
    (still,) = mw.play([trial[0].__class__(NAME, trial[0].seed, 5, 0)], {NAME: np.zeros((1, 4))}, SIZE)
    assert not still.success
    assert still.steps == 5


def test_mean_trajectories_average_the_demonstrations_that_still_go_on(tmp_path):
    lengths = (2, 3)
    (tmp_path / "meta").mkdir()
    (tmp_path / "data/chunk-000").mkdir(parents=True)
    lines = [{"episode_index": i, "task_id": TASK, "range": "widened"} for i in range(2)]
    (tmp_path / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for number, length in enumerate(lengths):
        rows = [[float(number + t)] * 4 for t in range(length)]
        pq.write_table(pa.table({"action": rows}), tmp_path / f"data/chunk-000/episode_{number:06d}.parquet")
    found = mw.Demonstrations.read(tmp_path)
    assert found.mean_trajectory(NAME)[:, 0].tolist() == [0.5, 1.5, 3.0]
    assert found.mean_command(NAME)[0, 0] == pytest.approx(7 / 5)
    for mean in (found.mean_command, found.mean_trajectory):
        with pytest.raises(
            SettingsError, match=r"no demonstrations of drawer-open@stock \(there are handle-press@widened"
        ):
            mean("drawer-open@stock")


def recorded(folder, names, size):
    """What the recorder says of a recording, without its episodes."""
    (folder / "meta").mkdir(parents=True)
    video = {"dtype": "video", "shape": [size, size, 3]}
    (folder / mw.INFO).write_text(json.dumps({"features": {"action": {"dtype": "float32"}, "pictures": video}}))
    lines = [json.dumps(dict(zip(("task_id", "range"), name.split("@"), strict=True))) for name in names]
    (folder / mw.EPISODES).write_text("\n".join(lines) + "\n")
    return folder


def test_a_recording_of_other_pictures_or_fewer_tasks_is_refused(tmp_path):
    recording = recorded(tmp_path / "recording", [NAME], SIZE)
    mw.check_recording(recording, [NAME], SIZE)
    for names, size, said in (
        ([NAME], 112, "pictures of 32 pixels, 112 are wanted; record with --size 112"),
        ([NAME, "drawer-open@stock"], SIZE, "no demonstrations of drawer-open@stock"),
    ):
        with pytest.raises(SettingsError, match=said):
            mw.check_recording(recording, names, size)
    with pytest.raises(SettingsError, match=r"info\.json: not found"):
        mw.check_recording(tmp_path, [NAME], SIZE)


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint that never learned anything."""
    words = tokenizer.small([SENTENCES[TASK]])
    config = tiny(vocab=len(words), image_size=56)
    small = config.backbone.model_copy(update={"layers": 1})
    flow = config.flow.model_copy(update={"chunk": 8, "euler_steps": 1})
    config = config.model_copy(update={"backbone": small, "flow": flow})
    folder = tmp_path_factory.mktemp("checkpoint")
    about = {"step": 3, "recipe": "of the recipe", "settings": {}}
    checkpoint.save(folder, config, dict(BeingH(config).state_dict()), words, about)
    return folder


def test_the_report_says_which_checkpoint_at_which_size(saved, tmp_path, renderer):
    words = ["--checkpoint", str(saved), "--tasks", TASK, "--rollouts", "1", "--output", str(tmp_path / "report.json")]
    assert cli.main(["eval", "metaworld", *words, "--blind", "--device", "cpu", "--dtype", "bfloat16"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    about = {"path": str(saved), "kind": "own", "step": 3, "recipe": "of the recipe", "blind": True}
    assert report["checkpoint"] == about
    assert [report["runs_on"][k] for k in ("device", "dtype", "denoiser")] == ["cpu", "bfloat16", "plain"]
    assert report["size"] == 56
    assert report["expert"]["pooled"]["value"] == 1


def test_what_cannot_be_evaluated_is_refused_before_any_rollout(saved, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mw, "spread", None)  # a rollout would be a TypeError
    other = str(recorded(tmp_path / "other", ["drawer-open@widened"], SIZE))
    same = str(recorded(tmp_path / "same", [NAME], SIZE))
    for words, said in (
        (["--tasks", "fold"], "--tasks: no 'fold'; there are "),
        (["--tasks", TASK, "--rollouts", "0"], "--rollouts 0: at least 1"),
        (["--tasks", TASK, "--recording", other], f"no demonstrations of {NAME}"),
        (["--tasks", TASK, "--recording", same, "--size", "224"], "pictures of 32 pixels, 224 are wanted"),
        (["--tasks", TASK, "--recording", str(tmp_path)], "info.json: not found"),
    ):
        assert cli.main(["eval", "metaworld", "--checkpoint", str(saved), *words]) == 2
        assert said in capsys.readouterr().err
