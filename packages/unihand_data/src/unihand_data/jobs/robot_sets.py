"""Before the robot job begins: every data set of the input is judged by the data, on a few episodes together."""

from __future__ import annotations

import heapq
import json
import logging
from dataclasses import dataclass, replace

from unihand_data.curate.robot.checks import check_set, contradiction
from unihand_data.curate.robot.convert import RobotMotion, convert
from unihand_data.curate.robot.evidence import CheckSettings, Finding
from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.ids import make_id
from unihand_data.runner import paths
from unihand_data.shards.catalogue import CHECKS
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.registry import Opened, RobotSource

log = logging.getLogger(__name__)

#: reasons by which an episode does not fit a data-set file, other than by damage
_UNFIT = (Reason.MISSING_FIELD, Reason.CONTRADICTION, Reason.WRONG_TYPE)


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
    place = f"{source.root}/{one.found.root}".rstrip("/")
    found = evidence(one, settings)
    for finding in found.findings:
        log.info("%s: %s", one.spec.name, finding)
    if why := contradiction(one.spec, found.findings):
        return replace(one, reader=None, refused=f"{place}: {why}.")
    rejects = found.rejects
    if one.by_hand and rejects and not found.converted and all(r.reason in _UNFIT for r in rejects):
        why = (
            f"none of the {len(rejects)} episodes looked at fits {one.spec.name}.yaml; the first: {rejects[0].message}"
        )
        return replace(one, reader=None, refused=f"{place}: {why.rstrip('.')}.")
    return replace(one, findings=tuple(found.findings))


@dataclass
class Evidence:
    """What a few episodes say: ``findings`` of all checks, how many were ``converted``, and why others were not."""

    findings: list[Finding]
    converted: int
    rejects: list[Reject]


def evidence(one: Opened, settings: CheckSettings) -> Evidence:
    """About the episodes whose keys hash lowest: the same ones on every machine."""
    assert one.spec is not None
    items = one.reader.items()
    chosen = heapq.nsmallest(settings.episodes, items, key=lambda item: make_id("check", item.key))
    pairs: list[tuple[RobotEpisode, RobotMotion]] = []
    rejects: list[Reject] = []
    for item in chosen:
        try:
            episode = one.reader.open(item)
            pairs.append((episode, convert(episode, one.spec, one.found.fps)))
        except Reject as reject:
            log.info("%s: not part of the evidence: %s", item.uri, reject.message)  # the job will reject it by itself
            rejects.append(reject)
    return Evidence(check_set(one.spec, pairs, settings, one.found.column_names, rejects), len(pairs), rejects)


def write_checks(source: RobotSource, output: str) -> None:
    """Lays the findings into the directory, where ``unihand inspect`` and the report look: data-set file and place
    -> check -> verdict and sentences; a later run replaces those of its own data sets."""
    told: dict[str, dict[str, list[dict[str, str]]]] = {}
    for one in source.sets:
        if one.spec is None or one.refused:
            continue
        place = f" ({one.found.root})" if one.found.root else ""
        mine = told.setdefault(f"{one.spec.name}{place}", {})
        for finding in one.findings:
            mine.setdefault(finding.check, []).append({"verdict": finding.verdict, "text": finding.text})
    place = paths.join(output, *CHECKS.split("/"))
    known = json.loads(paths.read_bytes(place)) if paths.exists(place) else {}
    if {**known, **told} != known:
        paths.write_atomic(place, json.dumps({**known, **told}, indent=1, sort_keys=True).encode())


def set_lines(source: RobotSource) -> list[str]:
    """For ``--plan``, a data set: place, what it is read as, announced episodes, what the checks found; or why it is
    refused."""
    lines = []
    for one in source.sets:
        place = one.found.root or "."
        if one.refused or one.spec is None:
            lines.append(f"refused  {one.refused}")
            continue
        count = "some" if one.found.episodes is None else str(one.found.episodes)
        licence = f"{one.spec.licence}{', may be shared' if one.spec.shareable else ''}"
        lines.append(f"{place}: {one.spec.name} ({one.spec.embodiment}), {count} episodes, licence {licence}")
        lines += [f"  {finding}" for finding in one.findings]
    return lines
