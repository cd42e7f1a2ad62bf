"""Vision-text corpora -> UniHand-2.0 conversations (paper section 3.3): general, grounding, planning.

    python pipelines/vision_text.py --input CORPORA --output SHARDS
    ray job submit --working-dir . -- python pipelines/vision_text.py --input /abs/CORPORA --output /abs/SHARDS

``--input`` is the folder of one corpus, or a folder of such; each is recognised by its files and keys. Positions of all
of them become 0..1 of the original picture and one text form; nothing is filled in, what does not make it is a row in
SHARDS/rejects. A killed run resumes, a second run adds nothing. Settings: pipelines/vision_text.yaml.
"""

from __future__ import annotations

import sys
from functools import partial

from unihand_data.config import content_hash
from unihand_data.curate.conversations.held_out import HeldOut
from unihand_data.jobs import conversation_account as account
from unihand_data.jobs import conversation_stages as stage
from unihand_data.jobs.arguments import JobArguments, main_with
from unihand_data.jobs.conversation_config import VisionTextSettings, checked, coco_corpora, held_out_use
from unihand_data.jobs.conversation_items import list_blocks
from unihand_data.jobs.conversation_keys import keys_dir
from unihand_data.jobs.conversation_plan import corpus_lines
from unihand_data.jobs.conversation_weed import weed
from unihand_data.jobs.finish import finish
from unihand_data.jobs.places import check_places
from unihand_data.jobs.stage_table import stage_lines
from unihand_data.jobs.tokenizer import claim_counter, with_counter
from unihand_data.runner.job import run_job
from unihand_data.runner.sink import SinkSpec
from unihand_data.runner.stage import StageSpec
from unihand_data.sources.conversations.box_order import check_orders
from unihand_data.sources.conversations.registry import open_corpora


def stages(settings: VisionTextSettings, held_out: HeldOut, arguments: JobArguments) -> list[StageSpec]:
    """In order of cost; resources are defaults that ``runner.stages`` overrides by name."""

    def build(kind, *more):
        return partial(kind, settings, *more)

    return [
        # a block of rows of one file becomes its rows, in one form for all corpora
        StageSpec("read", build(stage.ReadBlock), actor=True),
        # roles, texts, placeholders: refused, or mended where that cannot change the meaning
        StageSpec("check", build(stage.CheckTalk), actor=True),
        # pictures verified and decoded once, frames of videos at their own times, benchmarks kept out
        StageSpec("media", build(stage.LoadMedia, held_out, arguments.media_dir), actor=True),
        # 2-D positions in 0..1 of the original picture, written as the backbone reads them
        StageSpec("place", build(stage.PlaceGeometry), actor=True),
        StageSpec("rows", build(stage.BuildTalkRows), actor=True),
    ]


def run(arguments: JobArguments, settings: VisionTextSettings) -> int:
    corpora = open_corpora(arguments.input, settings.dataset)
    settings, held_out = checked(settings, arguments, corpora)
    orders = check_orders(corpora, settings.box_order)
    said = [f"box order: {order.sentence}" for order in orders]
    settings = settings.model_copy(update={"tokens": with_counter(settings.tokens)})
    chain = stages(settings, held_out, arguments)
    use = held_out_use(coco_corpora(corpora), held_out, settings.held_out.refcoco)
    if arguments.plan:
        lines = corpus_lines(corpora, settings)
        print("\n".join([*lines, f"held out: {use['sentence']}", *said, "", *stage_lines(settings.runner, chain)]))
        return 0
    check_places(arguments)
    claim_counter(settings.tokens, arguments)
    version = content_hash(settings)
    sink = account.TalkSink(arguments.staging_dir, keys_dir(arguments.output, version))
    result = run_job(
        name="vision_text",
        units=list_blocks(corpora, settings.rows_per_block),
        stages=chain,
        sink=SinkSpec(sink, measure=account.measure),
        output=arguments.output,
        settings=settings.runner,
        content_hash=version,
    )
    # the same row again, in this or another corpus, and which rows share pictures, show only now that all are there
    weeded = weed(arguments.output, version, arguments.staging_dir, settings)
    account.write_summary(arguments.output, account.summary(weeded, use, orders), version)
    print("\n".join([f"held out: {use['sentence']}", *said]))
    rows = account.RowAccount(weeded, settings.max_reject_share, result)
    tokenizer = settings.tokens.counter
    return finish(arguments, settings, result, ignored=corpora.ignored(), tokenizer=tokenizer, state=rows)


if __name__ == "__main__":
    sys.exit(main_with(VisionTextSettings, run, default_config="vision_text.yaml", description=__doc__))
