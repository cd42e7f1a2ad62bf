"""Rows that say the same thing twice, over all inputs. Of rows that are not left out for another reason (licence,
weight, fraction), the first in the order of the inputs stays, and what stands in ``val`` or ``test`` comes before
``train``: a copy of a test episode is never trained on.

- an id that occurs again (the same episode or conversation in two directories);
- a recording that occurs again in another directory or source (a re-upload, a copy inside a collection);
- a near duplicate: a robot episode of another source or directory whose motion signature shares a band with an earlier
  one of the same embodiment, lasts as long, and lies close to it (the bands are a locality-sensitive hash that the
  robot job writes, so only rows of one bucket are compared);
- a conversation all of whose questions were asked before about the same images.

Mirror twins follow their parent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from unihand_data.recipe.rows import Rows, Signature
from unihand_data.recipe.settings import Duplicates

#: rows of one bucket that a further one is compared with; a bucket that holds more is one motion repeated
BUCKET_MOST = 64


def mark_duplicates(rows: Rows, settings: Duplicates) -> None:
    """Set ``left_out`` of every duplicate: ``same_id``, ``same_recording``, ``near_duplicate``, ``same_question``."""
    _mark(rows, _on(rows, lambda at: _later_of(rows.ids[at])), "same_id")
    if settings.recordings:
        _mark(rows, _on(rows, lambda at: _recordings(rows, at)), "same_recording")
    if settings.near_distance is not None and rows.signatures:
        _mark(rows, _near(rows, settings.near_distance, settings.near_duration), "near_duplicate")
    if settings.conversations and len(rows.questions[0]):
        _mark(rows, _asked_before(rows), "same_question")
    twins = np.flatnonzero(rows.parent >= 0)
    of_parent = rows.left_out[rows.parent[twins]]
    follow = (of_parent != "") & (rows.left_out[twins] == "")
    rows.left_out[twins[follow]] = of_parent[follow]


def _on(rows: Rows, judge: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(R,) bool: ``judge`` on the rows that are still in, in their order."""
    at = _order(rows)
    out = np.zeros(len(rows.left_out), bool)
    out[at] = judge(at)
    return out


def _order(rows: Rows) -> np.ndarray:
    """Rows that are still in: held-out ones first, then by input."""
    live = np.flatnonzero(rows.left_out == "")
    return live[np.argsort(rows.split[live] == "train", kind="stable")]


def _rank(rows: Rows) -> np.ndarray:
    """(R,) place in :func:`_order`, -1 for rows that are out."""
    order, rank = _order(rows), np.full(len(rows.left_out), -1)
    rank[order] = np.arange(len(order))
    return rank


def _mark(rows: Rows, which: np.ndarray, reason: str) -> None:
    rows.left_out[which & (rows.left_out == "")] = reason


def _later_of(ids: np.ndarray) -> np.ndarray:
    """(R,) bool: an equal row of the (R, 2) ids comes earlier."""
    order = np.lexsort((np.arange(len(ids)), ids[:, 1], ids[:, 0]))
    same = (ids[order][1:] == ids[order][:-1]).all(axis=1)
    out = np.zeros(len(ids), bool)
    out[order[1:][same]] = True
    return out


def _recordings(rows: Rows, at: np.ndarray) -> np.ndarray:
    """(len(at),) bool: the recording belongs to an earlier (directory, source)."""
    source = np.unique(rows.column("source"), return_inverse=True)[1] if len(rows.kind) else np.zeros(0, np.int64)
    owner = rows.directory * (source.max(initial=0) + 1) + source
    owner = owner[at]
    _, first, inverse = np.unique(rows.recording[at], return_index=True, return_inverse=True)
    return (owner != owner[first][inverse]) & (rows.column("domain")[at] != "vision_text")


def _near(rows: Rows, distance: float, duration: float) -> np.ndarray:
    """(R,) bool by bands and vectors; compared with rows that stay only, so a chain of small steps is not one group."""
    out = np.zeros(len(rows.kind), bool)
    buckets: dict[tuple[int, str, int], list[Signature]] = defaultdict(list)
    kinds = rows.kinds
    rank = _rank(rows)
    for new in sorted((s for s in rows.signatures if rank[s.row] >= 0), key=lambda s: rank[s.row]):
        kind = kinds[rows.kind[new.row]]
        keys = [(number, kind.embodiment, band) for number, band in enumerate(new.bands)]
        place = (rows.directory[new.row], kind.source)
        for old in (o for key in keys for o in buckets[key]):
            elsewhere = (rows.directory[old.row], kinds[rows.kind[old.row]].source) != place
            if elsewhere and _alike(old, new, distance, duration):
                out[new.row] = True
                break
        else:
            for key in keys:
                if len(buckets[key]) < BUCKET_MOST:
                    buckets[key].append(new)
    return out


def _alike(a: Signature, b: Signature, distance: float, duration: float) -> bool:
    if len(a.vector) != len(b.vector) or abs(a.duration - b.duration) > duration * max(a.duration, b.duration):
        return False
    size = max(float(np.linalg.norm(a.vector)), float(np.linalg.norm(b.vector)), 1e-9)
    return float(np.linalg.norm(a.vector - b.vector)) <= distance * size


def _asked_before(rows: Rows) -> np.ndarray:
    """(R,) bool: conversations none of whose questions they are the first to ask."""
    asked, askers = rows.questions
    rank = _rank(rows)
    keep = rank[askers] >= 0
    asked, askers = asked[keep], askers[keep]
    by_rank = np.argsort(rank[askers], kind="stable")
    asked, askers = asked[by_rank], askers[by_rank]
    _, first, inverse = np.unique(asked, return_index=True, return_inverse=True)
    fresh = np.bincount(askers, weights=askers[first][inverse] == askers, minlength=len(rows.kind))
    has = np.bincount(askers, minlength=len(rows.kind))
    return (has > 0) & (fresh == 0)
