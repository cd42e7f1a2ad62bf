"""Every episode and conversation of all inputs as flat arrays: what selection decides on. No trajectory, no video."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.curate.conversations.rows import normalised
from unihand_data.recipe.directory import ShardDir, check_ids
from unihand_data.recipe.idle import IdleFrames, Spans, all_idle, idle_frames
from unihand_data.recipe.motions import MotionReader, Motions
from unihand_data.shards.id_index import IdIndex, id_keys

EPISODE_COLUMNS = (
    "episode_id", "parent_id", "recording_id", "source", "domain", "origin", "embodiment", "licence", "shareable",
    "split", "rate_hz", "frames", "duration_s", "language", "events",
)  # fmt: skip


class Kind(NamedTuple):
    """What rows of a stratum have in common, apart from the task. ``origin`` and ``embodiment`` are empty for
    vision-text, ``pillar`` is empty for the others."""

    domain: str
    source: str
    origin: str
    embodiment: str
    pillar: str


@dataclass
class Rows:
    """Episodes and conversations, in the order of the inputs. All arrays are (R,).

    ``kind`` indexes ``kinds``; ``parent`` is the row a mirror twin was made from (-1: none); ``recording`` is a hash of
    the recording (for a conversation its own id). ``left_out`` names why a row is not trained on, "" where it is.
    ``motions`` are the signatures of robot episodes, ``regroup`` (2, G) rows and what they share a split with beyond
    their recording, ``idle`` start frames at which nothing happens. ``max_weight``: source -> the cap its data-set file
    hints at. ``unsaid``: directory -> conversations that do not say whether they may leave the machine (they count as
    not ``shareable``). ``notes``: what a person should know.
    """

    kinds: list[Kind]
    directory: np.ndarray
    kind: np.ndarray
    ids: np.ndarray  # (R, 2) uint64
    recording: np.ndarray  # uint64
    twin: np.ndarray  # bool
    parent: np.ndarray
    split: np.ndarray  # str
    licence: np.ndarray  # str
    shareable: np.ndarray
    rate_hz: np.ndarray
    frames: np.ndarray
    hours: np.ndarray
    said: np.ndarray  # text tokens (bytes / 4) of an episode's sentences, each once and without paraphrases
    starts: dict[tuple[int, str], int]  # (directory, table) -> first row
    lookups: dict[tuple[int, str], IdIndex]
    motions: Motions = field(default_factory=Motions)
    regroup: np.ndarray = field(default_factory=lambda: np.zeros((2, 0), "u8"))
    idle: IdleFrames = field(default_factory=IdleFrames)
    max_weight: dict[str, float] = field(default_factory=dict)
    unsaid: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    questions: tuple[np.ndarray, np.ndarray] = field(default_factory=lambda: (np.zeros(0, "u8"), np.zeros(0, np.int64)))
    pictures: tuple[np.ndarray, np.ndarray] = field(default_factory=lambda: (np.zeros(0, "u8"), np.zeros(0, np.int64)))
    left_out: np.ndarray = field(default_factory=lambda: np.zeros(0, object))

    def column(self, name: str) -> np.ndarray:
        """(R,) str: a field of each row's kind."""
        return np.array([getattr(k, name) for k in self.kinds] or [""])[self.kind]

    def find(self, directory: int, table: str, ids: pa.Array) -> np.ndarray:
        """Ids of one directory -> (M,) row numbers; -1 where there is none."""
        found = self.lookups[directory, table].rows(ids)
        return np.where(found >= 0, found + self.starts[directory, table], -1)


def text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def load_rows(directories: Sequence[ShardDir], idle_chunk_s: float | None = None) -> Rows:
    """One pass over the light columns of every directory; of robot episodes also their provenance.

    Args:
        idle_chunk_s: seconds that a start frame's chunk lasts, to find idle ones; None: they are not looked for.

    Raises:
        ShardError: a table that cannot be read, or ids that are not the contract's.
    """
    collect = _Collect()
    for number, directory in enumerate(directories):
        collect.begin(number, "episodes")
        for batch in directory.rows("episodes", EPISODE_COLUMNS):
            collect.episodes(batch, directory.store.url)
        collect.end(number, "episodes")
        collect.provenance(number, directory)
        if idle_chunk_s is not None:
            start = collect.starts[number, "episodes"]
            collect.idle.append(idle_frames(collect.spans, directory, start, idle_chunk_s))
        collect.begin(number, "conversations")
        columns = ["conversation_id", "source", "pillar", "licence", "split", "media", "turns"]
        columns += ["shareable"] if directory.has("conversations", "shareable") else []
        for batch in directory.rows("conversations", columns, batch=8192):
            collect.conversations(batch, directory.store.url)
        collect.end(number, "conversations")
    return collect.result()


