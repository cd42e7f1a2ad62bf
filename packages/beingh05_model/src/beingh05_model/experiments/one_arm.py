"""One arm: train it, judge it, leave ``result.json``. Killed, it goes on; complete, it is not run again.

    python -m beingh05_model.experiments.one_arm DIRECTORY...

DIRECTORY/settings.yaml    the arm (:class:`beingh05_model.experiments.arms.ArmSettings`)
DIRECTORY/run              its training; states to resume from go when the result is there
DIRECTORY/result.json
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from beingh05_model.evaluation import checkpoints, mwds, open_loop
from beingh05_model.evaluation import metaworld as mw
from beingh05_model.evaluation.rollout import Outcome
from beingh05_model.experiments.arms import ArmSettings, ClosedLoop, final
from beingh05_model.network.count import count, on_meta
from beingh05_model.training.checkpoint import write_text
from beingh05_model.training.engine import process_group
from beingh05_model.training.loop import train
from beingh05_model.training.optimiser import frozen
from beingh05_model.training.run import prepare
from beingh05_model.training.settings import TrainSettings
from unihand_data.config import SettingsError, load_settings

SETTINGS, RESULT = "settings.yaml", "result.json"


def lay_out(folder: Path, arm: ArmSettings) -> None:
    """Write the arm into its directory.

    Raises:
        SettingsError: another arm lies there.
    """
    path = folder / SETTINGS
    if path.is_file():
        if load_settings(ArmSettings, path) != arm:
            raise SettingsError(f"{path}: another arm was begun here with other settings; choose another --output")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, arm.text())


def done(folder: Path) -> bool:
    return (folder / RESULT).is_file()


def read(folder: Path) -> dict[str, Any]:
    """The result of an arm."""
    found: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return found


def carry_out(folder: Path) -> None:
    """Whatever of the arm is not there yet. Needs a process group."""
    if done(folder):
        return
    arm = load_settings(ArmSettings, folder / SETTINGS)
    result: dict[str, Any] = {"labels": arm.labels, "seed": arm.seed, "steps": arm.train.steps}
    begun = time.monotonic()
    result["parameters"] = _train(arm.train)
    trained = time.monotonic()
    result["training"] = told(Path(arm.train.output) / "log.jsonl")
    if arm.closed_loop is not None:
        outcomes = roll_out(arm.closed_loop, final(arm.train))
        result["outcomes"] = [asdict(o) for o in outcomes]
    if arm.human is not None:
        result |= judge(arm, final(arm.train))
    result["minutes"] = {"training": (trained - begun) / 60, "evaluation": (time.monotonic() - trained) / 60}
    write_text(folder / RESULT, json.dumps(result) + "\n")
    shutil.rmtree(Path(arm.train.output) / "state", ignore_errors=True)


def _train(settings: TrainSettings) -> dict[str, int]:
    """Train to the end; how many parameters there are, how many a sample passes, how many learnt."""
    found = count(settings.model)
    still = sum(p.numel() for name, p in on_meta(settings.model).named_parameters() if frozen(name, settings))
    latest = Path(settings.output) / "latest"
    newest = latest.read_text().strip() if latest.is_file() else None
    if newest != f"step-{settings.steps:07d}":
        made = prepare(settings)
        train(settings, made.model, made.source, made.tokenizer, made.about, resume=newest is not None)
    return {"total": found.total, "active": found.active, "learning": found.total - still}


def told(log: Path) -> dict[str, Any]:
    """The last line of a run's log, with the use of each expert as a mean over the lines of the last half."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    used = [line["experts"] for line in lines[len(lines) // 2 :] if "experts" in line]
    experts = {
        name: {
            layer: np.mean([use[name][layer] for use in used if name in use], axis=0).tolist()
            for layer in next(use[name] for use in used if name in use)
        }
        for name in sorted({name for use in used for name in use})
    }
    return {**lines[-1], "experts": experts}


def roll_out(asked: ClosedLoop, checkpoint: Path) -> list[Outcome]:
    """Closed loop at the seeds that every arm gets."""
    trials = [
        replace(trial, max_steps=asked.max_steps)
        for name in asked.tasks
        for trial in mw.episodes([name.partition("@")[0]], "widened", asked.rollouts)
    ]
    return mw.policy(trials, str(checkpoint), asked.size, False, asked.execute)


def judge(arm: ArmSettings, checkpoint: Path) -> dict[str, Any]:
    """MWDS and open-loop errors on human rows that were not trained on."""
    assert arm.human is not None
    loaded = checkpoints.load(checkpoint)
    asked = open_loop.OpenLoopSettings(
        rows=arm.human.rows, draws=arm.human.draws, mean_episodes=arm.human.mean_episodes, seed=arm.human.seed
    )
    return {
        "mwds": mwds.mwds(loaded.policy, loaded.chunk, loaded.views, arm.human),
        "open_loop": open_loop.open_loop(loaded.policy, loaded.chunk, loaded.views, asked),
    }


def main(arguments: list[str]) -> int:
    with process_group():
        for folder in arguments:
            carry_out(Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
