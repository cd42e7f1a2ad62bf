"""The one committer: staged parts become a shard directory, once, whatever happens in between.

Steps, each of which a re-run finds done or does: open the manifest as ``committing``; media (those that rows refer to,
by content id); episodes; conversations; samples; rejects; manifest as ``committed``; Lance tags. Rows that exist are
skipped by id, so a commit killed between or inside any two steps is repaired by running it again. Lance appends are one
version each and appear whole; Parquet files count once the manifest lists them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unihand_data.shards import append, parquet_files, reject_files, staging, tables
from unihand_data.shards import manifest as mf
from unihand_data.shards.errors import CommitRefused
from unihand_data.shards.guard import use_lance
from unihand_data.shards.id_index import IdIndex, Ids, id_keys
from unihand_data.shards.rows import ConversationRow, EpisodeRow, MediaRow, RejectRow, SampleRow
from unihand_data.shards.store import Store
from unihand_data.shards.tokens import both_counters

log = logging.getLogger(__name__)


def commit(
    staging_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    content_hash: str,
    config: dict[str, Any],
    inputs: dict[str, int] | None = None,
    run_id: str,
    new_version: bool = False,
    tokenizer: str = "bytes/4",
    clean: bool = False,
    settled: Collection[str] | IdIndex | None = None,
    language_cost: dict[str, Any] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Bring everything staged into the shard directory; safe to repeat.

    Args:
        staging_dir, out_dir: local path or URL.
        content_hash, config: of the content settings (``unihand_data.config``); a directory holds one version unless
            ``new_version``.
        inputs: items by outcome, *totals of this directory* (inputs, written, rejected, ignored). None derives them
            from the rows: ``provenance["item"]`` (else the recording) of written rows and ``item`` of rejects.
        run_id: goes into every Lance commit message and names the tag ``run-<run_id>``.
        tokenizer: who counted ``tokens_*`` of what is staged; ``bytes/4`` marks an estimate, and so does a directory
            of which some samples are estimated.
        settled: input items whose staged rejects are all there is to say about them: rejects that an earlier run stored
            for them and that are not staged now (a retry that went well, a budget that is no longer spent) are dropped.
        language_cost: what all runs of this directory spent on language models; None leaves what is recorded.
        clean: remove the parts (and media inside the staging directory) once everything is in.

    Returns:
        ``{"new": {episodes, media, conversations, samples, rejects}, "tag": name or None, "counts": {...}}``; all zero
        and no tag for a second run of the same input.

    Raises:
        CommitRefused: other content hash, or another committer is at work.
        ShardError: a staged row refers to media that are neither staged nor stored, or staged bytes do not match.
    """
    use_lance()
    stage, out = Store(staging_dir, storage_options), Store(out_dir, storage_options)
    with only_committer(out):
        manifest = _begin(out, content_hash, config, run_id, new_version, tokenizer)
        _step("begin")
        new = {"media": append.commit_media(stage, out, run_id)}
        _step("media")
        for table, kind in (("episodes", "episode"), ("conversations", "conversation")):
            new[table] = append.commit_rows(stage, out, table, kind, run_id)
            _step(table)
        for folder, kind in (("samples", "sample"), ("rejects", "reject")):
            if kind == "reject" and settled is not None:
                items = settled if isinstance(settled, IdIndex) else IdIndex.of(list(settled))
                append.forget_settled(stage, out, manifest, items)
            new[folder] = append.commit_parquet(stage, out, manifest, folder, kind, lambda: _step("parquet file"))
            _step(folder)
        if language_cost is not None:
            manifest.language_cost = language_cost
        tag = _finish(out, manifest, inputs, run_id)
        _step("manifest")
        _tag(out, manifest)
        _step("tag")
        if clean:
            _clean(stage)
    log.info("commit %s into %s: %s", run_id, out.url, new)
    return {"new": new, "tag": tag, "counts": dict(manifest.counts)}


