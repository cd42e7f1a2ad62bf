"""Open loop: the policy's chunk against the recorded one, on held-out rows, beside what asks for no policy at all.

Figures are means over known cells; intervals resample episodes. Every contender is judged on the cells it can speak
about (``cells``), and the difference to the policy on the cells of both.

Legend: T steps, S 200 slots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from beingh05_model.evaluation.baselines import RecipeMean, Step, last_motion, zero_motion
from beingh05_model.evaluation.drawn import POLICY, DrawnSettings, cases_drawn, heading
from beingh05_model.evaluation.errors import Measure, StepErrors, measures
from beingh05_model.evaluation.held_out import Case, HeldOut
from beingh05_model.evaluation.intervals import Interval, by_episode
from beingh05_model.evaluation.rollout import Acts
from beingh05_model.sequence.chunks import ChunkSettings
from unihand_data.space import load_embodiment


class OpenLoopSettings(DrawnSettings):
    """The error of a start is the mean of its draws."""


@dataclass
class _Line:
    """What was measured of one group and one contender: a row per case."""

    measure: Measure
    episodes: list[str] = field(default_factory=list)
    errors: list[StepErrors] = field(default_factory=list)

    def add(self, episode: str, found: StepErrors) -> None:
        self.episodes.append(episode)
        self.errors.append(found)

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean error of each case, and its steps."""
        counts = np.array([e.on.sum() for e in self.errors])
        return np.array([e.error.sum() for e in self.errors]) / np.maximum(counts, 1), counts

    def by_step(self) -> list[float | None]:
        """[T] mean error at each step of the chunk; None where no case knows it."""
        error, on = (np.stack([getattr(e, part) for e in self.errors]) for part in ("error", "on"))
        counts = on.sum(0)
        return [float(total / n) if n else None for total, n in zip(error.sum(0), counts, strict=True)]


def open_loop(
    policy: Acts,
    chunk: ChunkSettings,
    views: int,
    settings: OpenLoopSettings,
    told: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """A report as plain data; see the module. Arguments are those of :func:`cases_drawn`."""
    rows = HeldOut(settings.rows)
    taken = settings.rows.model_copy(update={"embodiments": tuple(sorted(rows.episodes))})
    contenders: dict[str, Callable[[Case], Step]] = {
        "zero motion": zero_motion,
        "last motion": last_motion,
        "mean of the recipe": RecipeMean(taken, chunk, settings.mean_episodes),
    }
    lines: dict[str, dict[tuple[str, str], _Line]] = defaultdict(dict)
    starts: dict[str, int] = defaultdict(int)
    for case, predicted in cases_drawn(policy, rows, chunk, views, settings, told):
        _judge(lines[case.group], case, predicted, contenders)
        starts[case.group] += 1
    counts = rows.counts
    rows.close()
    return {
        **heading("open-loop", settings, rows, chunk),
        "embodiments": {
            name: {
                "episodes": counts[name],
                "starts": starts[name],
                "groups": _report(of, [POLICY, *contenders], settings.seed),
            }
            for name, of in sorted(lines.items())
        },
    }


@lru_cache(maxsize=64)
def _measures(name: str) -> list[Measure]:
    return measures(load_embodiment(name))


def _judge(
    lines: dict[tuple[str, str], _Line],
    case: Case,
    predicted: np.ndarray,
    contenders: dict[str, Callable[[Case], Step]],
) -> None:
    """Add one start to every line. ``predicted`` [draws, T, S]."""
    target = case.target
    steps = [(name, give(case)) for name, give in contenders.items()]
    for measure in _measures(case.observation.embodiment):

        def line(name: str, measure: Measure = measure) -> _Line:
            return lines.setdefault((measure.name, name), _Line(measure))

        own = [measure(p, target.values, target.mask) for p in predicted]
        mine = StepErrors(np.mean([e.error for e in own], axis=0), own[0].on)
        line(POLICY).add(case.episode_id, mine)
        for name, step in steps:
            found = measure(step.chunk(len(target.values)), target.values, target.mask & step.known)
            line(name).add(case.episode_id, found)
            if step.known[list(measure.slots)].all():
                both = mine.error
            else:  # a group that the baseline knows in part: the policy is judged on that part too
                both = np.mean([measure(p, target.values, target.mask & step.known).error for p in predicted], axis=0)
            line(f"policy - {name}").add(case.episode_id, StepErrors(both - found.error, found.on))


def _report(lines: dict[tuple[str, str], _Line], names: list[str], seed: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for (group, name), line in lines.items():
        values, counts = line.means()
        entry = out.setdefault(group, {"unit": line.measure.unit, "contenders": {}, "policy_minus": {}})
        found = by_episode(values, line.episodes, weights=counts, seed=seed) if counts.any() else None
        if name in names:
            entry["contenders"][name] = {
                "mean": found.as_dict() if found else None,
                "cells": int(counts.sum()),
                "by_step": line.by_step(),
            }
        else:
            entry["policy_minus"][name.removeprefix("policy - ")] = found.as_dict() if found else None
    return out


def table(report: dict[str, Any]) -> str:
    """The report for a terminal: per embodiment and group, each contender's mean error with its interval."""
    out = []
    for name, of in report["embodiments"].items():
        out.append(f"{name}: {of['starts']} starts of {of['episodes']} episodes; mean error [95 %], by episode")
        for group, entry in of["groups"].items():
            if not entry["contenders"][POLICY]["cells"]:
                out.append(f"  {group}: not known in any of these rows")
                continue
            out.append(f"  {group} ({entry['unit']})")
            for contender, found in entry["contenders"].items():
                text = "unknown" if found["mean"] is None else Interval(**found["mean"]).text(digits=3)
                known = [v for v in found["by_step"] if v is not None]
                ends = f"step 1 {known[0]:.3f}, last {known[-1]:.3f}" if known else ""
                minus = entry["policy_minus"].get(contender)
                against = f"; policy minus it {Interval(**minus).text(digits=3)}" if minus else ""
                out.append(f"    {contender:19s} {text:28s} {ends} ({found['cells']} steps){against}")
    return "\n".join(out)
