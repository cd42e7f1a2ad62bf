"""The paper's Table 1, Table 2 and the totals of its Figures 3 and 4, for comparison with what a build really holds.

Data: ``table1.yaml``. Its numbers are the paper's, not measurements of this project; hours are those of source
recordings before frames are selected.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from unihand_data import yaml_text

FILE = Path(__file__).with_name("table1.yaml")
Group = Literal["single-arm", "dual-arm", "portable", "half-humanoid", "humanoid"]
GROUPS_OF_ROBOTS: tuple[Group, ...] = ("single-arm", "dual-arm", "portable", "half-humanoid", "humanoid")


@dataclass(frozen=True)
class RobotHours:
    """A row of Table 1.

    Attributes:
        robot: as printed. embodiment: our embodiment file.
        views: our view words; one arm's wrist camera is ``wrist_right``. printed_views: as printed.
        eef: ``gripper`` (Grp), ``dexterous`` (Dex). source: ``real``, ``sim``.
        hours: of recordings.
    """

    robot: str
    embodiment: str
    group: Group
    arms: int
    views: tuple[str, ...]
    printed_views: str
    eef: tuple[str, ...]
    source: tuple[str, ...]
    hours: float


@dataclass(frozen=True)
class RobotSetUp:
    """A row of Table 2: a robot of the paper's real experiments and its ``cameras`` (a count) of one kind."""

    robot: str
    embodiment: str
    dof: int
    camera: str
    mounting: str
    cameras: int


@dataclass(frozen=True)
class Total:
    """A total of Figures 3 and 4; None where the paper states none. ``tokens`` of robot data are visual tokens (text
    apart), ``frames`` those before selection, ``hours`` of vision-text data are equivalent hours."""

    hours: float
    samples: float | None
    tokens: float
    text_tokens: float | None = None
    frames: float | None = None


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = yaml_text.loads(FILE.read_text(encoding="utf-8"))
    return data


@cache
def table1() -> tuple[RobotHours, ...]:
    """The 30 rows in the paper's order."""

    def frozen(row: dict[str, Any]) -> dict[str, Any]:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}

    return tuple(RobotHours(**frozen(row)) for row in _data()["table1"])


@cache
def table2() -> tuple[RobotSetUp, ...]:
    """The five robots of the real experiments."""
    return tuple(RobotSetUp(**row) for row in _data()["table2"])


def total(domain: Literal["all", "human", "robot", "vision_text"]) -> Total:
    """What the paper says about one kind of data, or about all of it."""
    return Total(**_data()["totals"][domain])


def share(what: Literal["simulation", "oxe", "agibot_world", "robot_frames_kept"]) -> float:
    """Shares the paper states: of simulated data, of two sources, and of robot frames that are kept."""
    return float(_data()["shares"][what])


def embodiment_from_hours() -> float:
    """Hours from which the paper counts a robot as an embodiment."""
    return float(_data()["embodiment_from_hours"])


def row_of(embodiment: str) -> RobotHours | None:
    """The row of Table 1 that an embodiment file belongs to; None for robots outside the table."""
    return next((row for row in table1() if row.embodiment == embodiment), None)
