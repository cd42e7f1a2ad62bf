"""``--plan``: what is left of a job, and what that needs and costs, before anything runs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from unihand_data.config import content_hash
from unihand_data.curate.clip_state import ClipState
from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.language_account import language_account
from unihand_data.jobs.left import Left, Remaining
from unihand_data.jobs.stage_table import stage_lines
from unihand_data.language.config import LanguageSettings
from unihand_data.language.cost import Estimate, estimate_durations, rounded
from unihand_data.runner.stage import StageSpec, Unit
from unihand_data.video.segment import SegmentSettings


@dataclass
class Work:
    """What is left, measured: recordings by the headers of their videos, split ones by their clips."""

    bytes: int = 0
    frames: int = 0
    unread: int = 0
    seconds: float = 0.0
    clips: list[float] = field(default_factory=list)  # s

    def add(self, left: Left, cut: SegmentSettings) -> None:
        if left.children is None:
            self._add_recording(left.unit.body.uri, cut)
        for child in left.children or []:
            clip: ClipState = child.body
            self.frames += clip.frames
            self.seconds += clip.duration_s
            self.clips.append(clip.duration_s)

    def _add_recording(self, path: str, cut: SegmentSettings) -> None:
        from unihand_data.errors import Reject
        from unihand_data.video.probe import probe

        if not os.path.isfile(path):
            self.unread += 1
            return
        self.bytes += os.path.getsize(path)
        try:
            pts = probe(path).pts
        except Reject:
            self.unread += 1
            return
        duration = float(pts[-1] - pts[0]) * len(pts) / (len(pts) - 1) if len(pts) > 1 else 0.0
        self.frames += len(pts)
        self.seconds += duration
        # equal pieces, as :func:`plan_clips` cuts where nothing else does
        number = math.ceil(duration / cut.max_seconds) if duration >= cut.min_seconds else 0
        self.clips += [duration / number] * number if number else []

    def sentence(self) -> str:
        unread = f"; {self.unread} not measured: remote, in an archive, pictures or unreadable" if self.unread else ""
        return (
            f"left to do: {self.bytes / 1e9:.3g} GB, {self.seconds / 3600:.4g} h of video, {self.frames} frames, "
            f"about {len(self.clips)} clips{unread}"
        )


def plan_lines(
    arguments: JobArguments,
    settings: HumanVideoSettings,
    units: Iterable[Unit],
    stages: list[StageSpec],
    *,
    missing: str = "",
) -> list[str]:
    """The plan as lines of text. What the ledger of the output calls done is counted and left out of the estimate;
    what cannot be measured is counted and said. Nothing is written.

    Args:
        units: the listed input items.
        missing: what a run would be refused for and a plan is not (:func:`check_language`).
    """
    remaining, work = Remaining(arguments.output, content_hash(settings)), Work()
    for left in remaining.walk(units):
        work.add(left, settings.video.segment)
    rest = remaining.listed - remaining.done
    lines = [
        f"{remaining.listed} input items: {remaining.done} done, {rest} left"
        + (f" ({remaining.begun} of them begun)" if remaining.begun else "")
    ]
    if remaining.other and not arguments.new_version:
        lines.append(
            f"{arguments.output} holds a run with other content settings: this one is refused without --new-version"
        )
    language = settings.language
    account = language_account(arguments.work_dir, language) if language.backend != "none" else {}
    if not rest:
        return [*lines, "nothing is left to do", *_spent(account)]
    lines += [work.sentence(), "", *stage_lines(settings.runner, stages), ""]
    if language.backend == "none":
        return [*lines, "language: narrations of the data set, else the motion describer; no calls, no cost"]
    estimate = estimate_durations(work.clips, language)
    lines += [f"language: {line}" for line in estimate.lines()]
    lines += [*_spent(account), *_budget(estimate, language, account)]
    return [*lines, f"a run is refused as things are: {missing}"] if missing else lines


def _spent(account: dict[str, Any]) -> list[str]:
    """What earlier runs spent; reading the account makes no file."""
    if not account:
        return []
    begun = f", up to {rounded(account['reserved'])} more for calls that were begun" if account["reserved"] else ""
    return [f"spent so far: {account['calls']} calls, {rounded(account['money'])} {account['currency']}{begun}"]


def _budget(estimate: Estimate, language: LanguageSettings, account: dict[str, Any]) -> list[str]:
    """The estimate against what is left of the budget."""
    if language.budget is None:
        return [] if not estimate.money else ["budget: none is set (language.budget); every call is made"]
    left = max(0.0, language.budget - account.get("money", 0.0) - account.get("reserved", 0.0))
    text = f"budget: {rounded(left)} of {rounded(language.budget)} {estimate.currency} left"
    if estimate.money is None or estimate.money <= left:
        return [f"{text}, enough by this estimate"]
    return [
        f"{text}, NOT ENOUGH: it ends after about {left / estimate.money:.0%} of the clips, and the others wait for a "
        "run with a higher language.budget"
    ]


def print_plan(
    arguments: JobArguments,
    settings: HumanVideoSettings,
    units: Iterable[Unit],
    stages: list[StageSpec],
    *,
    missing: str = "",
) -> None:
    print("\n".join(plan_lines(arguments, settings, units, stages, missing=missing)))