class ShardWriter:
    """Staging and commit of one process, for tools that need no cluster.

    >>> writer = ShardWriter(out, content_hash=h, config=c)
    >>> writer.add(episodes=[...], media=[...], samples=[...])
    >>> writer.commit(run_id="...")
    """

    def __init__(
        self,
        out_dir: str | os.PathLike[str],
        *,
        content_hash: str,
        config: dict[str, Any],
        staging_dir: str | os.PathLike[str] | None = None,
    ):
        self.out_dir = os.fspath(out_dir)
        self.staging_dir = os.fspath(staging_dir) if staging_dir else f"{self.out_dir}/.staging"
        self.content_hash, self.config = content_hash, config

    def add(
        self,
        episodes: Sequence[EpisodeRow] = (),
        media: Sequence[MediaRow] = (),
        samples: Sequence[SampleRow] = (),
        rejects: Sequence[RejectRow] = (),
        conversations: Sequence[ConversationRow] = (),
    ) -> str:
        """Stage rows; returns the part's path."""
        return staging.write_part(self.staging_dir, episodes, media, samples, rejects, conversations=conversations)

    def commit(self, *, run_id: str, inputs: dict[str, int] | None = None, **options: Any) -> dict[str, Any]:
        """See :func:`commit`; staged parts are removed afterwards."""
        return commit(
            self.staging_dir,
            self.out_dir,
            content_hash=self.content_hash,
            config=self.config,
            inputs=inputs,
            run_id=run_id,
            **{"clean": True} | options,
        )


def _step(name: str) -> None:
    """Marks the end of a step. The crash tests kill the process here; nothing else happens."""


def _begin(
    out: Store, content_hash: str, config: dict[str, Any], run_id: str, new_version: bool, tokenizer: str
) -> mf.Manifest:
    config = json.loads(json.dumps(config, default=str))
    manifest = mf.read(out)
    if manifest is None:
        manifest = mf.Manifest(content_hash=content_hash, config=config)
    elif manifest.content_hash != content_hash and not new_version:
        raise CommitRefused(
            f"{out.url} was written with content hash {manifest.content_hash} and this run has {content_hash}: "
            "settings that change content differ. Choose another output directory, or pass --new-version to add here"
        )
    manifest.content_hash, manifest.config = content_hash, config
    manifest.tokenizer = both_counters(manifest.tokenizer, tokenizer) if manifest.samples else tokenizer
    version = {"content_hash": content_hash, "config": config}
    if version not in manifest.versions:
        manifest.versions.append(version)
    manifest.state, manifest.run_id = "committing", run_id
    mf.write(out, manifest)
    for table in tables.TABLES:
        tables.ensure_table(out, table)
    return manifest


def _finish(out: Store, manifest: mf.Manifest, inputs: dict[str, int] | None, run_id: str) -> str | None:
    """Counts and the tag's entry, then the manifest as ``committed``. Returns the name of a new tag."""
    twins, manifest.licences = _licences(out)
    episodes = tables.count(tables.open_table(out, "episodes"))
    manifest.counts = {
        "episodes": episodes - twins,
        "mirrored": twins,
        "media": tables.count(tables.open_table(out, "media")),
        "conversations": tables.count(tables.open_table(out, "conversations")),
        "samples": sum(f.rows for f in manifest.samples),
        "rejects": sum(f.rows for f in manifest.rejects),
    }
    manifest.inputs = dict(inputs) if inputs is not None else derived_inputs(out, manifest)
    manifest.tables = {t: tables.open_table(out, t).version for t in tables.TABLES}
    state = {**manifest.tables, "samples": len(manifest.samples), "rejects": len(manifest.rejects)}
    tag = None
    if not manifest.tags or manifest.tags[-1].state != state:
        # A tag that pins a training run never moves: a run id used again gets a suffix.
        again = sum(t.run_id == run_id for t in manifest.tags)
        tag = f"run-{run_id}" + (f".{again + 1}" if again else "")
        manifest.tags.append(mf.Tag(tag, run_id, state))
    manifest.state, manifest.run_id = "committed", manifest.tags[-1].run_id
    mf.write(out, manifest)
    return tag


