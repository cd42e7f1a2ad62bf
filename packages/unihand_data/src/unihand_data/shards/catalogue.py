"""What a shard directory holds, counted by the contract's rules (section 4) without loading a video or a trajectory.

Tables are read a batch at a time: memory holds a batch, the counts, and 20 bytes for each mirror twin.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.shards import manifest as mf
from unihand_data.shards import parquet_files, tables, tokens
from unihand_data.shards.id_index import IdIndex
from unihand_data.shards.store import Store
from unihand_data.shards.validate import validate

__all__ = ["inspect", "validate"]

#: data-set file -> check -> [{verdict, text}] of the robot job's data-driven checks
CHECKS = "_job/robot_checks.json"
_GROUPS = ("source", "embodiment", "licence")
_LIGHT = ["episode_id", "parent_id", *_GROUPS, "frames", "duration_s"]
_SAMPLES = ["task", "tokens_text", "tokens_answer", "images_per_time", "episode_id"]
_REJECTS = ["level", "stage", "reason", "frames", "frames_with_hand"]


@dataclass
class _Episodes:
    """Unmirrored episodes and their groups, and the twins."""

    totals: Counter[str] = field(default_factory=Counter)  # count, frames, duration_s
    twins: Counter[str] = field(default_factory=Counter)
    groups: dict[str, dict[str, Counter[str]]] = field(default_factory=lambda: {c: {} for c in _GROUPS})
    twin_ids: IdIndex = field(default_factory=IdIndex)


@dataclass
class _Samples:
    by_task: Counter[str] = field(default_factory=Counter)
    of_twins: int = 0
    text: int = 0
    answer: int = 0
    images: int = 0


@dataclass
class _Rejects:
    by: dict[str, Counter[str]] = field(default_factory=lambda: {c: Counter() for c in ("level", "stage", "reason")})
    frames: int = 0  # of clips and items
    frames_with_hand: int = 0


def inspect(directory: str | os.PathLike[str], *, storage_options: dict[str, Any] | None = None) -> dict[str, Any]:
    """The one JSON object of ``unihand inspect DIR --json``.

    ``episodes``, ``frames``, ``hours`` and the ``by_*`` groups are unmirrored; ``mirrored`` shows the twins.
    ``samples`` and ``tokens`` count the whole training index, twins included. ``tokens.text`` is what a sample is
    given, ``tokens.supervised`` what it predicts (disjoint); ``tokens.visual`` follows from images per time at 224 px.
    ``frames_with_hand_ratio``: frames with a valid hand over all decoded frames, clips that were rejected included;
    a hand that was only filled in is not counted, in neither of them. ``data_checks``, of a directory of the
    robot job: what its checks of units and signs found about each data-set file.

    Raises:
        ShardError: not a shard directory, or a part of it cannot be read.
    """
    store = Store(directory, storage_options)
    manifest = mf.need(store)
    episodes = _read_episodes(store)
    samples = _read_samples(store, manifest, episodes.twin_ids)
    rejects = _read_rejects(store, manifest)
    talks, by = _read_conversations(store)
    twins = episodes.twins
    return {
        "schema_version": manifest.schema_version,
        **{k: manifest.inputs.get(k, 0) for k in ("inputs", "written", "rejected", "ignored")},
        "episodes": episodes.totals["count"],
        "conversations": talks,
        "frames": episodes.totals["frames"],
        "hours": episodes.totals["duration_s"] / 3600,
        "samples": {"total": samples.by_task.total(), "by_task": dict(sorted(samples.by_task.items()))},
        "mirrored": {
            "episodes": twins["count"],
            "frames": twins["frames"],
            "hours": twins["duration_s"] / 3600,
            "samples": samples.of_twins,
        },
        "tokens": {
            "text": samples.text,
            "visual": samples.images * tokens.VISUAL_TOKENS[224],
            "supervised": samples.answer,
            "estimate": manifest.tokenizer == tokens.ESTIMATE,
        },
        **{f"by_{name}": _group(episodes.groups[name], by.get(name, Counter())) for name in _GROUPS},
        "rejects": {f"by_{c}": dict(sorted(counts.items())) for c, counts in rejects.by.items()},
        "hands": {"frames_with_hand_ratio": _hand_ratio(store, rejects)},
        **({"data_checks": json.loads(store.read(CHECKS))} if store.exists(CHECKS) else {}),
    }


def _read_episodes(store: Store) -> _Episodes:
    out = _Episodes()

    def twin_ids() -> Iterator[pa.Array]:
        for batch in tables.batches(tables.open_table(store, "episodes"), _LIGHT):
            data = pa.Table.from_batches([batch])
            twin = pc.not_equal(data["parent_id"], "")
            originals, twins = data.filter(pc.invert(twin)), data.filter(twin)
            _add(out.totals, originals)
            _add(out.twins, twins)
            for column, groups in out.groups.items():
                sums = originals.group_by(column).aggregate(
                    [("frames", "sum"), ("duration_s", "sum"), ([], "count_all")]
                )
                for g in sums.to_pylist():
                    entry = groups.setdefault(g[column], Counter())
                    entry["count"] += g["count_all"]
                    entry["frames"] += g["frames_sum"]
                    entry["duration_s"] += g["duration_s_sum"]
            yield twins["episode_id"]

    out.twin_ids = IdIndex(twin_ids())
    return out


def _add(counts: Counter[str], data: pa.Table) -> None:
    counts["count"] += data.num_rows
    counts["frames"] += _sum(data["frames"])
    counts["duration_s"] += _sum(data["duration_s"])


def _read_samples(store: Store, manifest: mf.Manifest, twins: IdIndex) -> _Samples:
    out = _Samples()
    for batch in parquet_files.batches(store, manifest.samples, _SAMPLES):
        tasks = batch["task"].dictionary_encode()
        images = np.zeros(len(tasks.dictionary), np.int64)
        np.add.at(images, tasks.indices.to_numpy(), batch["images_per_time"].to_numpy())
        numbers = np.bincount(tasks.indices.to_numpy(), minlength=len(images))
        for task, n, of_task in zip(tasks.dictionary.to_pylist(), numbers.tolist(), images.tolist()):
            out.by_task[task] += n
            out.images += tokens.IMAGE_TIMES.get(task, 0) * of_task
        out.text += _sum(batch["tokens_text"])
        out.answer += _sum(batch["tokens_answer"])
        if len(twins):
            owners = batch["episode_id"].dictionary_encode()  # samples of one episode lie together
            out.of_twins += int((twins.rows(owners.dictionary) >= 0)[owners.indices.to_numpy()].sum())
    return out


def _read_rejects(store: Store, manifest: mf.Manifest) -> _Rejects:
    out = _Rejects()
    for batch in parquet_files.batches(store, manifest.rejects, _REJECTS):
        for column, counts in out.by.items():
            counts.update(_counts(batch[column]))
        lost = batch.filter(pc.not_equal(batch["level"], "row"))  # a row's frames are counted with its clip
        out.frames += _sum(lost["frames"])
        out.frames_with_hand += _sum(lost["frames_with_hand"])
    return out


def _read_conversations(store: Store) -> tuple[int, dict[str, Counter[str]]]:
    """How many there are, and column -> value -> how many."""
    total, by = 0, {"source": Counter[str](), "licence": Counter[str]()}
    for batch in tables.batches(tables.open_table(store, "conversations"), list(by)):
        total += batch.num_rows
        for column, counts in by.items():
            counts.update(_counts(batch[column]))
    return total, by


def _group(groups: dict[str, Counter[str]], conversations: Counter[str]) -> dict[str, dict[str, Any]]:
    """value -> episodes, frames, hours (and conversations where the group has them)."""
    out: dict[str, dict[str, Any]] = {
        name: {"episodes": g["count"], "frames": g["frames"], "hours": g["duration_s"] / 3600}
        for name, g in groups.items()
    }
    for name, n in conversations.items():
        out.setdefault(name, {"episodes": 0, "frames": 0, "hours": 0.0})["conversations"] = n
    return dict(sorted(out.items()))


def _hand_ratio(store: Store, rejects: _Rejects) -> float | None:
    """None where no frame was decoded (a directory without human video)."""
    seen, total = rejects.frames_with_hand, rejects.frames
    wanted = tables.batches(
        tables.open_table(store, "episodes"),
        ["frames", "hands"],
        where="parent_id = '' AND domain = 'human'",
        rows=512,
    )
    for batch in wanted:
        total += _sum(batch["frames"])
        seen += frames_with_hand(batch["frames"].to_numpy(), batch["hands"])
    return seen / total if total else None


def frames_with_hand(frames: np.ndarray, hands: pa.ListArray) -> int:
    """Frames of the rows that show a hand; one that was only filled in does not count.

    Args:
        frames: (n,) frames of each row. hands: (n,) its hands, ``valid`` and ``interpolated`` by frame.
    """
    first = np.concatenate([[0], np.cumsum(frames, dtype=np.int64)])
    row_of = pc.list_parent_indices(hands).to_numpy()
    each = hands.flatten()
    seen = np.zeros(first[-1], bool)
    valid, filled = (each.field(name) for name in ("valid", "interpolated"))
    flags = pc.and_not(valid.flatten(), filled.flatten()).to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(valid).fill_null(0).to_numpy()
    # Frame k of a hand is frame k of its row: the place in the batch is the row's first frame plus k.
    within = np.arange(len(flags)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    at = np.repeat(first[row_of], lengths) + within
    seen[at[flags]] = True
    return int(seen.sum())


def _sum(values: pa.Array | pa.ChunkedArray) -> Any:
    return pc.sum(values).as_py() or 0


def _counts(values: pa.Array) -> dict[str, int]:
    return {pair["values"]: pair["counts"] for pair in pc.value_counts(values).to_pylist()}


def check_lines(checks: dict[str, dict[str, list[dict[str, str]]]]) -> list[str]:
    """A sentence for every finding of ``data_checks``; what was not checked says why."""
    return [
        f"{name}: {check} {finding['verdict'].replace('_', ' ')}: {finding['text']}"
        for name, by_check in sorted(checks.items())
        for check, findings in by_check.items()
        for finding in findings
    ]
