"""Which rows are another row again, over all corpora of a directory.

Exact: the same decoded pixels and the same questions, normalised (RoboPoint holds LLaVA's rows, LLaVA-OneVision those
of LLaVA-NeXT, FineVision those of both). Near: the same questions and answers, and pictures whose perceptual hashes
differ in at most ``near_bits`` of 64 bits (copies that were scaled or encoded anew). The answers must agree too: two
frames of one episode look alike, and the next step may be another.

Of duplicates the one that is stored already stays, then that of the smaller rank (the corpus that is the origin), then
the first by source and place, so that the result does not depend on the order of work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import polars as pl
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.errors import Reason

_ORDER = ["stored", "rank", "source", "uri", "item"]


class DuplicateSettings(Settings):
    """``near_bits``: bits of 64 that may differ (0: only equal hashes); None switches the search for near duplicates
    off."""

    exact: bool = True
    near_bits: int | None = Field(default=2, ge=0, le=7)


def find_duplicates(keys: pl.DataFrame, settings: DuplicateSettings) -> pl.DataFrame:
    """Rows that are not to be kept.

    Args:
        keys: columns of ``Keys`` and ``stored`` (bool: the row is in the table already).

    Returns:
        ``item, conversation_id, uri, source, reason, of_uri, of_source, of_id`` of each, sorted by item.
    """
    rows = keys.with_columns((~pl.col("stored")).alias("stored")).sort(_ORDER)  # stored rows sort first
    found: list[pl.DataFrame] = []
    if settings.exact:
        first = rows.group_by("exact", maintain_order=True).first().select("exact", *_winner())
        lost = rows.join(first, on="exact").filter(pl.col("item") != pl.col("of_item"))
        found.append(lost.select(*_loser(), pl.lit(Reason.DUPLICATE.value).alias("reason")))
        rows = rows.join(lost.select("item"), on="item", how="anti", maintain_order="left")
    if settings.near_bits is not None:
        found.append(_near(rows, settings.near_bits))
    out = pl.concat(found) if found else rows.clear().select(*_loser_empty())
    return out.sort("item")


def _winner() -> list[pl.Expr]:
    return [pl.col(c).alias(f"of_{n}") for c, n in (("item", "item"), ("uri", "uri"), ("source", "source"),
                                                    ("conversation_id", "id"))]  # fmt: skip


def _loser() -> list[str]:
    return ["item", "conversation_id", "uri", "source", "of_uri", "of_source", "of_id"]


def _loser_empty() -> list[pl.Expr]:
    names = ["item", "conversation_id", "uri", "source"]
    rest = ["of_uri", "of_source", "of_id", "reason"]
    return [*(pl.col(n) for n in names), *(pl.lit("").alias(n) for n in rest)]


def _near(rows: pl.DataFrame, bits: int) -> pl.DataFrame:
    """Rows of equal words and one picture each (or several, all of them near)."""
    alike = rows.filter(pl.col("looks").list.len() > 0)
    alike = alike.filter(pl.len().over("said") > 1)
    lost: list[dict[str, str]] = []
    for group in alike.partition_by("said", maintain_order=True):
        lost += _near_in(list(group.iter_rows(named=True)), bits)
    if not lost:
        return rows.clear().select(*_loser_empty())
    frame = pl.DataFrame(lost)
    return frame.select(*_loser(), pl.lit(Reason.DUPLICATE_NEAR.value).alias("reason"))


def _near_in(group: list[dict], bits: int) -> Iterator[dict[str, str]]:
    """Against every row that stays, in order: through bands of the first picture's hash, of which one is equal in any
    two hashes that differ in at most ``bits`` bits (there are ``bits + 1`` bands)."""
    kept: dict[tuple[int, int], list[tuple[list[int], dict]]] = {}
    for row in group:
        looks = [int(look, 16) for look in row["looks"]]
        places = list(enumerate(bands(looks[0], bits)))
        winner = next(
            (other for place in places for theirs, other in kept.get(place, ()) if _alike(looks, theirs, bits)), None
        )
        if winner is None:
            for place in places:
                kept.setdefault(place, []).append((looks, row))
            continue
        yield {**{c: row[c] for c in ("item", "conversation_id", "uri", "source")}, "of_uri": winner["uri"],
               "of_source": winner["source"], "of_id": winner["conversation_id"]}  # fmt: skip


def bands(look: int, bits: int) -> Iterable[int]:
    """The 64 bits in ``bits + 1`` pieces."""
    count = bits + 1
    edges = [64 * i // count for i in range(count + 1)]
    return [(look >> a) & ((1 << (b - a)) - 1) for a, b in pairwise(edges)]


def _alike(a: list[int], b: list[int], bits: int) -> bool:
    return len(a) == len(b) and all((x ^ y).bit_count() <= bits for x, y in zip(a, b))
