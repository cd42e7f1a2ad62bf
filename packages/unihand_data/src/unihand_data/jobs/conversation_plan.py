"""``--plan`` of the vision-text job: what the input holds, before anything is decoded."""

from __future__ import annotations

from unihand_data.jobs.conversation_config import VisionTextSettings
from unihand_data.sources.conversations.registry import Corpora


def corpus_lines(corpora: Corpora, settings: VisionTextSettings) -> list[str]:
    """A head and one line a corpus: rows, blocks, files, the owner's licence."""
    lines = [f"{'corpus':<24}{'pillar':<11}{'files':>7}{'blocks':>9}{'rows':>12}  licence"]
    for corpus in corpora.corpora:
        blocks = rows = damaged = 0
        for block in corpus.blocks(settings.rows_per_block):
            blocks, rows, damaged = blocks + 1, rows + block.count, damaged + (block.damage is not None)
        share = "" if corpus.spec.shareable else ", not shareable"
        broken = f", {damaged} damaged" if damaged else ""
        lines.append(
            f"{corpus.spec.name:<24}{corpus.spec.pillar:<11}{len(corpus.files()):>7}{blocks:>9}{rows:>12}  "
            f"{corpus.spec.licence}{share}{broken}"
        )
    lines.append(f"{corpora.ignored()} files are no rows and no media of theirs")
    return lines
