"""Which corpora can be generated: ``python -m unihand_data.sources.conversations.generate NAME OUT``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unihand_data.errors import DatasetRefused
from unihand_data.sources.conversations.generate import general, grounding, planning
from unihand_data.sources.conversations.generate.files import Corpus, Truth

WRITERS: dict[str, Callable[[Corpus], None]] = {
    "llava_v1_5": general.llava_v1_5,
    "llava_onevision": general.llava_onevision,
    "finevision": general.finevision,
    "llava_video": general.llava_video,
    "refcoco": grounding.refcoco,
    "refspatial": grounding.refspatial,
    "robopoint": grounding.robopoint,
    "sharerobot": grounding.sharerobot,
    "roborefit": grounding.roborefit,
    "robovqa": planning.robovqa,
    "molmoact": grounding.molmoact,
    "a0_maniskill": grounding.a0_maniskill,
    "pixmo_points": grounding.pixmo_points,
    "as_v2": grounding.as_v2,
    "as_v2_padded": grounding.as_v2_padded,
    "as_v2_mix": grounding.as_v2_mix,
    "eo1_5m_qa": planning.eo1_5m_qa,
}


def generate(name: str, folder: str | Path, *, seed: int = 0, rows: int = 6, defects: bool = False) -> list[Truth]:
    """Write a small synthetic corpus and return what each of its rows is, in the order they are read.

    Args:
        defects: rows of the kinds a corpus is known for, which must be refused, behind the good ones.

    Raises:
        DatasetRefused: no such corpus.
    """
    if name not in WRITERS:
        raise DatasetRefused(f"There is no generator {name!r}; there are {', '.join(WRITERS)}.")
    corpus = Corpus(Path(folder), seed, rows, defects)
    WRITERS[name](corpus)
    return corpus.truth
