"""``unihand probe``: what a folder of robot data is, which data-set file fits it, and what the data say about it."""

from __future__ import annotations

from typing import Annotated

import tyro

from unihand_data.curate.robot.checks import contradiction
from unihand_data.curate.robot.evidence import CheckSettings
from unihand_data.errors import DatasetRefused
from unihand_data.jobs.robot_sets import evidence
from unihand_data.sources.robot.registry import opened_sets, proposal

_MARKS = {"agrees": "+", "contradicts": "!", "not_checked": "?"}


def probe(
    directory: Annotated[str, tyro.conf.Positional],
    dataset: str | None = None,
    episodes: int = 12,
) -> int:
    """Recognise the robot data sets below a folder and judge their data-set files by the data.

    Every line of evidence begins with + (the data agree), ! (they contradict the file) or ? (not checked, for the
    reason it gives, so only a person vouches for it). Exit code 1 where a set is not recognised or contradicts its
    file.

    Args:
        directory: folder of one or more data sets.
        dataset: name or path of a data-set YAML to judge, where the fingerprint does not decide.
        episodes: how many episodes are looked at.
    """
    _, sets = opened_sets(directory, dataset)
    if not sets:
        raise DatasetRefused(f"{directory} holds no robot data that is known here.")
    settings = CheckSettings(episodes=episodes)
    bad = 0
    for one in sets:
        print(proposal(one.found))
        if one.spec is None or one.refused:
            print(f"  refused: {one.refused}")
            bad += 1
            continue
        if dataset is not None:
            print(f"  judged as {one.spec.name}: {one.spec.title}")
        findings = evidence(one, settings).findings
        for finding in findings:
            print(f"  {_MARKS[finding.verdict]} {finding}")
        if why := contradiction(one.spec, findings):
            print(f"  {why}")
            bad += 1
    return 1 if bad else 0
