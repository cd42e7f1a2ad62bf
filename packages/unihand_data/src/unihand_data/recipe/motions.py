"""Motion signatures of all robot episodes: read once, kept on disk, compared in numpy (``near``, docs/recipe.md).

Memory holds some tens of bytes a robot episode; the paths themselves (about 1 kB each) wait in unnamed temporary files,
one per combination of groups, and are mapped.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from unihand_data.curate.robot.signature import EXACT, STEP, TIMES, VERSION
from unihand_data.recipe.permutation import key_of
from unihand_data.shards.errors import ShardError

RECORDED = "recorded"
#: group -> numbers per time, in the order in which they lie in a record
Layout = tuple[tuple[str, int], ...]


@dataclass
class Motions:
    """Arrays are (M,), one entry per robot episode with a signature of this version.

    Attributes:
        row: number of the episode in ``Rows``. embodiment: hash of its name. publication: hash of its source and of
            the data-set file that read it: two containers of one data set are two publications.
        layout, place: which of ``layouts`` its path has, and the record in that layout's file.
        exact: (M, 2) uint64 hash of the numbers by kind (end effectors, arms), 0 where there is none.
        group: hash of what the episode re-draws, one for all robots of a recording; 0 for a recording itself.
        older: directory -> episodes whose signatures have another version.
    """

    row: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    embodiment: np.ndarray = field(default_factory=lambda: np.zeros(0, "u8"))
    publication: np.ndarray = field(default_factory=lambda: np.zeros(0, "u8"))
    layout: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    place: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    duration: np.ndarray = field(default_factory=lambda: np.zeros(0))
    exact: np.ndarray = field(default_factory=lambda: np.zeros((0, len(EXACT)), "u8"))
    group: np.ndarray = field(default_factory=lambda: np.zeros(0, "u8"))
    layouts: list[Layout] = field(default_factory=list)
    files: list[BinaryIO] = field(default_factory=list)
    older: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row)

    def paths(self, at: np.ndarray, groups: tuple[str, ...]) -> np.ndarray:
        """(N, 16, k) float32 m of these entries, which share one layout that has all these groups."""
        which = int(self.layout[at[0]])
        layout = self.layouts[which]
        width = TIMES * sum(k for _, k in layout)
        whole = np.memmap(self.files[which], np.float32, "r").reshape(-1, width)
        picked, start, parts = whole[self.place[at]], 0, {}
        for name, k in layout:
            parts[name] = picked[:, start : start + TIMES * k].reshape(-1, TIMES, k)
            start += TIMES * k
        return np.concatenate([parts[g] for g in groups], axis=2)

    def groups_of(self, layout: int) -> frozenset[tuple[str, int]]:
        """Groups and their widths that can be compared between two episodes (not the path of a re-drawn recording)."""
        return frozenset(part for part in self.layouts[layout] if part[0] != RECORDED)


class MotionReader:
    """Collects the entries of :class:`Motions`; also what else a robot row's provenance says to a recipe.

    Attributes:
        max_weight: source -> the least cap that its data-set files hint at.
        groups: row, hash, row, hash ... of rows that name a split group.
    """

    def __init__(self) -> None:
        self.entries = array("Q")  # nine numbers an episode
        self.durations = array("d")
        self.numbers: dict[Layout, int] = {}
        self.files: list[BinaryIO] = []
        self.count: list[int] = []
        self.older: Counter[str] = Counter()
        self.max_weight: dict[str, float] = {}
        self.groups = array("Q")

    def add(self, row: int, embodiment: str, source: str, provenance: str, where: str) -> None:
        """One row. Raises ``ShardError`` for a signature that is not what its version says; ``where`` names the
        directory."""
        if not provenance:
            return
        said = json.loads(provenance)
        if said.get("max_weight") is not None:
            self.max_weight[source] = min(self.max_weight.get(source, 1.0), float(said["max_weight"]))
        group = 0
        if split_group := (said.get("facts") or {}).get("split_group"):
            group = key_of("split group", source, split_group)
            self.groups.extend((row, group))
        signature = said.get("motion_signature")
        if not signature:
            return
        if signature.get("version") != VERSION:
            self.older[where] += 1
            return
        try:
            self._signature(row, embodiment, key_of(source, said.get("dataset_file") or ""), group, signature)
        except (KeyError, TypeError, ValueError) as error:
            raise ShardError(f"{where}: provenance.motion_signature of row {row} is damaged ({error!r})") from error

    def _signature(self, row: int, embodiment: str, publication: int, group: int, signature: dict[str, Any]) -> None:
        paths = dict(signature["paths"])
        if signature.get(RECORDED) is not None:
            paths[RECORDED] = signature[RECORDED]
        names = sorted(paths)
        if any(len(paths[n]) % TIMES or not paths[n] for n in names):
            raise ValueError(f"a path has no multiple of {TIMES} numbers")
        layout = tuple((n, len(paths[n]) // TIMES) for n in names)
        if layout not in self.numbers:
            self.numbers[layout] = len(self.files)
            self.files.append(tempfile.TemporaryFile(prefix="unihand_motions_"))  # noqa: SIM115 - lives with Motions
            self.count.append(0)
        number = self.numbers[layout]
        record = np.concatenate([np.asarray(paths[n], np.float32) for n in names]) * np.float32(STEP)
        self.files[number].write(record.tobytes())
        exact = [int(signature["exact"].get(kind) or "0", 16) for kind in EXACT]
        self.durations.append(float(signature["duration"]))
        self.entries.extend((
            row, key_of("embodiment", embodiment), publication, number, self.count[number], int(signature["steps"]),
            group, *exact,
        ))  # fmt: skip
        self.count[number] += 1

    def result(self) -> Motions:
        if not self.entries:
            return Motions(older=dict(self.older))
        for file in self.files:
            file.flush()
        columns = np.frombuffer(self.entries, "u8").reshape(-1, 7 + len(EXACT)).T
        row, embodiment, publication, layout, place, steps, group = columns[:7]
        signed = [c.astype(np.int64) for c in (row, layout, place, steps)]
        return Motions(
            row=signed[0], embodiment=embodiment.copy(), publication=publication.copy(), layout=signed[1],
            place=signed[2], steps=signed[3], duration=np.array(self.durations), exact=columns[7:].T.copy(),
            group=group.copy(), layouts=list(self.numbers), files=self.files, older=dict(self.older),
        )  # fmt: skip
