"""The unit regime of an SO-100 or SO-101 set, from the statistics its ``meta/`` brings or from a few of its files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from unihand_data.errors import Reject
from unihand_data.sources import isolated
from unihand_data.sources.robot.readers.lerobot_info import Info
from unihand_data.sources.robot.readers.lerobot_tables import entries
from unihand_data.sources.robot.so100_units import JOINTS, ROBOTS, Figures, Verdict, classify
from unihand_data.untrusted import tables

STATE = "observation.state"
_EPISODES = 5


def verdict(base: str, info: Info) -> Verdict | None:
    """None for another robot. Raises ``Reject`` for a damaged table."""
    state = info.features.get(STATE)
    if state is None or state.width != JOINTS + 1 or not ROBOTS.fullmatch(info.robot_type):
        return None
    figures = _from_meta(base) or _from_rows(base, info)
    if figures is None:
        return Verdict("ambiguous", "units of the joints: neither statistics nor rows to tell by")
    return classify(figures, state.names)


def _from_meta(base: str) -> Figures | None:
    """``stats.json`` (v2.0, v3.0), or ``episodes_stats.jsonl`` (v2.1) pooled."""
    if os.path.isfile(f"{base}/meta/stats.json"):
        return _pooled([tables.read_json(f"{base}/meta/stats.json")])
    if os.path.isfile(f"{base}/meta/episodes_stats.jsonl"):
        rows = tables.read_jsonl(f"{base}/meta/episodes_stats.jsonl")
        return _pooled([r.get("stats") for r in rows if isinstance(r, dict)])
    return None


def _pooled(parts: list[Any]) -> Figures | None:
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, float]] = []
    for part in parts:
        found = part.get(STATE) if isinstance(part, dict) else None
        if not isinstance(found, dict):
            continue
        try:
            a, b, c = (np.asarray(found[k], np.float64).ravel() for k in ("min", "max", "mean"))
            n = float(np.asarray(found.get("count", 1.0), np.float64).ravel()[0])
        except (KeyError, ValueError, TypeError, IndexError):
            continue
        if len(a) == len(b) == len(c) == JOINTS + 1 and n > 0:
            rows.append((a, b, c, n))
    if not rows:
        return None
    low, high, mean, weight = zip(*rows)
    return Figures(np.min(low, axis=0), np.max(high, axis=0), np.average(mean, axis=0, weights=weight))


def _from_rows(base: str, info: Info) -> Figures | None:
    rows = []
    for entry in entries(base, info)[:_EPISODES]:
        try:
            table = isolated.parquet_rows(f"{base}/{entry.data}", [STATE])
        except Reject:  # the episode itself will say so
            continue
        x = table["numbers"].get(STATE)
        if x is not None and x.ndim == 2 and x.shape[1] == JOINTS + 1 and len(x):
            rows.append(x)
    return Figures.of(np.concatenate(rows)) if rows else None
