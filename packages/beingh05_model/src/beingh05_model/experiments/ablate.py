"""A study: data, pre-training once for each seed, arms, table. Killed, the same command goes on where it was.

OUTPUT/data                            shards and recipes (ablation_data.py)
OUTPUT/pretraining/START-KIND/seed-S   what the arms of a seed start from, also those of another study
OUTPUT/STUDY/seed-S/ARM                an arm (one_arm.py)
OUTPUT/STUDY/results.json, .txt, .md   the table, after every arm
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from beingh05_model.evaluation import metaworld as mw
from beingh05_model.experiments import one_arm, plan
from beingh05_model.experiments.ablation_data import Data, Sources
from beingh05_model.experiments.ablation_report import Report
from beingh05_model.experiments.arms import Arms, ArmSettings, Choice, Places
from beingh05_model.network.config import MotionTokenConfig
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.training.checkpoint import write_text
from beingh05_model.training.engine import GROUP
from unihand_data.config import SettingsError
from unihand_data.record.tasks import SENTENCES

#: what a plan says of places that are not made yet
UNKNOWN = "(made by the run)"


class Study:
    """See the module.

    Args:
        carry_out: runs one arm's directory; a process of its own where not given.
        workers: arms at a time.
    """

    def __init__(
        self,
        choice: Choice,
        places: Places,
        output: Path,
        carry_out: Callable[[Path], None] | None = None,
        workers: int = 1,
    ) -> None:
        self.choice, self.workers = choice, workers
        self.output = output.absolute()
        made = Arms(choice, places, self.output)
        self.before, self.arms = made.pretraining(), made.arms()
        self._processes = Processes()
        self._carry_out = carry_out or self._processes.run

    def run(self) -> Report:
        """Everything that is not there yet; then the table.

        Raises:
            SettingsError: an arm with other settings lies in the output, or a run failed.
        """
        for folder, arm in {**self.before, **self.arms}.items():
            one_arm.lay_out(folder, arm)
        self._all(self.before)
        self._all(self.arms)
        return self.report()

    def _all(self, arms: Mapping[Path, ArmSettings]) -> None:
        waiting = [folder for folder in arms if not one_arm.done(folder)]
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for number, _ in enumerate(pool.map(self._carry_out, waiting), 1):
                    print(f"== {number} of {len(waiting)}: {waiting[number - 1]}", flush=True)
                    self.report()
            except BaseException:  # an interrupt too: no arm outlives the study
                pool.shutdown(wait=False, cancel_futures=True)
                self._processes.stop()
                raise

    def report(self) -> Report:
        """The table of what is complete, written beside the arms."""
        results = [one_arm.read(folder) for folder in self.arms if one_arm.done(folder)]
        report = Report(self.choice, results, len(self.arms))
        if results:
            place = next(iter(self.arms)).parents[1]
            write_text(place / "results.json", json.dumps(report.as_dict(), indent=1) + "\n")
            write_text(place / "results.md", report.markdown() + "\n")
            write_text(place / "results.txt", report.text() + "\n")
        return report


class Processes:
    """Arms in processes of their own, each at one thread."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, folder: Path) -> None:
        """Carry an arm out.

        Raises:
            SettingsError: it did not end well.
        """
        words = [sys.executable, "-m", "beingh05_model.experiments.one_arm", str(folder)]
        # an arm is a world of its own, also where this process belongs to one
        own = {name: value for name, value in os.environ.items() if name not in GROUP}
        with (folder / "log.txt").open("a") as log:
            process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env={**own, "OMP_NUM_THREADS": "1"})
            self._running.add(process)
            code = process.wait()
        self._running.discard(process)
        if code:
            raise SettingsError(f"{folder / 'log.txt'}: the run ended with {code}; its last lines say why")

    def stop(self) -> None:
        """End those that run; the same command goes on from their last checkpoints."""
        for process in list(self._running):
            process.terminate()


def planned(choice: Choice, output: Path, workers: int) -> str:
    """The arms and what they cost, before any data is made."""
    made = _unmade(choice, output)
    before, arms = made.pretraining(), made.arms()
    speed = plan.measure(next(iter(arms.values())).train, tk.small(SENTENCES.values(), 1024))
    return plan.text(before, arms, speed, workers)


def _unmade(choice: Choice, output: Path) -> Arms:
    """The arms, before any data is made."""
    places = Places(
        tokenizer=UNKNOWN, text=UNKNOWN, human=UNKNOWN, joint=UNKNOWN, motion_tokenizer=UNKNOWN,
        robot=dict.fromkeys([*choice.tasks, "+".join(choice.tasks)], UNKNOWN),
        motion_sizes=MotionTokenConfig(codebook=512, tokens=64),
    )  # fmt: skip
    return Arms(choice, places, output.absolute())


def prepared(choice: Choice, sources: Sources, output: Path) -> Places:
    """The study's data.

    Raises:
        SettingsError: no arm is as asked for, or something that is given does not hold what is needed.
    """
    _unmade(choice, output).arms()  # refused here, before data is made for nothing
    return Data(sources, choice, output.absolute() / "data").places()


def tasks(given: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """``--tasks``, checked.

    Raises:
        SettingsError: no such task, or one stands there twice.
    """
    return {} if given is None else {"tasks": mw.check_tasks(given)}
