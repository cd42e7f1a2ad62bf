"""From the results of arms to a table: means over seeds, and what stands behind them.

Two intervals, which answer different questions: the *seed interval* is Student's t over the seeds' means (would
another training come out alike?), the *rollout interval* is Wilson's over all rollouts of all seeds together (were
there enough rollouts to know these very models?), and where recordings are judged the *episode interval* stands in its
place (were there enough recordings?). Rollouts of one model are no trainings of their own, so only the first says
something about a method. It is cut at what a value can be (success 0 to 1) and is not there for what is not trained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import stats

from beingh05_model.evaluation.intervals import Interval
from beingh05_model.evaluation.rollout import Outcome, rate

Result = dict[str, Any]
AVERAGE = "Avg."
MWDS = "MWDS"


#: what values can be
Bounds = tuple[float, float]
SUCCESS: Bounds = (0.0, 1.0)
COSINE: Bounds = (-1.0, 1.0)
ERROR: Bounds = (0.0, float("inf"))


def over_seeds(values: Sequence[float], level: float = 0.95, bounds: Bounds = (-np.inf, np.inf)) -> Interval:
    """Mean of seeds with Student's t interval, cut at ``bounds``. A single seed has none, and neither have seeds that
    are all alike, whose spread of zero is a matter of few rollouts."""
    n, mean = len(values), float(np.mean(values))
    if n < 2 or min(values) == max(values):
        return Interval(mean, None, None, n, level)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Interval(mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]), n, level)


def over_models(found: Sequence[Interval]) -> Interval:
    """The mean of models that were judged on the same episodes; its ends are the means of theirs.

    The models' mean spreads over episodes no more than the models do in the mean (standard deviations obey the triangle
    inequality), so this is rather too wide than too narrow. No interval where one has none.
    """
    low = [one.low for one in found if one.low is not None]
    high = [one.high for one in found if one.high is not None]
    value, n, level = float(np.mean([one.value for one in found])), min(one.n for one in found), found[0].level
    if not len(low) == len(high) == len(found):
        return Interval(value, None, None, n, level)
    return Interval(value, float(np.mean(low)), float(np.mean(high)), n, level)


@dataclass(frozen=True)
class Cell:
    """A column of a row.

    Attributes:
        seeds: Value by seed.
        rollouts: All of them together, where there were rollouts.
        episodes: By episode, where recordings were judged.
        bounds: What a value can be.
        trained: Another seed is another training. Baselines have none, so their values are the same for all.
    """

    seeds: dict[int, float]
    rollouts: Interval | None = None
    episodes: Interval | None = None
    bounds: Bounds = (-np.inf, np.inf)
    trained: bool = True

    @property
    def mean(self) -> Interval:
        values = list(self.seeds.values())
        if self.trained:
            return over_seeds(values, bounds=self.bounds)
        return Interval(float(np.mean(values)), None, None, len(values))

    def as_dict(self) -> dict[str, Any]:
        return {
            "seeds": {str(seed): value for seed, value in self.seeds.items()},
            "mean": self.mean.as_dict(),
            "rollouts": None if self.rollouts is None else self.rollouts.as_dict(),
            "episodes": None if self.episodes is None else self.episodes.as_dict(),
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
            bounds=SUCCESS,
        )
        for task in tasks
    }
    whole = {seed: float(np.mean(list(found.values()))) for seed, found in rates.items() if len(found) == len(tasks)}
    if whole:
        out[AVERAGE] = Cell(whole, rate([o for seed in whole for o in by_seed[seed]]), bounds=SUCCESS)
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
                widest = cell.bounds[1] - cell.bounds[0]
                out[labels][name] = Cell(pairs, bounds=(-widest, widest))
    return out


def motion(results: Iterable[Result], row: Sequence[str]) -> Rows:
    """MWDS by split, and open-loop wrist errors, with what needs no policy beside them in rows of their own."""
    found: dict[tuple[str, ...], dict[str, dict[int, Interval]]] = defaultdict(lambda: defaultdict(dict))
    arms = set()
    for result in results:
        labels, seed = tuple(result["labels"][name] for name in row), int(result["seed"])
        arms.add(labels)
        for split, of in result["mwds"]["splits"].items():
            for contender, value in of["mwds"].items():
                found[_contender(labels, contender)][f"{MWDS} {split}"][seed] = _interval(value)
        for of in result["open_loop"]["embodiments"].values():
            for group, entry in of["groups"].items():
                if "eef_position" in group or "eef_rotation" in group:
                    for contender, value in entry["contenders"].items():
                        if value["mean"] is not None:
                            name = f"{group} {entry['unit']}"
                            found[_contender(labels, contender)][name][seed] = _interval(value["mean"])
    return {
        labels: {name: _judged(name, seeds, labels in arms) for name, seeds in columns.items()}
        for labels, columns in found.items()
    }


def _interval(plain: Mapping[str, Any]) -> Interval:
    return Interval(**{field.name: plain[field.name] for field in fields(Interval)})


def _judged(name: str, seeds: Mapping[int, Interval], trained: bool) -> Cell:
    """What was found by seed, each with its interval by episode."""
    ordered = dict(sorted(seeds.items()))
    return Cell(
        {seed: found.value for seed, found in ordered.items()},
        episodes=over_models(list(ordered.values())),
        bounds=COSINE if name.startswith(MWDS) else ERROR,
        trained=trained,
    )


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
