"""``make train-demo``: do data, model and training fit together? A tiny model, trained here, must act by looking.

    python -m beingh05_model.experiments.train_demo --output train_demo_out

1. demonstrations of eight Meta-World tasks (recorded if they are not there) and the sample clip of the human pipeline
   become shards and one recipe;
2. before any training the tasks that count are named: expert at least 90 %, played mean trajectory at most 70 %, on
   the widened range at the seeds of the evaluation;
3. the tiny model is trained by DeepSpeed, killed once and resumed; so is one that is given no pictures;
4. both act in closed loop beside a mean command and the mean trajectory, 50 episodes per task and range.

Exit codes: 0 the looking policy is ahead by 30 points with disjoint 95 % intervals, 1 it is not, 2 refused. What is
complete in the output is not made again. What was chosen stands in its choice.json; another choice is refused there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from beingh05_model.evaluation import metaworld as mw
from beingh05_model.evaluation.intervals import Interval, paired_difference
from beingh05_model.evaluation.rollout import Episode, Outcome, rate
from beingh05_model.experiments import shards
from beingh05_model.experiments.killed_run import beingh05, finished, kill_after
from unihand_data import yaml_text
from unihand_data.config import SettingsError
from unihand_data.record.settings import Ranges
from unihand_data.record.tasks import DEFAULT_TASKS

SIZE = 112
SETTINGS = Path(__file__).with_name("train_demo.yaml")
RANGES: tuple[Ranges, ...] = ("widened", "stock")
#: a task counts if its expert succeeds this often and blind playback of the mean trajectory no more often than that
EXPERT_AT_LEAST, TRAJECTORY_AT_MOST, TASKS_AT_LEAST = 0.9, 0.7, 4
AHEAD_BY = 0.30
#: options that name files, and what a study leaves in its output
PLACES = ("recording", "human")
MADE = ("demonstrations", "metaworld", "human", "recipe", "expert.json", "tasks.json", "looking", "blind")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("train_demo_out"))
    parser.add_argument("--recording", type=Path, help="demonstrations of the recorder, 112 pixels; made if absent")
    parser.add_argument("--pipelines", type=Path, default=Path("pipelines"))
    parser.add_argument(
        "--human", type=Path, help="a human video; default: the sample clip that the data package ships"
    )
    parser.add_argument("--steps", type=int, help="training steps instead of those of train_demo.yaml")
    parser.add_argument("--rollouts", type=int, default=50, help="per task and range")
    parser.add_argument("--demonstrations", type=int, default=50, help="recorded per task and range")
    parser.add_argument("--workers", type=int, default=2, help="processes that record and roll out")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a training run does not outlive the study
    try:
        return Study(chosen).run()
    except SettingsError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2


class Study:
    """The four parts, each leaving a file behind it."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.output: Path = chosen.output.absolute()
        self.recording: Path = (chosen.recording or self.output / "demonstrations").absolute()
        self.output.mkdir(parents=True, exist_ok=True)
        self.minutes: dict[str, float] = {}

    def choose(self) -> None:
        """Write down what is chosen, before anything is made of it.

        Raises:
            SettingsError: the output was made with another choice.
        """
        chosen, path = self.chosen, self.output / "choice.json"
        steps = chosen.steps if chosen.steps is not None else yaml_text.loads(SETTINGS.read_text())["steps"]
        given = {name: value and str(value.absolute()) for name, value in vars(chosen).items() if name in PLACES}
        choice = {"steps": steps, "rollouts": chosen.rollouts, "demonstrations": chosen.demonstrations, **given}
        if not path.is_file():
            if made := [name for name in MADE if (self.output / name).exists()]:
                raise SettingsError(f"{self.output}: holds {made[0]} but no choice.json; give another --output")
            _write(path, choice)
        found = json.loads(path.read_text())
        differing = {name: found.get(name) for name, value in choice.items() if found.get(name) != value}
        if differing:
            other = [f"no --{name}" if value is None else f"--{name} {value}" for name, value in differing.items()]
            raise SettingsError(
                f"{self.output}: was made with {', '.join(other)}; repeat that or give another --output"
            )

    def run(self) -> int:
        self.choose()
        self.recorded()
        recipe = self._timed("data", self.data)
        demonstrations = mw.Demonstrations.read(self.recording)
        played = self._timed("baselines", self.baselines, demonstrations)
        counted = self.named(played)
        for name, blind in (("looking", False), ("blind", True)):
            self._timed(f"train {name}", self.train, name, recipe, blind)
            played[name] = self._timed(f"roll out {name}", self.roll_out, name, blind)
        return self.report(played, counted)

    def _timed(self, name: str, part: Callable[..., Any], *arguments: Any) -> Any:
        print(f"== {name}", flush=True)
        begun = time.monotonic()
        found = part(*arguments)
        self.minutes[name] = (time.monotonic() - begun) / 60
        return found

    # ---- data ----------------------------------------------------------------------------------------------------

    def recorded(self) -> None:
        """Demonstrations of every task on both ranges.

        Raises:
            SettingsError: those that are there are of other tasks or another size.
        """
        chosen = self.chosen
        if not (self.recording / "meta" / "info.json").is_file():
            record = (self.recording, SIZE, chosen.demonstrations, chosen.workers)
            self._timed("demonstrations", shards.record, *record)
        mw.check_recording(self.recording, [f"{task}@{ranges}" for ranges in RANGES for task in DEFAULT_TASKS], SIZE)

    def data(self) -> Path:
        """Shards of both worlds and their recipe."""
        chosen, out = self.chosen, self.output
        robot = shards.ingest(chosen.pipelines, "robot_manipulation", self.recording, out / "metaworld")
        options: tuple[str, ...] = ()
        video = chosen.human
        if video is None:
            from importlib.resources import files

            video = Path(str(files("unihand_data") / "demo" / "assets" / "ego_pick.mp4"))
            options = ("--dataset", "rendered_clips")
        human = shards.ingest(chosen.pipelines, "human_video", video, out / "human", *options)
        changes = ("caps.simulated=null", "robot_frame_share=null", "floors.domains={human: 0.05}")
        return shards.recipe(chosen.pipelines, [robot, human], out / "recipe", *changes)

    # ---- what does not look --------------------------------------------------------------------------------------

    def baselines(self, demonstrations: mw.Demonstrations) -> dict[str, list[Outcome]]:
        """Expert, mean trajectory and mean command, on both ranges."""
        trials = self.trials()
        names = list(dict.fromkeys(t.task for t in trials))
        trajectories = {n: demonstrations.mean_trajectory(n) for n in names}
        commands = {n: demonstrations.mean_command(n) for n in names}
        return {
            "expert": self._kept("expert", mw.expert, trials),
            "mean trajectory": self._kept("mean trajectory", mw.play, trials, trajectories),
            "mean command": self._kept("mean command", mw.play, trials, commands),
        }

    def trials(self) -> list[Episode]:
        return [t for ranges in RANGES for t in mw.episodes(DEFAULT_TASKS, ranges, self.chosen.rollouts)]

    def _kept(self, name: str, run: Any, trials: Sequence[Episode], *arguments: Any) -> list[Outcome]:
        """Outcomes, from their file where it is there."""
        path = self.output / f"{name.replace(' ', '_')}.json"
        if not path.is_file():
            found = mw.spread(run, trials, self.chosen.workers, *arguments)
            _write(path, [asdict(o) for o in found])
        return [Outcome(**o) for o in json.loads(path.read_text())]

    def named(self, played: dict[str, list[Outcome]]) -> list[str]:
        """The tasks that count, decided and written down before a model exists.

        Raises:
            SettingsError: too few fulfil the conditions.
        """
        path = self.output / "tasks.json"
        if not path.is_file():
            found = counting(played["expert"], played["mean trajectory"])
            if len(found) < TASKS_AT_LEAST:
                raise SettingsError(f"only {len(found)} tasks need looking at; {TASKS_AT_LEAST} are wanted: {found}")
            _write(path, found)
        found = json.loads(path.read_text())
        print(f"tasks that count (expert >= 90 %, mean trajectory <= 70 %, widened): {', '.join(found)}", flush=True)
        return list(found)

    # ---- training ------------------------------------------------------------------------------------------------

    def settings(self, name: str, recipe: Path, blind: bool) -> Path:
        """The settings file of a run, in the output."""
        data = yaml_text.loads(SETTINGS.read_text())
        if blind:
            data["data"] = {name: value for name, value in data["data"].items() if name not in ("views", "images")}
        data["data"] |= {"recipe": str(recipe), "blind": blind}
        data["output"] = str(self.output / name)
        if self.chosen.steps is not None:
            data["steps"] = self.chosen.steps
            data["save_every"] = max(1, min(data["save_every"], self.chosen.steps // 3))
        path = self.output / f"{name}.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    def train(self, name: str, recipe: Path, blind: bool) -> None:
        """Train; the looking run is killed once after its first checkpoint and goes on from there."""
        path = self.settings(name, recipe, blind)
        done = self.output / name / "done"
        if done.is_file():
            return
        latest, killed = self.output / name / "latest", self.output / name / "killed"
        if not blind and not killed.is_file():
            newest = kill_after(beingh05("resume" if latest.is_file() else "train", path), latest)
            print(f"killed with SIGKILL after the checkpoint {newest}; going on from it", flush=True)
            killed.touch()
        elif not latest.is_file():
            finished(beingh05("train", path))
        finished(beingh05("resume", path))  # a run that is at its end only says so
        done.touch()

    def roll_out(self, name: str, blind: bool) -> list[Outcome]:
        newest = (self.output / name / "latest").read_text().strip()
        checkpoint = str(self.output / name / f"{newest}-ema")
        return self._kept(name, mw.policy, self.trials(), checkpoint, SIZE, blind)

    # ---- report --------------------------------------------------------------------------------------------------

    def report(self, played: dict[str, list[Outcome]], counted: list[str]) -> int:
        ahead = verdict({name: of_range(found, "widened", counted) for name, found in played.items()})
        lines = [table(played, ranges, counted) for ranges in RANGES]
        pair = [of_range(played[name], "widened", counted) for name in ("looking", "blind")]
        lead = difference(*pair)
        lines.append(
            f"looking - blind, points, pooled over {len(counted)} widened tasks, paired over {lead.n} episodes at "
            f"equal seeds, 95 %: {lead.text(100)}"
        )
        lines += [f"learning curve, {name}: {curve(self.output / name / 'log.jsonl')}" for name in ("looking", "blind")]
        lines.append("minutes: " + ", ".join(f"{name} {m:.1f}" for name, m in self.minutes.items()))
        lines.append(
            f"{'PASSED' if ahead else 'NOT PASSED'}: looking against blind and against the mean command, pooled over "
            f"{len(counted)} widened tasks: at least {AHEAD_BY:.0%} ahead with disjoint 95 % intervals"
        )
        text = "\n\n".join(lines)
        (self.output / "report.txt").write_text(text + "\n")
        print(text, flush=True)
        return 0 if ahead else 1


def counting(expert: Sequence[Outcome], trajectory: Sequence[Outcome]) -> list[str]:
    """Tasks whose widened expert and mean trajectory fulfil the conditions, in the order of the defaults."""
    out = []
    for task in DEFAULT_TASKS:
        able, playable = (rate(of_range(found, "widened", [task])).value for found in (expert, trajectory))
        if able >= EXPERT_AT_LEAST and playable <= TRAJECTORY_AT_MOST:
            out.append(task)
    return out


def of_range(found: Sequence[Outcome], ranges: str, tasks: Sequence[str]) -> list[Outcome]:
    wanted = {f"{task}@{ranges}" for task in tasks}
    return [o for o in found if o.task in wanted]


def verdict(pooled: dict[str, list[Outcome]]) -> bool:
    """Whether the looking policy is ahead of the blind one and of the mean command by the margin, intervals apart."""
    looking = rate(pooled["looking"])
    return all(_ahead(looking, rate(pooled[name])) for name in ("blind", "mean command"))


def _ahead(looking: Interval, other: Interval) -> bool:
    assert looking.low is not None
    assert other.high is not None
    return looking.value - other.value >= AHEAD_BY - 1e-9 and looking.low > other.high


def difference(first: Sequence[Outcome], second: Sequence[Outcome]) -> Interval:
    """Success of the first minus that of the second, resampled over the episodes that both were given.

    Raises:
        SettingsError: they were given others.
    """
    one, other = ({(o.task, o.seed): float(o.success) for o in found} for found in (first, second))
    if one.keys() != other.keys():
        raise SettingsError("outcomes of other episodes cannot be paired; repeat the study in another --output")
    return paired_difference(list(one.values()), [other[key] for key in one], list(one))


def table(played: dict[str, list[Outcome]], ranges: str, counted: Sequence[str]) -> str:
    """Successes of episodes per task, and pooled over the tasks that count with Wilson's 95 % interval."""
    names = list(played)
    rows = [[f"{ranges} range", *names]]
    for task in DEFAULT_TASKS:
        cells = [rate(of_range(played[name], ranges, [task])) for name in names]
        mark = " *" if task in counted else ""
        rows.append([task + mark, *(f"{round(c.value * c.n)}/{c.n}" for c in cells)])
    pooled = [rate(of_range(played[name], ranges, counted)) for name in names]
    rows.append(["* pooled, %", *(c.text(100, 0) for c in pooled)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def curve(log: Path, points: int = 12) -> str:
    """Flow loss at some steps, means over what lies between; a step that was done again after the kill counts once."""
    flow = {one["step"]: one["flow"] for one in map(json.loads, log.read_text().splitlines())}
    steps = sorted(flow)
    cut = max(1, -(-len(steps) // points))
    parts = [steps[i : i + cut] for i in range(0, len(steps), cut)]
    return ", ".join(f"{part[-1]}: {sum(flow[s] for s in part) / len(part):.3f}" for part in parts)


def _write(path: Path, value: Any) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(value) + "\n")
    os.replace(part, path)


if __name__ == "__main__":
    sys.exit(main())
