"""Command line and ends of ``pipelines/build_recipe.py``. Exit codes as in :mod:`unihand_data.jobs.arguments`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unihand_data.config import SettingsError
from unihand_data.errors import DatasetRefused
from unihand_data.jobs.arguments import settings_from
from unihand_data.language.config import LanguageSettings
from unihand_data.language.cost import estimate_hours
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.recipe.simulate import Published
from unihand_data.runner import paths
from unihand_data.shards.errors import ShardError


@dataclass(frozen=True)
class RecipeArguments:
    """Shard directories (absolute or URLs), the recipe's folder (local), and what is asked for."""

    inputs: tuple[str, ...]
    output: Path
    simulate: bool
    new_version: bool


def parse(argv: list[str], description: str) -> argparse.Namespace:
    first, _, rest = description.partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", nargs="+", action="extend", default=[], metavar="DIR", help="shard directories")
    parser.add_argument("--output", required=True, help="folder of the recipe: recipe.yaml, its index, its figures")
    parser.add_argument("--config", help="YAML of settings; unknown keys are errors")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, dotted key")
    parser.add_argument("--simulate", action="store_true", help="plan a 35,000-hour build from published figures")
    parser.add_argument("--new-version", action="store_true", help="keep another recipe of this folder beside this one")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args(argv)


def main_with(
    run: Callable[[RecipeArguments, RecipeSettings], int],
    *,
    default_config: str,
    description: str | None,
    argv: list[str] | None = None,
) -> int:
    """Parse, load, run; refusals become one sentence and exit code 2."""
    names = parse(sys.argv[1:] if argv is None else argv, description or "")
    logging.basicConfig(level=logging.INFO if names.verbose else logging.WARNING)
    try:
        default = Path(sys.argv[0]).resolve().parent / default_config
        of_settings = argparse.Namespace(
            config=names.config, set=names.set, dataset=None, engine=None, new_version=False
        )
        settings = settings_from(RecipeSettings, default, of_settings)
        return run(_arguments(names, settings), settings)
    except (DatasetRefused, ShardError, SettingsError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written, run the same command again", file=sys.stderr)
        return 130


def _arguments(names: argparse.Namespace, settings: RecipeSettings) -> RecipeArguments:
    try:
        inputs = tuple(paths.job_path(p, "--input") for p in (*settings.inputs, *names.input))
        output = paths.job_path(names.output, "--output")
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if paths.is_remote(output):
        raise SettingsError(
            f"--output {output}: the index of a recipe is read in place, so it needs a folder of this machine or a "
            "mounted disk; copy the folder to each training machine"
        )
    if names.simulate == bool(inputs):
        raise SettingsError(
            "--simulate takes no --input"
            if names.simulate
            else "no --input: name shard directories, or pass --simulate"
        )
    return RecipeArguments(inputs, Path(output), names.simulate, names.new_version)


def annotation_cost(amounts: Published) -> dict[str, Any]:
    """Money to label the human hours with the model that the amounts name."""
    hours = sum(s.hours for s in amounts.sources)
    estimate = estimate_hours(hours, LanguageSettings.model_validate(amounts.language))
    return {"money": estimate.money, "currency": estimate.currency, "sentence": estimate.sentence()}


def summary_lines(recipe: dict[str, Any], page: Path, *, fresh: bool) -> str:
    """A few lines of what the recipe is."""
    taken, total = recipe["totals"]["taken"], recipe["totals"]
    out = [f"recipe {recipe['recipe']}" + ("" if fresh else " (it was here already)")]
    for name, domain in recipe["by_domain"].items():
        found, mine = domain["found"], domain["taken"]
        hours = f"{found['hours']:.4g} h" if name != "vision_text" else f"{found['equivalent_hours']:.4g} equivalent h"
        rows = found["conversations"] if name == "vision_text" else found["episodes"]
        kept = mine["conversations"] if name == "vision_text" else mine["episodes"]
        out.append(f"{name}: {hours}, {kept} of {rows} rows, {mine['samples']} of {found['samples']} samples")
    words = taken["tokens"]["text"] + taken["tokens"]["supervised"]
    out.append(
        f"{taken['samples']} samples in {len(recipe['strata'])} strata; {words:,} text tokens, "
        f"{taken['tokens']['visual_224']:,} visual at 224 px, {taken['tokens']['visual_448']:,} at 448 px"
    )
    out += [f"{b['kind']} {b['name']} {b['bound']:g}: {b['is']:.4f}" for b in total["bounds"]]
    out += [f"note: {note}" for note in recipe["notes"]]
    return "\n".join([*out, f"look at {page}"])
