"""From shard directories to selected samples: decides on rows, then streams the training index once.

What is left out, and why (``left_out`` of a row, counted in the recipe): ``licence``; ``weight`` 0; ``fraction`` (hash
sub-sampling); ``mirrored`` (twins, where they are not wanted); ``split`` (val and test); copies of those, and
duplicates; and of single samples ``idle`` (nothing happens in their chunk) and, of robots (and of humans where
``human_rate_hz`` is set), ``frame``: start frames that are not kept. A description speaks about a span and is kept with
its episode, whatever frame it starts at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.config import SettingsError
from unihand_data.recipe.account import Account, Tally
from unihand_data.recipe.directory import ShardDir, check_ids
from unihand_data.recipe.duplicates import mark_duplicates
from unihand_data.recipe.frames import Selection, picked, solve, taken
from unihand_data.recipe.index import RECORD, IndexWriter
from unihand_data.recipe.rows import Kind, Rows
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.shards.errors import ShardError
from unihand_data.shards.id_index import id_keys
from unihand_data.shards.tokens import IMAGE_TIMES

FRAMES_AT_ONCE = 1 << 22
LOOKED_AT = 8
#: tasks whose samples start at every frame, so that the selection of frames thins them
PER_FRAME = ("motion_generation", "motion_continuation")
GRIPPER, DEXTEROUS = range(18, 20), range(20, 44)


@dataclass
class Stratum:
    """A kind of row and a task: what is weighted and drawn as one."""

    kind: Kind
    task: str
    samples: int

    @property
    def name(self) -> str:
        k = self.kind
        parts = (k.domain, k.source, k.embodiment, k.origin, k.pillar, self.task)
        return "/".join(p.replace("%", "%25").replace("/", "%2F") for p in parts if p)


def choose_rows(rows: Rows, settings: RecipeSettings) -> Selection:
    """Set ``rows.left_out`` and solve the selection of frames over what stays.

    Raises:
        SettingsError: ``exclude_licences`` names a licence that no row has.
    """
    have = set(rows.licence)
    if odd := [name for name in settings.exclude_licences if name not in have]:
        raise SettingsError(
            f"exclude_licences: no row has the licence {odd[0]!r}; there are {', '.join(sorted(map(repr, have)))}"
        )
    each = [settings.source(k.source) for k in rows.kinds]
    weight = np.array([s.weight for s in each] or [1.0])[rows.kind]
    fraction = np.array([s.fraction for s in each] or [1.0])[rows.kind]
    barred = np.isin(rows.licence.astype(str), settings.exclude_licences)
    if settings.only_shareable:
        barred |= ~rows.shareable.astype(bool)
        rows.notes += [
            f"{n} conversations of {url} do not say whether they may leave the machine (they were written before the "
            "column `shareable` existed) and are left out; run their job again with --new-version"
            for url, n in rows.unsaid.items()
        ]
    for which, reason in (
        (barred, "licence"),
        (weight == 0, "weight"),
        (~taken(rows.recording, fraction), "fraction"),
        (rows.twin & (not settings.mirrored), "mirrored"),
        (rows.split != "train", "split"),
    ):
        rows.left_out[which & (rows.left_out == "")] = reason
    mark_duplicates(rows, settings.duplicates)
    robot = _robots(rows)
    active = rows.frames - rows.idle.count(len(rows.frames)) * (1 - settings.idle.share)
    frames: dict[float, float] = {}
    for rate in np.unique(rows.rate_hz[robot]):
        frames[float(rate)] = float(active[robot & (rows.rate_hz == rate)].sum())
    return solve(frames, settings.robot_frame_share, settings.floor_hz, float(rows.frames[robot].sum()))


def eligible_frames(rows: Rows) -> int:
    """Robot frames that the selection of frames chooses from."""
    return int(rows.frames[_robots(rows)].sum())


def idle_robot_frames(rows: Rows) -> int:
    """Those of :func:`eligible_frames` at which nothing happens."""
    return int(rows.idle.count(len(rows.frames))[_robots(rows)].sum())


def kept_share(rows: Rows, selection: Selection, human_rate_hz: float | None = None) -> np.ndarray:
    """(R,) share of its start frames that each row keeps."""
    domain = rows.column("domain")
    human = np.minimum(1.0, (human_rate_hz or np.inf) / rows.rate_hz)
    return np.where(domain == "robot", selection.kept(rows.rate_hz), np.where(domain == "human", human, 1.0))


def _robots(rows: Rows) -> np.ndarray:
    return (rows.column("domain") == "robot") & (rows.left_out == "") & ~rows.twin


def kept_frames(rows: Rows, share: np.ndarray, idle_share: float = 1.0) -> np.ndarray:
    """(R,) start frames kept of each row that is taken, counted one by one where some are not."""
    out = np.where(rows.left_out == "", rows.frames, 0)
    todo = np.flatnonzero(((share < 1) | (rows.idle.count(len(out)) > 0)) & (out > 0))
    ends = np.cumsum(rows.frames[todo])
    for piece in np.split(
        todo, np.searchsorted(ends, np.arange(FRAMES_AT_ONCE, ends[-1] if len(ends) else 0, FRAMES_AT_ONCE))
    ):
        row = np.repeat(piece, rows.frames[piece])
        frame = np.arange(len(row)) - np.repeat(np.cumsum(rows.frames[piece]) - rows.frames[piece], rows.frames[piece])
        on = picked(rows.ids[row, 0], frame, share[row] * np.where(rows.idle.holds(row, frame), idle_share, 1.0))
        out[piece] = np.bincount(np.repeat(np.arange(len(piece)), rows.frames[piece]), weights=on, minlength=len(piece))
    return out


class SampleStream:
    """Streams the training index of the directories into an :class:`IndexWriter`, and counts.

    ``templates`` collects the question template ids; a record holds their number.
    """

    def __init__(self, rows: Rows, share: np.ndarray, account: Account, writer: IndexWriter, idle_share: float = 1.0):
        self.rows, self.share, self.account, self.writer = rows, share, account, writer
        self.idle_share = idle_share
        self.templates: dict[str, int] = {"": 0}
        self.strata: dict[tuple[int, str], Stratum] = {}

    def directory(self, number: int, directory: ShardDir) -> None:
        """Raises ``ShardError`` for a sample whose episode or conversation is not there."""
        columns = [
            "sample_id", "task", "episode_id", "conversation_id", "start_frame", "frames_available",
            "history_available", "language_ref", "question_template_id", "tokens_text", "tokens_answer",
            "images_per_time", "weight", "split",
        ]  # fmt: skip
        for batch in directory.samples(columns):
            for task in pc.unique(batch.column("task")).to_pylist():
                self._batch(number, directory, batch.filter(pc.equal(batch.column("task"), task)), task)

    def _batch(self, number: int, directory: ShardDir, batch: pa.RecordBatch, task: str) -> None:
        if task not in IMAGE_TIMES:
            raise ShardError(f"{directory.store.url}: samples have a task {task!r} that this code does not know")
        table, column = ("conversations", "conversation_id") if task == "vision_text" else ("episodes", "episode_id")
        row = self.rows.find(number, table, batch.column(column))
        if len(row) and row.min() < 0:
            lost = batch.column("sample_id")[int(np.argmin(row))].as_py()
            raise ShardError(f"{directory.store.url}: sample {lost} refers to a row of {table} that is not there")
        check_ids(batch.column("sample_id"), f"{directory.store.url}: sample_id")
        keep = self._keep(batch, row, task)
        values = {name: _numbers(batch, name) for name in ("tokens_text", "tokens_answer", "images_per_time")}
        records: np.ndarray | None = None
        for kind in np.unique(self.rows.kind[row]):
            mine = self.rows.kind[row] == kind
            once = ~self.rows.twin[row]
            found, chosen = (_tally(values, which, which & once, task) for which in (mine, mine & keep))
            self.account.count_samples(self.rows.kinds[kind], task, found, chosen)
            if not chosen.samples:
                continue
            records = self._records(number, batch, row) if records is None else records
            stratum = self.strata.setdefault((int(kind), task), Stratum(self.rows.kinds[kind], task, 0))
            stratum.samples += chosen.samples
            self.writer.append(stratum.name, records[mine & keep])

    def _keep(self, batch: pa.RecordBatch, row: np.ndarray, task: str) -> np.ndarray:
        reason = self.rows.left_out[row]
        reason = np.where((reason == "") & (_words(batch, "split") != "train"), "split", reason)
        if task in PER_FRAME:
            start = _numbers(batch, "start_frame")
            idle = self.rows.idle.holds(row, start)
            thinned = np.flatnonzero(((self.share[row] < 1) | idle) & (reason == ""))
            idle = idle[thinned]
            share = self.share[row[thinned]] * np.where(idle, self.idle_share, 1.0)
            on = picked(self.rows.ids[row[thinned], 0], start[thinned], share)
            reason[thinned[~on]] = np.where(idle, "idle", "frame")[~on]
        self.account.samples_left_out.update(str(r) for r in reason[reason != ""])
        return reason == ""

    def _records(self, number: int, batch: pa.RecordBatch, row: np.ndarray) -> np.ndarray:
        out = np.zeros(batch.num_rows, RECORD)
        for name, keys in (("sample_id", id_keys(batch.column("sample_id"))), ("owner_id", self.rows.ids[row])):
            out[name] = np.ascontiguousarray(keys.astype(">u8")).view("V16")[:, 0]
        for name in ("start_frame", "frames_available", "history_available", "tokens_text", "tokens_answer", "weight"):
            out[name] = _numbers(batch, name)
        for name in ("language_ref", "images_per_time"):
            values = _numbers(batch, name)
            if len(values) and values.max() > np.iinfo(RECORD[name]).max:
                raise ShardError(
                    f"a sample has {name} {values.max()}; the index holds up to {np.iinfo(RECORD[name]).max}"
                )
            out[name] = values
        names = batch.column("question_template_id").fill_null("").dictionary_encode()
        numbers = [self.templates.setdefault(t, len(self.templates)) for t in names.dictionary.to_pylist()]
        out["template"] = np.array(numbers or [0], np.uint16)[names.indices.to_numpy(zero_copy_only=False)]
        out["directory"] = number
        return out


def look_at(directories: Sequence[ShardDir], rows: Rows, account: Account) -> None:
    """Views and end effectors per embodiment, from a few rows of each kind that is taken: a camera struct holds whole
    trajectories, so not every row is opened for its view names."""
    for number, kind in enumerate(rows.kinds):
        if kind.domain == "vision_text":
            continue
        first = np.flatnonzero((rows.kind == number) & (rows.left_out == "") & ~rows.twin)[:LOOKED_AT]
        for d in np.unique(rows.directory[first]):
            local = first[rows.directory[first] == d] - rows.starts[int(d), "episodes"]
            for record in directories[d].take("episodes", local.tolist(), ["cameras", "action_slots"]):
                views = account.views.setdefault(kind.embodiment, [])
                views += [c["view"] for c in record["cameras"] or [] if c["view"] not in views]
                ends = account.effectors.setdefault(kind.embodiment, [])
                slots = set(record["action_slots"] or [])
                for name, group in (("Grp", GRIPPER), ("Dex", DEXTEROUS)):
                    if slots & set(group) and name not in ends:
                        ends.append(name)


def _numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    return batch.column(name).fill_null(0).to_numpy(zero_copy_only=False)


def _words(batch: pa.RecordBatch, name: str) -> np.ndarray:
    return batch.column(name).to_numpy(zero_copy_only=False)


def _tally(values: dict[str, np.ndarray], which: np.ndarray, once: np.ndarray, task: str) -> Tally:
    """Sums over ``which``; what is shown and said once over ``once``: pictures of generation samples (every start frame
    has one), and a conversation's own pictures and words. Sentences of episodes are counted with their rows."""
    text, supervised = (int(values[name][which].sum()) for name in ("tokens_text", "tokens_answer"))
    talk = task == "vision_text"
    return Tally(
        samples=int(which.sum()), text=text, supervised=supervised,
        images=int(values["images_per_time"][which].sum()) * IMAGE_TIMES[task],
        said=text + supervised if talk else 0,
        shown=int(values["images_per_time"][once].sum()) if talk or task == "motion_generation" else 0,
    )  # fmt: skip
