"""Shard directories and settings -> recipe: selection, weights, accounts, files (docs/recipe.md)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unihand_data.config import SettingsError
from unihand_data.recipe import recipe_file
from unihand_data.recipe.account import Account
from unihand_data.recipe.compose import compose
from unihand_data.recipe.directory import ShardDir
from unihand_data.recipe.index import IndexWriter
from unihand_data.recipe.rows import load_rows
from unihand_data.recipe.select import (
    SampleStream,
    choose_rows,
    eligible_frames,
    idle_robot_frames,
    kept_frames,
    kept_share,
    look_at,
)
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.shards.tokens import ESTIMATE

INDEX = "index"


def build(
    inputs: Sequence[str], output: str | os.PathLike[str], settings: RecipeSettings, *, new_version: bool = False
) -> dict[str, Any]:
    """The recipe as it will stand in ``recipe.yaml``, with its index written under ``output/index/<hash>``.

    Raises:
        DatasetRefused: another recipe is there and ``new_version`` was not asked for; its index stays alone.
        ShardError: an input that is no shard directory or cannot be read. SettingsError: settings that this data cannot
        meet.
    """
    directories = [ShardDir(path) for path in inputs]
    places = [d.store.url for d in directories]
    if len(set(places)) < len(places):
        raise SettingsError(f"--input {next(p for p in places if places.count(p) > 1)} is given twice")
    idle = settings.idle
    rows = load_rows(directories, None if idle.rule == "keep" else idle.chunk_s)
    selection = choose_rows(rows, settings)
    share = kept_share(rows, selection, settings.human_rate_hz)
    account = Account()
    account.count_rows(rows, kept_frames(rows, share, idle.share))
    look_at(directories, rows, account)
    work = Path(output) / INDEX / f"making-{os.getpid()}"
    try:
        with IndexWriter(work) as writer:
            stream = SampleStream(rows, share, account, writer, idle.share)
            for number, directory in enumerate(directories):
                stream.directory(number, directory)
            digests = writer.digests()
        strata = [stream.strata[key] for key in sorted(stream.strata)]
        recipe = compose(
            settings, selection, account, strata,
            directories=[{"path": d.store.url, **d.identity} for d in directories], digests=digests,
            templates=list(stream.templates), eligible=eligible_frames(rows),
            notes=rows.notes, hints=rows.max_weight, idle=idle_robot_frames(rows),
            estimated=any(d.manifest.tokenizer == ESTIMATE for d in directories),
        )  # fmt: skip
        recipe["recipe"] = recipe_file.content_hash(recipe)
        recipe_file.may_write(Path(output), recipe, new_version=new_version)
        final = work.parent / recipe["recipe"][:12]
        if not final.exists():
            os.replace(work, final)
        return recipe
    finally:
        shutil.rmtree(work, ignore_errors=True)