def _licences(out: Store) -> tuple[int, dict[str, dict[str, Any]]]:
    """How many mirror twins there are; of the others licence -> episodes, frames, shareable (only if all of it is)."""
    twins, found = 0, dict[str, dict[str, Any]]()
    for batch in tables.batches(tables.open_table(out, "episodes"), ["parent_id", "licence", "shareable", "frames"]):
        rows = pa.Table.from_batches([batch]).filter(pc.equal(batch["parent_id"], ""))
        twins += batch.num_rows - rows.num_rows
        groups = rows.group_by(["licence", "shareable"]).aggregate([("frames", "sum"), ([], "count_all")])
        for g in groups.to_pylist():
            entry = found.setdefault(g["licence"], {"episodes": 0, "frames": 0, "shareable": True})
            entry["episodes"] += g["count_all"]
            entry["frames"] += g["frames_sum"]
            entry["shareable"] &= g["shareable"]
    return twins, dict(sorted(found.items()))


def derived_inputs(out: Store, manifest: mf.Manifest) -> dict[str, int]:
    """Items by outcome, from the rows themselves: an item is written if one row of it is, else rejected. Files that are
    no media leave no row, so ``ignored`` is carried over. Holds 8 bytes a row."""
    written, lost = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for batch in tables.batches(tables.open_table(out, "episodes"), ["provenance", "recording_id"]):
        pairs = zip(batch["provenance"].to_pylist(), batch["recording_id"].to_pylist())
        written.append(_distinct([json.loads(p).get("item") or r for p, r in pairs]))
    for batch in parquet_files.batches(out, manifest.rejects, ["item"]):
        lost.append(_distinct(batch["item"]))
    items = np.unique(np.concatenate(written))
    done = len(items) + tables.count(tables.open_table(out, "conversations"))
    rejected = len(np.setdiff1d(np.concatenate(lost), items))
    return {
        "inputs": done + rejected,
        "written": done,
        "rejected": rejected,
        "ignored": manifest.inputs.get("ignored", 0),
    }


def _distinct(ids: Ids) -> np.ndarray:
    """First 64 bits of every id, each once."""
    return np.unique(id_keys(ids)[:, 0])


def _tag(out: Store, manifest: mf.Manifest) -> None:
    """Every tag of the manifest exists in every table; a crash may have left some out."""
    for table in tables.TABLES:
        dataset = tables.open_table(out, table)
        have = tables.tags(dataset)
        for tag in manifest.tags:
            if tag.name not in have:
                dataset.tags.create(tag.name, tag.state[table])


def drop_rejects(out_dir: str | os.PathLike[str], items: Collection[str], reasons: Collection[str] = ()) -> int:
    """Forget the rejects of these items (of these reasons, if any are given), so that a run that takes them again
    states its own. Returns rows dropped. For ``unihand retry``, together with the runner's ledger.

    Raises:
        CommitRefused: a commit is at work or did not finish.
    """
    out = Store(out_dir)
    with only_committer(out):
        manifest = mf.need(out)
        if manifest.state != "committed":
            raise CommitRefused(f"{out.url}: the commit of run {manifest.run_id} did not finish; run that job again")
        before = [f.name for f in manifest.rejects]
        chosen, because = IdIndex.of(list(items)), pa.array(list(reasons), pa.string())

        def gone(rows: pa.RecordBatch, _: list[str]) -> np.ndarray:
            mask = chosen.rows(rows["item"]) >= 0
            return (
                mask & pc.is_in(rows["reason"], value_set=because).to_numpy(zero_copy_only=False) if reasons else mask
            )

        dropped = reject_files.remove(out, manifest, gone)
        if dropped:
            manifest.counts["rejects"] = sum(f.rows for f in manifest.rejects)
            manifest.inputs = derived_inputs(out, manifest)
            mf.write(out, manifest)
            for name in set(before) - {f.name for f in manifest.rejects}:
                out.remove(name)
        return dropped


def _clean(stage: Store) -> None:
    """Parts and the media kept beside them; encoded clips elsewhere belong to whoever wrote them."""
    for name in (*staging.parts(stage), *stage.names("media", "")):
        stage.remove(name)


@contextlib.contextmanager
def only_committer(out: Store) -> Iterator[None]:
    """One committer per local directory. The lock dies with its process, so a killed commit blocks nobody.

    A bucket has no such lock: there the job's driver is the one committer by construction.
    """
    if not out.local:
        yield
        return
    import fcntl

    os.makedirs(out.path(), exist_ok=True)
    with open(out.path(".commit.lock"), "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommitRefused(f"{out.url}: another process is committing to this directory") from error
        yield
