"""Our own ledger: which unit is done, how it ended, what of it was lost.

Folder ``<output>/_job/<content hash>/ledger``::

    parts/<part>.parquet      one file per batch, written after its staging part: done means that this file is complete
    splits/<part>.parquet     the children of the recordings that this part's rows call ``split``
    base/<n>.parquet          parts and splits merged by the driver between runs, so that resume reads few files
    base/splits-<n>.parquet
    forgotten/<n>.parquet     (id, part) pairs that ``forget`` took back

Nothing is ever changed in place. Two files that both hold an id (a worker was killed between the merge and the
deletion, or an orphaned worker finished late) are no contradiction: both hold the same rows for it, and the one with
the smallest part name counts. Where two input items have the same content, and so the same children, the first by uri
has them.
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.errors import Reason
from unihand_data.ids import make_id
from unihand_data.runner import ledger_files as files
from unihand_data.runner import paths
from unihand_data.runner.ledger_files import FORGOTTEN, REJECT_STRUCT, ROWS, SPLITS
from unihand_data.runner.parcel import DEFERRED, DONE, SPLIT, WRITTEN, Parcel, loss_dicts

log = logging.getLogger(__name__)

_BASE_ROWS, _BASE_BYTES = 500_000, 256 << 20
#: of several rows of one id the first counts
_FIRST = (pl.col("status") != WRITTEN, pl.col("uri"), pl.col("part"))
_ORDER = ("status", "uri", "part")


@dataclass
class Lookup:
    """What the ledger knows about a wave of listed units.

    Attributes:
        complete: ids that need nothing more.
        done_children: of units that must be split (again): children that are already done.
        missing: of units whose split is known: the encoded children still to do.
    """

    complete: set[str] = field(default_factory=set)
    done_children: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, list[bytes]] = field(default_factory=dict)


class Ledger:
    """The ledger of one output directory and one content hash.

    Args:
        output: the shard directory, local or on an object store.
        content_hash: of the settings that change what is written; another hash is another ledger.
    """

    def __init__(self, output: str, content_hash: str):
        self.output = output
        self.content_hash = content_hash
        self.root = paths.join(output, "_job", content_hash[:32], "ledger")

    # --- writing, in workers -------------------------------------------------------------------------------------

    def part_name(self, generation: int, keys: Iterable[str]) -> str:
        """Name of the part that holds these units: the same batch written again, by a retried task, is the same file.

        ``generation`` (see :meth:`generation`) keeps a batch that was forgotten and done anew apart from its old self.
        """
        return make_id(self.content_hash, generation, *sorted(keys))

    def write_part(self, part: str, parcels: list[Parcel]) -> None:
        """Record the parcels as done in ``part``. Call it after the staging part is complete, never before."""
        children = [(p.key, *child) for p in parcels for child in p.children or []]
        if children:
            columns = list(zip(*children))
            table = pa.table([pa.array(c, f.type) for c, f in zip(columns, SPLITS)], schema=SPLITS)
            self._write(table, "splits", part)
        rows = [
            {
                "id": p.key,
                "parent": p.parent,
                "item": p.item,
                "uri": p.uri,
                "status": p.status,
                "reason": str(p.ended) if p.ended else "",
                "attempt": p.attempt,
                "outputs": [u.id for u in p.units],
                "losses": loss_dicts(p),
                "part": part,
                "content_hash": self.content_hash,
            }
            for p in sorted(parcels, key=lambda p: p.key)
        ]
        self._write(pa.Table.from_pylist(rows, schema=ROWS), "parts", part)

    # --- reading, in the driver ----------------------------------------------------------------------------------

    def rows(self, columns: list[str] | None = None) -> pl.DataFrame:
        """The rows that count, one per id, all at once; :meth:`batches` does not grow with the ledger."""
        wanted = columns or ROWS.names
        found = list(self.batches(sorted({*wanted, *_ORDER})))
        return pl.concat(found).sort(_FIRST).select(wanted) if found else files.empty(wanted)

    def batches(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        """The rows that count, one per id, some ten thousand at a time in no order to rely on.

        Of ids that two files hold all rows are compared in memory; besides these it holds 8 bytes for each row.
        """
        twice = self._held_twice()
        late: list[pl.DataFrame] = []
        for frame in self._live(sorted({*columns, *_ORDER, "id"})):
            again = pl.Series(np.isin(frame["id"].hash().to_numpy(), twice)) if len(twice) else None
            if again is not None and again.any():
                late.append(frame.filter(again))
                frame = frame.filter(~again)
            yield frame.select(columns)
        if late:
            yield pl.concat(late).sort(_FIRST).unique("id", keep="first", maintain_order=True).select(columns)

    def _held_twice(self) -> np.ndarray:
        """(n,) uint64, sorted: hashes that the ids of more than one row have."""
        hashes = [frame["id"].hash().to_numpy() for frame in self._live(["id"])]
        all_of = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
        hashes.clear()
        all_of.sort()
        return np.unique(all_of[1:][all_of[1:] == all_of[:-1]])

    def _live(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        """All rows that were not forgotten; an id that two files hold comes twice."""
        gone = self._forgotten()
        for frame in self._frames(sorted({*columns, "id", "part"}), False):
            yield (frame.join(gone, on=["id", "part"], how="anti") if len(gone) else frame).select(columns)

    def size(self) -> int:
        """Rows on disk, forgotten ones and those held twice included."""
        return sum(files.open_file(url).metadata.num_rows for url in self._urls("parts"))

    def _all_rows(self, columns: list[str], parents: list[str], base_only: bool) -> pl.DataFrame:
        """Rows below the listed units ``parents``; an id that two files hold comes twice."""
        frames = [
            frame.filter(pl.col("parent").is_in(parents))
            for frame in self._frames(sorted({*columns, "parent"}), base_only)
        ]
        if not frames:
            return files.empty(columns)
        table = pl.concat(frames).select(columns)
        gone = self._forgotten()
        return table.join(gone, on=["id", "part"], how="anti") if len(gone) else table

    def lookup(self, ids: list[str], *, merged_only: bool = True) -> Lookup:
        """What is left to do of the listed units ``ids``, by the state at the last :meth:`compact`, or with
        ``merged_only=False`` by the state now (a reader that must not merge).

        Memory grows with ``ids``, not with the ledger.
        """
        # By id and parent, not by id alone: a child that two items share is done for both of them.
        rows = self._all_rows(["id", "parent", "part", "status"], ids, base_only=merged_only)
        rows = rows.sort("part").unique(["id", "parent"], keep="first")
        found = Lookup()
        own = rows.filter(pl.col("id") == pl.col("parent"))
        found.complete = set(own.filter(pl.col("status").is_in(DONE))["id"])
        split = own.filter(pl.col("status") == SPLIT).select("parent")
        done = rows.filter((pl.col("id") != pl.col("parent")) & pl.col("status").is_in(DONE))
        missing: dict[str, dict[str, bytes]] = {}
        for url in self._urls("splits", base_only=merged_only) if len(split) else []:
            pairs = pl.DataFrame(files.read(url, ["parent", "id"]))
            todo = pairs.join(split, on="parent", how="semi").join(done, on=["parent", "id"], how="anti")
            if len(todo):  # only now the bodies, which are most of the file
                bodies = pl.DataFrame(files.read(url, SPLITS.names)).join(todo, on=["parent", "id"], how="semi")
                for parent, child, body in bodies.iter_rows():
                    missing.setdefault(parent, {})[child] = body
        found.missing = {parent: list(bodies.values()) for parent, bodies in missing.items()}
        found.complete |= set(split["parent"]) - set(missing)
        again = done.join(split, on="parent", how="anti").filter(~pl.col("parent").is_in(list(found.complete)))
        for parent, child in zip(again["parent"], again["id"]):
            found.done_children.setdefault(parent, []).append(child)
        return found

    def rejects(self) -> pa.Table:
        """The reject rows that count (columns of ``RejectRow``), sorted, all at once; what was forgotten is not among
        them."""
        found = [files.losses_of(frame) for frame in self.batches(["losses"])]
        flat = pl.concat(found).sort(files.LOSS_ORDER) if found else files.losses_of(files.empty(["losses"]))
        return flat.to_arrow().cast(pa.schema(list(REJECT_STRUCT)))

    def counts(self) -> dict[str, int]:
        """Units by status (``split`` apart), and input items: ``items``, ``items_written``, ``items_rejected``. Holds
        16 bytes a row."""
        by_status: Counter[str] = Counter()
        items: list[np.ndarray] = []
        written: list[np.ndarray] = []
        for frame in self.batches(["item", "status"]):
            by_status.update(dict(frame.group_by("status").len().iter_rows()))
            items.append(frame["item"].unique().hash().to_numpy())
            written.append(frame.filter(pl.col("status") == WRITTEN)["item"].unique().hash().to_numpy())
        n, w = (len(np.unique(np.concatenate(keys))) if keys else 0 for keys in (items, written))
        return {**by_status, "items": n, "items_written": w, "items_rejected": n - w}

    def generation(self) -> int:
        """How often something was forgotten; part of the names of new parts."""
        return len(paths.list_files(paths.join(self.root, "forgotten"), ".parquet"))

    # --- keeping -------------------------------------------------------------------------------------------------

    def forget(
        self, ids: Iterable[str] = (), reasons: Iterable[Reason | str] = (), statuses: Iterable[str] = ()
    ) -> int:
        """Take units back so that the next run does them again; returns how many.

        A recording whose split is forgotten is split again; children of it that are done stay done.

        Args:
            ids: units (or input items: everything of that item, or the block that it is a row of) to forget.
            reasons: units that ended with one of these, and recordings that lost something for one of them when they
                were split.
            statuses: units with one of these.
        """
        ids, named = list(ids), [str(r) for r in reasons]
        hit = (
            pl.col("id").is_in(ids)
            | pl.col("item").is_in(ids)
            | pl.col("reason").is_in(named)
            | pl.col("status").is_in(list(statuses))
        )
        if named:
            lost = pl.col("losses").list.eval(pl.element().struct.field("reason").is_in(named)).list.any()
            hit |= (pl.col("status") == SPLIT) & lost.fill_null(False)
        if named or ids:  # a unit whose losses are input items of their own: a block of rows is done again as a whole
            loss = pl.element().struct
            mine = (loss.field("level") == "item") & (loss.field("reason").is_in(named) | loss.field("item").is_in(ids))
            hit |= pl.col("losses").list.eval(mine).list.any().fill_null(False)
        columns = ["id", "item", "reason", "status", *(["losses"] if named or ids else [])]
        found = [frame.filter(hit).select("id") for frame in self.batches(columns)]
        hits = pl.concat(found) if found else files.empty(["id"])
        if len(hits):
            pairs = pl.concat([frame.join(hits, on="id", how="semi") for frame in self._live(["id", "part"])])
            self._write(pairs.to_arrow().cast(FORGOTTEN), "forgotten", f"{self.generation():06d}")
        return len(hits)

    def compact(self) -> None:
        """Merge small files into few. Only the driver of a job calls it, between runs; a kill at any point is safe."""
        for kind, prefix, schema in (("parts", "", ROWS), ("splits", "splits-", SPLITS)):
            folder = paths.join(self.root, kind)
            names = paths.list_files(folder, ".parquet")
            if not names:
                continue
            taken = [n for n in paths.list_files(paths.join(self.root, "base"), ".parquet") if n.startswith(prefix)]
            number = max(
                (int(n.removeprefix(prefix).split(".")[0]) for n in taken if n[len(prefix)].isdigit()), default=-1
            )
            number += 1
            merged: list[str] = []
            tables: list[pa.Table] = []
            for name in names:
                tables.append(files.read(paths.join(folder, name), schema.names).cast(schema))
                merged.append(name)
                full = sum(t.num_rows for t in tables) >= _BASE_ROWS or sum(t.nbytes for t in tables) >= _BASE_BYTES
                if name == names[-1] or full:
                    self._write(pa.concat_tables(tables), "base", f"{prefix}{number:06d}")
                    for old in merged:
                        paths.remove(paths.join(folder, old))
                    number, merged, tables = number + 1, [], []

    def forget_deferred(self) -> int:
        """Units left for a later run (budget) are that run's work."""
        return self.forget(statuses=[DEFERRED])

    # --- files ---------------------------------------------------------------------------------------------------

    def _write(self, table: pa.Table, kind: str, name: str) -> None:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        paths.write_atomic(paths.join(self.root, kind, f"{name}.parquet"), buffer.getvalue())

    def _urls(self, kind: str, base_only: bool = False) -> list[str]:
        """Files of ``parts`` or ``splits``, the merged ones first."""
        base = paths.join(self.root, "base")
        names = [n for n in paths.list_files(base, ".parquet") if n.startswith("splits-") == (kind == "splits")]
        merged = [paths.join(base, n) for n in names]
        folder = paths.join(self.root, kind)
        return merged + ([] if base_only else [paths.join(folder, n) for n in paths.list_files(folder, ".parquet")])

    def _frames(self, columns: list[str], base_only: bool) -> Iterator[pl.DataFrame]:
        return files.frames(self._urls("parts", base_only), columns)

    def _forgotten(self) -> pl.DataFrame:
        folder = paths.join(self.root, "forgotten")
        tables = [files.read(paths.join(folder, n), FORGOTTEN.names) for n in paths.list_files(folder, ".parquet")]
        return pl.DataFrame(pa.concat_tables(tables) if tables else pa.Table.from_pylist([], schema=FORGOTTEN))


def other_hashes(output: str, content_hash: str) -> list[str]:
    """Content hashes of other ledgers in this directory."""
    fs, path = paths.filesystem(paths.join(output, "_job"))
    try:
        found = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    names = [e["name"].rstrip("/").rsplit("/", 1)[-1] for e in found if e["type"] == "directory"]
    return sorted(n for n in names if n != content_hash[:32] and fs.exists(f"{path.rstrip('/')}/{n}/ledger"))
