"""Egocentric human video -> curated, annotated, mirrored UniHand-2.0 shards (paper section 3.1).

    python pipelines/human_video.py --input VIDEOS --output SHARDS
    ray job submit --working-dir . -- python pipelines/human_video.py --input /abs/VIDEOS --output /abs/SHARDS

A killed run resumes, a second run adds nothing, whatever does not make it is a row in SHARDS/rejects. ``--plan`` prints
stages, resources and what a language model would cost, and runs nothing. Settings: pipelines/human_video.yaml, changed
with ``--config my.yaml`` or ``--set motion.max_gap_s=1.5``.
"""

from __future__ import annotations

import sys
from functools import partial

from unihand_data.config import content_hash
from unihand_data.jobs import human_stages as stage
from unihand_data.jobs.arguments import JobArguments, main_with
from unihand_data.jobs.finish import ShardSink, finish, measure
from unihand_data.jobs.human_config import HumanVideoSettings, checked, with_dataset
from unihand_data.jobs.items import list_units
from unihand_data.jobs.joined import JoinedVideos
from unihand_data.jobs.language_account import check_language, language_account
from unihand_data.jobs.model_files import check_estimator, with_model_files
from unihand_data.jobs.places import check_places
from unihand_data.jobs.plan import print_plan
from unihand_data.jobs.tokenizer import claim_counter, with_counter
from unihand_data.runner.job import run_job
from unihand_data.runner.plan import steps_of
from unihand_data.runner.sink import SinkSpec
from unihand_data.runner.stage import StageSpec
from unihand_data.sources.base import SourceOptions
from unihand_data.sources.registry import open_source


def stages(settings: HumanVideoSettings, source, arguments: JobArguments) -> list[StageSpec]:
    """Section 3.1 in order of cost; resources are defaults that ``runner.stages`` overrides by name."""
    joined = joined_videos(arguments, settings, source)
    gpu = 1.0 if settings.hand_estimator == "hawor" else 0.0
    remote = 1.0 if settings.language.backend == "none" else 0.1  # a waiting client needs no core

    def build(kind, *arguments):
        return partial(kind, settings, *arguments)

    return [
        # recordings are checked, cut at shot changes and planned into clips of at most ten seconds
        StageSpec("split", build(stage.OpenAndSplit, source, joined), actor=True, splits=True),
        # wrist, theta and keypoints of both hands
        StageSpec("hands", build(stage.ReconstructHands, arguments.work_dir, joined), actor=True, num_gpus=gpu),
        # 3.1 (2) motion quality, as far as the hands alone decide it
        StageSpec("quality", build(stage.JudgeHands, joined)),
        # the camera's path with the hands masked out
        StageSpec("camera", build(stage.EstimateCamera, joined), actor=True),
        # travel, and the geometric half of (3) relevance, before anything costs money
        StageSpec("screen", build(stage.ScreenClip, joined)),
        StageSpec("encode", build(stage.EncodeClip, arguments.media_dir, joined), actor=True),
        # dual-level words, (1) paraphrases and the model's half of (3)
        StageSpec("annotate", build(stage.AnnotateClip, arguments.work_dir), actor=True, num_cpus=remote),
        # (4) mirrored twins, and the samples of the three task families
        StageSpec("rows", build(stage.BuildRows)),
    ]


def joined_videos(arguments: JobArguments, settings: HumanVideoSettings, source) -> JoinedVideos:
    """Videos that data sets keep as pictures, while clips are cut from them."""
    return JoinedVideos(arguments.joined_dir, source, int(settings.video.joined_gb * 1e9))


def run(arguments: JobArguments, settings: HumanVideoSettings) -> int:
    settings = checked(settings)
    options = SourceOptions(video_root=settings.videos, mano_dir=settings.mano_dir, work_dir=arguments.joined_dir)
    listing = open_source(arguments.input, settings.dataset, options)
    check_estimator(settings, listing.spec, fetch=not arguments.plan)
    source = partial(open_source, arguments.input, listing.spec, options)
    settings = with_model_files(with_dataset(settings, listing.spec), listing.spec)
    settings = settings.model_copy(update={"tokens": with_counter(settings.tokens)})
    chain = stages(settings, source, arguments)
    units = list_units(listing)
    # what a run is refused for, a plan is too
    steps_of(chain, settings.runner)
    if not arguments.plan:
        check_places(arguments)
    missing = check_language(arguments, settings.language)
    claim_counter(settings.tokens, arguments)
    if arguments.plan:
        print_plan(arguments, settings, units, chain, missing=missing)
        return 0
    sink = ShardSink(arguments.staging_dir)
    result = run_job(
        name="human_video",
        units=units,
        stages=chain,
        sink=SinkSpec(sink, measure=measure),
        output=arguments.output,
        settings=settings.runner,
        content_hash=content_hash(settings),
    )
    joined_videos(arguments, settings, source).clear()
    cost = language_account(arguments.work_dir, settings.language)
    tokenizer = settings.tokens.counter
    return finish(arguments, settings, result, ignored=listing.ignored(), tokenizer=tokenizer, language_cost=cost)


if __name__ == "__main__":
    sys.exit(main_with(HumanVideoSettings, run, default_config="human_video.yaml", description=__doc__))
