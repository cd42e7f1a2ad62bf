"""``recipe.yaml``: one recipe, hashed by its content, and what was a recipe here before it.

The hash covers the settings, what pins every input directory (not where it lies), the records of every stratum and its
share of the draws: two recipes with one hash give one training order.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import yaml

from unihand_data import yaml_text
from unihand_data.errors import DatasetRefused
from unihand_data.recipe.order import Order, Part
from unihand_data.shards.errors import ShardError

FORMAT, VERSION = "unihand-recipe", 1
NAME = "recipe.yaml"
#: what the hash leaves out: places, and figures that follow from the rest
_NOT_HASHED = ("recipe", "path", "totals", "by_domain", "by_source", "by_embodiment", "left_out", "by_licence", "notes")


def content_hash(recipe: dict[str, Any]) -> str:
    """blake2b-128 hex of what decides the training order."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in _NOT_HASHED}
        return [plain(v) for v in value] if isinstance(value, list) else value

    text = json.dumps(plain(recipe), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read(path: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """A recipe and the folder it lies in; ``path`` is the folder or a ``recipe*.yaml`` in it.

    Raises:
        ShardError: there is none, or it is not one of this version.
    """
    file = Path(path) / NAME if Path(path).is_dir() else Path(path)
    try:
        data = yaml_text.loads(file.read_text())
    except FileNotFoundError as error:
        raise ShardError(f"{file}: no recipe here; build one with pipelines/build_recipe.py") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ShardError(f"{file}: cannot be read as YAML ({error})") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ShardError(f"{file} is not a recipe (format is not {FORMAT!r})")
    if data.get("version") != VERSION:
        raise ShardError(f"{file} has recipe version {data.get('version')}, this code reads {VERSION}")
    if data.get("recipe") != content_hash(data):
        raise ShardError(f"{file} was changed by hand: its content no longer has the hash it names; build it again")
    return file.parent, data


def may_write(folder: Path, recipe: dict[str, Any], *, new_version: bool) -> None:
    """Raises ``DatasetRefused`` where another recipe is there and ``new_version`` was not asked for."""
    if new_version or not (folder / NAME).exists():
        return
    _, before = read(folder)
    if before["recipe"] != recipe["recipe"]:
        raise DatasetRefused(
            f"{folder / NAME} is another recipe ({before['recipe'][:12]}, this one is {recipe['recipe'][:12]}): choose "
            "another --output, or pass --new-version to keep both"
        )


def write(folder: Path, recipe: dict[str, Any], *, new_version: bool) -> bool:
    """Write ``recipe.yaml``; False where this very recipe is there already. One that was there before stays, under
    ``recipe-<hash>.yaml``, so that a run that started with it can go on. Raises as :func:`may_write`."""
    may_write(folder, recipe, new_version=new_version)
    old = folder / NAME
    if old.exists():
        _, before = read(folder)
        if before["recipe"] == recipe["recipe"]:
            return False
        os.replace(old, folder / f"recipe-{before['recipe'][:12]}.yaml")
    head = "# Made by pipelines/build_recipe.py; a change by hand breaks its hash. See docs/recipe.md.\n"
    write_text(old, head + _yaml(recipe))
    return True


def write_plan(folder: Path, recipe: dict[str, Any], plan: dict[str, Any]) -> None:
    """``plan.yaml`` of a simulated build; it is not a recipe and cannot be trained on."""
    write_text(
        folder / "plan.yaml", "# Made by pipelines/build_recipe.py --simulate.\n" + _yaml({**recipe, "plan": plan})
    )


def _yaml(data: dict[str, Any]) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(data, sort_keys=False, allow_unicode=True, width=140, Dumper=dumper)


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def order_of(recipe: dict[str, Any]) -> Order:
    """The training order a recipe stands for."""
    parts = [Part(s["name"], s["samples"], s["share"]) for s in recipe["strata"]]
    return Order(parts, recipe["settings"]["seed"], recipe["settings"]["cycle"])
