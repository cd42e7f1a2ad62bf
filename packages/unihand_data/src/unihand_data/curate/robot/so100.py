"""Units of SO-100 and SO-101 sets checked against the rows themselves (``sources/robot/so100_units.py``).

The reader decides from the statistics in ``meta/`` (or a few files) and says so in ``Found.note``; here the same
classifier looks at the rows that are really converted, pooled over the episodes of one set.

Legend: N rows, n columns.
"""

from __future__ import annotations

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.so100_units import Figures, Verdict, classify
from unihand_data.sources.robot.spec import RobotSpec

PREFIX = "so100_"
STATE = "observation.state"


def verdict_of(episodes: list[RobotEpisode], names: tuple[str, ...] = ()) -> Verdict:
    """The regime of the pooled rows of some episodes of one set."""
    rows = [e.columns[STATE] for e in episodes if STATE in e.columns]
    if not rows:
        return Verdict("ambiguous", f"units of the joints: no feature {STATE}")
    return classify(Figures.of(np.concatenate(rows)), names)


def check(episodes: list[RobotEpisode], spec: RobotSpec, names: tuple[str, ...] = ()) -> Verdict | None:
    """Compare the rows with what the data-set file declares (its layout ``so100_<regime>``).

    Returns:
        The verdict with its evidence; None for a spec of another robot.

    Raises:
        Reject: CONTRADICTION with the evidence. An ambiguous verdict contradicts nothing: a person chose the file.
    """
    declared = [lay.removeprefix(PREFIX) for lay in spec.match.layouts if lay.startswith(PREFIX)]
    if not declared:
        return None
    verdict = verdict_of(episodes, names)
    if verdict.regime != "ambiguous" and verdict.regime not in declared:
        raise Reject(
            Reason.CONTRADICTION,
            f"{episodes[0].item.uri}: {spec.name} declares {' or '.join(declared)}, the rows say {verdict.regime} "
            f"({verdict.evidence}); take the data-set file of that unit",
        )
    return verdict
