"""Rows that say the same thing twice, over all inputs, and rows that say what a held-out row says.

Of rows that are trained on, the first in the order of the inputs stays:

- an id that occurs again (the same episode or conversation in two directories);
- a recording that occurs again in another directory or source: by its id, or by its numbers where another container
  gave it another id (:mod:`unihand_data.recipe.near`, exact);
- a recording that occurs again in the same directory and source, as a re-upload does that one data-set file reads
  (:func:`unihand_data.recipe.near.uploaded_again`);
- a near copy of an episode that stays (same module, near);
- a conversation all of whose questions were asked before about the same images.

Held out goes before all of this and knows no order. Rows that are the same recording by any of these signs, and all
robots on which a recording was re-drawn with the recording itself, form a group; where any member stands in ``val`` or
``test``, left out for whatever other reason or not, none of the group is trained on. The same holds for a conversation
that shows a picture that a held-out one shows. Mirror twins follow their parent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unihand_data.recipe.near import NONE, Pairs, copies, redrawn, uploaded_again
from unihand_data.recipe.rows import Rows
from unihand_data.recipe.settings import Duplicates

#: recordings that a group of near copies may have: a motion that more resemble is common, and says nothing about which
#: recording it is. In a larger group only what is itself a copy of a held-out row leaves.
GROUP_MOST = 64
HELD_OUT = "held_out_copy"


def mark_duplicates(rows: Rows, settings: Duplicates) -> None:
    """Set ``left_out``: ``held_out_copy``, ``same_id``, ``same_recording``, ``near_duplicate``, ``same_question``."""
    exact, near = copies(rows.motions, settings.near_distance, settings.near_duration)
    _notes_on_signatures(rows, settings)
    _mark(rows, held_out(rows, exact, near, settings), HELD_OUT)
    _mark(rows, _on(rows, lambda at: _later_of(rows.ids[at])), "same_id")
    if settings.recordings:
        _mark(rows, _on(rows, lambda at: _recordings(rows, at)), "same_recording")
        _mark(rows, _uploaded_again(rows), "same_recording")
        _mark(rows, _after_kept(rows, exact), "same_recording")
    _mark(rows, _after_kept(rows, near), "near_duplicate")
    if settings.conversations and len(rows.questions[0]):
        _mark(rows, _asked_before(rows), "same_question")
    twins = np.flatnonzero(rows.parent >= 0)
    of_parent = rows.left_out[rows.parent[twins]]
    follow = (of_parent != "") & (rows.left_out[twins] == "")
    rows.left_out[twins[follow]] = of_parent[follow]


def held_out(rows: Rows, exact: Pairs, near: Pairs, settings: Duplicates) -> np.ndarray:
    """(R,) bool: rows whose group has a member in val or test, and conversations that show a picture of one there, or
    without pictures ask its question. Over all rows, those that are out already too."""
    held = rows.split != "train"
    out = np.zeros(len(held), bool)
    motion = np.flatnonzero(rows.column("domain") != "vision_text") if len(held) else np.zeros(0, np.int64)
    if held[motion].any():
        out[motion] = _groups_held_out(rows, motion, held, exact, near, settings)
    for what, whose in (rows.questions, rows.pictures):
        if len(what) and held[whose].any():
            out[whose[np.isin(what, what[held[whose]])]] = True
    return out & ~held


def _groups_held_out(
    rows: Rows, motion: np.ndarray, held: np.ndarray, exact: Pairs, near: Pairs, settings: Duplicates
) -> np.ndarray:
    """(M,) bool over the rows ``motion``. First groups of what is surely one recording, then copies between them."""
    place = np.full(len(held), -1, np.int64)
    place[motion] = np.arange(len(motion))
    ids = rows.ids[motion]
    by_id = np.lexsort((ids[:, 1], ids[:, 0]))
    by_recording = np.argsort(rows.recording[motion], kind="stable")
    again = (ids[by_id][1:] == ids[by_id][:-1]).all(axis=1)
    same = rows.recording[motion][by_recording]
    regroup, of = rows.regroup[0].astype(np.int64), rows.regroup[1]
    order = np.argsort(of, kind="stable")
    regroup, of = regroup[order], of[order]
    sure = [
        (by_id[1:][again], by_id[:-1][again]),
        (by_recording[1:][same[1:] == same[:-1]], by_recording[:-1][same[1:] == same[:-1]]),
        (place[regroup[1:][of[1:] == of[:-1]]], place[regroup[:-1][of[1:] == of[:-1]]]),
        (place[exact[0]], place[exact[1]]),
    ]
    group = _components(len(motion), sure)
    groups = int(group.max()) + 1
    held_group = np.bincount(group, weights=held[motion], minlength=groups) > 0
    drawn = NONE
    if settings.near_distance is not None:
        drawn = redrawn(rows.motions, settings.near_distance, settings.near_duration)
    a = group[place[np.concatenate([near[0], drawn[0]])]]
    b = group[place[np.concatenate([near[1], drawn[1]])]]
    larger = _components(groups, [(a, b)])
    size = np.bincount(larger, minlength=groups)
    common = size[larger] > GROUP_MOST
    has = np.bincount(larger, weights=held_group, minlength=groups) > 0
    leaks = held_group | (has[larger] & ~common)
    for one, two in ((a, b), (b, a)):
        leaks[one[held_group[two]]] = True
    if (has[larger] & common).any():
        rows.notes.append(
            f"{int((has[larger] & common).sum())} recordings with held-out ones among them resemble each other in "
            f"groups of more than {GROUP_MOST}; of those only what is itself a copy of a held-out one left training"
        )
    return leaks[group]


def _components(nodes: int, edges: list[Pairs]) -> np.ndarray:
    """(nodes,) number of each node's connected component."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = (np.concatenate([e[side] for e in edges]) for side in (0, 1))
    graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(nodes, nodes))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _notes_on_signatures(rows: Rows, settings: Duplicates) -> None:
    if settings.near_distance is None and not settings.recordings:
        return
    rows.notes += [
        f"{n} robot episodes of {url} carry motion signatures of another version of this code: their copies in other "
        "containers are not found; run their job again with --new-version"
        for url, n in rows.motions.older.items()
    ]


