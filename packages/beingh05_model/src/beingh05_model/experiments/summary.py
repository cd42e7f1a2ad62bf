"""From the results of arms to a table: means over seeds, and what stands behind them.

Two intervals, which answer different questions: the *seed interval* is Student's t over the seeds' means (would
another training come out alike?), the *rollout interval* is Wilson's over all rollouts of all seeds together (were
there enough rollouts to know these very models?). Rollouts of one model are no trainings of their own, so only the
first says something about a method.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from beingh05_model.evaluation.intervals import Interval
from beingh05_model.evaluation.rollout import Outcome, rate

Result = dict[str, Any]
AVERAGE = "Avg."


def over_seeds(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of seeds with Student's t interval; a single seed has none."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Interval(mean, None, None, n, level)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n, level)


@dataclass(frozen=True)
class Cell:
    """A column of a row. ``seeds``: value by seed. ``rollouts``: all of them together, where there were rollouts."""

    seeds: dict[int, float]
    rollouts: Interval | None = None

    @property
    def mean(self) -> Interval:
        return over_seeds(list(self.seeds.values()))

    def as_dict(self) -> dict[str, Any]:
        return {
            "seeds": {str(seed): value for seed, value in self.seeds.items()},
            "mean": self.mean.as_dict(),
            "rollouts": None if self.rollouts is None else self.rollouts.as_dict(),
        }


#: labels of a row to columns
Rows = dict[tuple[str, ...], dict[str, Cell]]


def outcomes(result: Result) -> list[Outcome]:
    return [Outcome(**one) for one in result["outcomes"]]


def successes(results: Iterable[Result], row: Sequence[str]) -> Rows:
    """Success of each task and the mean over tasks, by the labels that ``row`` names.

    Results of one row and seed (a model for each task) come together. A seed that lacks a task of its row has no mean
    over tasks.
    """
    found: dict[tuple[str, ...], dict[int, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        found[tuple(result["labels"][name] for name in row)][int(result["seed"])] += outcomes(result)
    return {labels: _columns(by_seed) for labels, by_seed in found.items()}


def _columns(by_seed: dict[int, list[Outcome]]) -> dict[str, Cell]:
    tasks = list(dict.fromkeys(o.task for of in by_seed.values() for o in of))
    rates = {
        seed: {task: rate(own).value for task in tasks if (own := [o for o in of if o.task == task])}
        for seed, of in sorted(by_seed.items())
    }
    every = [o for of in by_seed.values() for o in of]
    out = {
        task.partition("@")[0]: Cell(
            {seed: found[task] for seed, found in rates.items() if task in found},
            rate([o for o in every if o.task == task]),
        )
        for task in tasks
    }
    whole = {seed: float(np.mean(list(found.values()))) for seed, found in rates.items() if len(found) == len(tasks)}
    if whole:
        out[AVERAGE] = Cell(whole, rate([o for seed in whole for o in by_seed[seed]]))
    return out


def gains(rows: Rows, better: Callable[[tuple[str, ...]], tuple[str, ...] | None]) -> Rows:
    """Differences seed by seed; ``better`` names the row that a row is subtracted from, None where there is none.

    Both started from the same seed and are judged on the same places, so the difference is paired."""
    out: Rows = {}
    for labels, columns in rows.items():
        other = better(labels)
        if other is None or other not in rows:
            continue
        out[labels] = {}
        for name, cell in columns.items():
            pairs = {
                seed: rows[other][name].seeds[seed] - value
                for seed, value in cell.seeds.items()
                if name in rows[other] and seed in rows[other][name].seeds
            }
            if pairs:
                out[labels][name] = Cell(pairs)
    return out


def motion(results: Iterable[Result], row: Sequence[str]) -> Rows:
    """MWDS by split, and open-loop wrist errors, with what needs no policy beside them in rows of their own."""
    found: dict[tuple[str, ...], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        labels, seed = tuple(result["labels"][name] for name in row), int(result["seed"])
        for split, of in result["mwds"]["splits"].items():
            for contender, value in of["mwds"].items():
                found[_contender(labels, contender)][f"MWDS {split}"][seed] = value["value"]
        for of in result["open_loop"]["embodiments"].values():
            for group, entry in of["groups"].items():
                if "eef_position" in group or "eef_rotation" in group:
                    for contender, value in entry["contenders"].items():
                        if value["mean"] is not None:
                            name = f"{group} {entry['unit']}"
                            found[_contender(labels, contender)][name][seed] = value["mean"]["value"]
    return {
        labels: {name: Cell(dict(sorted(seeds.items()))) for name, seeds in columns.items()}
        for labels, columns in found.items()
    }


def _contender(labels: tuple[str, ...], contender: str) -> tuple[str, ...]:
    """Baselines are the same for every arm, so they have one row."""
    return labels if contender == "policy" else (contender, *[""] * (len(labels) - 1))


def experts(results: Iterable[Result]) -> dict[str, dict[str, list[float]]]:
    """Embodiment to layer to share of each routed expert, mean over seeds."""
    used = [result["training"]["experts"] for result in results if result["training"].get("experts")]
    names = sorted({name for use in used for name in use})
    return {
        name: {
            layer: np.mean([use[name][layer] for use in used if name in use], axis=0).tolist()
            for layer in next(use[name] for use in used if name in use)
        }
        for name in names
    }


def apart(usage: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Layer to half the sum of absolute differences between the shares of two embodiments, the largest of all pairs:
    0 they use the same experts alike, 1 they share none."""
    layers = {layer for of in usage.values() for layer in of}
    return {
        layer: max(
            (
                0.5 * float(np.abs(np.subtract(a[layer], b[layer])).sum())
                for a in usage.values()
                for b in usage.values()
            ),
            default=0.0,
        )
        for layer in sorted(layers)
    }
