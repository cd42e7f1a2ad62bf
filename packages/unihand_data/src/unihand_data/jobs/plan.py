"""``--plan``: what is left of a job, and what that needs and costs, before anything runs."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

from unihand_data.config import content_hash
from unihand_data.curate.clip_state import ClipState
from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.items import list_units
from unihand_data.jobs.language_account import language_account
from unihand_data.jobs.left import Left, Remaining
from unihand_data.jobs.stage_table import stage_lines
from unihand_data.language.cost import estimate_durations
from unihand_data.runner.stage import StageSpec
from unihand_data.sources.recording import HumanSource
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
    arguments: JobArguments, settings: HumanVideoSettings, source: HumanSource, stages: list[StageSpec]
) -> list[str]:
    """The plan as lines of text. What the ledger of the output calls done is counted and left out of the estimate;
    what cannot be measured is counted and said. Nothing is written."""
    remaining, work = Remaining(arguments.output, content_hash(settings)), Work()
    for left in remaining.walk(list_units(source)):
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
    if not rest:
        return [*lines, "nothing is left to do", *_spent(arguments, settings)]
    lines += [work.sentence(), "", *stage_lines(settings.runner, stages), ""]
    if settings.language.backend == "none":
        lines.append("language: narrations of the data set, else the motion describer; no calls, no cost")
    else:
        lines.append(f"language: {estimate_durations(work.clips, settings.language).sentence()}")
    return lines + _spent(arguments, settings)


def _spent(arguments: JobArguments, settings: HumanVideoSettings) -> list[str]:
    """What earlier runs spent; reading the account makes no file."""
    if settings.language.backend == "none":
        return []
    account = language_account(arguments.work_dir, settings.language)
    if not account:
        return []
    return [f"spent so far: {account['calls']} calls, {account['money']:.4f} {account['currency']}"]


def print_plan(
    arguments: JobArguments, settings: HumanVideoSettings, source: HumanSource, stages: list[StageSpec]
) -> None:
    print("\n".join(plan_lines(arguments, settings, source, stages)))
