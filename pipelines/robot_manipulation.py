"""Robot data sets -> UniHand-2.0 shards (paper section 3.2): LeRobot, RLDS, HDF5, ROS bags, WebDataset, video + files.

    python pipelines/robot_manipulation.py --input DATASETS --output SHARDS
    ray job submit --working-dir . -- python pipelines/robot_manipulation.py --input /abs/DATASETS --output /abs/SHARDS

Each data set below the input folder is recognised by its fingerprint; ``--dataset`` names its YAML where that does not
decide. Signs and units the YAML declares are checked against the data first: a contradiction is refused with its
evidence. A killed run resumes, a second run adds nothing, whatever does not make it is a row in SHARDS/rejects.
Nothing is dropped for a share or a cap: that is the recipe's (pipelines/build_recipe.py).
"""

from __future__ import annotations

import sys
from functools import partial

from unihand_data.config import content_hash
from unihand_data.jobs import robot_stages as stage
from unihand_data.jobs.arguments import JobArguments, main_with
from unihand_data.jobs.finish import ShardSink, finish, measure
from unihand_data.jobs.left import Remaining
from unihand_data.jobs.places import check_places
from unihand_data.jobs.robot_config import RobotSettings
from unihand_data.jobs.robot_items import check_versions, list_episodes
from unihand_data.jobs.robot_sets import judged, set_lines, write_checks
from unihand_data.jobs.stage_table import stage_lines
from unihand_data.jobs.tokenizer import claim_counter, with_counter
from unihand_data.runner.job import run_job
from unihand_data.runner.sink import SinkSpec
from unihand_data.runner.stage import StageSpec
from unihand_data.sources.robot.registry import open_robot


def stages(settings: RobotSettings, source, arguments: JobArguments) -> list[StageSpec]:
    """Resources are defaults that ``runner.stages`` overrides by name."""

    def build(kind, *more):
        return partial(kind, settings, source, *more)

    return [
        # an episode is known by its numbers: the same one in two files is written once
        StageSpec("open", build(stage.OpenEpisode), actor=True, splits=True),
        # Phi_e and the actions of section 5.1.1; ranges, outliers, idle spans
        StageSpec("convert", build(stage.ConvertEpisode), actor=True),
        # cameras: copied where usable as they are, else encoded; depth without loss
        StageSpec("views", build(stage.StoreViews, arguments.media_dir), actor=True),
        StageSpec("rows", build(stage.BuildRobotRows)),
    ]


def run(arguments: JobArguments, settings: RobotSettings) -> int:
    listing = judged(open_robot(arguments.input, settings.dataset), settings.checks)
    settings = settings.model_copy(update={"tokens": with_counter(settings.tokens)})
    chain = stages(settings, listing.without_files(), arguments)
    if arguments.plan:
        remaining = Remaining(arguments.output, content_hash(settings))
        left = sum(1 for _ in remaining.walk(list_episodes(listing)))
        items = f"{remaining.listed} input items: {remaining.done} done, {left} left"
        print("\n".join([*set_lines(listing), items, "", *stage_lines(settings.runner, chain)]))
        return 0
    check_places(arguments)
    check_versions(listing, arguments.output, arguments.new_version)
    write_checks(listing, arguments.output)
    claim_counter(settings.tokens, arguments)
    result = run_job(
        name="robot_manipulation",
        units=list_episodes(listing),
        stages=chain,
        sink=SinkSpec(ShardSink(arguments.staging_dir), measure=measure),
        output=arguments.output,
        settings=settings.runner,
        content_hash=content_hash(settings),
    )
    return finish(arguments, settings, result, ignored=listing.ignored(), tokenizer=settings.tokens.counter)


if __name__ == "__main__":
    sys.exit(main_with(RobotSettings, run, default_config="robot_manipulation.yaml", description=__doc__))
