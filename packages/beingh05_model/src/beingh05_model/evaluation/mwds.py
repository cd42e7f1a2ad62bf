"""Mean Wrist Displacement Similarity (paper 7.3.2, Table 8): does the wrist go where a person's went?

MWDS = mean over samples of cos(dp_predicted, dp_recorded), dp the wrist's displacement from the initial to the final
state, in the world of the row. Actions are displacements per step, so dp is their sum. A sample is one hand of one
start frame. What the paper leaves open is a setting (:class:`MwdsSettings`) and named in the report.

Legend: T steps, S 200 slots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
from pydantic import Field

from beingh05_model.evaluation.baselines import RecipeMean, last_motion
from beingh05_model.evaluation.drawn import POLICY, DrawnSettings, cases_drawn, heading
from beingh05_model.evaluation.held_out import Case, HeldOut
from beingh05_model.evaluation.intervals import Interval, by_episode
from beingh05_model.evaluation.rollout import Acts
from beingh05_model.sequence.chunks import ChunkSettings
from unihand_data.errors import DatasetRefused
from unihand_data.space import GROUPS

#: slots of a wrist's displacement and of its fingers, by side
HANDS = {side: (GROUPS[f"{side}_eef_position"].slice, GROUPS[f"{side}_theta"].slice) for side in ("right", "left")}


class MwdsSettings(DrawnSettings):
    """Which rows, and what the paper leaves open.

    ``steps``: steps of the chunk that the displacement is summed over (null: all of it). The paper says "from the
    initial to the final state" and not how far apart these are.
    ``least_m``: hands that move less are left out and counted; the direction of a hand at rest is noise.
    ``combine``: ``each`` averages the similarities of a start's draws, ``mean`` takes that of their mean displacement.
    ``groups``: ``lab`` or ``wild`` by the name of a source (patterns with ``*``); others go by the rows' ``setting``.
    """

    steps: int | None = Field(default=None, ge=1)
    least_m: float = Field(default=0.02, gt=0)
    combine: Literal["each", "mean"] = "each"
    groups: dict[str, Literal["lab", "wild"]] = Field(default_factory=dict)


@dataclass
class _Split:
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    episodes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    hands: int = 0
    unknown: int = 0
    still: int = 0
    motionless: int = 0


class Grouping:
    """``lab`` or ``wild`` of a row of the episodes table; None for robots. Remembers which patterns were of use."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._patterns, self._used = patterns, set[str]()

    def __call__(self, row: Mapping[str, Any]) -> str | None:
        if row["domain"] != "human":
            return None
        for pattern, name in self._patterns.items():
            if fnmatchcase(str(row["source"]), pattern):
                self._used.add(pattern)
                return name
        return str(row["setting"])

    def check(self) -> None:
        """Raises ``DatasetRefused`` for a pattern that no row matched."""
        if unused := [p for p in self._patterns if p not in self._used]:
            raise DatasetRefused(f"groups: no human row of the recipe's directories has a source like {unused[0]!r}")


def similarity(predicted: np.ndarray, recorded: np.ndarray) -> float:
    """Cosine between displacements [3]; 0 where the prediction does not move at all."""
    length = float(np.linalg.norm(predicted) * np.linalg.norm(recorded))
    return float(predicted @ recorded) / length if length > 0 else 0.0


def mwds(
    policy: Acts,
    chunk: ChunkSettings,
    views: int,
    settings: MwdsSettings,
    told: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """A report as plain data: per split the policy's MWDS and that of going on as before and of the mean motion.

    Raises:
        DatasetRefused: no held-out human row, or a pattern of ``groups`` that no row matches.
        ValueError: ``steps`` is longer than the chunk.
    """
    steps = settings.steps or chunk.steps
    if steps > chunk.steps:
        raise ValueError(f"steps: {steps} is longer than the policy's chunk of {chunk.steps}")
    group = Grouping(settings.groups)
    rows = HeldOut(settings.rows, group, lambda rate_hz: steps * chunk.merge(rate_hz))
    mean = RecipeMean(settings.rows, chunk, settings.mean_episodes, group)
    group.check()
    splits: dict[str, _Split] = defaultdict(_Split)
    for case, chunks in cases_drawn(policy, rows, chunk, views, settings, told):
        _judge(splits[case.group], case, chunks, mean, steps, settings)
    counts = rows.counts
    rows.close()
    return {
        **heading("mwds", settings, rows, chunk),
        "steps": steps,
        "splits": {name: _report(of, counts[name], settings) for name, of in sorted(splits.items())},
    }


def _judge(split: _Split, case: Case, chunks: np.ndarray, mean: RecipeMean, steps: int, s: MwdsSettings) -> None:
    """Both hands of one start. ``chunks`` [draws, T, S]."""
    others = {"last motion": last_motion(case), "mean of the recipe": mean(case)}
    for cut, fingers in HANDS.values():
        if not case.target.mask[:, cut].any() and not case.target.mask[:, fingers].any():
            continue  # no hand on this side
        split.hands += 1
        if not case.target.mask[:steps, cut].all():
            split.unknown += 1
            continue
        recorded = case.target.values[:steps, cut].sum(0, dtype=np.float64)
        if np.linalg.norm(recorded) < s.least_m:
            split.still += 1
            continue
        moved = chunks[:, :steps, cut].sum(1)
        moved = moved.mean(0, keepdims=True) if s.combine == "mean" else moved
        split.motionless += int((np.linalg.norm(moved, axis=1) == 0).sum())
        split.values[POLICY].append(float(np.mean([similarity(m, recorded) for m in moved])))
        split.episodes[POLICY].append(case.episode_id)
        for name, step in others.items():
            if step.known[cut].all():
                split.values[name].append(similarity(step.values[cut], recorded))
                split.episodes[name].append(case.episode_id)


def _report(split: _Split, episodes: int, s: MwdsSettings) -> dict[str, Any]:
    return {
        "episodes": episodes,
        "hands": split.hands,
        "left_out": {"displacement not known": split.unknown, f"moves less than {s.least_m:g} m": split.still},
        "predictions_without_motion": split.motionless,
        "mwds": {
            name: {
                **by_episode(values, split.episodes[name], seed=s.seed).as_dict(),
                "samples": len(values),
            }
            for name, values in split.values.items()
        },
    }


def table(report: dict[str, Any]) -> str:
    """The report for a terminal."""
    out = [f"MWDS over {report['steps']} steps; mean [95 %], by episode"]
    for name, split in report["splits"].items():
        left = ", ".join(f"{n} ({reason})" for reason, n in split["left_out"].items())
        out.append(f"{name}: {split['hands']} hands of {split['episodes']} episodes; left out {left}")
        for contender, found in split["mwds"].items():
            samples = found.pop("samples")
            out.append(f"  {contender:19s} {Interval(**found).text(digits=3):28s} ({samples} hands)")
            found["samples"] = samples
        if not split["mwds"]:
            out.append("  no hand is left to judge")
    return "\n".join(out)
