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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from unihand_data.errors import Reason
from unihand_data.ids import make_id
from unihand_data.runner import paths
from unihand_data.runner.parcel import DEFERRED, DONE, SPLIT, WRITTEN, Parcel, loss_dicts

log = logging.getLogger(__name__)

REJECT_STRUCT = pa.struct(
    [
        ("item", pa.string()),
        ("level", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("source_uri", pa.string()),
        ("attempt", pa.int32()),
        ("frames", pa.int64()),
        ("frames_with_hand", pa.int64()),
        ("duration_s", pa.float64()),
    ]
)
ROWS = pa.schema(
    [
        ("id", pa.string()),
        ("parent", pa.string()),
        ("item", pa.string()),
        ("uri", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("attempt", pa.int32()),
        ("outputs", pa.list_(pa.string())),  # ids of the units that were written
        ("losses", pa.list_(REJECT_STRUCT)),
        ("part", pa.string()),
        ("content_hash", pa.string()),
    ]
)
SPLITS = pa.schema([("parent", pa.string()), ("id", pa.string()), ("body", pa.large_binary())])
FORGOTTEN = pa.schema([("id", pa.string()), ("part", pa.string())])
_BASE_ROWS = 500_000


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

    def rows(
        self, columns: list[str] | None = None, parents: list[str] | None = None, *, base_only: bool = False
    ) -> pl.DataFrame:
        """The rows that count, one per id, optionally only those below the listed units ``parents``."""
        wanted = columns or ROWS.names
        table = self._all_rows(sorted({*wanted, "id", "uri", "status", "part"}), parents, base_only)
        return (
            table.sort(pl.col("status") != WRITTEN, "uri", "part")
            .unique("id", keep="first", maintain_order=True)
            .select(wanted)
        )

    def _all_rows(self, columns: list[str], parents: list[str] | None, base_only: bool) -> pl.DataFrame:
        """As :meth:`rows`, but an id that two files hold comes twice."""
        frames = [
            frame.filter(pl.col("parent").is_in(parents)) if parents is not None else frame
            for frame in self._frames(sorted({*columns, "parent"}), base_only)
        ]
        if not frames:
            return pl.DataFrame(ROWS.empty_table().select(columns))
        table = pl.concat(frames).select(columns)
        gone = self._forgotten()
        return table.join(gone, on=["id", "part"], how="anti") if len(gone) else table

    def lookup(self, ids: list[str]) -> Lookup:
        """What is left to do of the listed units ``ids``, by the state at the last :meth:`compact`.

        Memory grows with ``ids``, not with the ledger.
        """
        # By id and parent, not by id alone: a child that two items share is done for both of them.
        rows = self._all_rows(["id", "parent", "part", "status"], ids, base_only=True)
        rows = rows.sort("part").unique(["id", "parent"], keep="first")
        found = Lookup()
        own = rows.filter(pl.col("id") == pl.col("parent"))
        found.complete = set(own.filter(pl.col("status").is_in(DONE))["id"])
        split = own.filter(pl.col("status") == SPLIT).select("parent")
        done = rows.filter((pl.col("id") != pl.col("parent")) & pl.col("status").is_in(DONE))
        missing: dict[str, dict[str, bytes]] = {}
        for url in self._urls("splits", base_only=True) if len(split) else []:
            pairs = pl.DataFrame(_read(url, ["parent", "id"]))
            todo = pairs.join(split, on="parent", how="semi").join(done, on=["parent", "id"], how="anti")
            if len(todo):  # only now the bodies, which are most of the file
                bodies = pl.DataFrame(_read(url, SPLITS.names)).join(todo, on=["parent", "id"], how="semi")
                for parent, child, body in bodies.iter_rows():
                    missing.setdefault(parent, {})[child] = body
        found.missing = {parent: list(bodies.values()) for parent, bodies in missing.items()}
        found.complete |= set(split["parent"]) - set(missing)
        again = done.join(split, on="parent", how="anti").filter(~pl.col("parent").is_in(list(found.complete)))
        for parent, child in zip(again["parent"], again["id"]):
            found.done_children.setdefault(parent, []).append(child)
        return found

    def rejects(self) -> pa.Table:
        """The reject rows that count (columns of ``RejectRow``), sorted; what was forgotten is not among them."""
        rows = self.rows(["id", "losses"])
        flat = rows.select("losses").explode("losses").drop_nulls().unnest("losses")
        if not flat.width or "item" not in flat.columns:
            return pa.Table.from_pylist([], schema=pa.schema(list(REJECT_STRUCT)))
        keys = ["item", "stage", "reason", "source_uri", "message"]
        return flat.sort(keys).to_arrow().cast(pa.schema(list(REJECT_STRUCT)))

    def counts(self) -> dict[str, int]:
        """Units by status (``split`` apart), and input items: ``items``, ``items_written``, ``items_rejected``."""
        rows = self.rows(["item", "status"])
        out = {s: int(n) for s, n in rows.group_by("status").len().iter_rows()}
        items = rows.group_by("item").agg((pl.col("status") == "written").any().alias("w"))
        written = int(items["w"].sum())
        return {**out, "items": len(items), "items_written": written, "items_rejected": len(items) - written}

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
            ids: units (or input items: everything of that item) to forget.
            reasons: units that ended with one of these, and recordings that lost something for one of them when they
                were split.
            statuses: units with one of these.
        """
        ids, named = list(ids), [str(r) for r in reasons]
        rows = self.rows(["id", "item", "reason", "status", *(["losses"] if named else [])])
        hit = (
            pl.col("id").is_in(ids)
            | pl.col("item").is_in(ids)
            | pl.col("reason").is_in(named)
            | pl.col("status").is_in(list(statuses))
        )
        if named:
            lost = pl.col("losses").list.eval(pl.element().struct.field("reason").is_in(named)).list.any()
            hit |= (pl.col("status") == SPLIT) & lost.fill_null(False)
        hits = rows.filter(hit).select("id")
        if len(hits):
            pairs = self._all_rows(["id", "part"], None, False).join(hits, on="id", how="semi")
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
                tables.append(_read(paths.join(folder, name), schema.names).cast(schema))
                merged.append(name)
                if name == names[-1] or sum(t.num_rows for t in tables) >= _BASE_ROWS:
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
        schema = pa.schema([ROWS.field(c) for c in columns])
        small: list[pa.Table] = []
        for url in self._urls("parts", base_only):
            small.append(_read(url, columns).cast(schema))
            if len(small) == 256 or small[-1].num_rows > 10_000:
                yield pl.DataFrame(pa.concat_tables(small))
                small = []
        if small:
            yield pl.DataFrame(pa.concat_tables(small))

    def _forgotten(self) -> pl.DataFrame:
        folder = paths.join(self.root, "forgotten")
        tables = [_read(paths.join(folder, n), FORGOTTEN.names) for n in paths.list_files(folder, ".parquet")]
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


def _read(url: str, columns: list[str]) -> pa.Table:
    source = io.BytesIO(paths.read_bytes(url)) if paths.is_remote(url) else url
    return pq.ParquetFile(source).read(columns=columns)
