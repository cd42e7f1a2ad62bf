"""What a shard directory holds, counted by the contract's rules (section 4) without loading a video or a trajectory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.shards import append, tables, tokens
from unihand_data.shards import manifest as mf
from unihand_data.shards.store import Store
from unihand_data.shards.validate import validate

__all__ = ["inspect", "validate"]

_LIGHT = ["episode_id", "parent_id", "source", "embodiment", "licence", "frames", "duration_s"]


def inspect(directory: str | os.PathLike[str], *, storage_options: dict[str, Any] | None = None) -> dict[str, Any]:
    """The one JSON object of ``unihand inspect DIR --json``.

    ``episodes``, ``frames``, ``hours`` and the ``by_*`` groups are unmirrored; ``mirrored`` shows the twins.
    ``samples`` and ``tokens`` count the whole training index, twins included. ``tokens.text`` is what a sample is
    given, ``tokens.supervised`` what it predicts (disjoint); ``tokens.visual`` follows from images per time at 224 px.
    ``frames_with_hand_ratio``: frames with a valid hand over all decoded frames, clips that were rejected included;
    a hand that was only filled in is not counted, in neither of them.

    Raises:
        ShardError: not a shard directory, or a part of it cannot be read.
    """
    store = Store(directory, storage_options)
    manifest = mf.need(store)
    light = tables.open_table(store, "episodes").to_table(columns=_LIGHT)
    twin = pc.not_equal(light["parent_id"], "")
    originals = light.filter(pc.invert(twin))
    rejects = _listed(store, manifest.rejects, None)
    samples = _listed(
        store, manifest.samples, ["task", "tokens_text", "tokens_answer", "images_per_time", "episode_id"]
    )
    conversations = tables.open_table(store, "conversations").to_table(columns=["source", "licence"])
    return {
        "schema_version": manifest.schema_version,
        **{k: manifest.inputs.get(k, 0) for k in ("inputs", "written", "rejected", "ignored")},
        "episodes": originals.num_rows,
        "conversations": conversations.num_rows,
        "frames": _sum(originals, "frames"),
        "hours": _sum(originals, "duration_s") / 3600,
        "samples": _samples(samples),
        "mirrored": _mirrored(light.filter(twin), samples),
        "tokens": _tokens(samples, manifest),
        "by_source": _groups(originals, "source", conversations),
        "by_embodiment": _groups(originals, "embodiment", None),
        "by_licence": _groups(originals, "licence", conversations),
        "rejects": {f"by_{c}": _counts(rejects, c) for c in ("level", "stage", "reason")},
        "hands": {"frames_with_hand_ratio": _hand_ratio(store, rejects)},
    }


def _listed(store: Store, files: list[mf.ParquetFile], columns: list[str] | None) -> pa.Table | None:
    found = [append.read_parquet(store, f.name, columns) for f in files]
    return pa.concat_tables(found) if found else None


def _samples(samples: pa.Table | None) -> dict[str, Any]:
    return {"total": 0 if samples is None else samples.num_rows, "by_task": _counts(samples, "task")}


def _mirrored(twins: pa.Table, samples: pa.Table | None) -> dict[str, Any]:
    mine = 0
    if samples is not None and twins.num_rows:
        mine = pc.sum(pc.is_in(samples["episode_id"], value_set=twins["episode_id"].combine_chunks())).as_py() or 0
    return {
        "episodes": twins.num_rows,
        "frames": _sum(twins, "frames"),
        "hours": _sum(twins, "duration_s") / 3600,
        "samples": mine,
    }


def _tokens(samples: pa.Table | None, manifest: mf.Manifest) -> dict[str, Any]:
    estimate = manifest.tokenizer == tokens.ESTIMATE
    if samples is None:
        return {"text": 0, "visual": 0, "supervised": 0, "estimate": estimate}
    images = 0
    for task, times in tokens.IMAGE_TIMES.items():
        images += times * _sum(samples.filter(pc.equal(samples["task"], task)), "images_per_time")
    return {
        "text": _sum(samples, "tokens_text"),
        "visual": images * tokens.VISUAL_TOKENS[224],
        "supervised": _sum(samples, "tokens_answer"),
        "estimate": estimate,
    }


def _groups(originals: pa.Table, column: str, conversations: pa.Table | None) -> dict[str, dict[str, Any]]:
    """value -> episodes, frames, hours (and conversations where the group has them)."""
    found = originals.group_by(column).aggregate([("frames", "sum"), ("duration_s", "sum"), ([], "count_all")])
    out = {
        g[column]: {"episodes": g["count_all"], "frames": g["frames_sum"], "hours": g["duration_s_sum"] / 3600}
        for g in found.to_pylist()
    }
    for name, n in _counts(conversations, column).items():
        out.setdefault(name, {"episodes": 0, "frames": 0, "hours": 0.0})["conversations"] = n
    return dict(sorted(out.items()))


def _hand_ratio(store: Store, rejects: pa.Table | None) -> float | None:
    """None where no frame was decoded (a directory without human video)."""
    seen = total = 0
    wanted = tables.open_table(store, "episodes").scanner(
        columns=["frames", "hands"], filter="parent_id = '' AND domain = 'human'", batch_size=512
    )
    for batch in wanted.to_batches():
        total += pc.sum(batch["frames"]).as_py() or 0
        for hands in batch["hands"]:
            seen += _frames_with_hand(map(_seen, hands.values)) if hands.is_valid else 0
    if rejects is not None:
        lost = rejects.filter(pc.not_equal(rejects["level"], "row"))  # a row's frames are counted with its clip
        total += _sum(lost, "frames")
        seen += _sum(lost, "frames_with_hand")
    return seen / total if total else None


def _seen(hand: pa.StructScalar) -> pa.BooleanArray:
    return pc.and_not(hand["valid"].values, hand["interpolated"].values)


def _frames_with_hand(valid: Iterable[pa.BooleanArray]) -> int:
    either: pa.BooleanArray | None = None
    for one in valid:
        either = one if either is None else pc.or_(either, one)
    return 0 if either is None else pc.sum(either).as_py() or 0


def _sum(data: pa.Table, column: str) -> Any:
    return pc.sum(data[column]).as_py() or 0


def _counts(data: pa.Table | None, column: str) -> dict[str, int]:
    return {} if data is None else dict(sorted(Counter(data[column].to_pylist()).items()))