def _on(rows: Rows, judge: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(R,) bool: ``judge`` on the rows that are still in, in their order."""
    at = np.flatnonzero(rows.left_out == "")
    out = np.zeros(len(rows.left_out), bool)
    out[at] = judge(at)
    return out


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


def _uploaded_again(rows: Rows) -> np.ndarray:
    """(R,) bool: robot episodes whose very recording an earlier row has that is still in. A mirror twin is no copy of
    its parent, whose recording it shares."""
    m = rows.motions
    out = np.zeros(len(rows.left_out), bool)
    in_still = (rows.left_out[m.row] == "") & ~rows.twin[m.row]
    out[m.row[uploaded_again(m, rows.recording[m.row], in_still)]] = True
    return out


def _after_kept(rows: Rows, pairs: Pairs) -> np.ndarray:
    """(R,) bool: rows that are still in and pair with an earlier one that stays, so a chain of small steps is not one
    group."""
    out = np.zeros(len(rows.left_out), bool)
    live = (rows.left_out[pairs[0]] == "") & (rows.left_out[pairs[1]] == "")
    first, later = (np.sort(np.stack(pairs)[:, live], axis=0)) if len(pairs[0]) else NONE
    for i in np.lexsort((first, later)).tolist():
        if not out[first[i]]:
            out[later[i]] = True
    return out


def _asked_before(rows: Rows) -> np.ndarray:
    """(R,) bool: conversations none of whose questions they are the first to ask."""
    asked, askers = rows.questions
    keep = rows.left_out[askers] == ""
    asked, askers = asked[keep], askers[keep]
    order = np.argsort(askers, kind="stable")
    asked, askers = asked[order], askers[order]
    _, first, inverse = np.unique(asked, return_index=True, return_inverse=True)
    fresh = np.bincount(askers, weights=askers[first][inverse] == askers, minlength=len(rows.kind))
    has = np.bincount(askers, minlength=len(rows.kind))
    return (has > 0) & (fresh == 0)
