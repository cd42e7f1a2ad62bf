"""What the report says about all episodes at once, gathered in one pass whose memory does not grow with them.

Counts, sums and minima are exact. A figure's median and histogram are those of all values up to ``KEPT`` episodes, and
of ``KEPT`` of them beyond: the ones with the smallest ids, which are hashes, so this is a fair draw and every machine
draws the same. Distinct sentences are counted exactly up to ``KEPT`` and estimated beyond from the ``KEPT`` smallest
hashes (k minimum values, Bar-Yossef et al. 2002): 0.2 % standard error.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.shards.id_index import id_keys
from unihand_data.shards.parquet_files import batches, open_file
from unihand_data.shards.reader import ShardReader

KEPT = 200_000


class Figure:
    """One figure of all episodes: how many finite values, the smallest, and up to ``kept`` of them."""

    def __init__(self, kept: int = KEPT):
        self.kept, self.count, self.low = kept, 0, np.inf
        self._keys, self._values = np.zeros(0, np.uint64), np.zeros(0)

    def add(self, keys: np.ndarray, values: np.ndarray) -> None:
        """``keys``: (n,) uint64 hashes of what the ``values`` (n,) belong to; which are kept depends on these alone."""
        finite = np.isfinite(values)
        keys, values = keys[finite], values[finite]
        self.count += len(values)
        self.low = min(self.low, float(values.min(initial=np.inf)))
        self._keys, self._values = np.concatenate([self._keys, keys]), np.concatenate([self._values, values])
        if len(self._keys) > 2 * self.kept:
            self._cut()

    def _cut(self) -> None:
        if len(self._keys) > self.kept:
            smallest = np.argsort(self._keys, kind="stable")[: self.kept]
            self._keys, self._values = self._keys[smallest], self._values[smallest]

    @property
    def values(self) -> np.ndarray:
        """All finite values, or ``kept`` of them."""
        self._cut()
        return self._values


class Distinct:
    """How many different texts there are."""

    def __init__(self, kept: int = KEPT):
        self.kept, self.total = kept, 0
        self._hashes = np.zeros(0, np.uint64)

    def add(self, texts: pa.Array) -> None:
        self.total += len(texts)
        hashes = pl.Series(texts).hash().to_numpy()
        self._hashes = np.unique(np.concatenate([self._hashes, hashes]))[: self.kept + 1]

    @property
    def exact(self) -> bool:
        return len(self._hashes) <= self.kept

    @property
    def count(self) -> int:
        """Exact, or an estimate from how densely the smallest hashes lie."""
        return len(self._hashes) if self.exact else round(self.kept / (float(self._hashes[self.kept]) / 2.0**64))


@dataclass
class Tally:
    """Of unmirrored episodes: figures by name, episodes by (source, licence, shareable), sentences by text source.
    ``clips`` are ids to show: the first by id, and one mirror twin of these. ``dropped``: figures of clips
    that a filter dropped, as far as it and the filters before it measured them."""

    figures: dict[str, Figure] = field(default_factory=lambda: defaultdict(Figure))
    dropped: dict[str, Figure] = field(default_factory=lambda: defaultdict(Figure))
    by_source: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    sentences: dict[str, Distinct] = field(default_factory=lambda: defaultdict(Distinct))
    clips: list[str] = field(default_factory=list)


def tally(reader: ShardReader, figures: Collection[str], clips: int) -> Tally:
    """One pass over the episodes, without trajectories, and one over their ids for the twin.

    Args:
        figures: names of quality figures that are wanted.
        clips: how many episodes to choose.
    """
    out = Tally()
    columns = ["episode_id", "parent_id", "source", "licence", "shareable", "quality", "language"]
    for batch in reader.episode_batches(columns, rows=1024):
        rows = batch.filter(pc.equal(batch["parent_id"], ""))
        out.clips = sorted([*out.clips, *_below(rows["episode_id"], out.clips, clips)])[:clips]
        groups = (
            pa.Table.from_batches([rows]).group_by(["source", "licence", "shareable"]).aggregate([([], "count_all")])
        )
        for g in groups.to_pylist():
            out.by_source[(g["source"], g["licence"], bool(g["shareable"]))] += g["count_all"]
        _add_figures(out, rows, figures)
        _add_sentences(out, rows["language"].flatten())
    out.clips += _twin(reader, out.clips)
    _add_dropped(out, reader, figures)
    return out


def _below(ids: pa.Array, best: list[str], count: int) -> list[str]:
    """Those that may be among the ``count`` first."""
    return (ids.filter(pc.less(ids, best[-1])) if count and len(best) == count else ids).to_pylist()


def _twin(reader: ShardReader, parents: list[str]) -> list[str]:
    """The first mirror twin of the first of ``parents`` that has one, to see that it is one."""
    found: list[tuple[str, str]] = []
    for batch in reader.episode_batches(["parent_id", "episode_id"]) if parents else ():
        twins = batch.filter(pc.is_in(batch["parent_id"], value_set=pa.array(parents, pa.string())))
        found += zip(twins["parent_id"].to_pylist(), twins["episode_id"].to_pylist())
    return [min(found)[1]] if found else []


def _add_figures(out: Tally, rows: pa.RecordBatch, wanted: Collection[str]) -> None:
    quality = rows["quality"]
    keys = id_keys(rows["episode_id"])[:, 0][pc.list_parent_indices(quality).to_numpy()]
    each = quality.flatten()
    values = each.field("value").to_numpy(zero_copy_only=False)
    names = each.field("name").dictionary_encode()
    codes = names.indices.to_numpy(zero_copy_only=False)
    for code, name in enumerate(names.dictionary.to_pylist()):
        if name in wanted:
            out.figures[name].add(keys[codes == code], values[codes == code])


def _add_dropped(out: Tally, reader: ShardReader, wanted: Collection[str]) -> None:
    for file in reader.manifest.rejects:
        with open_file(reader.store, file.name) as source:
            known = "figures" in source.schema_arrow.names  # else written before rejects had figures
        for batch in batches(reader.store, [file], ["source_uri", "figures"], rows=8192) if known else ():
            rows = batch.filter(pc.not_equal(pc.fill_null(batch["figures"], ""), ""))
            hashes = pl.Series(rows["source_uri"]).hash().to_numpy()
            found: dict[str, tuple[list[int], list[float]]] = {}
            for key, text in zip(hashes.tolist(), rows["figures"].to_pylist()):
                for name, value in json.loads(text).items():
                    keys, values = found.setdefault(name, ([], []))
                    keys.append(key)
                    values.append(value)
            for name in found.keys() & set(wanted):
                keys, values = found[name]
                out.dropped[name].add(np.array(keys, np.uint64), np.array(values, float))


def _add_sentences(out: Tally, language: pa.Array) -> None:
    sources, texts = language.field("text_source"), language.field("text")
    for source in sources.unique().to_pylist():
        out.sentences[source].add(texts.filter(pc.equal(sources, source)))


def reject_table(reader: ShardReader) -> list[dict[str, Any]]:
    """Rejects by level, stage and reason, most frequent first: how many, of how many seconds, and the first message."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    names = ["level", "stage", "reason"]
    for batch in batches(reader.store, reader.manifest.rejects, [*names, "message", "duration_s"]):
        data = pa.Table.from_batches([batch])
        sums = data.group_by(names, use_threads=False).aggregate(
            [([], "count_all"), ("duration_s", "sum"), ("message", "first")]
        )
        for g in sums.to_pylist():
            key = (g["level"], g["stage"], g["reason"])
            entry = groups.setdefault(key, {"count": 0, "seconds": 0.0, "example": g["message_first"]})
            entry["count"] += g["count_all"]
            entry["seconds"] += g["duration_s_sum"]
    return [
        {"level": level, "stage": stage, "reason": reason, **entry, "seconds": f"{entry['seconds']:.1f}"}
        for (level, stage, reason), entry in sorted(groups.items(), key=lambda item: -item[1]["count"])
    ]
