"""``make train-demo``: what the study decides, in which order it works, and what it refuses."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from beingh05_model.evaluation import metaworld as mw
from beingh05_model.evaluation.rollout import Outcome, rate
from beingh05_model.experiments import killed_run, train_demo
from unihand_data import yaml_text
from unihand_data.config import SettingsError
from unihand_data.record.tasks import DEFAULT_TASKS


def outcomes(successes, of=50, ranges="widened"):
    """Outcomes of every default task, so many successes each."""
    return [Outcome(f"{t}@{ranges}", i, i, i < successes[t], 9, 1) for t in DEFAULT_TASKS for i in range(of)]


def every(successes):
    return dict.fromkeys(DEFAULT_TASKS, successes)


def test_tasks_count_only_where_the_expert_can_and_playing_by_heart_cannot():
    expert, trajectory = every(50), every(35)
    expert[DEFAULT_TASKS[0]] = 44
    trajectory[DEFAULT_TASKS[1]] = 36
    assert train_demo.counting(outcomes(expert), outcomes(trajectory)) == list(DEFAULT_TASKS[2:])


@pytest.mark.parametrize(
    ("looking", "blind", "command", "ahead"),
    [(40, 25, 0, True), (40, 26, 0, False), (40, 10, 26, False), (10, 0, 0, False), (50, 0, 0, True)],
)
def test_looking_must_be_thirty_points_ahead_of_both(looking, blind, command, ahead):
    played = {"looking": looking, "blind": blind, "mean command": command}
    found = {name: outcomes(every(n)) for name, n in played.items()}
    assert train_demo.verdict(found) is ahead
    assert rate(found["looking"]).value == looking / 50


def test_few_episodes_are_no_proof():
    found = {n: outcomes(every(s), of=1) for n, s in (("looking", 1), ("blind", 0), ("mean command", 0))}
    few = {n: o[:2] for n, o in found.items()}
    assert train_demo.verdict(found)
    assert not train_demo.verdict(few)


def test_a_difference_is_paired_by_task_and_seed():
    looking, blind = outcomes(every(3), of=4), outcomes(every(1), of=4)
    found = train_demo.difference(looking, blind[::-1])
    assert (found.value, found.n) == (0.5, 4 * len(DEFAULT_TASKS))
    assert 0.25 < found.low < 0.5 < found.high < 0.75
    with pytest.raises(SettingsError, match="cannot be paired"):
        train_demo.difference(looking, blind[1:])


def chosen(output, **changes):
    given = {"steps": None, "rollouts": 50, "demonstrations": 50, "human": None, "recording": None, "workers": 2}
    return argparse.Namespace(output=output, **{**given, **changes})


def test_an_output_that_was_made_with_another_choice_is_refused(tmp_path):
    train_demo.Study(chosen(tmp_path)).choose()
    train_demo.Study(chosen(tmp_path, steps=1500, workers=1)).choose()  # the same, said otherwise
    for changes in (
        {"steps": 20},
        {"rollouts": 2},
        {"demonstrations": 1},
        {"human": tmp_path},
        {"recording": tmp_path},
    ):
        with pytest.raises(SettingsError, match=f"was made with (no )?--{next(iter(changes))}.* another --output"):
            train_demo.Study(chosen(tmp_path, **changes)).choose()
    (tmp_path / "choice.json").unlink()
    (tmp_path / "expert.json").write_text("[]")
    with pytest.raises(SettingsError, match=r"holds expert\.json but no choice\.json"):
        train_demo.Study(chosen(tmp_path)).choose()


def test_only_a_run_that_was_killed_is_said_to_be_killed(tmp_path):
    latest = tmp_path / "latest"
    latest.write_text("step-0000001\n")

    def run(words):
        return subprocess.Popen([sys.executable, "-c", words], start_new_session=True)

    assert killed_run.kill_after(run("import time; time.sleep(60)"), latest, beyond_s=0) == "step-0000001"
    ended = run("")
    ended.wait()
    with pytest.raises(SettingsError, match=r"ended by itself with 0 before it could be killed.* more --steps"):
        killed_run.kill_after(ended, latest, beyond_s=0)


def test_a_learning_curve_counts_steps_that_were_done_again_once(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(json.dumps({"step": s, "flow": f}) for s, f in [(1, 9.0), (2, 4.0), (2, 2.0), (3, 1.0)]))
    assert train_demo.curve(log, points=3) == "1: 9.000, 2: 2.000, 3: 1.000"


class Made:
    """Stands in for what takes long: simulators, pipelines and training processes. Remembers what was asked of it."""

    SUCCESSES: ClassVar = {"expert": 4, "mean_trajectory": 1, "mean_command": 0, "looking": 4, "blind": 1}

    def __init__(self, monkeypatch):
        self.asked = []
        monkeypatch.setattr(mw, "spread", self.spread)
        monkeypatch.setattr(mw, "check_recording", lambda *_: None)
        monkeypatch.setattr(mw.Demonstrations, "read", classmethod(lambda cls, folder: cls(folder, self.labels())))
        for name in ("record", "ingest", "recipe"):
            monkeypatch.setattr(train_demo.shards, name, getattr(self, name))
        for name in ("beingh05", "kill_after", "finished"):
            monkeypatch.setattr(train_demo, name, getattr(self, name))

    @staticmethod
    def labels():
        return {f"{t}@{r}": [np.zeros((3, 4), np.float32)] for t in DEFAULT_TASKS for r in ("widened", "stock")}

    def spread(self, run, trials, workers, *arguments):
        name = run.__name__
        if run is mw.play:
            name = "mean_command" if all(len(path) == 1 for path in arguments[0].values()) else "mean_trajectory"
        elif run is mw.policy:
            name = "blind" if arguments[2] else "looking"
        self.asked.append(name)
        return [Outcome(t.task, t.seed, t.trial, t.trial < self.SUCCESSES[name], 9, 1) for t in trials]

    def record(self, output, *_):
        self.asked.append("record")
        (output / "meta").mkdir(parents=True)
        (output / "meta" / "info.json").write_text("{}")

    def ingest(self, pipelines, script, source, output, *options):
        self.asked.append(script)
        return output

    def recipe(self, pipelines, inputs, output, *changes):
        self.asked.append("recipe")
        return output

    def beingh05(self, command, settings):
        output = Path(yaml_text.loads(settings.read_text())["output"])
        output.mkdir(exist_ok=True)
        (output / "latest").write_text("step-0000001\n")
        (output / "log.jsonl").write_text(json.dumps({"step": 1, "flow": 0.5}))
        return f"{command} {output.name}"

    def kill_after(self, process, latest):
        self.asked.append(f"{process}, killed")
        return latest.read_text().strip()

    def finished(self, process):
        self.asked.append(process)


ORDER = [
    "record", "robot_manipulation", "human_video", "recipe", "expert", "mean_trajectory", "mean_command",
    "train looking, killed", "resume looking", "looking", "train blind", "resume blind", "blind",
]  # fmt: skip


def test_the_study_names_its_tasks_kills_a_run_once_and_makes_nothing_twice(tmp_path, monkeypatch, capsys):
    made = Made(monkeypatch)
    options = chosen(tmp_path, rollouts=4, pipelines=tmp_path)
    assert train_demo.Study(options).run() == 0
    assert made.asked == ORDER
    assert json.loads((tmp_path / "tasks.json").read_text()) == list(DEFAULT_TASKS)
    looking, blind = (yaml_text.loads((tmp_path / f"{name}.yaml").read_text())["data"] for name in ("looking", "blind"))
    assert (looking["blind"], blind["blind"]) == (False, True)
    assert set(looking) - set(blind) == {"views", "images"}
    report = (tmp_path / "report.txt").read_text()
    assert report in capsys.readouterr().out
    assert "\nPASSED" in report
    made.asked.clear()
    assert train_demo.Study(options).run() == 0
    assert made.asked == ["robot_manipulation", "human_video", "recipe"]  # which find their own work done


def test_a_study_whose_policy_does_not_look_fails(tmp_path, monkeypatch, capsys):
    made = Made(monkeypatch)
    made.SUCCESSES = {**Made.SUCCESSES, "looking": 2}
    assert train_demo.Study(chosen(tmp_path, rollouts=4, pipelines=tmp_path)).run() == 1
    assert "NOT PASSED" in capsys.readouterr().out


def test_a_study_without_tasks_that_need_looking_is_refused_before_training(tmp_path, monkeypatch):
    made = Made(monkeypatch)
    made.SUCCESSES = {**Made.SUCCESSES, "mean_trajectory": 4}
    with pytest.raises(SettingsError, match="only 0 tasks need looking at"):
        train_demo.Study(chosen(tmp_path, rollouts=4, pipelines=tmp_path)).run()
    assert made.asked == ORDER[:7]