class _Collect:
    def __init__(self) -> None:
        self.kinds: dict[Kind, int] = {}
        self.parts: dict[str, list[np.ndarray]] = {}
        self.starts: dict[tuple[int, str], int] = {}
        self.lookups: dict[tuple[int, str], IdIndex] = {}
        self.motions = MotionReader()
        self.spans = Spans()
        self.idle: list[IdleFrames] = []
        self.unsaid: Counter[str] = Counter()
        self.shown: list[np.ndarray] = []  # media of conversations, the rows that show them, and whether those may not
        self.showers: list[np.ndarray] = []
        self.locked: list[np.ndarray] = []
        self.questions: list[np.ndarray] = []
        self.askers: list[np.ndarray] = []
        self.texts: list[pa.Array] = []
        self.parents: list[pa.Array] = []
        self.rows = self.number = 0

    def begin(self, number: int, table: str) -> None:
        self.number, self.starts[number, table] = number, self.rows
        self.texts, self.parents, self.spans = [], [], Spans()

    def end(self, number: int, table: str) -> None:
        """Index the ids of this table, then find the parents that twins name."""
        start = self.starts[number, table]
        self.lookups[number, table] = IdIndex(self.texts)
        for named in self.parents:
            found = self.lookups[number, table].rows(named)
            self.parts.setdefault("parent", []).append(np.where(found >= 0, found + start, -1))

    def episodes(self, batch: pa.RecordBatch, url: str) -> None:
        column = {name: batch.column(name).to_pylist() for name in EPISODE_COLUMNS[2:10]}
        n = batch.num_rows
        keys = zip(column["domain"], column["source"], column["origin"], column["embodiment"])
        self.parents.append(batch.column("parent_id"))
        self.spans.add(batch.column("events"), self.rows - self.starts[self.number, "episodes"])
        self._add(
            n,
            ids=self._ids(batch.column("episode_id"), f"{url}: episode_id"),
            kind=np.array([self._kind(Kind(*key, "")) for key in keys], np.int64),
            recording=np.array([text_hash(r) for r in column["recording_id"]], np.uint64),
            twin=np.array([bool(p) for p in batch.column("parent_id").to_pylist()], bool),
            split=_words(column["split"]),
            licence=_words(column["licence"]),
            shareable=np.array(column["shareable"], bool),
            rate_hz=batch.column("rate_hz").to_numpy(zero_copy_only=False),
            frames=batch.column("frames").to_numpy(zero_copy_only=False).astype(np.int64),
            hours=batch.column("duration_s").to_numpy(zero_copy_only=False) / 3600,
            said=_said(batch.column("language")),
        )

    def conversations(self, batch: pa.RecordBatch, url: str) -> None:
        n = batch.num_rows
        ids = self._ids(batch.column("conversation_id"), f"{url}: conversation_id")
        records = batch.drop_columns(["conversation_id"]).to_pylist()
        for i, record in enumerate(records):
            asked = np.unique(np.array(question_hashes(record["media"], record["turns"]), np.uint64))
            self.questions.append(asked)
            self.askers.append(np.full(len(asked), self.rows + i))
            self.unsaid[url] += record.get("shareable") is None
        pictures = [text_hash(m["media_id"]) for r in records for m in r["media"] or []]
        self.shown.append(np.array(pictures, np.uint64))
        self.showers.append(np.repeat(np.arange(n) + self.rows, [len(r["media"] or []) for r in records]))
        self.locked.append(np.array([r.get("shareable") is False for r in records for _ in r["media"] or []], bool))
        self._add(
            n,
            ids=ids,
            parent=np.full(n, -1),
            kind=np.array([self._kind(Kind("vision_text", r["source"], "", "", r["pillar"])) for r in records]),
            recording=ids[:, 0] ^ ids[:, 1],
            twin=np.zeros(n, bool),
            split=_words([r["split"] for r in records]),
            licence=_words([r["licence"] for r in records]),
            shareable=np.array([bool(r.get("shareable")) for r in records], bool),
            rate_hz=np.ones(n),
            frames=np.zeros(n, np.int64),
            hours=np.zeros(n),
            said=np.zeros(n, np.int64),
        )

    def provenance(self, number: int, directory: ShardDir) -> None:
        """Motion signatures, split groups and hints of robot rows, where the job that wrote them left some."""
        start = self.starts[number, "episodes"]
        if not any(k.domain == "robot" for k in self.kinds):
            return
        columns = ["episode_id", "embodiment", "source", "provenance"]
        for batch in directory.rows("episodes", columns, "domain = 'robot'", batch=4096):
            found = start + self.lookups[number, "episodes"].rows(batch.column("episode_id"))
            rest = (batch.column(name).to_pylist() for name in columns[1:])
            for row, embodiment, source, text in zip(found.tolist(), *rest):
                self.motions.add(row, embodiment, source, text, directory.store.url)

    def _ids(self, ids: pa.Array, what: str) -> np.ndarray:
        check_ids(ids, what)
        self.texts.append(ids)
        return id_keys(ids)

    def _kind(self, kind: Kind) -> int:
        return self.kinds.setdefault(kind, len(self.kinds))

    def _add(self, n: int, **columns: np.ndarray) -> None:
        for name, values in columns.items():
            self.parts.setdefault(name, []).append(values)
        self.parts.setdefault("directory", []).append(np.full(n, self.number))
        self.rows += n

    def result(self) -> Rows:
        def joined(name: str, empty: np.ndarray) -> np.ndarray:
            return np.concatenate(self.parts[name]) if self.parts.get(name) else empty

        whole, real = np.zeros(0, np.int64), np.zeros(0)
        empty = {"ids": np.zeros((0, 2), "u8"), "split": np.zeros(0, object), "licence": np.zeros(0, object)}
        names = ("directory", "kind", "recording", "twin", "parent", "shareable", "rate_hz", "frames", "hours", "said")
        flat: dict[str, Any] = {n: joined(n, real if n in ("rate_hz", "hours") else whole) for n in names} | {
            n: joined(n, e) for n, e in empty.items()
        }
        shown, showers = np.zeros(0, "u8"), whole
        if self.shown:  # corpora of different licences share pictures: what one row may not take away, no row takes
            shown, showers = np.concatenate(self.shown), np.concatenate(self.showers)
            flat["shareable"][showers[np.isin(shown, shown[np.concatenate(self.locked)])]] = False
        asked = np.concatenate(self.questions) if self.questions else np.zeros(0, "u8")
        askers = np.concatenate(self.askers) if self.askers else whole
        return Rows(
            list(self.kinds), **flat, starts=self.starts,
            lookups=self.lookups, motions=self.motions.result(),
            regroup=np.array(self.motions.groups, "u8").reshape(-1, 2).T, idle=all_idle(self.idle),
            max_weight=self.motions.max_weight, unsaid={k: n for k, n in self.unsaid.items() if n},
            questions=(asked, askers), pictures=(shown, showers), left_out=np.full(self.rows, "", object),
        )  # fmt: skip


