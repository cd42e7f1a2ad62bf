"""Shard directories -> one versioned recipe: rows, weights and the order of training (paper section 3, Figures 3, 4).

    python pipelines/build_recipe.py --input HUMAN ROBOT TEXT --output RECIPE
    python pipelines/build_recipe.py --simulate --output PLAN       # a 35,000-hour build from published figures

RECIPE/recipe.yaml says what is drawn how often, RECIPE/index holds the samples, RECIPE/recipe.html shows both beside
the paper's numbers. Train with ``unihand_data.recipe.reader.RecipeReader(RECIPE)``. Settings:
pipelines/build_recipe.yaml, changed with ``--config my.yaml`` or ``--set caps.simulated=null``.
"""

from __future__ import annotations

import sys

from unihand_data.jobs.recipe_job import RecipeArguments, annotation_cost, main_with, summary_lines
from unihand_data.recipe import recipe_file
from unihand_data.recipe.build import build
from unihand_data.recipe.page import write_page
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.recipe.simulate import plan_lines, published, simulate


def plan(arguments: RecipeArguments, settings: RecipeSettings) -> int:
    amounts = published()
    recipe, costs = simulate(settings, amounts, annotation_cost(amounts))
    page = write_page(arguments.output, recipe, costs)
    recipe_file.write_plan(arguments.output, recipe, costs)
    print("\n".join([*plan_lines(costs), f"look at {page}"]))
    return 0


def run(arguments: RecipeArguments, settings: RecipeSettings) -> int:
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.simulate:
        return plan(arguments, settings)
    recipe = build(arguments.inputs, arguments.output, settings, new_version=arguments.new_version)
    fresh = recipe_file.write(arguments.output, recipe, new_version=arguments.new_version)
    page = write_page(arguments.output, recipe)
    print(summary_lines(recipe, page, fresh=fresh))
    return 0


if __name__ == "__main__":
    sys.exit(main_with(run, default_config="build_recipe.yaml", description=__doc__))
