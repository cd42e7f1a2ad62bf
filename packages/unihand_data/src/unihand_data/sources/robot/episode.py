"""What a robot reader hands over: data sets found in a folder, cheap items, an opened episode of raw numbers.

Readers know containers, not meaning: columns keep the names, units and signs of the file. What they mean is said by the
data set's YAML (:mod:`unihand_data.sources.robot.spec`) and applied in ``curate/robot``.

Legend: T steps of the episode, n columns of one feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from unihand_data.values.recording import SourceItem

Level = Literal["task", "subtask", "step"]


@dataclass(frozen=True)
class Found:
    """One data set in a folder, as far as its meta files tell: what fingerprints are compared with.

    Attributes:
        container: name of the reader.
        root: folder of the data set below the input folder, ``""`` for the input folder itself.
        name: what the container calls the data set (TFDS name, LeRobot folder, HDF5 tree); may be empty.
        robot_type: the container's own word, or empty.
        version: of the container format (``v2.1``), or empty.
        fps: the container's own stamp, which may be wrong; None where it has none.
        features: numeric feature -> width (1 for scalars).
        column_names: feature -> names of its columns, where the container gives them.
        views: raw camera names; depth streams included.
        episodes: as announced, None where only opening would tell.
        layout: which of the reader's folder trees this is, where it knows several.
        files: what holds its episodes, relative to the input folder, where a listing of ``root`` would not tell.
        note: what the reader decided beyond the meta files' words, and on what evidence.
        problems: contradictions inside the meta files that forbid reading (one sentence each, naming file and field).
    """

    container: str
    root: str
    name: str = ""
    robot_type: str = ""
    version: str = ""
    fps: float | None = None
    features: dict[str, int] = field(default_factory=dict)
    column_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    views: tuple[str, ...] = ()
    episodes: int | None = None
    layout: str = ""
    files: tuple[str, ...] = ()
    note: str = ""
    problems: tuple[str, ...] = ()


@dataclass
class View:
    """The encoded pictures of one camera during the episode: a stretch of a video file, or a picture per step.

    Attributes:
        key: raw camera name.
        video: path of the file, or ``archive!member``; None for pictures.
        t0, t1: stretch of the file in seconds of its own clock (first frame is 0); ``t1`` None: to its end. Row time
            0 is media time ``t0``.
        pace: seconds of the file per second of the row; other than 1 where a file's stamped rate is not the true one
            (row time t is media time ``t0 + pace * t``).
        pictures: encoded JPEG or PNG, one per entry of ``times``.
        times: (N,) s on the row's clock, of ``pictures``; None: one per step, at the episode's timestamps.
        depth: 16-bit depth pictures or a depth video.
        depth_unit_m: metres per unit of a depth picture.
        intrinsics: (4,) fx fy cx cy in pixels of the raw picture, where the source gives them.
        poses: (T, 4, 4) camera-to-world, OpenCV axes, raw world; None where unknown.
    """

    key: str
    video: str | None = None
    t0: float = 0.0
    t1: float | None = None
    pace: float = 1.0
    pictures: list[bytes] | None = None
    times: np.ndarray | None = None
    depth: bool = False
    depth_unit_m: float = 0.001
    intrinsics: np.ndarray | None = None
    poses: np.ndarray | None = None


@dataclass
class Text:
    """A sentence the data set brings about the steps ``start`` .. ``stop`` - 1 (``stop`` None: to the end)."""

    text: str
    level: Level = "task"
    start: int = 0
    stop: int | None = None


@dataclass
class RobotEpisode:
    """One opened episode, raw.

    Attributes:
        content_id: blake2b-128 hex over the numbers (all columns, in name order) and the timestamps: a re-upload in the
            same container has the same one.
        columns: feature -> (T, n) array of numbers as the file has them (bool becomes 0/1).
        timestamps: (T,) s from the episode's first step, strictly increasing; None where the container has none.
        views: cameras by raw name.
        texts: all levels the data set has.
        success, seed, task_id: where the data set says so.
        losses: rejects of level ``row`` (a sentence, a camera that could not be read) that travel with the episode.
        facts: short facts for provenance (codebase version, episode index ...), JSON-able.
    """

    item: SourceItem
    content_id: str
    columns: dict[str, np.ndarray]
    timestamps: np.ndarray | None = None
    views: dict[str, View] = field(default_factory=dict)
    texts: list[Text] = field(default_factory=list)
    success: bool | None = None
    seed: int | None = None
    task_id: str = ""
    losses: list[Any] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


class RobotReader(Protocol):
    """A container reader. Small and picklable: it travels to workers; ``open`` does the work there.

    ``find`` looks at names and meta files only and returns one entry per data set below ``root``; a folder that is not
    this container gives an empty list, a damaged meta file gives an entry with ``problems``.
    """

    container: ClassVar[str]

    @classmethod
    def find(cls, root: str, files: list[str]) -> list[Found]: ...

    def __init__(self, root: str, found: Found, spec: Any) -> None: ...

    def items(self) -> Iterator[SourceItem]:
        """One per episode, or one per file that holds unknown episodes and cannot be opened; in a stable order."""
        ...

    def claimed(self, files: list[str]) -> set[str]:
        """Which files of the listing belong to this data set (the others are counted as ignored)."""
        ...

    def open(self, item: SourceItem) -> RobotEpisode:
        """Raises ``Reject``."""
        ...