def _words(values: list[str]) -> np.ndarray:
    """Few words, many rows: one string object for each word."""
    return np.array([sys.intern(v) for v in values], object)


def _said(language: pa.ListArray) -> np.ndarray:
    """(N,) tokens of the sentences of each row by bytes / 4, paraphrases left out."""
    lines = language.flatten()
    own = pc.equal(lines.field("paraphrase_id").fill_null(0), 0).to_numpy(zero_copy_only=False)
    size = pc.binary_length(lines.field("text")).fill_null(0).to_numpy(zero_copy_only=False)
    count = pc.list_value_length(language).fill_null(0).to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(language)), count)
    return np.bincount(row, weights=np.ceil(size / 4) * own, minlength=len(language)).astype(np.int64)


def question_hashes(media: list[dict[str, Any]], turns: list[dict[str, str]]) -> list[int]:
    """64-bit hash of (images, question) for each question of a conversation, words compared as the vision-text job
    compares them, images by content. Without an image the answers belong to the hash: many talks ask "Continue."."""
    about = "|".join(m["media_id"] + str(m.get("times") or "") for m in media or [])
    if not media:
        about = "\x1f".join(normalised(t["text"]) for t in turns or [] if t["role"] == "assistant")
    return [text_hash(about + "\x1f" + normalised(t["text"])) for t in turns or [] if t["role"] == "user"]
