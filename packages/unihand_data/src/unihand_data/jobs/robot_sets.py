"""Before the robot job begins: every data set of the input is judged by the data, on a few episodes together."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator
from dataclasses import replace

from unihand_data.curate.robot.checks import check_set, contradiction
from unihand_data.curate.robot.convert import RobotMotion, convert
from unihand_data.curate.robot.evidence import CheckSettings, Finding
from unihand_data.errors import DatasetRefused, Reject
from unihand_data.ids import make_id
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.registry import Opened, RobotSource
from unihand_data.sources.robot.spec import RobotSpec

log = logging.getLogger(__name__)


def judged(source: RobotSource, settings: CheckSettings) -> RobotSource:
    """The source, its contradicted data sets refused with the evidence.

    Raises:
        DatasetRefused: nothing is left to read.
    """
    sets = [_judged(source, one, settings) for one in source.sets]
    if all(one.refused for one in sets):
        more = f" ({len(sets) - 1} more are refused too)" if len(sets) > 1 else ""
        raise DatasetRefused(f"{sets[0].refused}{more}")
    return RobotSource(source.root, sets, source.files)


def _judged(source: RobotSource, one: Opened, settings: CheckSettings) -> Opened:
    if one.refused or one.spec is None:
        return one
    findings = evidence(one, settings)
    for finding in findings:
        log.info("%s: %s %s: %s", one.spec.name, finding.check, finding.verdict, finding.text)
    if why := contradiction(one.spec, findings):
        place = f"{source.root}/{one.found.root}".rstrip("/")
        return replace(one, reader=None, refused=f"{place}: {why}.")
    return one


def evidence(one: Opened, settings: CheckSettings) -> list[Finding]:
    """Findings about the episodes whose keys hash lowest: the same ones on every machine."""
    assert one.spec is not None
    items = one.reader.items()
    chosen = heapq.nsmallest(settings.episodes, items, key=lambda item: make_id("check", item.key))
    return check_set(one.spec, list(_converted(one, one.spec, chosen)), settings)


def _converted(one: Opened, spec: RobotSpec, items: list) -> Iterator[tuple[RobotEpisode, RobotMotion]]:
    for item in items:
        try:
            episode = one.reader.open(item)
            yield episode, convert(episode, spec)
        except Reject as reject:
            log.info("%s: not part of the evidence: %s", item.uri, reject.message)  # the job will reject it by itself


def set_lines(source: RobotSource) -> list[str]:
    """One line a data set for ``--plan``: place, what it is read as, announced episodes, or why it is refused."""
    lines = []
    for one in source.sets:
        place = one.found.root or "."
        if one.refused or one.spec is None:
            lines.append(f"refused  {one.refused}")
            continue
        count = "some" if one.found.episodes is None else str(one.found.episodes)
        licence = f"{one.spec.licence}{', may be shared' if one.spec.shareable else ''}"
        lines.append(f"{place}: {one.spec.name} ({one.spec.embodiment}), {count} episodes, licence {licence}")
    return lines
