"""Units of SO-100 and SO-101 sets checked against the rows themselves (``sources/robot/so100_units.py``).

The reader decides from the statistics in ``meta/`` (or a few files) and says so in ``Found.note``; here the same
classifier looks at the rows that are really converted, pooled over a few episodes of one set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unihand_data.curate.robot.evidence import Finding
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.so100_units import JOINTS, Figures, Verdict, classify
from unihand_data.sources.robot.spec import RobotSpec

PREFIX = "so100_"
STATE = "observation.state"


def verdict_of(episodes: Sequence[RobotEpisode], names: tuple[str, ...] = ()) -> Verdict:
    """The regime of the pooled rows of some episodes of one set."""
    rows = [e.columns[STATE][:, :JOINTS] for e in episodes if STATE in e.columns]
    if not rows:
        return Verdict("ambiguous", f"units of the joints: no feature {STATE}")
    return classify(Figures.of(np.concatenate(rows)), names)


def so100_units(spec: RobotSpec, episodes: Sequence[RobotEpisode]) -> list[Finding]:
    """The rows' regime against the layout ``so100_<regime>`` the data-set file declares; nothing for other robots.

    An ambiguous verdict checks nothing: a person chose the file.
    """
    declared = [lay.removeprefix(PREFIX) for lay in spec.match.layouts if lay.startswith(PREFIX)]
    if not declared:
        return []
    verdict = verdict_of(episodes)
    if verdict.regime == "ambiguous":
        return [Finding("so100_units", "not_checked", verdict.evidence)]
    if verdict.regime in declared:
        return [Finding("so100_units", "agrees", verdict.evidence)]
    return [
        Finding(
            "so100_units",
            "contradicts",
            f"the file declares {' or '.join(declared)}, the rows say {verdict.regime} ({verdict.evidence})",
            "the data-set file of that unit",
        )
    ]
