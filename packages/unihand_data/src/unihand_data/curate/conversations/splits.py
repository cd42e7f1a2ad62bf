"""Which split a row is in: that of its pictures, for all rows of a directory together.

No picture is on both sides. Rows that share a picture, or have pictures that look alike (a copy encoded anew, scaled or
padded), are connected; what is connected, over any number of steps, is one group and has one split, by the hash of the
group's smallest look. So the split depends on the set of rows alone, and on no order, block or worker. A group of more
than ``largest_held_out`` rows trains: one camera before which a whole corpus was recorded is no test set.

Rows that are stored keep their split; new rows that belong to their groups take it. A new row that connects stored rows
of different splits would be on both sides, and is refused.

What is held in memory is 8 bytes per picture of a row and some tens per distinct picture, never a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.ids import split_of

_SIDES = ("train", "val", "test")


class SplitSettings(Settings):
    """``near_bits``: bits of 64 in which looks of one group may differ; None: only equal looks. ``largest_held_out``:
    rows of a group above which it is not held out."""

    near_bits: int | None = Field(default=2, ge=0, le=7)
    largest_held_out: int = Field(default=2000, ge=1)


@dataclass
class Assigned:
    """``split``: per row of the input, "" for a row that is refused. ``groups``: how many; ``largest``: rows of the
    largest; ``too_large``: groups that train for their size."""

    split: list[str]
    groups: int
    largest: int
    too_large: int


def own_key(looks: list[str], group: str) -> str:
    """What a row would be split by if it were connected to nothing. ``group``: key of a row without pictures (its
    video, its words)."""
    return f"look:{min(looks)}" if looks else group


def assign(rows: pl.DataFrame, settings: SplitSettings) -> Assigned:
    """A split for every row.

    Args:
        rows: ``looks`` (list of 16 hex digits: all looks of all pictures of the row), ``group`` (str), ``stored_split``
            (str, null for a row that is not stored yet).
    """
    if not len(rows):
        return Assigned([], 0, 0, 0)
    pictured = rows["looks"].list.len().to_numpy() > 0
    looks = _numbers(rows["looks"].explode().drop_nulls())
    owner = np.repeat(np.arange(len(rows)), rows["looks"].list.len().to_numpy())
    distinct, node = np.unique(looks, return_inverse=True)
    groups, other = np.unique(rows["group"].filter(pl.Series(~pictured)).to_numpy(), return_inverse=True)
    first = np.zeros(len(rows), np.int64)
    first[owner[::-1]] = node[::-1]
    first[~pictured] = len(distinct) + other
    edges = [(node, first[owner])]
    if settings.near_bits is not None:
        edges += near_pairs(distinct, settings.near_bits)
    component = _components(len(distinct) + len(groups), edges)
    of_row = component[first]
    count = int(component.max()) + 1
    size = np.bincount(of_row, minlength=count)
    smallest = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, component[: len(distinct)], distinct)
    named = dict(zip(component[len(distinct) :].tolist(), groups.tolist()))
    side = [
        "train" if size[c] > settings.largest_held_out else split_of(named.get(c) or f"look:{int(smallest[c]):016x}")
        for c in range(count)
    ]
    given = rows["stored_split"].to_list()
    known = _stored_sides(of_row, given, count)
    for c in np.flatnonzero(known):
        side[c] = "" if known[c] & (known[c] - 1) else _SIDES[int(known[c]).bit_length() - 1]
    split = [old if old is not None else side[c] for old, c in zip(given, of_row.tolist())]
    too_large = int(((size > settings.largest_held_out) & (known == 0)).sum())
    return Assigned(split, int((size > 0).sum()), int(size.max()), too_large)


def near_pairs(looks: np.ndarray, bits: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places of all pairs of distinct looks (uint64) that differ in at most ``bits`` bits. Two such looks are equal in
    one of ``bits + 1`` bands at least, so only looks of one band's bucket are compared."""
    out = []
    edges = [64 * i // (bits + 1) for i in range(bits + 2)]
    for low, high in pairwise(edges):
        band = (looks >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        at = np.arange(len(order))
        for step in range(1, len(order)):
            at = at[at + step < len(order)]
            at = at[band[order[at]] == band[order[at + step]]]
            if not len(at):
                break
            a, b = order[at], order[at + step]
            close = np.bitwise_count(looks[a] ^ looks[b]) <= bits
            out.append((a[close], b[close]))
    return out


def _components(nodes: int, edges: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = (np.concatenate([e[k] for e in edges]) for k in (0, 1))
    graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(nodes, nodes))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _stored_sides(of_row: np.ndarray, given: list[str | None], count: int) -> np.ndarray:
    """(count,) bits 1, 2, 4 for stored rows in train, val, test."""
    known = np.zeros(count, np.int64)
    for number, name in enumerate(_SIDES):
        known[of_row[np.array([s == name for s in given], bool)]] |= 1 << number
    return known


def _numbers(looks: pl.Series) -> np.ndarray:
    halves = [looks.str.slice(k, 8).str.to_integer(base=16, dtype=pl.UInt64).to_numpy() for k in (0, 8)]
    return (halves[0].astype(np.uint64) << np.uint64(32)) | halves[1].astype(np.uint64)
