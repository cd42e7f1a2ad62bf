"""Promises about the training index, checked a batch at a time. Part of :mod:`unihand_data.shards.validate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.shards import manifest as mf
from unihand_data.shards import parquet_files
from unihand_data.shards.id_index import IdIndex, id_keys
from unihand_data.shards.store import Store

#: ids whose first 64 bits are held and sorted at once when repeats are looked for: half a gigabyte at most
IDS_AT_ONCE = 1 << 25


@dataclass
class EpisodeFacts:
    """What samples are checked against: of every episode 9 bytes. ``frames`` is 0 where the episode is not valid."""

    rows: IdIndex
    frames: np.ndarray = field(init=False)  # (n,) int32
    sentences: np.ndarray = field(init=False)  # (n,) int32
    split: np.ndarray = field(init=False)  # (n,) int8, a code of ``splits``
    splits: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.rows)
        self.frames, self.sentences = np.zeros(n, np.int32), np.zeros(n, np.int32)
        self.split = np.zeros(n, np.int8)

    def code(self, split: str) -> int:
        return self.splits.setdefault(split, len(self.splits))


def repeated_samples(store: Store, files: list[mf.ParquetFile]) -> Iterator[str]:
    """Sample ids that occur more than once. The id column is read as often as its first halves do not fit into memory,
    and once more when some of these are equal."""
    total = sum(f.rows for f in files)
    passes = max(1, -(-total // IDS_AT_ONCE))
    suspects: list[np.ndarray] = []
    for turn in range(passes):
        found = [keys[keys % passes == turn] if passes > 1 else keys for keys in _first_halves(store, files)]
        keys = np.concatenate(found) if found else np.zeros(0, np.uint64)
        found.clear()
        keys.sort()
        suspects.append(np.unique(keys[1:][keys[1:] == keys[:-1]]))
    suspected = np.sort(np.concatenate(suspects))
    if not len(suspected):
        return
    counts: Counter[str] = Counter()
    for batch in parquet_files.batches(store, files, ["sample_id"]):
        hit = np.isin(id_keys(batch["sample_id"])[:, 0], suspected)
        counts.update(batch["sample_id"].filter(pa.array(hit)).to_pylist())
    yield from (f"sample {i} occurs {n} times" for i, n in counts.items() if n > 1)


def _first_halves(store: Store, files: list[mf.ParquetFile]) -> Iterator[np.ndarray]:
    for batch in parquet_files.batches(store, files, ["sample_id"]):
        yield id_keys(batch["sample_id"])[:, 0].copy()


def check_samples(
    store: Store, files: list[mf.ParquetFile], episodes: EpisodeFacts, conversations: IdIndex
) -> Iterator[str]:
    """Whether every sample lies within its episode, refers to one of its sentences and shares its split, or belongs to
    a conversation that is there. All columns are read, so a damaged file shows itself."""
    for batch in parquet_files.batches(store, files, None):
        owner, talk = batch["episode_id"].fill_null(""), batch["conversation_id"].fill_null("")
        of_talk = pc.not_equal(talk, "").to_numpy(zero_copy_only=False)
        row, there = _look_up(owner, episodes.rows), _look_up(talk, conversations) >= 0
        known = row >= 0
        facts = (episodes.frames, episodes.sentences, episodes.split)
        T, sentences, split = (x[row].astype(np.int64) if len(x) else np.zeros(len(row), np.int64) for x in facts)
        known &= T > 0
        start, ahead, behind, line = (
            batch[c].to_numpy().astype(np.int64)
            for c in ("start_frame", "frames_available", "history_available", "language_ref")
        )
        own = batch["split"].dictionary_encode()
        codes = np.array([episodes.code(s) for s in own.dictionary.to_pylist()] or [0])[own.indices.to_numpy()]
        outside = (start < 0) | (start >= T) | (ahead < 1) | (start + ahead > T) | (behind < 0) | (behind > start)
        no_line = (line < -1) | (line >= sentences)
        names = {code: name for name, code in episodes.splits.items()}
        bad = np.where(of_talk, ~there, ~known | outside | no_line | (codes != split))
        for i in np.flatnonzero(bad).tolist():
            who = f"sample {batch['sample_id'][i]}"
            if of_talk[i]:
                yield f"{who}: conversation {talk[i]} is not in this directory"
                continue
            episode = owner[i]
            if not known[i]:
                yield f"{who}: episode {episode} is not in this directory, or is not valid"
                continue
            if outside[i]:
                yield (
                    f"{who}: frames {start[i] - behind[i]}..{start[i] + ahead[i]} are not within the {T[i]} frames of "
                    f"episode {episode}"
                )
            if no_line[i]:
                yield f"{who}: language_ref {line[i]}, its episode has {sentences[i]} sentences"
            if codes[i] != split[i]:
                yield f"{who}: split {names[int(codes[i])]}, its episode is in {names[int(split[i])]}"


def _look_up(ids: pa.Array, rows: IdIndex) -> np.ndarray:
    """Row numbers, -1 where there is none. Samples of one episode lie together: each id is looked up once."""
    encoded = ids.dictionary_encode()
    if not len(encoded.dictionary):
        return np.full(len(ids), -1, np.int64)
    return rows.rows(encoded.dictionary)[encoded.indices.to_numpy()]
